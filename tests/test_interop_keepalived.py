"""Elections against Debian's keepalived, on real links, with either daemon in either role.

The virtual routers of one protocol belong to one pair of daemons and live through one story
(lab.election); each has a link of its own.
"""

from itertools import product
from typing import Any

import pytest

from lab import (
    Capture,
    Daemon,
    Fastvrrp,
    Keepalived,
    Laboratory,
    VirtualRouter,
    keepalived_conf,
)
from lab.election import OTHER, PREFERRED, Story, tell_undisturbed
from lab.election_tests import ElectionTests

PROTOCOLS: dict[str, dict[str, Any]] = {
    "v2": {"version": 2},
    "v2-pass": {"version": 2, "authentication": "PASS"},
    "v2-ah": {"version": 2, "authentication": "AH"},
    "v3": {"version": 3},
    "v3-ipv6": {"version": 3, "family": 6},
    "v3-20ms": {"version": 3, "interval": 0.02},
    "v3-ipv6-20ms": {"version": 3, "family": 6, "interval": 0.02},
}
KINDS: dict[str, dict[str, Any]] = {
    "multicast": {"is_unicast": False, "has_vmac": False},
    "multicast-vmac": {"is_unicast": False, "has_vmac": True},
    "unicast": {"is_unicast": True, "has_vmac": False},
    "unicast-vmac": {"is_unicast": True, "has_vmac": True},
}
ROLES: dict[str, tuple[type[Daemon], type[Daemon]]] = {
    "preferred": (Fastvrrp, Keepalived),
    "other": (Keepalived, Fastvrrp),
}


# At 20 ms a backup's patience ends after 72. keepalived as the preferred router, with several to
# take up at once, is silent for longer than that each time, and loses every election that it has
# won; so it gets one. With IPv6 addresses, which cost it 25 ms each, it is no better as the other.
STORIES = {
    (role, protocol): (
        ["multicast"]
        if protocol == "v3-ipv6-20ms" or (role, protocol) == ("other", "v3-20ms")
        else list(KINDS)
    )
    for role, protocol in product(ROLES, PROTOCOLS)
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "story" not in metafunc.fixturenames:
        return
    asks_each = "virtual_router" in metafunc.fixturenames
    metafunc.parametrize(
        ("story", "virtual_router") if asks_each else ("story",),
        [
            pytest.param(
                *((story, kind) if asks_each else (story,)),
                id="-".join((*story, kind) if asks_each else story),
                # A story is told once: all tests of it are in one group, which is one worker's.
                marks=pytest.mark.xdist_group("-".join(("keepalived", *story))),
            )
            for story, kinds in STORIES.items()
            for kind in (kinds if asks_each else kinds[:1])
        ],
        indirect=True,
        scope="module",
    )


@pytest.fixture(scope="module")
def story(request: pytest.FixtureRequest) -> Story:
    """fastvrrp as the preferred router of the two, or as the other, in one protocol."""
    role, protocol = request.param
    kinds = STORIES[role, protocol]

    def tell(laboratory: Laboratory) -> Story:
        a, b = laboratory.router("a"), laboratory.router("b")
        links = laboratory.connect(a, b, count=len(kinds))
        virtual_routers = {
            kind: VirtualRouter(link, vrid, **PROTOCOLS[protocol], **KINDS[kind])
            for vrid, (link, kind) in enumerate(zip(links, kinds, strict=True), 51)
        }
        preferred, other = (
            daemon(router, keepalived_conf(virtual_routers.values(), router, peer, priority))
            for daemon, router, peer, priority in zip(
                ROLES[role], (a, b), (b, a), (PREFERRED, OTHER), strict=True
            )
        )
        return Story(preferred, other, virtual_routers, Capture(b)).tell()

    return tell_undisturbed(tell, alone="20ms" in protocol)


@pytest.fixture
def virtual_router(request: pytest.FixtureRequest, story: Story) -> VirtualRouter:
    return story.virtual_routers[request.param]


@pytest.mark.keywords(
    "vrrp_instance/interface",
    "vrrp_instance/virtual_router_id",
    "vrrp_instance/priority",
    "vrrp_instance/advert_int",
    "vrrp_instance/version",
    "vrrp_instance/authentication/auth_type",
    "vrrp_instance/authentication/auth_pass",
    "vrrp_instance/virtual_ipaddress",
    "vrrp_instance/unicast_src_ip",
    "vrrp_instance/unicast_peer",
    "vrrp_instance/use_vmac",
)
class TestElections(ElectionTests):
    pass


def test_one_vrid_on_two_links_and_in_both_families_is_four_virtual_routers(
    lab: Laboratory,
) -> None:
    a, b = lab.router("a"), lab.router("b")
    first, second = lab.connect(a, b, count=2)
    preferred_on_a = [
        VirtualRouter(first, 51, version=3, family=4),
        VirtualRouter(second, 51, version=3, family=6),
    ]
    preferred_on_b = [
        VirtualRouter(first, 51, version=3, family=6),
        VirtualRouter(second, 51, version=3, family=4),
    ]
    Fastvrrp(
        a,
        keepalived_conf(preferred_on_a, a, b, PREFERRED)
        + keepalived_conf(preferred_on_b, a, b, OTHER),
    ).start()
    Keepalived(
        b,
        keepalived_conf(preferred_on_b, b, a, PREFERRED)
        + keepalived_conf(preferred_on_a, b, a, OTHER),
    ).start()
    for router, virtual_routers in ((a, preferred_on_a), (b, preferred_on_b)):
        for virtual_router in virtual_routers:
            # The second address is the one that no other virtual router has.
            address = virtual_router.addresses[1]
            lab.wait_for_holder(address, router)
