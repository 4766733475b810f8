"""keepalived's dumps: their places, how they come there, and their words."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from fastvrrp._table import Table
from fastvrrp.config import read
from fastvrrp.model import Configuration, VirtualRouter
from fastvrrp.observe.dumps import as_data, as_json
from fastvrrp.observe.dumps.counters import COUNTERS, counts_of, stats_of
from fastvrrp.observe.dumps.facts import RouterFacts, Whole
from fastvrrp.observe.dumps.files import Dump, DumpFile, place_of
from fastvrrp.observe.dumps.words import address_words, route_words, rule_words
from lab import Fastvrrp, Laboratory, wait_until
from test_cli_looking import ask

ROUTER = """
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {
        192.0.2.1/24 dev eth0 label eth0:1
        192.0.2.2
        192.0.2.3/32 brd 192.0.2.255 scope link home
        192.0.2.4 dev eth1
        192.0.2.5/32 peer 192.0.2.6/24
    }
    virtual_ipaddress_excluded {
        2001:db8::1/64
        2001:db8::2
    }
    virtual_routes {
        src 192.0.2.1 203.0.113.0/24 via 192.0.2.9 dev eth0 metric 5
        2001:db8:9::/48 dev eth0 table 7
        default via 192.0.2.9 dev eth0 no_track
    }
    virtual_rules {
        from 198.51.100.0/24 table 10 priority 16000
        not to 2001:db8::/32 iif eth0 table 11 priority 16001
    }
}
"""


def configured(tmp_path: Path, text: str) -> Configuration:
    path = tmp_path / "keepalived.conf"
    path.write_text(text)
    return read(str(path)).configuration


def facts_of(model: VirtualRouter, **other: Any) -> RouterFacts:
    table = Table(None, 1)
    index = table.add(model.name, model.interface, 3, 4, model.vrid, model.priority)
    record = table.read(index)
    assert record is not None
    values: dict[str, Any] = {
        "group": None,
        "has_addresses": False,
        "drops_packets": False,
        "faults": 0,
        "is_waiting": False,
        "changed_at": 0.0,
        "deadline": None,
    }
    return RouterFacts(model, record, counts_of(record), **values | other)


@pytest.mark.keywords(
    "global_defs/data_use_instance",
    "global_defs/state_file_location",
    "global_defs/stats_file_location",
    "global_defs/json_file_location",
)
@pytest.mark.parametrize(
    ("text", "places"),
    [
        (
            "",
            "/t/keepalived.data /t/keepalived_parent.data"
            " /t/keepalived_check.data /t/keepalived.stats /t/keepalived.json",
        ),
        (
            "instance one\nglobal_defs {\n data_use_instance\n}\n",
            "/t/keepalived.one.data /t/keepalived_parent.one.data"
            " /t/keepalived_check.one.data /t/keepalived.one.stats"
            " /t/keepalived.json",
        ),
        (
            "instance one\nnet_namespace far\nglobal_defs {\n data_use_instance\n}\n",
            "/t/keepalived.far_one.data /t/keepalived_parent.far_one.data"
            " /t/keepalived_check.far_one.data"
            " /t/keepalived.far_one.stats /t/keepalived.json",
        ),
        (
            "global_defs {\n state_file_location /a/\n stats_file_location /b/\n"
            " json_file_location /c/\n}\n",
            "/a/keepalived.data /a/keepalived_parent.data"
            " /a/keepalived_check.data /b/keepalived.stats /c/keepalived.json",
        ),
        (
            "global_defs {\n state_file_location /a/s.txt\n stats_file_location /b/t\n"
            " json_file_location /c/j\n}\n",
            "/a/s.txt /a/s_parent.txt /a/s_check.txt /b/t /c/j",
        ),
    ],
)
def test_a_dump_has_keepalived_s_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, places: str
) -> None:
    monkeypatch.setenv("TMPDIR", "/t")
    definitions = configured(tmp_path, text).definitions
    assert [str(place_of(dump, definitions, None)) for dump in Dump] == places.split()


def test_a_dump_comes_to_its_place_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "dump"
    path.write_text("old")
    file = DumpFile(path, 0o177)
    file.write("new")
    assert path.read_text() == "old"
    file.finish()
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    unfinished = DumpFile(path, 0o022)
    unfinished.write("newer")
    unfinished.give_up()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "new"


def test_a_dump_does_not_follow_a_link_that_somebody_has_laid(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    path = tmp_path / "dump"
    path.symlink_to(tmp_path / "precious")
    file = DumpFile(path, 0o177)
    file.write("new")
    file.finish()
    assert (tmp_path / "precious").read_text() == "precious"
    assert not path.is_symlink()


def test_addresses_routes_and_rules_are_in_keepalived_s_words(tmp_path: Path) -> None:
    (model,) = configured(tmp_path, ROUTER).virtual_routers
    words = [address_words(model, each, is_set=True, drops=False) for each in model.addresses]
    assert words == [
        "192.0.2.1/24 dev eth0 scope global label eth0:1 set",
        "192.0.2.2 dev eth0 scope global set",
        "192.0.2.3 brd 192.0.2.255 dev eth0 scope link home set",
        "192.0.2.4 dev eth1 scope global set",
        "192.0.2.5 peer 192.0.2.6/24 dev eth0 scope global set",
    ]
    excluded = model.excluded_addresses
    assert [address_words(model, each, is_set=False, drops=True) for each in excluded] == [
        "2001:db8::1/64 dev eth0 scope global preferred_lft forever nftable_set",
        "2001:db8::2 dev eth0 scope global deprecated nftable_set",
    ]
    assert [route_words(each) for each in model.options.routes] == [
        "prepend 203.0.113.0/24 src 192.0.2.1 via inet 192.0.2.9 dev eth0 proto 18 metric 5",
        "prepend 2001:db8:9::/48 dev eth0 table 7 proto 18",
        "prepend default via inet 192.0.2.9 dev eth0 proto 18 no_track",
    ]
    assert [rule_words(each) for each in model.options.rules] == [
        "from 198.51.100.0/24 priority 16000 tos 0x0 protocol 18 lookup 10",
        "not to 2001:db8::/32 priority 16001 tos 0x0 iif eth0 protocol 18 lookup 11",
    ]


@pytest.mark.keywords("global_defs/json_version")
def test_version_two_of_json_has_the_tracked_processes_too(tmp_path: Path) -> None:
    configuration = configured(
        tmp_path,
        "global_defs {\n json_version 2\n}\n"
        "vrrp_track_process web {\n process nginx\n quorum 2\n weight 3\n fork_delay 0.5\n}\n"
        + ROUTER,
    )
    (model,) = configuration.virtual_routers
    version = configuration.definitions.files.json_version
    whole = Whole(configuration, state_of=lambda *_: 1, processes={"web": 4})
    text = "".join(as_json.document([facts_of(model)], whole, version))
    assert json.loads(text) == {
        "vrrp": json.loads("".join(as_json.document([facts_of(model)], whole, 1))),
        "track_process": [
            {
                "process": "nginx",
                "param_match": "none",
                "min_processes": 2,
                "current_processes": 4,
                "have_quorum": True,
                "weight": 3,
                "terminate_delay": 0,
                "fork_delay": 500_000,
                "fork_delay_timer_running": False,
                "terminate_delay_timer_running": False,
                "full_command": False,
            }
        ],
    }


def test_a_dump_of_none_is_whole_too() -> None:
    assert json.loads("".join(as_json.document([], Whole(Configuration()), 1))) == []
    assert "VRRP Topology" in "".join(as_data.document([], Whole(Configuration())))


def test_statistics_name_every_counter(tmp_path: Path) -> None:
    (model,) = configured(tmp_path, ROUTER).virtual_routers
    counts = {counter.key: number for number, counter in enumerate(COUNTERS, 10)}
    text = stats_of(model.name, counts)
    assert [line.rpartition(": ")[2] for line in text.splitlines() if ": " in line][1:] == [
        str(number) for number in range(10, 10 + len(COUNTERS))
    ]


@pytest.mark.keywords("global_defs/umask")
def test_statistics_can_be_cleared(lab: Laboratory) -> None:
    from fastvrrp.daemon.dumping import STATS_CLEAR

    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    place = a.folder / "stats"
    daemon = Fastvrrp(
        a,
        f"global_defs {{\n stats_file_location {place}\n umask 0137\n}}\n"
        "vrrp_instance VI_1 {\n interface eth0\n version 3\n advert_int 0.1\n"
        " virtual_router_id 1\n virtual_ipaddress { 10.0.0.9 }\n}\n",
    ).start()
    daemon.wait_log("(VI_1) Entering MASTER STATE")

    def asked(number: int) -> str:
        place.unlink(missing_ok=True)
        daemon.processes[0].send_signal(number)
        wait_until(place.exists, what="the statistics")
        return place.read_text()

    assert "Became master: 1" in asked(STATS_CLEAR)
    assert place.stat().st_mode & 0o777 == 0o640
    assert "Became master: 0" in asked(signal.SIGUSR2)
    assert daemon.stop() == 0


def test_the_data_has_the_address_that_adverts_leave_from(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    for address in ("fe80::aa", "fe80::bb"):
        a.ip(f"addr add {address}/64 dev eth0 nodad")
    place = a.folder / "data"
    instance = (
        "vrrp_instance VI_1 {\n interface eth0\n version 3\n advert_int 0.1\n"
        " virtual_router_id 1\n virtual_ipaddress { fe80::1:1 }\n priority 200\n}\n"
    )
    text = f"global_defs {{\n state_file_location {place}\n}}\n{instance}"
    daemon = Fastvrrp(a, text).start()
    daemon.wait_log("(VI_1) Entering MASTER STATE")
    daemon.processes[0].send_signal(signal.SIGUSR1)
    wait_until(place.exists, what="the data")
    found = re.findall(r"Name = eth0\n(?:.+\n)*?.*IPv6 address = (\S+)", place.read_text())
    backup = Fastvrrp(b, instance.replace("200", "100")).start()
    wait_until(lambda: " is master with priority 200" in ask(backup, "show", "VI_1").stdout)
    assert found == [json.loads(ask(backup, "show", "VI_1", "--json").stdout)["master"]]
    assert backup.stop() == 0
    assert daemon.stop() == 0


def test_a_dump_that_cannot_be_written_is_said(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(
        a,
        "global_defs {\n stats_file_location /no/such/folder/\n}\n"
        "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 1\n"
        " virtual_ipaddress { 10.0.0.9 }\n}\n",
    ).start()
    daemon.wait_log("Startup complete")
    daemon.processes[0].send_signal(signal.SIGUSR2)
    daemon.wait_log("Can't write /no/such/folder/keepalived.stats: No such file or directory")
    assert daemon.stop() == 0
