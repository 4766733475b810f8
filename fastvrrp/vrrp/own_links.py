"""Links that are made for a virtual router: VMACs, its own and its addresses', and ipvlans.

What they are is in the model; where their addresses stand says `instance.link_of`.
"""

from __future__ import annotations

from collections.abc import Iterator
from socket import AF_INET

from fastvrrp.kernel.ipvlan import Ipvlan
from fastvrrp.kernel.links import Link, Links
from fastvrrp.kernel.macvlan import GROUP, Wanted
from fastvrrp.model import VirtualRouter
from fastvrrp.vrrp.instance import link_of


def wanted_by(model: VirtualRouter, links: Links) -> Iterator[Wanted]:
    """The links that a virtual router is to have, as far as there are links for them to stand
    on."""
    if not model.has_vmacs:
        return
    options = model.options
    with_ipv4 = {
        link_of(model, address) for address in model.all_addresses if address.family == AF_INET
    }
    parent = links.by_name(model.interface)
    vmac = model.vmac
    if vmac is not None and parent is not None:
        yield Wanted(
            vmac.name,
            vmac.mac,
            parent.index,
            vmac.name in with_ipv4,
            _group(model, parent),
            options.notifies_of_vmac,
            _ipvlan(model),
        )
    seen = set()
    for other in options.address_vmacs:
        parent = links.by_name(other.interface)
        if parent is not None and other.name not in seen:
            seen.add(other.name)
            has_ipv4 = other.name in with_ipv4
            yield Wanted(
                other.name,
                other.mac,
                parent.index,
                has_ipv4,
                _group(model, parent),
                options.notifies_of_vmac,
            )


def _group(model: VirtualRouter, parent: Link) -> int:
    """The group of links that is written, or that of the link below, if it is in one."""
    written = model.options.vmac_group
    return written if written is not None else parent.group or GROUP


def _ipvlan(model: VirtualRouter) -> Ipvlan | None:
    ipvlan = model.options.ipvlan
    if ipvlan is None:
        return None
    return Ipvlan(ipvlan.mode, model.family, ipvlan.address, ipvlan.prefixlen)
