"""The table of keywords: what holds for every row of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

import config_corpus as corpus
from fastvrrp.config import read
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.documentation import pages
from fastvrrp.config.keywords import Table
from fastvrrp.config.lines import Lines
from fastvrrp.config.table import TOP, Path, rows
from fastvrrp.config.tree import Entry, Tree


def written(entries: list[Entry], path: Path = ()) -> Iterator[Path]:
    """Every keyword that was written."""
    for entry in entries:
        here = (*path, entry.keyword.name)
        yield here
        yield from written(entry.entries, here)


ROWS = dict(rows())
BY_LINES = {("global_defs", "include_check")}
"""Keywords that are read before there are statements."""


def test_every_keyword_is_in_the_corpus() -> None:
    seen: set[Path] = set()
    for path in corpus.paths():
        complaints = Complaints()
        lines = Lines(complaints, "main").of_file(str(path))
        seen.update(written(list(Tree(lines, TOP.rows, complaints))))
    in_checkers = {path[3:] for path in seen if _is_in_checker(path)}
    missing = {
        path
        for path in set(ROWS) - seen - BY_LINES
        if not (_is_in_checker(path) and path[3:] in in_checkers)
    }
    assert not missing


def _is_in_checker(path: Path) -> bool:
    """Most options are those of every checker; one of them has to show each."""
    return len(path) > 3 and path[1] == "real_server"


@pytest.mark.parametrize("path", ROWS, ids=".".join)
def test_a_row_is_documented_by_one_line(path: Path) -> None:
    documentation = ROWS[path].documentation
    assert documentation.endswith(".")
    assert "\n" not in documentation
    assert len(documentation) < 100


@pytest.mark.parametrize("path", ROWS, ids=".".join)
def test_a_row_has_a_shape(path: Path) -> None:
    keyword = ROWS[path]
    assert isinstance(keyword.syntax.shape, str)
    if keyword.items is not None:
        assert keyword.items.shape


@pytest.mark.parametrize("path", ROWS, ids=".".join)
def test_since_is_a_version_of_keepalived(path: Path) -> None:
    assert re.fullmatch(r"(?:[0-9]+\.[0-9]+(?:\.[0-9]+)?)?", ROWS[path].since)


@pytest.mark.parametrize(
    "path", [path for path, keyword in ROWS.items() if keyword.default], ids=".".join
)
def test_a_default_is_read_by_its_own_syntax(path: Path, tmp_path: FilePath) -> None:
    keyword = ROWS[path]
    file = tmp_path / "default.conf"
    file.write_text(f"{keyword.name} {keyword.default}\n")
    complaints = Complaints()
    (statement,) = Lines(complaints).of_file(str(file))
    assert keyword.syntax.read(statement, complaints) is not None
    assert complaints.in_order() == ()


@pytest.mark.parametrize("path", ROWS, ids=".".join)
def test_old_spellings_lead_to_a_modern_one(path: Path) -> None:
    modern = ROWS[path].replaced_by
    if modern:
        assert any(f"{other[-1]} " in f"{modern} ".replace(",", " ") for other in ROWS)


def test_a_keyword_is_in_a_block_once() -> None:
    row = ROWS["vrrp_instance",]
    with pytest.raises(ValueError, match="vrrp_instance is in the table twice"):
        Table().add(row, row)


def test_the_page_of_keywords_is_made_from_the_table() -> None:
    page = FilePath(__file__).parent.parent / "docs" / "keywords.md"
    assert page.read_text() == "\n".join(pages()).rstrip() + "\n"


OPTIONAL_IN_A_BUILD = re.compile(r"dbus|snmp_|enable_traps|iptables|ipsets|nftables")
"""What a build of keepalived may lack: D-Bus, SNMP, iptables, ipsets, nftables."""
SAMPLES = {
    "namespace_with_ipsets": "",
    "vrrp_iptables": "in out",
    "vrrp_ipsets": "one two",
    "nftables": "table",
    "nftables_priority": "-1",
    "nftables_counters": "",
    "nftables_ifindex": "",
    "nftables_ipvs": "table",
    "nftables_ipvs_priority": "-1",
    "nftables_ipvs_start_fwmark": "1000",
    "snmp_socket": "udp:192.0.2.1:705",
    "enable_snmp_vrrp": "",
    "enable_snmp_keepalived": "",
    "enable_snmp_checker": "",
    "enable_snmp_rfc": "",
    "enable_snmp_rfcv2": "",
    "enable_snmp_rfcv3": "",
    "enable_traps": "",
    "snmp_vs_stats_update_interval": "5",
    "snmp_rs_stats_update_interval": "5",
    "enable_dbus": "",
    "dbus_service_name": "org.example.Vrrp1",
    "dbus_no_interface_name": "none",
}


@pytest.mark.parametrize(
    "path",
    [path for path in ROWS if path[0] != "virtual_server" and OPTIONAL_IN_A_BUILD.search(path[-1])],
    ids=".".join,
)
def test_what_a_build_may_lack_is_taken_with_one_warning(path: Path, tmp_path: FilePath) -> None:
    keyword = ROWS[path]
    line = f"{keyword.name} {SAMPLES[keyword.name]}\n" * 2
    file = tmp_path / "optional.conf"
    file.write_text(line if len(path) == 1 else f"global_defs {{\n{line}}}\n")
    said = [complaint.text for complaint in read(str(file)).complaints]
    expected = [f"{keyword.name} is read, but has no effect yet"]
    assert said == ([] if keyword.is_acted_on else expected)
