"""What has to be in the kernel besides virtual addresses, and stays there."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from fastvrrp.config import read
from fastvrrp.kernel.rtsockets import Watch
from fastvrrp.model import (
    Metric,
    NextHop,
    Placement,
    Prefix,
    Route,
    RouteMetric,
    Rule,
    VirtualAddress,
)
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.upkeep import Thing, Upkeep
from kernel_namespace import add_veth, inside_namespace, ip, needs_root
from policy_configuration import everything

pytestmark = needs_root
AF_INET = int(socket.AF_INET)
AF_INET6 = int(socket.AF_INET6)
HOPS = (NextHop(None, "eth1"),)


def route(destination: str, gateway: str = "10.0.1.9", interface: str = "eth1") -> Route:
    network = ip_network(destination)
    hop = NextHop(ip_address(gateway).packed, interface)
    return Route(
        AF_INET, Prefix(network.network_address.packed, network.prefixlen), next_hops=(hop,)
    )


def rule(source: str, priority: int) -> Rule:
    network = ip_network(source)
    prefix = Prefix(network.network_address.packed, network.prefixlen)
    return Rule(AF_INET, prefix, table=100, priority=priority)


class Kept:
    """An `Upkeep` in a namespace of its own, whose other thread is this one."""

    def __init__(self) -> None:
        self.lost: list[tuple[Thing, frozenset[Hashable]]] = []
        self.settled: list[tuple[Thing, bool]] = []
        self.watches: list[Watch] = []
        place = Place(self.run)
        place.open()
        self.links = place.links
        self.links.start()
        self.upkeep = Upkeep(place)
        self.upkeep.on_lost = lambda thing, owners: self.lost.append((thing, owners))
        self.upkeep.on_settled = lambda thing, _, stands: self.settled.append((thing, stands))
        self.upkeep.on_watch = self.watches.append
        self.links.on_static_address_gone = self.upkeep.address_gone
        self.upkeep.begin()

    def run(self, run: Callable[[], None], then: Callable[[], None]) -> None:
        run()
        then()


@pytest.fixture
def kept() -> Iterator[Kept]:
    with inside_namespace():
        add_veth("eth1", "peer1")
        ip("address add 10.0.1.1/24 dev eth1")
        made = Kept()
        yield made
        made.upkeep.close()
        made.links.close()


def test_what_two_owners_want_goes_with_the_last(kept: Kept) -> None:
    shared, other = route("10.20.0.0/16"), rule("10.20.0.0/16", 500)
    kept.upkeep.add(1, [shared, other])
    kept.upkeep.add(2, [shared, other])
    kept.upkeep.remove(1, [shared, other])
    kept.upkeep.remove(3, [shared, other])
    assert "10.20.0.0/16 via 10.0.1.9 dev eth1 proto keepalived" in ip("route show table main")
    assert "500:" in ip("rule show")
    kept.upkeep.remove(2, [shared, other])
    assert "10.20.0.0/16" not in ip("route show table main")
    assert "500:" not in ip("rule show")
    kept.upkeep.read_removals()
    assert kept.lost == []


def test_what_somebody_else_removes_is_lost_once(kept: Kept) -> None:
    mine, still = route("10.20.0.0/16"), rule("10.20.0.0/16", 500)
    kept.upkeep.add(1, [mine, still])
    ip("route del 10.20.0.0/16")
    ip("rule del pref 500")
    kept.upkeep.read_removals()
    assert kept.lost == [(mine, frozenset({1})), (still, frozenset({1}))]
    kept.upkeep.restore([mine, still])
    assert "10.20.0.0/16" in ip("route show")
    ip("rule del pref 500")
    kept.upkeep.read_removals()
    assert kept.lost[2:] == [(still, frozenset({1}))]


def test_dropped_notifications_are_made_good_by_a_dump(kept: Kept) -> None:
    gone, stays = [route(f"10.20.{i}.0/24") for i in range(5)], route("10.21.0.0/16")
    gone_too, stays_too = rule("10.20.0.0/16", 500), rule("10.21.0.0/16", 501)
    kept.upkeep.add(1, [*gone, stays, gone_too, stays_too])
    (watch,) = kept.watches
    with socket.socket(fileno=os.dup(watch.fileno())) as smaller:
        smaller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    ip("route flush proto 18 root 10.20.0.0/16")
    ip("rule del pref 500")
    kept.upkeep.read_removals()
    assert {thing for thing, _ in kept.lost} == {*gone, gone_too}


def test_what_came_back_since_the_dump_is_not_lost(kept: Kept) -> None:
    gone, moved, restored, *others = things = [route(f"10.20.{i}.0/24") for i in range(9)]
    kept.upkeep.add(1, things)
    (watch,) = kept.watches
    with socket.socket(fileno=os.dup(watch.fileno())) as smaller:
        smaller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    asked: list[None] = []
    kept.upkeep.on_missing = lambda: asked.append(None)
    ip("route flush proto 18 root 10.20.0.0/16")
    kept.upkeep.read_removals()
    assert asked == [None]
    while watch.read(128):
        pass  # what was told before the dump
    kept.upkeep.remove(1, [moved])
    kept.upkeep.add(2, [moved])
    kept.upkeep.restore([restored])
    kept.upkeep.read_removals()
    assert [thing for thing, _ in kept.lost] == [gone, *others]


def test_a_static_address_that_came_back_since_the_dump_is_not_lost(kept: Kept) -> None:
    both = [
        VirtualAddress(AF_INET, ip_address(f"192.0.2.{i}").packed, 24, interface="eth1")
        for i in (1, 2)
    ]
    kept.upkeep.add("static", both)
    survey = kept.upkeep.survey()
    kept.upkeep.remove("static", both[:1])
    kept.upkeep.add("static", both[:1])
    assert list(survey(set())) == [None, None]
    assert kept.lost == [(both[1], frozenset({"static"}))]


def test_a_refusal_is_said_once_and_the_rest_goes_on(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    bad, good = route("10.20.0.0/16", "10.99.0.1"), route("10.21.0.0/16")
    missing = route("10.22.0.0/16", interface="eth9")
    kept.upkeep.add(1, [bad, missing, good])
    kept.upkeep.restore([bad, missing])
    assert [record.message for record in caplog.records] == [
        "cannot add route 10.20.0.0/16 via 10.99.0.1 dev eth1:"
        " Network is unreachable: Nexthop has invalid gateway",
        "cannot add route 10.22.0.0/16 via 10.0.1.9 dev eth9: interface eth9 does not exist",
    ]
    assert dict(kept.settled) == {bad: False, missing: False, good: True}
    ip("address add 10.99.0.2/24 dev eth1")
    kept.upkeep.restore([bad])
    assert kept.settled[-1] == (bad, True)
    # It stays when its gateway cannot be reached any more, although it could not be added again.
    ip("address del 10.99.0.2/24 dev eth1")
    kept.upkeep.restore([bad])
    assert kept.settled[-1] == (bad, True)
    assert len(caplog.records) == 2
    ip("route del 10.21.0.0/16")
    kept.upkeep.restore([good])
    assert caplog.messages[2:] == ["Restoring deleted route 10.21.0.0/16 via 10.0.1.9 dev eth1"]


def test_a_route_leaves_from_where_it_was_put_also_when_its_link_is_renamed(kept: Kept) -> None:
    mine = route("10.20.0.0/16")
    kept.upkeep.add(1, [mine])
    ip("link set eth1 down")
    ip("link set eth1 name other")
    ip("link set other up")
    kept.links.read()
    kept.upkeep.add(1, [mine])  # there is no eth1
    assert kept.settled[-1] == (mine, False)
    ip("route add 10.20.0.0/16 via 10.0.1.9 dev other proto 18")
    kept.upkeep.remove(1, [mine])
    assert "10.20.0.0/16" not in ip("route show")


def test_a_changed_route_takes_the_place_of_the_old_one(kept: Kept) -> None:
    old, new, same = route("10.20.0.0/16"), route("10.20.0.0/16", "10.0.1.8"), route("10.21.0.0/16")
    kept.upkeep.add(1, [old, same])
    for _ in kept.upkeep.replace(1, [old, same], [new, same]):
        pass
    assert "10.20.0.0/16 via 10.0.1.8" in ip("route show")
    assert "10.0.1.9" not in ip("route show 10.20.0.0/16")
    # One that the kernel refuses leaves nothing of the old one.
    refused = route("10.20.0.0/16", "10.99.0.1")
    for _ in kept.upkeep.replace(1, [new, same], [refused, same]):
        pass
    assert "10.20.0.0/16" not in ip("route show")
    kept.upkeep.remove(1, [refused, same])
    assert "proto keepalived" not in ip("route show")
    kept.upkeep.read_removals()
    assert kept.lost == []


def test_a_static_address_is_noticed_and_has_a_mark_of_its_own(kept: Kept) -> None:
    address = VirtualAddress(AF_INET, ip_address("192.0.2.1").packed, 24, interface="eth1")
    kept.links.static_addresses = {(AF_INET, address.address)}
    kept.upkeep.add("static", [address])
    kept.links.read()
    link = kept.links.by_name("eth1")
    assert link is not None
    # Adverts may leave with it when nothing else is there, unlike with a virtual address.
    ip("address del 10.0.1.1/24 dev eth1")
    kept.links.read()
    assert kept.links.primary_address(link.index, AF_INET) == address.address
    ip("address del 192.0.2.1/24 dev eth1")
    kept.links.read()
    assert kept.lost == [(address, frozenset({"static"}))]
    # The notification may be lost, and a dump tells it.
    kept.upkeep.restore([address])
    assert list(kept.upkeep.survey()({(link.index, address.address)})) == [None]
    assert len(kept.lost) == 1
    assert list(kept.upkeep.survey()(set())) == [None]
    assert kept.lost[1:] == [(address, frozenset({"static"}))]


def test_what_a_crash_has_left_is_cleared_and_nothing_else(kept: Kept) -> None:
    ip("route add 10.20.0.0/16 via 10.0.1.9 dev eth1 proto 18")
    ip("route add 10.21.0.0/16 via 10.0.1.9 dev eth1 proto static")
    ip("rule add from 10.20.0.0/16 table 100 pref 500 proto 18")
    ip("rule add from 10.21.0.0/16 table 100 pref 501")
    kept.upkeep.clear(
        [
            *(route(f"10.{i}.0.0/16") for i in (20, 21, 22)),
            *(rule(f"10.{i}.0.0/16", 480 + i) for i in (20, 21, 22)),
            route("10.23.0.0/16", interface="eth9"),
        ]
    )
    shown = ip("route show")
    assert "10.20.0.0/16" not in shown
    assert "10.21.0.0/16" in shown
    assert "500:" not in ip("rule show")
    assert "501:" in ip("rule show")


def plain(**attributes: object) -> Route:
    return replace(route("10.20.0.0/16"), **attributes)  # type: ignore[arg-type]


def test_just_that_route_is_cleared_of_those_that_are_alike(kept: Kept) -> None:
    """The kernel would remove the first one that has all that is asked for."""
    way = "10.20.0.0/16 via 10.0.1.9 dev eth1 proto 18"
    for more in ("", "src 10.0.1.1", "mtu 1400", "mtu 1300 advmss 1000"):
        ip(f"route prepend {way} {more}")
    ip(f"route add {way} metric 7")
    with subprocess.Popen(
        ["ip", "-o", "monitor", "route"], stdout=subprocess.PIPE, text=True
    ) as monitor:
        kept.upkeep.clear([plain(), plain(metrics=(RouteMetric(Metric.MTU, 1300),))])
        ip("route add 10.99.0.0/16 dev eth1")
        assert monitor.stdout is not None
        lines = []
        while "10.99." not in (line := monitor.stdout.readline()):
            lines.append(line)
        monitor.terminate()
    shown = ip("route show 10.20.0.0/16").splitlines()
    assert sorted(line.partition("proto keepalived ")[2].strip() for line in shown) == [
        "metric 7",
        "mtu 1300 advmss 1000",
        "mtu 1400",
        "src 10.0.1.1",
    ]
    there = 5
    for line in lines:
        there += -1 if line.startswith("Deleted") else 1
        assert there > 0


def test_what_is_owned_is_not_cleared_because_it_is_tracked_otherwise(kept: Kept) -> None:
    other = rule("10.20.0.0/16", 500)
    kept.upkeep.add(1, [plain(), other])
    kept.upkeep.clear([plain(is_tracked=False), replace(other, track_group="group")])
    kept.upkeep.clear([plain(priority=9), plain(metrics=(RouteMetric(Metric.MTU, 1400),))])
    assert ip("route show 10.20.0.0/16").count("dev eth1") == 1
    assert "500:" in ip("rule show")


def test_what_is_owned_comes_back_where_the_kernel_has_taken_it_for_another_one(
    kept: Kept,
) -> None:
    """One of IPv6 with another MTU is the same one, and `add` is refused beside any other."""
    six = Route(AF_INET6, Prefix(ip_address("2001:db8::").packed, 48), next_hops=HOPS)
    ip("-6 route add 2001:db8::/48 dev eth1 proto 18")
    ip("route add 10.20.0.0/16 via 10.0.1.9 dev eth1 proto 18")
    wanted = [
        replace(six, metrics=(RouteMetric(Metric.MTU, 1400),)),
        plain(preferred_source=b"\x0a\0\x01\x01", placement=Placement.ADD),
    ]
    kept.upkeep.add(1, wanted)
    kept.upkeep.clear([six, plain()])
    assert "mtu 1400" in ip("-6 route show 2001:db8::/48")
    shown = ip("route show 10.20.0.0/16")
    assert (shown.count("dev eth1"), "src 10.0.1.1" in shown) == (1, True)


@pytest.mark.usefixtures("kept")
def test_every_kind_of_route_and_rule_is_found_again(tmp_path: Path) -> None:
    """Whatever the kernel makes of what was written."""
    add_veth("eth0", "peer0")
    for address in ("10.0.0.1/24", "10.0.0.100/32", "10.0.1.100/32", "fd00::100/64 nodad"):
        ip(f"address add {address} dev eth0")
    ip("address add fd00:1::100/64 nodad dev eth1")
    before = policy()
    file = tmp_path / "fastvrrp.conf"
    file.write_text(everything())
    configuration = read(str(file)).configuration
    things: list[Thing] = [*configuration.static_routes, *configuration.static_rules]
    for model in configuration.virtual_routers:
        things += [*model.options.routes, *model.options.rules]
    made, after = Kept(), Kept()
    made.upkeep.add(1, things)
    assert len(policy()) - len(before) > 100
    after.upkeep.clear(things)
    assert policy() == before
    for each in (made, after):
        each.upkeep.close()
        each.links.close()


def policy() -> list[str]:
    """Routes of our own kind, and rules."""
    shown = [ip(f"{family} route show table all") for family in ("-4", "-6")]
    found = [line for text in shown for line in text.splitlines() if "proto kernel" not in line]
    return sorted(found + ip("-4 rule show").splitlines() + ip("-6 rule show").splitlines())
