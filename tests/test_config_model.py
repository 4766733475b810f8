"""Everything that a configuration says is in the model, and defaults are those of the table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

import config_corpus as corpus
from fastvrrp.config import read
from fastvrrp.config.building.block import default_of
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.lines import Lines
from fastvrrp.config.statement import Statement
from fastvrrp.config.table import TOP
from fastvrrp.config.tree import Entry, Tree
from fastvrrp.model import Command, Configuration, VirtualServer
from test_config_table import BY_LINES, ROWS

Path = tuple[str, ...]

WITHOUT_A_TRACE = {
    ("global_defs", "random_seed"): "decides while the file is read",
}
"""Keywords that leave nothing to hold, and why."""


def model_of(path: FilePath) -> Configuration:
    with contextlib.chdir(corpus.CONFIGS):
        return read(str(path), config_id="main").configuration


def model_of_text(tmp_path: FilePath, text: str) -> Configuration:
    path = tmp_path / "x.conf"
    path.write_text(text)
    return model_of(path)


def single_lines(entries: list[Entry], path: Path = ()) -> Iterator[tuple[Path, int]]:
    """Keywords that are alone on a line of the file, with the number of a line that says them."""
    for entry in entries:
        here = (*path, entry.keyword.name)
        for statement in [entry.statement, *(line for _, line in entry.items)]:
            is_block = entry.keyword.is_block and statement is entry.statement
            if type(statement) is Statement and not is_block:
                yield here, statement.number
        yield from single_lines(entry.entries, here)


def in_any_checker(path: Path) -> Path:
    """Options of checkers count once for all of them."""
    return ("CHECKER", *path[3:]) if len(path) > 3 and path[1] == "real_server" else path


def test_every_keyword_reaches_the_model(tmp_path: FilePath) -> None:
    """A line that is taken out of some configuration of the corpus changes the model."""
    reached: set[Path] = set()
    for path in corpus.paths():
        whole = model_of(path)
        lines = path.read_bytes().splitlines(keepends=True)
        with contextlib.chdir(corpus.CONFIGS):
            source = Lines(Complaints(), "main").of_file(path.name)
            written = list(single_lines(list(Tree(source, TOP.rows, Complaints()))))
        for keyword, number in written:
            if in_any_checker(keyword) in reached or number > len(lines):
                continue
            without = tmp_path / path.name
            without.write_bytes(b"".join([*lines[: number - 1], b"\n", *lines[number:]]))
            if model_of(without) != whole:
                reached.add(in_any_checker(keyword))
    with_inner = {path for path, row in ROWS.items() if row.block is not None}
    expected = {in_any_checker(path) for path in set(ROWS) - with_inner - BY_LINES}
    assert expected - reached <= set(WITHOUT_A_TRACE)


def test_an_empty_configuration_is_that_of_the_model(tmp_path: FilePath) -> None:
    """The defaults of the model's classes are those of the table."""
    assert model_of_text(tmp_path, "") == Configuration()


