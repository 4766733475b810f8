"""What the guest's kernel has besides this host's."""

from __future__ import annotations

import pytest

from kernel_namespace import inside_namespace, ip

KINDS = {
    "dummy": "link add test0 type dummy",
    "vlan": "link add link base0 name test0 type vlan id 5",
    "bond": "link add test0 type bond mode active-backup",
    "vrf": "link add test0 type vrf table 10",
    "ipvlan": "link add link base0 name test0 type ipvlan",
    "macvlan": "link add link base0 name test0 type macvlan mode vepa",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_guest_has_the_kind(kind: str) -> None:
    with inside_namespace():
        ip("link add base0 type dummy")
        ip(KINDS[kind])
        assert f"{kind} " in ip("-d link show test0")
