"""`fastvrrp explain`: what a virtual router would do, for a person and for a program."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from fastvrrp.cli import explain
from fastvrrp.cli.explain_facts import facts_of
from fastvrrp.config import read
from fastvrrp.vrrp.place import Place

CONFIGURATION = """
global_defs {
    enable_script_security
    script_user root
    notification_email {
        ops@example.com
    }
    notify_fifo /run/fifo
}
vrrp_script weak {
    script /bin/true
    weight -30
}
vrrp_script hard {
    script /bin/true
}
track_file number {
    file /tmp/number
    weight 2
}
vrrp_sync_group G {
    group {
        VI_2
        VI_3
    }
    smtp_alert
}
vrrp_instance VI_1 {
    interface nosuch0
    virtual_router_id 1
    version 3
    use_vmac
    priority 150
    advert_int 0.5
    preempt_delay 10
    track_script {
        weak
        hard
    }
    track_interface {
        eth1 weight 20 reverse
    }
    notify_master "/bin/true up" root
    notify_split_brain /bin/true
    virtual_ipaddress {
        192.0.2.1/24
    }
    virtual_ipaddress_excluded {
        198.51.100.1 dev eth9
    }
    virtual_routes {
        default via 192.0.2.254 table 5 metric 3
        unreachable 10.0.0.0/8
        10.1.0.0/16 nexthop via 192.0.2.7 weight 2 nexthop via 192.0.2.8 dev eth8
    }
    virtual_rules {
        from 192.0.2.0/24 table 5 preference 7
    }
}
vrrp_instance VI_2 {
    state MASTER
    interface eth0
    virtual_router_id 2
    priority 255
    dont_track_primary
    virtual_ipaddress {
        192.0.2.2
    }
}
vrrp_instance VI_3 {
    interface eth0
    virtual_router_id 3
    nopreempt
    lower_prio_no_advert
    higher_prio_send_advert
    priority 1
    unicast_src_ip 192.0.2.30
    unicast_peer {
        192.0.2.31
    }
    virtual_ipaddress {
        192.0.2.3
    }
}
vrrp_instance VI_4 {
    interface eth0
    virtual_router_id 4
    track_file {
        number
    }
    auth_hmac {
        key 1 file:/nosuch/key
        mode permissive
    }
    virtual_ipaddress {
        192.0.2.4
    }
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "x.conf"
    path.write_text(CONFIGURATION)
    return path


def facts(file: Path, name: str, place: Place | None = None) -> dict[str, Any]:
    configuration = read(str(file)).configuration
    (router,) = [each for each in configuration.virtual_routers if each.name == name]
    return facts_of(configuration, router, place)


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    explain.register(parser.add_subparsers())
    arguments = parser.parse_args(["explain", *words])
    status: int = arguments.run(arguments)
    return status


def test_timers_are_those_of_the_rfc(file: Path) -> None:
    """RFC 9568 section 6.1; RFC 3768's Skew_Time is of a second."""
    timers = facts(file, "VI_1")["timers"]
    assert timers["Advertisement_Interval"] == 0.5
    assert timers["Skew_Time"] == pytest.approx(0.5 * 106 / 256, abs=1e-6)
    assert timers["Master_Down_Interval"] == pytest.approx(1.5 + 0.5 * 106 / 256, abs=1e-6)
    assert timers["preempt_delay"] == 10
    # Priority 150 to 100, and the lower it is the longer it waits.
    first, last = timers["Master_Down_Interval_range"]
    assert first == timers["Master_Down_Interval"]
    assert last == pytest.approx(1.5 + 0.5 * 156 / 256, abs=1e-6)
    assert facts(file, "VI_3")["timers"]["Skew_Time"] == pytest.approx(255 / 256, abs=1e-6)


def test_who_wins(file: Path) -> None:
    first, owner, least = (facts(file, name)["election"] for name in ("VI_1", "VI_2", "VI_3"))
    assert (first["wins_against"], first["loses_to"]) == ("1-149", "151-255")
    assert (owner["wins_against"], owner["loses_to"]) == ("1-254", None)
    assert (least["wins_against"], least["loses_to"]) == (None, "2-255")
    assert [each["starts_as"] for each in (first, owner, least)] == ["BACKUP", "MASTER", "BACKUP"]
    assert [each["preempts"] for each in (first, owner, least)] == [True, True, False]


def test_what_moves_the_priority_and_to_where(file: Path) -> None:
    priority = facts(file, "VI_1")["priority"]
    assert (priority["lowest"], priority["configured"], priority["highest"]) == (100, 150, 150)
    values = {(each["kind"], each["name"]): each["values"] for each in priority["moved_by"]}
    assert values == {
        ("script", "weak"): {"succeeds": 150, "fails": 120},
        ("interface", "eth1"): {"is up": 130, "is down": 150},
    }
    of_file = facts(file, "VI_4")["priority"]
    assert of_file["moved_by"][0]["adds"] == "the number in the file times 2"
    assert (of_file["lowest"], of_file["highest"]) == (1, 254)


GROUPED = """
vrrp_script shared {
    script "/bin/true"
    weight 20
}
vrrp_script other {
    script "/bin/true"
    weight -5
}
vrrp_sync_group G {
    group {
        A
        B
    }
    track_script {
        other weight -7
    }
    sync_group_tracking_weight
    global_tracking
}
vrrp_instance A {
    interface eth0
    virtual_router_id 1
    priority 100
    virtual_ipaddress {
        192.0.2.1/24
    }
    virtual_ipaddress_excluded {
        192.0.2.77/24 dev eth1 use_vmac
    }
    track_script {
        shared
    }
}
vrrp_instance B {
    interface eth0
    virtual_router_id 2
    priority 100
    use_ipvlan ipv.2 192.0.2.9
    virtual_ipaddress {
        192.0.2.2/24
    }
    track_script {
        shared
        other
    }
}
"""


def test_what_two_members_of_a_group_track_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "grouped.conf"
    path.write_text(GROUPED)
    a, b = (facts(path, name)["priority"] for name in "AB")
    assert [(each["name"], each["weight"]) for each in a["moved_by"]] == [
        ("shared", 20),
        ("other", -7),
    ]
    assert (a["lowest"], a["highest"]) == (93, 120)
    # What is written in the instance comes before what its group has.
    assert {(each["name"], each["weight"]) for each in b["moved_by"]} == {
        ("shared", 20),
        ("other", -5),
    }


def test_addresses_are_shown_where_the_daemon_puts_them(tmp_path: Path) -> None:
    path = tmp_path / "grouped.conf"
    path.write_text(GROUPED)
    a, b = (facts(path, name)["brings"]["addresses"] for name in "AB")
    assert [each["interface"] for each in a] == ["eth0", "vrrp.1"]
    assert [each["interface"] for each in b] == ["eth0"]


def test_what_is_a_fault(file: Path) -> None:
    assert set(facts(file, "VI_1")["faults"]) == {
        "interface nosuch0 is missing",
        "interface nosuch0 is down",
        "interface nosuch0 has no IPv4 address to send from",
        "the multicast group cannot be joined on nosuch0",
        "VMAC vrrp.1 cannot be made, or somebody sets it down",
        "script hard fails",
        "interface eth9, which is to have an address, is down or missing",
    }
    owner = facts(file, "VI_2")["faults"]
    assert "interface eth0 is down" not in owner
    assert "sync group G: VI_3 is in FAULT" in owner
    assert (
        "the number in file number times its weight is below -253" in facts(file, "VI_4")["faults"]
    )


LOST = """
track_group T {
    group {
        VI_1
    }
}
static_ipaddress {
    192.0.2.77/24 dev eth7 track_group T
    192.0.2.78/24 dev eth6
}
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 1
    use_ipvlan ipv.1
    virtual_ipaddress {
        192.0.2.1/24
    }
    virtual_routes {
        10.1.0.0/16 via 192.0.2.7 dev eth8
        10.2.0.0/16 via 192.0.2.7 dev eth9 no_track
    }
}
vrrp_instance VI_2 {
    interface lo
    virtual_router_id 2
    use_ipvlan ipv.2 vepa
    virtual_ipaddress {
        fe80::2
        2001:db8::2
    }
    track_interface {
        nosuch0
        nosuch1 weight 5
    }
}
"""


def test_an_ipvlan_without_an_address_and_what_may_get_lost(tmp_path: Path) -> None:
    path = tmp_path / "lost.conf"
    path.write_text(LOST)
    assert set(facts(path, "VI_1")["faults"]) == {
        "interface eth0 is missing",
        "interface eth0 is down",
        "the multicast group cannot be joined on eth0",
        "ipvlan ipv.1 has no address, so it stays in FAULT",
        "ipvlan ipv.1 cannot be made, or somebody sets it down",
        "interface eth7, of a route or rule that it tracks, is down or missing",
        "interface eth8, of a route or rule that it tracks, is down or missing",
        "static address 192.0.2.77/24 dev eth7 has gone and cannot be put back",
    }
    configuration = read(str(path)).configuration
    place = explain.look(configuration, configuration.virtual_routers[0])
    assert place is not None
    try:
        first, second = (facts(path, name, place) for name in ("VI_1", "VI_2"))
    finally:
        place.close()
    assert first["now"]["faults"][0].startswith("IPv4 ipvlan requires a source ip address")
    assert "interface eth8 does not exist" in first["now"]["faults"]
    assert "interface eth9 does not exist" not in first["now"]["faults"]
    assert first["brings"]["vmac"] is None
    assert first["brings"]["ipvlan"] == {"name": "ipv.1", "address": None, "mode": "bridge"}
    # That of IPv6 has an address by itself, once it is made.
    assert second["now"] == {"faults": ["interface nosuch0 does not exist"], "source": None}
    assert second["brings"]["ipvlan"] == {"name": "ipv.2", "address": None, "mode": "vepa"}


ELSEWHERE = """
track_group T {
    group {
        VI_1
    }
}
static_ipaddress {
    192.0.2.77/24 dev eth7 track_group T
}
vrrp_instance VI_1 {
    interface lo
    net_namespace elsewhere
    virtual_router_id 1
    virtual_ipaddress {
        192.0.2.1/24
    }
    virtual_routes {
        10.1.0.0/16 via 192.0.2.7 dev eth8
    }
}
"""


def test_what_stays_faults_nobody_in_another_namespace(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.conf"
    path.write_text(ELSEWHERE)
    found = facts(path, "VI_1")["faults"]
    assert "network namespace elsewhere does not exist" in found
    assert "interface eth8, of a route or rule that it tracks, is down or missing" in found
    assert not [each for each in found if "eth7" in each]


def test_what_is_so_on_this_machine(file: Path) -> None:
    configuration = read(str(file)).configuration
    place = explain.look(configuration, configuration.virtual_routers[0])
    assert place is not None
    try:
        assert facts(file, "VI_1", place)["now"] == {
            "faults": ["interface nosuch0 does not exist"],
            "source": None,
        }
        assert (
            "key 1 of auth_hmac cannot be used: /nosuch/key cannot be read: No such file or"
            " directory" in facts(file, "VI_4", place)["now"]["faults"]
        )
    finally:
        place.close()


def test_what_it_brings_and_who_is_told(file: Path) -> None:
    found = facts(file, "VI_1")
    brings = found["brings"]
    assert brings["vmac"] == {
        "name": "vrrp.1",
        "mac": "00:00:5e:00:01:01",
        "adverts_from_parent": False,
    }
    assert brings["addresses"] == [
        {"address": "192.0.2.1/24", "interface": "vrrp.1", "advertised": True},
        {"address": "198.51.100.1/32", "interface": "eth9", "advertised": False},
    ]
    assert brings["routes"] == [
        "default via 192.0.2.254 table 5 metric 3",
        "unreachable 10.0.0.0/8",
        "10.1.0.0/16 nexthop via 192.0.2.7 weight 2 nexthop via 192.0.2.8 dev eth8 weight 1",
    ]
    assert brings["rules"] == ["7: from 192.0.2.0/24 lookup 5"]
    told = {(each["when"], each["how"]): each["whom"] for each in found["tells"]}
    assert told == {
        ("MASTER", "script"): "/bin/true up (as root)",
        ("split brain", "script"): "/bin/true (as root)",
        ("every change", "fifo"): "/run/fifo",
    }
    of_group = [each for each in facts(file, "VI_2")["tells"] if each["of"] == "sync group G"]
    assert [(each["how"], each["whom"]) for each in of_group] == [("mail", "ops@example.com")]


def test_text_for_a_person_and_the_same_as_json(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(file), "VI_1") == 0
    text = capsys.readouterr().out
    for line in (
        "VI_1: VRRPv3 for IPv4, virtual router 1 on nosuch0",
        "    FAULT: interface nosuch0 does not exist",
        "    Advertisement_Interval 0.5 s",
        "    preempt_delay 10 s: so long it leaves a master of lower priority alone",
        "    wins against priority 1-149",
        "    script weak: 150 while it succeeds, 120 while it fails",
        "    all together: 100 to 150",
        "    script hard fails",
        "    VMAC vrrp.1 with 00:00:5e:00:01:01",
        "    address 198.51.100.1/32 on eth9, which is not in the adverts",
        "    split brain: script /bin/true (as root)",
    ):
        assert line in text.splitlines(), text
    assert run(str(file), "VI_3") == 0
    text = capsys.readouterr().out
    for line in (
        "    to unicast peers 192.0.2.31",
        "    from 192.0.2.30",
        "    as master it does not answer an advert of lower priority",
        "    sends one more advert before it yields to a higher priority",
        "    changes its state together with sync group G",
    ):
        assert line in text.splitlines(), text
    assert "nopreempt" not in text, "it wins against nobody"
    assert run("--json", str(file), "VI_4") == 0
    found = json.loads(capsys.readouterr().out)
    found["now"] = None
    assert found == facts(file, "VI_4")
    assert found["adverts"]["authentication"] == "HMAC-SHA256, mode permissive"


def test_a_name_that_is_none_gets_the_nearest(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(str(file), "VI_9") == 1
    said = capsys.readouterr().err
    assert "has no vrrp_instance VI_9; did you mean VI_" in said
    assert run(str(file) + ".none", "VI_1") == 1


def test_names_are_completed_from_the_file(file: Path) -> None:
    assert explain.names(str(file), "VI_") == ["VI_1", "VI_2", "VI_3", "VI_4"]
    assert explain.names(str(file), "X") == []


def test_every_instance_of_the_corpus_can_be_explained() -> None:
    for path in sorted((Path(__file__).parent / "configs").glob("*.conf")):
        configuration = read(str(path), config_id="main").configuration
        for router in configuration.virtual_routers:
            found = facts_of(configuration, router, None)
            assert list(explain.lines(found)), path
            json.dumps(found)