FRAMES = {
    (): "{}",
    ("global_defs",): "global_defs {{\n{}\n}}\n"
    "vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n use_vmac\n"
    " virtual_ipaddress {{\n  192.0.2.1\n }}\n}}\n"
    "vrrp_instance B {{\n interface eth0\n virtual_router_id 1\n"
    " virtual_ipaddress {{\n  2001:db8::1\n }}\n}}\n"
    "static_ipaddress {{\n 192.0.2.9/24\n}}\n",
    ("vrrp_instance",): "vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n"
    " virtual_ipaddress {{\n  192.0.2.1\n }}\n{}\n}}\n",
    ("vrrp_instance", "auth_hmac"): "vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n"
    " virtual_ipaddress {{\n  192.0.2.1\n }}\n auth_hmac {{\n  key 1 secret\n{}\n }}\n}}\n",
    ("vrrp_script",): "vrrp_script A {{\n script /bin/true\n{}\n}}\n",
    ("track_file",): "track_file A {{\n file /tmp/a\n{}\n}}\n",
    ("vrrp_track_file",): "vrrp_track_file A {{\n file /tmp/a\n{}\n}}\n",
    ("vrrp_track_process",): "vrrp_track_process A {{\n process a\n{}\n}}\n",
    ("bfd_instance",): "bfd_instance A {{\n neighbor_ip 192.0.2.9\n{}\n}}\n",
    ("bfd_instance", "hoplimit"): "bfd_instance A {{\n neighbor_ip 2001:db8::9\n{}\n}}\n",
    ("garp_group",): "garp_group {{\n interface eth0\n{}\n}}\n",
    ("virtual_server",): "virtual_server 192.0.2.1 80 {{\n{}\n real_server 192.0.2.2 80 {{\n"
    "  TCP_CHECK {{\n  }}\n }}\n}}\n",
    ("virtual_server", "real_server"): "virtual_server 192.0.2.1 80 {{\n"
    " real_server 192.0.2.2 80 {{\n{}\n  TCP_CHECK {{\n  }}\n }}\n}}\n",
    ("virtual_server", "real_server", "CHECKER"): "track_file F {{\n file /tmp/f\n}}\n"
    "virtual_server 192.0.2.1 80 {{\n real_server 192.0.2.2 80 {{\n"
    "  {needed[0]} {{\n   {needed[1]}\n{}\n  }}\n }}\n}}\n",
    ("virtual_server", "real_server", "CHECKER", "host"): "virtual_server 192.0.2.1 80 {{\n"
    " real_server 192.0.2.2 80 {{\n  {needed[0]} {{\n   host {{\n{}\n   }}\n  }}\n }}\n}}\n",
    ("virtual_server", "real_server", "CHECKER", "url"): "virtual_server 192.0.2.1 80 {{\n"
    " real_server 192.0.2.2 80 {{\n  {needed[0]} {{\n   url {{\n{}\n   }}\n  }}\n }}\n}}\n",
}
"""A configuration for the keywords of each block, or for one of them, with room for it."""
NEEDED = {
    "HTTP_GET": "url {\n path /\n }",
    "SSL_GET": "url {\n path /\n }",
    "MISC_CHECK": "misc_path /bin/true",
    "FILE_CHECK": "track_file F",
}
OF_SOME = {
    ("DNS_CHECK", "retry"),
    ("MISC_CHECK", "retry"),
    ("HTTP_GET", "delay_before_retry"),
    ("SSL_GET", "delay_before_retry"),
    ("DNS_CHECK", "delay_before_retry"),
    ("url", "path"),
}
"""Options that have another default in some checkers, or that a block is nothing without."""
ALONE_SAYS_MORE = {
    ("global_defs", "nftables"): "asks for nftables",
    ("global_defs", "nftables_ipvs"): "asks for nftables",
    ("global_defs", "vrrp_ipsets"): "asks for ipsets",
    ("global_defs", "smtp_server"): "the default is that of its port",
    ("global_defs", "iproute_usr_dir"): "is shown as it is written",
    ("global_defs", "iproute_etc_dir"): "is shown as it is written",
    ("virtual_server", "persistence_timeout"): "asks for persistence",
}
"""Keywords whose default is that of their value, not of their absence."""


def has_plain_default(path: Path) -> bool:
    if path in ALONE_SAYS_MORE or path[-2:] in OF_SOME:
        return False
    return default_of(ROWS[path]) is not None


@pytest.mark.parametrize("path", [path for path in ROWS if has_plain_default(path)], ids=".".join)
def test_a_default_that_is_written_changes_nothing(tmp_path: FilePath, path: Path) -> None:
    *blocks, name = path
    checker = path[2] if len(path) > 3 else ""
    around = tuple("CHECKER" if block == checker else block for block in blocks)
    frame = FRAMES.get(path) or FRAMES[around]
    needed = (checker, NEEDED.get(checker, ""))
    line = f"{name} {ROWS[path].default}"
    written = frame.format(line, needed=needed)
    assert model_of_text(tmp_path, written) == model_of_text(
        tmp_path, frame.format("", needed=needed)
    )


def test_most_rows_with_a_default_are_shown() -> None:
    """So that a change of the table cannot leave the test above without anything to show."""
    assert sum(has_plain_default(path) for path in ROWS) > 100


INSTANCE = "vrrp_instance {} {{\n interface eth0\n virtual_router_id {}\n virtual_ipaddress {{\n"
INSTANCE += "  192.0.2.{}\n }}\n{}\n}}\n"


def test_what_is_rare_is_shared(tmp_path: FilePath) -> None:
    rare = " notify /bin/true\n promote_secondaries\n virtual_routes {\n  10.0.0.0/8 dev eth0\n }"
    text = "".join(INSTANCE.format(f"V{n}", n, n, rare if n < 3 else "") for n in range(1, 5))
    first, second, third, fourth = model_of_text(tmp_path, text).virtual_routers
    assert first.options is second.options
    assert first.notifications is second.notifications
    assert third.options is fourth.options
    assert third.notifications is fourth.notifications
    assert third.tracked is fourth.tracked
    assert first.options != third.options


