"""Routes that this host's kernel may not know: in a VRF, and into MPLS and ILA."""

from __future__ import annotations

from typing import Any

import pytest

from lab import Daemon, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from lab.policy import routes, rules
from policy_configuration import instance

PATIENCE = 60.0
"""Seconds; the guest is slow."""
HEAD = "global_defs {\n  dynamic_interfaces\n}\n"


def in_vrf(lab: Laboratory) -> Router:
    """A router whose eth1 is in a VRF of table 10."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    a.ip("link add red type vrf table 10", "link set red up", "link set eth1 master red")
    a.ip("address add fd00:1::1/64 dev eth1")
    return a


def mastered(kind: type[Daemon], router: Router, text: str) -> Daemon:
    daemon = kind(router, HEAD + text).start()
    daemon.wait_log("Entering MASTER STATE", PATIENCE)
    return daemon


@pytest.mark.keywords("virtual_routes/vrf", "virtual_rules/l3mdev")
def test_routes_of_a_vrf_are_those_of_keepalived(lab: Laboratory) -> None:
    a = in_vrf(lab)
    text = instance(
        "VI_1",
        1,
        "10.0.0.101/24",
        "10.20.0.0/24 via 10.0.1.9 dev eth1 vrf red\n"
        "blackhole 10.21.0.0/24 vrf red no_track\n"
        "2001:db8:20::/64 via fd00:1::9 dev eth1 vrf red",
        "l3mdev priority 900",
    )
    seen: list[list[dict[str, Any]]] = []
    for kind in (Keepalived, Fastvrrp):
        daemon = mastered(kind, a, text)
        wait_until(
            lambda: len(routes(a)) == 3 and any(rule["priority"] == 900 for rule in rules(a)),
            PATIENCE,
            what=lambda: f"the routes and the rule: {routes(a)} {rules(a)}",
        )
        seen.append(routes(a))
        assert {route["table"] for route in routes(a)} == {"10"}
        daemon.stop()
        wait_until(lambda: routes(a) == rules(a) == [], PATIENCE, what="all of it gone")
    assert seen[0] == seen[1]


def test_a_vrf_that_is_made_later_gets_its_static_routes(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    text = "static_routes {\n  10.20.0.0/24 via 10.0.1.9 dev eth1 vrf red\n}\n"
    daemon = mastered(Fastvrrp, a, text + instance("VI_1", 1, "10.0.0.101/24"))
    daemon.wait_log("interface red does not exist")
    a.ip("link add red type vrf table 10", "link set red up", "link set eth1 master red")
    wait_until(lambda: len(routes(a)) == 1, PATIENCE, what=daemon.log)
    daemon.stop()
    assert routes(a) == []


# An identifier of ILA says of which type it is: the first three bits are 1, a unique one (LUID).
@pytest.mark.keywords("virtual_routes/mpls", "virtual_routes/ila")
def test_routes_into_mpls_and_ila(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    text = instance(
        "VI_1",
        1,
        "10.0.0.101/24",
        "10.20.0.0/24 encap mpls 100/200 via 10.0.1.9 dev eth1\n"
        "2001:db8:20::/64 encap mpls 300 via fd00:1::9 dev eth1\n"
        "2001:db8:21:0:2000::4 encap ila 1:2:3:4 via fd00:1::9 dev eth1",
    )
    daemon = mastered(Fastvrrp, a, text)
    wait_until(lambda: len(routes(a)) == 3, PATIENCE, what=lambda: f"{routes(a)}\n{daemon.log()}")
    shown = {str(route["dst"]): route for route in routes(a)}
    assert {route["encap"] for route in shown.values()} == {"mpls", "ila"}
    assert "100/200" in str(shown)
    assert "300" in str(shown)
    assert "1:2:3:4" in str(shown)
    assert "cannot" not in daemon.log()
    daemon.stop()
    assert routes(a) == []
