"""Virtual routers on links of a VRF, with adverts of every kind, and in a VRF without a link."""

from __future__ import annotations

import pytest

from lab import Capture, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from test_daemon import wait_state

PATIENCE = 40.0
"""Seconds; the guest is slow."""


MASTER, BACKUP, FAULT = 2, 1, 3


def enslave(router: Router, interface: str, vrf: str = "red", table: int = 10) -> None:
    router.ip(
        f"link add {vrf} type vrf table {table}",
        f"link set {vrf} up",
        f"link set {interface} master {vrf}",
    )
    # A link loses its IPv6 addresses when it changes its VRF.
    router.ip(
        f"address replace fd00::{router.index}/64 dev {interface}",
        f"address replace fe80::{router.index}/64 dev {interface}",
    )


CONFIGURATION = """
vrrp_instance V {{
    interface eth0
    virtual_router_id 7
    version 3
    advert_int 0.5
    priority {priority}
    {more}
    virtual_ipaddress {{
        {addresses}
    }}
}}
"""


def text(priority: int, family: int, mode: str, number: int) -> str:
    start = "10.0.0." if family == 4 else "fd00::"
    more = ""
    if mode == "unicast":
        more = f"unicast_src_ip {start}{number}\n unicast_peer {{\n {start}{3 - number}\n }}"
    addresses = "10.0.0.100/24" if family == 4 else "fe80::100\nfd00::100/64"
    return CONFIGURATION.format(priority=priority, more=more, addresses=addresses)


@pytest.mark.parametrize("mode", ["multicast", "unicast"])
@pytest.mark.parametrize("family", [4, 6])
def test_an_election_with_keepalived_in_a_vrf(lab: Laboratory, family: int, mode: str) -> None:
    vip = "10.0.0.100" if family == 4 else "fd00::100"
    first, second = lab.router("first"), lab.router("second")
    lab.connect(first, second)
    for router in (first, second):
        enslave(router, "eth0")
    ours = Fastvrrp(first, text(200, family, mode, 1)).start()
    lab.wait_for_holder(vip, first, PATIENCE)
    others = Keepalived(second, text(100, family, mode, 2)).start()
    others.wait_log("Entering BACKUP STATE", PATIENCE)
    ours.stop()
    lab.wait_for_holder(vip, second, PATIENCE)
    ours.start()
    lab.wait_for_holder(vip, first, PATIENCE)
    assert "Entering MASTER" in others.log()


def roaming(name: str, number: int, priority: int, family: int, vrf: str, interface: str) -> str:
    """A virtual router without an interface, at the first or the second of two ends."""
    start = "198.51.100." if family == 4 else "2001:db8::"
    address = "10.9.0.100/24" if family == 4 else "fe80::100 dev {}\nfd09::100/64"
    return f"""
vrrp_instance {name} {{
    vrf {vrf}
    virtual_router_id 7
    version 3
    advert_int 0.5
    priority {priority}
    unicast_src_ip {start}{number}
    unicast_peer {{
        {start}{3 - number}
    }}
    virtual_ipaddress {{
        {address.format(interface)} dev {interface}
    }}
}}
"""


def own_addresses(router: Router, interface: str) -> None:
    """The same in each VRF."""
    router.ip(
        f"address replace 198.51.100.{router.index}/24 dev {interface}",
        f"address replace 2001:db8::{router.index}/64 dev {interface}",
    )


@pytest.mark.keywords("vrrp_instance/vrf")
@pytest.mark.parametrize("family", [4, 6])
def test_two_vrfs_with_the_same_addresses_do_not_hear_each_other(
    lab: Laboratory, family: int
) -> None:
    """Each has a virtual router of one VRID without an interface; a is master of one, b of the
    other."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    for router in (a, b):
        for interface, vrf, table in (("eth0", "red", 10), ("eth1", "blue", 20)):
            enslave(router, interface, vrf, table)
            own_addresses(router, interface)
    daemons = [
        Fastvrrp(
            router,
            roaming("RED", number, (200, 100)[number - 1], family, "red", "eth0")
            + roaming("BLUE", number, (100, 200)[number - 1], family, "blue", "eth1"),
        ).start()
        for number, router in enumerate((a, b), 1)
    ]
    first, second = daemons
    for daemon, master, backup in ((first, "RED", "BLUE"), (second, "BLUE", "RED")):
        daemon.wait_log(f"({master}) Entering MASTER STATE", PATIENCE)
        wait_state(daemon, MASTER, master)
        wait_state(daemon, BACKUP, backup)
    before = first.entered("BLUE")
    # A VRF that goes is a fault. Another one that gets its name is another one.
    a.ip("link del red")
    wait_state(first, FAULT, "RED")
    first.wait_log("(RED) VRF red is down or missing", PATIENCE)
    second.wait_log("(RED) Entering MASTER STATE", PATIENCE)
    assert first.entered("BLUE") == before
    enslave(a, "eth0")
    own_addresses(a, "eth0")
    first.wait_log("(RED) Entering MASTER STATE", PATIENCE, count=2)
    wait_state(second, BACKUP, "RED")
    for daemon in daemons:
        assert daemon.stop() == 0
        assert "Traceback" not in daemon.log()


@pytest.mark.keywords("vrrp_instance/vrf")
def test_a_link_is_heard_for_as_long_as_it_is_in_the_vrf(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    enslave(a, "eth0")
    own_addresses(a, "eth0")
    b.ip("link add red type vrf table 10", "link set red up")
    first = Fastvrrp(a, roaming("V", 1, 200, 4, "red", "eth0")).start()
    second = Fastvrrp(b, roaming("V", 2, 100, 4, "red", "eth0")).start()
    second.wait_log("(V) Entering MASTER STATE", PATIENCE)
    b.ip("link set eth0 master red")
    own_addresses(b, "eth0")
    second.wait_log("(V) Entering BACKUP STATE", PATIENCE, count=2)
    lab.wait_for_holder("10.9.0.100", a, PATIENCE)
    b.ip("link set eth0 nomaster")
    with Capture(b) as capture:
        capture.wait_for_advert(7, timeout=PATIENCE)
    second.wait_log("(V) Entering MASTER STATE", PATIENCE, count=2)
    for daemon in (first, second):
        assert daemon.stop() == 0


def test_that_nothing_is_heard_in_vrfs_is_said(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    enslave(a, "eth0")
    a.set_sysctl("net/ipv4/raw_l3mdev_accept", "0")
    daemon = Fastvrrp(a, text(200, 4, "multicast", 1)).start()
    daemon.wait_log("net.ipv4.raw_l3mdev_accept is 0", PATIENCE)
    wait_until(lambda: a.holds("10.0.0.100"), PATIENCE, what=daemon.log)
    assert daemon.stop() == 0
