"""Routes, rules and addresses that somebody removes, that lose their interface, or that a crash or
a reload leaves: what becomes of them and of their instances, here and under keepalived."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

import pytest

from fastvrrp._rtmessage import encode_address
from fastvrrp._rtnetlink import Channel
from lab import Capture, Daemon, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from lab.policy import addresses, routes, rules
from policy_configuration import OURS_ROUTES, OURS_RULES, instance

BOTH = pytest.mark.parametrize("kind", [Keepalived, Fastvrrp])
HEAD = "global_defs {\n  dynamic_interfaces\n}\n"
ROUTE = "10.20.0.0/16 via 10.0.1.9 dev eth1"
RULE = "from 10.20.0.0/16 table 100 priority 500 iif eth1"


def ready(
    lab: Laboratory, kind: type[Daemon], configuration: str, masters: int = 1
) -> tuple[Router, Router, Daemon]:
    """A router whose daemon is master of everything, and its neighbour on eth0 and eth1."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    daemon = kind(a, HEAD + configuration).start()
    wait_masters(daemon, masters)
    return a, b, daemon


def wait_masters(daemon: Daemon, count: int) -> None:
    daemon.wait_log("Entering MASTER STATE", 20.0, count=count)


def has(
    router: Router, shown: Callable[[Router], list[dict[str, object]]], **fields: object
) -> bool:
    """Whether the kernel shows something with these fields."""
    return any(fields.items() <= one.items() for one in shown(router))


TRACKED = {
    "R": instance("R", 1, "10.0.0.101/24", ROUTE),
    "U": instance("U", 2, "10.0.0.102/24", rules=RULE),
    "O": instance(
        "O", 3, "10.0.0.103/24", rules="from 10.21.0.0/16 table 100 priority 501 oif eth1"
    ),
    "A": instance("A", 4, "10.0.0.104/24\n10.0.1.104/24 dev eth1"),
    "N": instance(
        "N",
        5,
        "10.0.0.105/24\n10.0.1.105/24 dev eth1 no_track",
        "10.22.0.0/16 via 10.0.1.9 dev eth1 no_track",
        "from 10.22.0.0/16 table 100 priority 502 iif eth1 no_track",
    ),
    "D": instance("D", 6, "10.0.0.106/24", "10.23.0.0/16 via 10.0.0.9 dev eth0"),
}


