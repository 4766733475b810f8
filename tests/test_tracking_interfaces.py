"""Interfaces and addresses that move a priority or let a virtual router fail, beside keepalived."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from lab import wait_until
from lab.capture import glance
from tracking_pair import FAULT, MASTER, Both, Side, instance, tracks, wait_speaking, wait_states


@pytest.mark.keywords("vrrp_instance/track_interface", "global_defs/dynamic_interfaces")
def test_interfaces(both: Callable[[str], Both]) -> None:
    cases = {
        1: "eth1",
        2: "eth1 weight 20",
        3: "eth1 weight -20",
        4: "eth1 weight 20 reverse",
        5: "eth1 weight -20 reverse",
        6: "eth1 weight 200",
        7: "eth1 weight -200",
        8: "later weight 20",
        9: "later weight -20",
        10: "later",
    }
    pair = both(
        "".join(instance(vrid, tracks("track_interface", case)) for vrid, case in cases.items())
        + instance(11, tracks("track_interface", "eth1 weight -20"), priority=255)
    )
    up = {1: 100, 2: 120, 3: 100, 4: 80, 5: 100, 6: 254, 7: 100, 11: 255}
    down = {2: 100, 3: 80, 4: 100, 5: 120, 6: 100, 7: 1, 11: 255}
    absent, present = {8: 100, 9: 80}, {8: 120, 9: 100, 10: 100}
    pair.expect(up | absent)
    pair.ip("link set far-eth1 down")
    pair.expect(down | absent)
    pair.ip("link set far-eth1 up")
    pair.expect(up | absent)
    pair.ip("link set eth1 down")
    pair.expect(down | absent)
    pair.ip("link set eth1 up")
    pair.expect(up | absent)
    pair.ip("link delete eth1")
    pair.expect(down | absent)
    pair.ip("link add eth1 type veth peer name far-eth1", "link set far-eth1 up")
    pair.ip("link set eth1 up", "link add later type veth peer name far-later")
    pair.expect(up | absent)
    pair.ip("link set later up", "link set far-later up")
    pair.expect(up | present)


@pytest.mark.keywords("vrrp_instance/dont_track_primary")
def test_an_own_interface_that_does_not_count(both: Callable[[str], Both]) -> None:
    pair = both(
        instance(1, "dont_track_primary")
        + instance(2)
        + instance(3, "dont_track_primary", interface="eth1")
    )
    pair.expect({1: 100, 2: 100, 3: 100})
    pair.ip("link set far-eth0 down")
    wait_until(lambda: all("FAULT STATE" in side.daemon.log() for side in pair.sides))
    for side in pair.sides:
        assert "(V1) Entering FAULT STATE" not in side.daemon.log()
    pair.ip("link set far-eth0 up")
    pair.expect({1: 100, 2: 100, 3: 100})


def test_a_fault_and_back(ours: Callable[[str], Side]) -> None:
    side = ours(instance(1, tracks("track_interface", "eth1")) + instance(2))
    wait_until(lambda: side.router.holds("10.9.0.1"), what="the address")
    side.router.ip("link set far-eth1 down")
    wait_states(side, {"V1": FAULT, "V2": MASTER})
    wait_until(lambda: not side.router.holds("10.9.0.1"), what="the address gone")
    side.daemon.wait_log("Netlink reports eth1 down")
    side.daemon.wait_log("(V1) tracked interface eth1 is down")
    side.daemon.wait_log("(V1) Entering FAULT STATE")
    side.router.ip("link set far-eth1 up")
    wait_states(side, {"V1": MASTER})
    wait_until(lambda: side.router.holds("10.9.0.1"), what="the address back")
    assert "(V2) Entering FAULT" not in side.daemon.log()
    assert side.daemon.stop() == 0
    assert "Traceback" not in side.daemon.log()


def test_a_hundred_that_track_one_interface(ours: Callable[[str], Side]) -> None:
    numbers = range(1, 101)
    weighted = {vrid: 120 if vrid % 2 else 100 for vrid in numbers}
    side = ours(
        "".join(
            instance(vrid, tracks("track_interface", "eth1 weight 20" if vrid % 2 else "eth1"))
            for vrid in numbers
        )
    )
    wait_speaking(side, weighted)
    side.router.ip("link set far-eth1 down")
    wait_speaking(side, {vrid: 100 for vrid in numbers if vrid % 2})
    side.router.ip("link set far-eth1 up")
    wait_speaking(side, weighted)
    assert side.daemon.stop() == 0
    assert "Traceback" not in side.daemon.log()


@pytest.mark.keywords("At the top/interface_up_down_delays")
def test_a_bouncing_interface_counts_when_it_stays(both: Callable[[str], Both]) -> None:
    pair = both(
        "interface_up_down_delays {\n eth1 0.6 1.2\n}\n"
        + instance(1, tracks("track_interface", "eth1 weight 20"), interval="1")
        + instance(2, "down_timer_adverts 3", interface="eth1", interval="1")
    )
    wait_until(
        lambda: all(
            {1, 2} <= {sight.vrid for frame in side.capture.frames if (sight := glance(frame.data))}
            for side in pair.sides
        ),
        what="adverts",
    )
    pair.ip("link set far-eth1 down")
    pair.ip("link set far-eth1 up")
    time.sleep(1.0)
    pair.ip("link set far-eth1 down")
    for side in pair.sides:
        side.daemon.wait_log("(V1) Changing effective priority from 120 to 100")
        side.daemon.wait_log("(V2) Entering FAULT STATE")
    pair.ip("link set far-eth1 up")
    for side in pair.sides:
        side.daemon.wait_log("(V1) Changing effective priority from 100 to 120", count=2)
        side.daemon.wait_log("(V2) Entering BACKUP STATE", count=2)
        assert side.daemon.log().count("(V1) Changing effective priority from 120 to 100") == 1
        assert side.daemon.log().count("(V2) Entering FAULT STATE") == 1


def test_a_delay_ends_before_the_backups_lose_their_patience(ours: Callable[[str], Side]) -> None:
    side = ours("interface_up_down_delays {\n eth1 30 30\n}\n" + instance(1, interface="eth1"))
    side.daemon.wait_log("debounce timer(s) not less than 2 * advert_int - resetting to 0.399 s")
    wait_states(side, {"V1": MASTER})
    side.router.ip("link set far-eth1 down")
    wait_states(side, {"V1": FAULT})


@pytest.mark.keywords(
    "At the top/linkbeat_interfaces",
    "At the top/linkbeat_use_polling",
    "vrrp_instance/linkbeat_use_polling",
)
@pytest.mark.parametrize("how", ["line", "instance", "global"])
def test_an_interface_that_is_asked_for_its_link(both: Callable[[str], Both], how: str) -> None:
    top = {"line": "linkbeat_interfaces {\n eth1 MII\n}\n", "global": "linkbeat_use_polling\n"}
    polling = "linkbeat_use_polling" if how == "instance" else ""
    pair = both(top.get(how, "") + instance(1, polling, interface="eth1") + instance(2))
    pair.expect({1: 100, 2: 100})
    pair.ip("link set far-eth1 down")
    pair.expect({2: 100})
    for side in pair.sides:
        side.daemon.wait_log("Linkbeat reports eth1 down")
    pair.ip("link set far-eth1 up")
    pair.expect({1: 100, 2: 100})
    if how == "line":
        for side in pair.sides:
            side.daemon.wait_log(
                "(eth1): Configured linkbeat type MII not supported, using ETHTOOL"
            )


@pytest.mark.keywords("vrrp_instance/track_src_ip")
def test_a_source_address_that_is_not_there(ours: Callable[[str], Side]) -> None:
    # keepalived 2.2.7 takes no notice of a multicast source; what its manual page says is expected.
    side = ours(
        instance(1, "mcast_src_ip 10.0.1.77; track_src_ip")
        + instance(2, "mcast_src_ip 10.0.1.1; track_src_ip")
        + instance(3, "mcast_src_ip 10.0.1.77")
    )
    wait_states(side, {"V1": FAULT, "V2": MASTER, "V3": MASTER})
    side.daemon.wait_log("(V1) src address 10.0.1.77 not configured")
    side.router.ip("address add 10.0.1.77/24 dev eth0")
    wait_states(side, {"V1": MASTER})
    side.router.ip("address delete 10.0.1.77/24 dev eth0")
    wait_states(side, {"V1": FAULT, "V2": MASTER, "V3": MASTER})
    assert side.daemon.stop() == 0
