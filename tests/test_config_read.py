"""Reading never raises, whatever the file, and files that cannot be read are a complaint."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastvrrp.config import Severity, read
from fastvrrp.config.keywords import Keyword
from fastvrrp.config.table import TOP
from fastvrrp.model import Configuration


def names(rows: Mapping[str, Keyword]) -> set[str]:
    """Every keyword of a block and of the blocks inside."""
    return set(rows).union(*(names(row.block) for row in rows.values() if row.block))


KEYWORDS = sorted(names(TOP.rows) | {"include", "}", "{"})
WORDS = st.one_of(
    st.sampled_from(KEYWORDS),
    st.sampled_from(
        ["eth0", "1", "0.5", "-3", "256", "192.0.2.1/24", "fe80::1", "dev", "MASTER", "02:0:0:0:1"]
    ),
    st.sampled_from(["$A", "${A}", "$A=1", "@x", "~SEQ(A,1,2)", '"', "'", "\\", "#", "!", "\0"]),
    st.text(max_size=8),
)
LINES = st.lists(WORDS, max_size=6).map(" ".join)
FILES = st.lists(LINES, max_size=40).map("\n".join)


def complaints_of(tmp_path: Path, data: bytes) -> list[str]:
    path = tmp_path / "x.conf"
    path.write_bytes(data)
    return [str(complaint) for complaint in read(str(path)).complaints]


@given(st.binary(max_size=300))
def test_any_bytes_are_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    complaints_of(tmp_path_factory.getbasetemp(), data)


@given(FILES)
def test_any_words_are_read(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    directory = tmp_path_factory.getbasetemp()
    for line in complaints_of(directory, text.encode("utf-8", "surrogatepass")):
        assert line.isprintable()


def test_missing_file_is_a_complaint(tmp_path: Path) -> None:
    reading = read(str(tmp_path / "none.conf"))
    assert [complaint.text for complaint in reading.complaints] == [
        f"{tmp_path}/none.conf does not exist"
    ]
    assert reading.has_errors
    assert reading.configuration == Configuration()


def test_directory_is_a_complaint(tmp_path: Path) -> None:
    (complaint,) = read(str(tmp_path)).complaints
    assert complaint.text == f"{tmp_path} is a directory; name a file"


def test_unreadable_file_is_a_complaint(tmp_path: Path) -> None:
    path = tmp_path / "secret.conf"
    path.touch(mode=0)
    # Root may read every file, but for what these capabilities are.
    without = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    check = [sys.executable, "-m", "fastvrrp", "check", str(path)]
    finished = subprocess.run(
        [*(without if os.geteuid() == 0 else []), *check],
        check=False,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 1
    assert f"{path} cannot be read: Permission denied" in finished.stderr


def test_binary_file_is_a_complaint(tmp_path: Path) -> None:
    (line,) = complaints_of(tmp_path, b"vrrp\0instance")
    assert line.endswith("is not text: it has a NUL byte at offset 4")


def test_name_with_a_nul_is_a_complaint() -> None:
    (complaint,) = read("a\0b").complaints
    assert complaint.severity == Severity.ERROR


def test_bytes_that_are_no_utf_8_are_escaped_in_complaints(tmp_path: Path) -> None:
    (line,) = complaints_of(tmp_path, b"caf\xe9\n")
    assert line.endswith("keyword caf\\udce9 is unknown and ignored")


def test_terminal_controls_are_escaped_in_complaints(tmp_path: Path) -> None:
    (line,) = complaints_of(tmp_path, b"a\x1b[2Jb\n")
    assert "a\\x1b[2Jb" in line


def test_collection_of_cycles_is_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.touch()
    assert gc.isenabled()
    read(str(path))
    assert gc.isenabled()


def test_announcements_of_equal_settings_are_one_object(tmp_path: Path) -> None:
    path = tmp_path / "x.conf"
    path.write_text(
        "".join(
            f"vrrp_instance V{vrid} {{\n interface eth0\n virtual_router_id {vrid}\n"
            f" garp_master_delay 3\n virtual_ipaddress {{\n 192.0.2.{vrid}\n }}\n}}\n"
            for vrid in (1, 2)
        )
    )
    first, second = read(str(path)).configuration.virtual_routers
    assert first.announcements is second.announcements
    assert first.interface is second.interface


def test_every_fault_of_a_file_is_said_in_order(tmp_path: Path) -> None:
    lines = complaints_of(
        tmp_path,
        b"zork\nvrrp_instance A {\n interface eth0\n virtual_router_id 0\n priority 0\n"
        b" virtual_ipaddress {\n x\n }\n}\nvrrp_instance B {\n}\n",
    )
    assert [line.split(":")[1] for line in lines] == ["1", "2", "4", "5", "7", "10", "10", "10"]


def test_a_byte_order_mark_is_passed_over_and_complained_of_in_every_file(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.conf", tmp_path / "outer.conf"
    inner.write_text("\ufeffglobal_defs {\n    router_id marked\n}\n")
    outer.write_text(f"\ufeffinclude {inner}\n")
    reading = read(str(outer))
    assert reading.configuration.definitions.router_id == "marked"
    complaints = [str(each) for each in reading.complaints]
    assert [each.partition(": ")[0] for each in complaints] == [f"{outer}:1:1", f"{inner}:1:1"]
    assert all("the file begins with a byte order mark" in each for each in complaints)
    assert not reading.satisfies_keepalived
    assert not reading.has_errors


@pytest.mark.keywords("global_defs/include_check")
@pytest.mark.parametrize(
    ("checks", "said"),
    [
        ("", []),
        ("include_check", ["none.inc", "*.none", "folder"]),
        ("include_check match", ["none.inc", "folder"]),
        ("include_check wildcard_match", ["none.inc", "*.none", "folder"]),
        ("include_check readable", ["folder"]),
        ("include_check\n include_check -wildcard_match -match -brace_match", ["folder"]),
    ],
)
def test_which_missing_files_are_an_error(tmp_path: Path, checks: str, said: list[str]) -> None:
    (tmp_path / "folder").mkdir()
    head = f"global_defs {{\n {checks}\n}}\n".encode()
    names = ("none.inc", "*.none", "folder")
    lines = complaints_of(tmp_path, head + "".join(f"include {n}\n" for n in names).encode())
    errors = [line for line in lines if ": error: " in line]
    assert [name for name in names if any(name in line for line in errors)] == said
    assert len(errors) == len(said)