@BOTH
@pytest.mark.keywords("virtual_routes/no_track", "virtual_rules/no_track")
def test_a_master_resigns_when_somebody_removes_what_it_tracks(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, b, daemon = ready(lab, kind, "".join(TRACKED[name] for name in "RUON"), masters=4)
    wait_until(lambda: has(a, rules, priority=502), what="the rules")
    with Capture(b) as capture:
        for number, command in enumerate(
            ("route del 10.20.0.0/16", "rule del pref 500", "rule del pref 501")
        ):
            a.ip(command)
            wait_masters(daemon, 5 + number)
            capture.wait_for_advert(number + 1, priority=0)
    for name in "RUO":
        assert daemon.entered(name) == ["BACKUP", "MASTER", "BACKUP", "MASTER"]
    wait_until(lambda: has(a, routes, dst="10.20.0.0/16"), what="the route back")
    wait_until(lambda: has(a, rules, priority=500), what="the rule back")
    wait_until(lambda: has(a, rules, priority=501), what="the other rule back")
    # What is not tracked is missed by nobody, until its instance becomes master again.
    a.ip("route del 10.22.0.0/16", "rule del pref 502")
    a.ip("link set eth0 down")
    daemon.wait_log("(N) Entering FAULT STATE")
    assert daemon.entered("N") == ["BACKUP", "MASTER", "FAULT"]
    assert not has(a, routes, dst="10.22.0.0/16")
    a.ip("link set eth0 up")
    wait_until(lambda: has(a, routes, dst="10.22.0.0/16"), what="the untracked route back")
    wait_until(lambda: has(a, rules, priority=502), what="the untracked rule back")
    daemon.stop()
    assert routes(a) == rules(a) == []


@BOTH
@pytest.mark.keywords("virtual_routes/dev", "virtual_rules/iif", "virtual_ipaddress/dev")
@pytest.mark.parametrize("command", ["down", "gone"])
def test_an_instance_fails_without_the_interface_of_what_it_tracks(
    lab: Laboratory, kind: type[Daemon], command: str
) -> None:
    a, b, daemon = ready(lab, kind, "".join(TRACKED.values()), masters=6)
    if command == "down":
        b.ip("link set eth1 down")
    else:
        a.ip("link del eth1")
    daemon.wait_log("Entering FAULT STATE", count=4)
    wait_until(lambda: not has(a, routes, dst="10.20.0.0/16"), what="the route gone")
    wait_until(lambda: not has(a, rules, priority=500), what="the rule gone")
    if command == "down":
        b.ip("link set eth1 up")
    else:
        a.ip("link add eth1 type veth peer name other", "link set other up", "link set eth1 up")
        a.ip("address add 10.0.1.1/24 dev eth1")
    wait_masters(daemon, 10)
    for name in "RUOA":
        assert daemon.entered(name) == ["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER"]
    for name in "ND":
        assert daemon.entered(name) == ["BACKUP", "MASTER"]
    wait_until(lambda: has(a, routes, dst="10.20.0.0/16"), what="the route back")
    daemon.stop()


@BOTH
@pytest.mark.keywords("virtual_routes/protocol", "virtual_rules/protocol")
def test_only_what_is_not_tracked_may_have_another_protocol(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, _, daemon = ready(
        lab,
        kind,
        instance(
            "VI_1",
            1,
            "10.0.0.101/24",
            f"{ROUTE} protocol 77\n10.21.0.0/16 via 10.0.1.9 dev eth1 protocol 77 no_track",
            f"{RULE} protocol 77\nfrom 10.21.0.0/16 table 100 priority 501 protocol 77 no_track",
        ),
    )
    wait_until(lambda: has(a, rules, priority=501, protocol="77"), what="the untracked rule")
    assert has(a, rules, priority=500, protocol="keepalived")
    assert has(a, routes, dst="10.20.0.0/16", protocol="keepalived")
    assert has(a, routes, dst="10.21.0.0/16", protocol="77")
    daemon.stop()
    assert routes(a) == rules(a) == []


@BOTH
def test_the_own_interface_counts_for_routes_and_not_for_addresses(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    text = "".join(
        instance(name, vrid, addresses, routes, more="dont_track_primary")
        for name, vrid, addresses, routes in (
            ("R", 1, "10.0.0.101/24", "10.20.0.0/16 via 10.0.0.9 dev eth0"),
            ("A", 2, "10.0.0.102/24 dev eth0", ""),
        )
    )
    _, b, daemon = ready(lab, kind, text, masters=2)
    b.ip("link set eth0 down")
    daemon.wait_log("(R) Entering FAULT STATE")
    b.ip("link set eth0 up")
    wait_masters(daemon, 3)
    assert daemon.entered("A") == ["BACKUP", "MASTER"]
    daemon.stop()


STATIC = """
track_group G { group {
  VI_1
} }
static_ipaddress {
  192.0.2.1/24 dev eth1 track_group G
  192.0.3.1/24 dev eth1
  192.0.4.1/24 dev eth1 no_track
}
static_routes {
  10.50.0.0/16 via 10.0.1.9 dev eth1 track_group G
  10.51.0.0/16 via 10.0.1.9 dev eth1
  10.52.0.0/16 via 10.0.1.9 dev eth1 no_track
}
static_rules {
  from 10.50.0.0/16 table 100 priority 500 iif eth1 track_group G
  from 10.51.0.0/16 table 100 priority 501
  from 10.52.0.0/16 table 100 priority 502 no_track
}
"""
PLAIN = instance("VI_1", 1, "10.0.0.101/24") + instance("VI_2", 2, "10.0.0.102/24")


@BOTH
@pytest.mark.keywords(
    "At the top/track_group", "static_ipaddress/track_group", "static_routes/no_track"
)
def test_what_is_static_is_put_back_and_its_interface_holds_the_group(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, b, daemon = ready(lab, kind, STATIC + PLAIN, masters=2)
    wait_until(lambda: has(a, rules, priority=502), what="the rules")
    a.ip(
        *(f"address del 192.0.{i}.1/24 dev eth1" for i in (2, 3, 4)),
        *(f"route del 10.{i}.0.0/16" for i in (50, 51, 52)),
        *(f"rule del pref {i}" for i in (500, 501, 502)),
    )
    wait_until(lambda: has(a, rules, priority=500) and has(a, rules, priority=501), what="rules")
    wait_until(lambda: a.holds("192.0.2.1") and a.holds("192.0.3.1"), what="the addresses")
    for destination in ("10.50.0.0/16", "10.51.0.0/16"):
        wait_until(lambda dst=destination: has(a, routes, dst=dst), what="routes")  # type: ignore[misc]
    assert not a.holds("192.0.4.1")
    assert not has(a, routes, dst="10.52.0.0/16")
    assert not has(a, rules, priority=502)
    assert daemon.entered("VI_1") == ["BACKUP", "MASTER"]
    b.ip("link set eth1 down")
    daemon.wait_log("(VI_1) Entering FAULT STATE")
    b.ip("link set eth1 up")
    wait_masters(daemon, 3)
    a.ip("link set eth1 down")
    daemon.wait_log("(VI_1) Entering FAULT STATE", count=2)
    a.ip("link set eth1 up")
    wait_masters(daemon, 4)
    wait_until(lambda: has(a, routes, dst="10.50.0.0/16"), what="the route after the link")
    assert daemon.entered("VI_2") == ["BACKUP", "MASTER"]
    daemon.stop()
    assert routes(a) == rules(a) == []
    assert not a.holds("192.0.2.1")


@pytest.mark.keywords("At the top/track_group", "static_routes/track_group")
def test_a_static_route_that_cannot_be_put_back_faults_its_group(lab: Laboratory) -> None:
    a, _, daemon = ready(lab, Fastvrrp, STATIC + PLAIN, masters=2)
    a.ip("address del 10.0.1.1/24 dev eth1", "route del 10.50.0.0/16")
    daemon.wait_log("(VI_1) static route 10.50.0.0/16 via 10.0.1.9 dev eth1 is not there")
    daemon.wait_log("(VI_1) Entering FAULT STATE")
    daemon.wait_log("Network is unreachable: Nexthop has invalid gateway")
    # As long as it is refused nothing more is said about it.
    a.ip("address add 192.0.2.77/24 dev eth1")
    a.ip("address add 10.0.1.1/24 dev eth1")
    wait_masters(daemon, 3)
    assert has(a, routes, dst="10.50.0.0/16")
    assert daemon.log().count("cannot add route 10.50.0.0/16") == 1
    assert daemon.entered("VI_2") == ["BACKUP", "MASTER"]
    assert daemon.stop() == 0


def test_what_a_crash_has_left_is_removed_at_the_next_start(lab: Laboratory) -> None:
    text = TRACKED["R"] + TRACKED["U"] + TRACKED["N"]
    a, b, daemon = ready(lab, Fastvrrp, text, masters=3)
    wait_until(lambda: has(a, rules, priority=502), what="the rules")
    a.ip("route add 10.99.0.0/16 via 10.0.1.9 dev eth1 proto 18")
    daemon.kill()
    assert has(a, routes, dst="10.20.0.0/16")
    assert has(a, rules, priority=500)
    peer = Fastvrrp(
        b, HEAD + text.replace("priority 200", "priority 250").replace("1.9", "1.8")
    ).start()
    wait_masters(peer, 3)
    daemon.start()
    daemon.wait_log("Entering BACKUP STATE", count=3)
    wait_until(lambda: not has(a, routes, dst="10.20.0.0/16"), what="the route gone")
    wait_until(lambda: not has(a, rules, priority=500), what="the rule gone")
    wait_until(lambda: not has(a, rules, priority=502), what="the untracked rule gone")
    assert not has(a, routes, dst="10.22.0.0/16")
    assert has(a, routes, dst="10.99.0.0/16")  # which no configuration names
    peer.stop()
    daemon.stop()


def test_a_reload_touches_only_what_changed_and_leaves_no_gap(lab: Laboratory) -> None:
    text = STATIC + instance(
        "VI_1",
        1,
        "10.0.0.101/24",
        f"{ROUTE}\n10.30.0.0/16 via 10.0.1.9 dev eth1 mtu 1400\n"
        "2001:db8:30::/64 via fd00:1::9 dev eth1\n10.31.0.0/16 via 10.0.1.9 dev eth1",
        f"{RULE}\nfrom 10.30.0.0/16 table 100 priority 510",
    )
    a, _, daemon = ready(lab, Fastvrrp, text)
    wait_until(lambda: has(a, rules, priority=510), what="the rules")
    monitor = a.folder / "monitor"
    with monitor.open("wb") as log:
        watching = a.start_daemon(["ip", "monitor", "route", "rule", "address"], log)
        wait_until(lambda: told(a, monitor), what="the monitor to hear")
        monitor_starts = monitor.stat().st_size
        changed = text.replace("mtu 1400", "mtu 1300").replace("via fd00:1::9", "via fd00:1::8")
        changed = changed.replace("10.31.0.0/16 via 10.0.1.9 dev eth1", "10.32.0.0/16 dev eth1")
        changed = changed.replace("10.51.0.0/16 via 10.0.1.9", "10.51.0.0/16 via 10.0.1.8")
        daemon.configure(HEAD + changed)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("0 added, 0 removed, 1 changed, 0 unchanged")
        wait_until(lambda: has(a, routes, dst="10.32.0.0/16"), what="the new route")
        wait_until(
            lambda: has(a, routes, dst="10.51.0.0/16", gateway="10.0.1.8"), what="the static"
        )
        heard = monitor.read_text()[monitor_starts:]
        watching.kill()
        watching.wait()
    # What the monitor was asked with may have come in part before and in part now.
    lines = [line.strip() for line in heard.splitlines()]
    ours = [line for line in lines if "192.0.9.9" not in line and not line.startswith("valid_lft")]
    assert sorted(ours) == [
        "10.30.0.0/16 via 10.0.1.9 dev eth1 proto keepalived mtu 1300",
        "10.32.0.0/16 dev eth1 proto keepalived",
        "10.51.0.0/16 via 10.0.1.8 dev eth1 proto keepalived",
        "2001:db8:30::/64 via fd00:1::8 dev eth1 proto keepalived metric 1024 pref medium",
        "Deleted 10.31.0.0/16 via 10.0.1.9 dev eth1 proto keepalived",
    ]
    assert daemon.entered("VI_1") == ["BACKUP", "MASTER"]
    # What goes with an address is put where the address is.
    moved = changed.replace("10.0.0.101/24", "10.0.0.111/24")
    moved = moved.replace("10.32.0.0/16 dev eth1", "10.33.0.0/16 dev eth1 src 10.0.0.111")
    daemon.configure(HEAD + moved)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: has(a, routes, dst="10.33.0.0/16"), what="the route from the new address")
    assert "cannot" not in daemon.log()
    daemon.configure(HEAD + instance("VI_1", 1, "10.0.0.111/24"))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: routes(a) == rules(a) == [], what="everything gone")
    assert daemon.stop() == 0


def told(router: Router, monitor: object) -> bool:
    """Has the kernel say something, until `ip monitor` has heard it."""
    router.ip("address add 192.0.9.9/32 dev lo", "address del 192.0.9.9/32 dev lo")
    assert hasattr(monitor, "read_text")
    return "192.0.9.9" in monitor.read_text()


def test_a_reload_may_change_who_tracks_what_is_static(lab: Laboratory) -> None:
    a, b, daemon = ready(lab, Fastvrrp, STATIC + PLAIN, masters=2)
    daemon.configure(HEAD + STATIC.replace("VI_1", "VI_2") + PLAIN)
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("0 changed, 2 unchanged")
    b.ip("link set eth1 down")
    daemon.wait_log("(VI_2) Entering FAULT STATE")
    assert daemon.entered("VI_1") == ["BACKUP", "MASTER"]
    daemon.configure(HEAD + PLAIN)
    daemon.signal(signal.SIGHUP)
    wait_masters(daemon, 3)
    assert not a.holds("192.0.2.1")
    assert routes(a) == rules(a) == []
    assert daemon.stop() == 0


def test_a_route_of_two_masters_stays_until_both_are_backups(lab: Laboratory) -> None:
    text = instance("VI_1", 1, "10.0.0.101/24", ROUTE, RULE) + instance(
        "VI_2", 2, "10.0.0.102/24", ROUTE, RULE
    )
    a, _, daemon = ready(lab, Fastvrrp, text, masters=2)
    wait_until(lambda: has(a, rules, priority=500), what="the rule")
    daemon.configure(HEAD + text.split("vrrp_instance VI_2")[0])
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: not a.holds("10.0.0.102"), what="the second instance gone")
    assert has(a, routes, dst="10.20.0.0/16")
    assert has(a, rules, priority=500)
    assert daemon.entered("VI_1") == ["BACKUP", "MASTER"]
    assert daemon.stop() == 0
    assert routes(a) == rules(a) == []


def test_a_route_goes_on_when_the_address_that_it_came_from_is_put_back(lab: Laboratory) -> None:
    a, _, daemon = ready(
        lab,
        Fastvrrp,
        instance("VI_1", 1, "10.0.0.101/24", "10.20.0.0/16 via 10.0.1.9 dev eth1 src 10.0.0.101"),
    )
    wait_until(lambda: has(a, routes, dst="10.20.0.0/16"), what="the route")
    # Linux removes the route with the address, and tells nobody.
    a.ip("address del 10.0.0.101/24 dev eth0")
    daemon.wait_log("Netlink reflector reports IP 10.0.0.101 removed")
    wait_until(lambda: a.holds("10.0.0.101"), what="the address back")
    wait_until(lambda: has(a, routes, dst="10.20.0.0/16"), what="the route back")
    assert daemon.stop() == 0


@BOTH
def test_routes_may_lead_by_the_vmac_of_their_instance(lab: Laboratory, kind: type[Daemon]) -> None:
    a, _, daemon = ready(
        lab,
        kind,
        instance(
            "VI_1",
            1,
            "10.0.0.101/24",
            "10.20.0.0/16 dev vrrp.1\n10.21.0.0/16 via 10.0.0.9 dev vrrp.1",
            "from 10.20.0.0/16 table 100 priority 500 iif vrrp.1",
            more="use_vmac vrrp.1",
        )
        + "static_routes {\n  10.60.0.0/16 dev vrrp.1\n}\n",
    )
    wait_until(lambda: has(a, rules, priority=500), what="the rule")
    for destination in ("10.20.0.0/16", "10.21.0.0/16", "10.60.0.0/16"):
        wait_until(
            lambda dst=destination: has(a, routes, dst=dst, dev="vrrp.1"),  # type: ignore[misc]
            what=f"the route to {destination}",
        )
    a.ip("link set eth0 down")
    daemon.wait_log("Entering FAULT STATE")
    wait_until(lambda: not has(a, rules, priority=500), what="the rule gone")
    a.ip("link set eth0 up")
    wait_masters(daemon, 2)
    wait_until(lambda: has(a, routes, dst="10.21.0.0/16", dev="vrrp.1"), what="the route back")
    wait_until(lambda: has(a, rules, priority=500), what="the rule back")
    daemon.stop()
    assert routes(a) == rules(a) == []


def test_what_is_static_is_added_when_its_interface_appears(lab: Laboratory) -> None:
    text = "static_ipaddress {\n  192.0.2.1/24 dev eth7\n}\n" + (
        "static_routes {\n"
        "  10.50.0.0/16 via 192.0.2.9 dev eth7\n"
        "  10.51.0.0/16 dev eth7 no_track\n}\n"
    )
    a, _, daemon = ready(lab, Fastvrrp, text + PLAIN, masters=2)
    daemon.wait_log("cannot add route 10.50.0.0/16 via 192.0.2.9 dev eth7: interface eth7")
    a.ip("link add eth7 type veth peer name other", "link set other up", "link set eth7 up")
    wait_until(lambda: a.holds("192.0.2.1"), what="the address")
    wait_until(lambda: has(a, routes, dst="10.50.0.0/16"), what="the route")
    wait_until(lambda: has(a, routes, dst="10.51.0.0/16"), what="the untracked route")
    a.ip("link del eth7")
    a.ip("link add eth7 type veth peer name other", "link set other up", "link set eth7 up")
    wait_until(lambda: has(a, routes, dst="10.50.0.0/16"), what="the route again")
    assert not has(a, routes, dst="10.51.0.0/16")
    assert daemon.stop() == 0
    assert routes(a) == []


def test_what_is_removed_while_notifications_are_dropped_is_put_back(lab: Laboratory) -> None:
    static = "static_ipaddress {\n  192.0.2.1/24 dev eth1\n}\n"
    a, _, daemon = ready(lab, Fastvrrp, static + instance("VI_1", 1, "10.0.0.101/24"))
    wait_until(lambda: a.holds("10.0.0.101"), what="the address")

    def flood() -> None:
        """More notifications than a buffer of 64 MiB holds."""
        channel = Channel()
        loopback = socket.if_nametoindex("lo")
        local = bytes((10, 9, 9, 9))
        both = [encode_address(add, socket.AF_INET, loopback, local, 32) for add in (True, False)]
        channel.apply(both * 60_000, 0, 10**12)
        channel.close()

    daemon.signal(signal.SIGSTOP)
    a.call(flood)
    a.ip("address del 10.0.0.101/24 dev eth0", "address del 192.0.2.1/24 dev eth1")
    daemon.signal(signal.SIGCONT)
    wait_until(lambda: a.holds("10.0.0.101"), what=daemon.log)
    wait_until(lambda: a.holds("192.0.2.1"), what=daemon.log)
    assert daemon.stop() == 0


@BOTH
@pytest.mark.keywords("vrrp_instance/promote_secondaries")
def test_secondary_addresses_are_promoted_where_that_is_wanted(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    parameter = "net/ipv4/conf/{}/promote_secondaries"
    text = instance("VI_1", 1, "10.0.0.101/24", more="promote_secondaries")
    a, _, daemon = ready(lab, kind, text)
    assert a.sysctl(parameter.format("eth0")) == "1"
    assert a.sysctl(parameter.format("eth1")) == "0"
    # The virtual address has the network of the interface's own, and stays when that goes.
    a.ip("address add 10.9.9.9/24 dev eth0", "address del 10.0.0.1/24 dev eth0")
    a.ip("address add 10.0.0.1/24 dev eth0")
    assert a.holds("10.0.0.101")
    daemon.stop()
    if kind is Fastvrrp:
        assert a.sysctl(parameter.format("eth0")) == "0"


@pytest.mark.keywords(
    *(
        "virtual_routes/or",
        "virtual_routes/local",
        "virtual_routes/broadcast",
        "virtual_routes/ip6",
    ),
    *("virtual_routes/flags", "virtual_rules/ip_proto", "virtual_rules/sup_pl"),
    *("virtual_rules/sup_group", "virtual_rules/tun_id", "virtual_ipaddress/peer"),
)
def test_more_than_keepalived_can_do(lab: Laboratory) -> None:
    text = instance(
        "VI_1", 1, "10.0.0.101/24\n10.0.1.102 peer 10.0.1.103 dev eth1", OURS_ROUTES, OURS_RULES
    )
    a, _, daemon = ready(lab, Fastvrrp, text)
    wait_until(lambda: has(a, rules, priority=521), what="the rules")
    shown = {route["dst"]: route for route in routes(a)}
    assert "cannot" not in daemon.log()
    assert (shown["10.20.10.1"]["type"], shown["10.20.10.1"]["scope"]) == ("local", "host")
    assert shown["10.20.11.255"]["type"] == shown["10.20.12.255"]["type"] == "broadcast"
    ways = {hop["gateway"] for hop in shown["10.20.26.0/24"]["nexthops"]}
    assert ways == {"10.0.1.9", "10.0.1.8"}
    assert shown["10.20.27.0/24"]["via"] == {"family": "inet6", "host": "fd00:1::9"}
    assert {hop["id"] for hop in shown["10.20.29.0/24"]["nexthops"]} == {4, 5}
    # `ip` shows what is inside in place of the destination.
    assert shown["10.0.1.9"]["csum"]
    tunnel = shown["fd00:1::9"]
    assert (tunnel["encap"], tunnel["id"], tunnel["tc"], tunnel["hoplimit"]) == ("ip6", 44, 3, 20)
    assert {rule["priority"] for rule in rules(a)} == {517, 518, 519, 521}
    assert has(a, addresses, local="10.0.1.102", address="10.0.1.103")
    assert daemon.stop() == 0
    assert routes(a) == rules(a) == []
    assert not a.holds("10.0.1.102")
