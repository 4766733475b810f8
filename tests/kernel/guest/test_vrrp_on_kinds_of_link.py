"""Elections on the kinds of links that an appliance has: a VLAN over a bond, a link in a VRF."""

from __future__ import annotations

import pytest

from lab import Fastvrrp, Laboratory, Router
from lab.waiting import wait_until

VIP = "10.99.0.100"
PATIENCE = 60.0
"""Seconds; the guest is slow."""

CONFIGURATION = """
vrrp_instance V {{
    interface {interface}
    virtual_router_id 7
    priority {priority}
    {vmac}
    virtual_ipaddress {{
        {vip}/24
    }}
}}
"""


def bond_with_vlan(router: Router, number: int) -> str:
    """VLAN 5 over a bond of the laboratory's first two links."""
    commands = ["link add bond0 type bond mode active-backup miimon 50"]
    for port in router.interfaces[:2]:
        commands += [f"link set {port} down", f"link set {port} master bond0"]
    router.ip(
        *commands,
        "link set bond0 up",
        "link add link bond0 name bond0.5 type vlan id 5",
        "link set bond0.5 up",
        f"address add 10.99.0.{number}/24 dev bond0.5",
    )
    return "bond0.5"


def link_in_vrf(router: Router, number: int) -> str:
    """The laboratory's first link as a member of a VRF."""
    interface = router.interfaces[0]
    router.ip(
        "link add red type vrf table 10",
        "link set red up",
        f"link set {interface} master red",
        f"address add 10.99.0.{number}/24 dev {interface}",
    )
    return interface


@pytest.mark.parametrize("vmac", ["", "use_vmac"])
@pytest.mark.parametrize("prepare", [bond_with_vlan, link_in_vrf])
def test_an_election(lab: Laboratory, prepare: object, vmac: str) -> None:
    assert callable(prepare)
    first, second = lab.router("first"), lab.router("second")
    lab.connect(first, second, count=2)
    daemons = []
    for number, (router, priority) in enumerate(((first, 200), (second, 100)), 1):
        interface = prepare(router, number)
        text = CONFIGURATION.format(interface=interface, priority=priority, vmac=vmac, vip=VIP)
        daemons.append(Fastvrrp(router, text).start())
    lab.wait_for_holder(VIP, first, PATIENCE)
    daemons[0].stop()
    lab.wait_for_holder(VIP, second, PATIENCE)
    assert first.links() >= {interface}
    assert not first.holds(VIP)
    daemons[0].start()
    lab.wait_for_holder(VIP, first, PATIENCE)


@pytest.mark.parametrize("vmac", ["", "use_vmac"])
def test_a_bond_without_carrier_is_a_fault(lab: Laboratory, vmac: str) -> None:
    first, second = lab.router("first"), lab.router("second")
    lab.connect(first, second, count=2)
    for number, router in enumerate((first, second), 1):
        interface = bond_with_vlan(router, number)
    daemon = Fastvrrp(
        first, CONFIGURATION.format(interface=interface, priority=200, vmac=vmac, vip=VIP)
    ).start()
    lab.wait_for_holder(VIP, first, PATIENCE)
    second.ip("link set eth0 down")  # the bond goes on with its other port
    first.ip("link set eth0 down")
    assert first.holds(VIP)
    second.ip("link set eth1 down")
    daemon.wait_log("is down", PATIENCE)
    wait_until(lambda: not first.holds(VIP), PATIENCE, what="the address to go")
    second.ip("link set eth1 up")
    lab.wait_for_holder(VIP, first, PATIENCE)
