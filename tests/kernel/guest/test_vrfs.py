"""Virtual routers on links of a VRF, with adverts of every kind."""

from __future__ import annotations

import pytest

from lab import Fastvrrp, Keepalived, Laboratory, Router

PATIENCE = 40.0
"""Seconds; the guest is slow."""


def enslave(router: Router, interface: str) -> None:
    router.ip(
        "link add red type vrf table 10",
        "link set red up",
        f"link set {interface} master red",
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
