"""Elections against FRR's vrrpd, on real links, with either daemon in either role.

FRR is strict about RFC 5798: it speaks with the virtual MAC, multicast only, and without
authentication. Against it fastvrrp is tried with and without a VMAC of its own.
"""

from itertools import product
from typing import Any

import pytest

from lab import Capture, Daemon, Fastvrrp, Frr, Laboratory, VirtualRouter, keepalived_conf
from lab.election import OTHER, PREFERRED, Story, tell_undisturbed
from lab.election_tests import ElectionTests

PROTOCOLS: dict[str, dict[str, Any]] = {
    "v2": {"version": 2},
    "v3": {"version": 3},
    "v3-ipv6": {"version": 3, "family": 6},
}
KINDS = {"": False, "-vmac": True}


@pytest.fixture(
    scope="module",
    params=[
        # A story is told once: all tests of it are in one group, which is one worker's.
        pytest.param(role, marks=pytest.mark.xdist_group(f"frr-{role}"))
        for role in ("preferred", "other")
    ],
)
def story(request: pytest.FixtureRequest) -> Story:
    """fastvrrp as the preferred router of the two, or as the other."""

    def tell(laboratory: Laboratory) -> Story:
        a, b = laboratory.router("a"), laboratory.router("b")
        cases = list(product(PROTOCOLS, KINDS))
        links = laboratory.connect(a, b, count=len(cases))
        virtual_routers = {
            f"{protocol}{kind}": VirtualRouter(
                link, vrid, has_vmac=KINDS[kind], **PROTOCOLS[protocol]
            )
            for vrid, (link, (protocol, kind)) in enumerate(zip(links, cases, strict=True), 51)
        }
        preferred: Daemon
        other: Daemon
        if request.param == "preferred":
            ours = keepalived_conf(virtual_routers.values(), a, b, PREFERRED)
            preferred, other = Fastvrrp(a, ours), Frr(b, virtual_routers.values(), OTHER)
        else:
            ours = keepalived_conf(virtual_routers.values(), b, a, OTHER)
            preferred, other = Frr(a, virtual_routers.values(), PREFERRED), Fastvrrp(b, ours)
        return Story(preferred, other, virtual_routers, Capture(b)).tell()

    return tell_undisturbed(tell)


@pytest.fixture(params=[f"{protocol}{kind}" for protocol, kind in product(PROTOCOLS, KINDS)])
def virtual_router(request: pytest.FixtureRequest, story: Story) -> VirtualRouter:
    return story.virtual_routers[request.param]


class TestElections(ElectionTests):
    pass