def test_a_script_has_the_user_that_is_written_after_it(tmp_path: FilePath) -> None:
    text = INSTANCE.format("A", 1, 1, " notify /bin/true\n notify_fault /bin/false daemon")
    text += "global_defs {\n script_user root users\n}\n"
    (router,) = model_of_text(tmp_path, text).virtual_routers
    assert router.notifications.any_state == Command(("/bin/true",), "root", "users")
    assert router.notifications.fault == Command(("/bin/false",), "daemon", None)


@pytest.mark.parametrize(
    ("written", "virtual", "real"),
    [
        ("", False, True),
        ("smtp_alert on", True, True),
        ("smtp_alert off", False, False),
        ("smtp_alert on\nsmtp_alert_checker off", False, False),
    ],
)
def test_mail_about_servers(tmp_path: FilePath, written: str, virtual: bool, real: bool) -> None:
    """keepalived.conf(5): a real server mails unless something says no, a virtual one does not."""
    text = "virtual_server 192.0.2.1 80 {\n real_server 192.0.2.2 80 {\n }\n}\n"
    text += f"global_defs {{\n{written}\n}}\n"
    server: VirtualServer
    (server,) = model_of_text(tmp_path, text).virtual_servers
    assert server.sends_mail is virtual
    assert server.real_servers[0].sends_mail is real


def test_a_member_that_was_dropped_is_in_no_group(tmp_path: FilePath) -> None:
    text = INSTANCE.format("A", 1, 1, "") + INSTANCE.format("B", 1, 2, "")
    text += "vrrp_sync_group G {\n group {\n A\n B\n }\n}\n"
    text += "track_group T {\n group {\n A\n B\n }\n}\n"
    model = model_of_text(tmp_path, text)
    assert [router.name for router in model.virtual_routers] == ["A"]
    assert model.sync_groups[0].members == ("A",)
    assert model.track_groups[0].members == ("A",)


@pytest.mark.parametrize(
    ("lines", "ports"),
    [
        ("192.0.2.1 80 {\n lvs_method NAT", (81, 80)),
        ("192.0.2.1 80 {\n lvs_method DR", (80, 80)),
        ("fwmark 3 {\n lvs_method NAT", (81, 0)),
        ("fwmark 3 {\n lvs_method DR", (0, 0)),
    ],
)
def test_ports_of_real_servers(tmp_path: FilePath, lines: str, ports: tuple[int, int]) -> None:
    """Without NAT a packet keeps its port."""
    text = f"virtual_server {lines}\n"
    text += " real_server 192.0.2.2 81 {\n }\n real_server 192.0.2.3 {\n }\n}\n"
    (server,) = model_of_text(tmp_path, text).virtual_servers
    assert tuple(real.port for real in server.real_servers) == ports


@pytest.mark.keywords("vrrp_instance/debug")
def test_a_level_of_debugging_is_taken_without_a_word(tmp_path: FilePath) -> None:
    """Nothing has such levels here; keepalived has words for one part of it, if it was built so."""
    path = tmp_path / "x.conf"
    path.write_text(FRAMES["vrrp_instance",].format(" debug 3"))
    reading = read(str(path))
    assert not reading.complaints
    assert reading.configuration.virtual_routers[0].options.debug == 3


@pytest.mark.keywords("global_defs/random_seed")
@pytest.mark.parametrize("seed", [1, 2])
def test_a_seed_makes_the_same_numbers(tmp_path: FilePath, seed: int) -> None:
    def numbers(head: str) -> list[int]:
        path = tmp_path / "x.conf"
        lines = f" priority ${{_RANDOM 1 250}}\n kernel_rx_buf_size ${{_RANDOM 1 {2**20}}}"
        path.write_text(head + FRAMES["vrrp_instance",].format(lines))
        [router] = read(str(path)).configuration.virtual_routers
        return [router.priority, router.options.receive_buffer or 0]

    head = f"global_defs {{\n random_seed {seed}\n}}\n"
    assert numbers(head) == numbers(head)
    assert numbers(head) != numbers(head.replace(f"seed {seed}", f"seed {seed + 10}"))
