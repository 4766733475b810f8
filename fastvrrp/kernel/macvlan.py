"""VMACs: macvlans that carry virtual MACs (`use_vmac`).

Kept up. A VMAC is up from when it is made until it is removed, also on a backup, where it has no
address. `bench/vmac_up_or_down.py` measures both. Kept up it fails over faster, and what decides is
the way back: Linux waits for two RCU grace periods, 10 ms, when a macvlan goes down, and holds the
lock that every address needs; 4,080 of them take 40 s.

Silent. IPv4: `arp_ignore` 1 lets a link answer only for its own addresses, of which a backup's VMAC
has none; a VMAC that never carries an IPv4 address has 8, and answers for none at all. IPv6: no
address is generated, no router advertisement is heeded, and IPv6 is disabled except on a master
(`ipv6_gate`). So no router is solicited, no IPv6 packet to the virtual MAC is taken in, and above
all no group is left when the new master has the virtual MAC already: the report would carry that
MAC as its source, and every switch would turn the traffic to the old master. keepalived puts the
parent's link-local address on an IPv6 VMAC, since it sends from there; we send from the parent, and
the VMAC must not answer for the parent's address.

VEPA, not private mode. In private mode Linux takes a multicast frame whose source is the MAC of one
of our own macvlans for that macvlan alone (drivers/net/macvlan.c, macvlan_handle_frame: "forward to
original port"). Every advert of a peer that uses a VMAC has that source: the parent would not hear
it. To listen on the macvlans is no way out, since it takes a membership on each, and then every
advert from another source is copied to each of them: with 128 masters on a parent an advert is
heard 129 times. In VEPA mode the parent hears every advert once. The modes differ in nothing else
here: neither passes a frame from one macvlan to another.

Ours. A VMAC is in the link group GROUP, or where the configuration wants it in another group has
the alias ALIAS, and so is found again after a crash. One whose name, MAC, parent, group and mode
are right is taken over as it is, with its addresses; one of ours that is wrong is replaced, one
that is not wanted is removed; a link of somebody else with the name is refused.

An ipvlan (`use_ipvlan`) is made in the same way; what is its own is in kernel/ipvlan.py.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from errno import EADDRINUSE, EBUSY, EEXIST
from typing import NamedTuple

from fastvrrp._rtmessage import LinkEvent, encode_link, encode_link_removal, encode_macvlan
from fastvrrp._rtnetlink import Channel
from fastvrrp.kernel import sysctl
from fastvrrp.kernel.ipvlan import Ipvlan

GROUP = int.from_bytes(b"vrrp")
"""Our mark on a link: the group that `ip -d link` shows as `group 1987211888`."""
ALIAS = "fastvrrp"
"""The mark of one that is in another group."""

# linux/if_link.h
MACVLAN_MODE_PRIVATE = 1
MACVLAN_MODE_VEPA = 2
IN6_ADDR_GEN_MODE_EUI64 = 0
IN6_ADDR_GEN_MODE_NONE = 1

_MAC_PREFIXES = (b"\x00\x00\x5e\x00\x01", b"\x00\x00\x5e\x00\x02")  # RFC 9568 section 7.3

# What keepalived 2.2.7 was seen to set on an IPv4 VMAC, and below on its parent, which must not
# answer for the addresses on its VMACs.
_WITH_IPV4 = {
    "accept_local": "1",
    "arp_ignore": "1",
    "promote_secondaries": "1",
    "rp_filter": "0",
}
_WITHOUT_IPV4 = {"arp_ignore": "8"}
_PARENT = {"arp_ignore": "1", "arp_filter": "1"}

_ALL_RP_FILTER = sysctl.path_of("ipv4", "all", "rp_filter")
_OF_OTHERS = {*_PARENT, "rp_filter"}
"""What is changed here on links that are not ours."""
_UNBOUNDED_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class Wanted:
    """A VMAC, or an ipvlan, that should be."""

    name: str
    mac: bytes
    """Of an ipvlan it does not count."""
    parent: int
    """ifindex of the link below."""
    has_ipv4: bool
    """Whether it carries IPv4 addresses when its virtual router is master."""
    group: int = GROUP
    """Of links. Another one than GROUP is written, or that of the link below."""
    notifies: bool = False
    """Whether the kernel is made to tell of the link below when it is made: it does not tell that a
    link without a filter of its own (IFF_UNICAST_FLT, as a bridge) has become promiscuous."""
    ipvlan: Ipvlan | None = None
    """What it is instead of a macvlan."""


class Refusal(NamedTuple):
    """A VMAC that could not be made, with a sentence that says why and what to do."""

    name: str
    reason: str


def ipv6_gate(name: str) -> str:
    """The parameter that is "1" on a VMAC except while it is to carry IPv6 addresses."""
    return sysctl.path_of("ipv6", name, "disable_ipv6")


class Vmacs:
    """The VMACs of the network namespace of the calling thread.

    `settle` blocks for about 0.25 ms a VMAC, most of it in the kernel and without the GIL: a daemon
    with many calls it in a thread of its own, with a channel of its own.
    """

    def __init__(self, channel: Channel, sysctls: sysctl.Sysctls) -> None:
        self._channel = channel
        self._sysctls = sysctls
        self._made: dict[str, Wanted] = {}
        self.indexes: dict[str, int] = {}
        """ifindexes by name."""

    def settle(self, wanted: Iterable[Wanted]) -> list[Refusal]:
        """Makes the namespace's VMACs those that are wanted, and those up; removes every other one
        of ours. `settle(())` removes all and restores what was changed on other links."""
        links = {link.name: link for link in self._channel.dump_links()}
        names = {link.ifindex: link.name for link in links.values()}
        refusals: list[Refusal] = []
        chosen: dict[str, Wanted] = {}
        holders: dict[tuple[int, bytes], str] = {}
        for vmac in wanted:
            objection = _objection(vmac, links.get(vmac.name), names, holders)
            if objection is None:
                chosen[vmac.name] = vmac
            else:
                refusals.append(Refusal(vmac.name, f"cannot make {vmac.name}: {objection}"))
        right = {
            name
            for name, vmac in chosen.items()
            if _is_right(links.get(name), vmac)
            and (name not in self._made or self._made[name].ipvlan == vmac.ipvlan)
        }
        self._remove(
            link.ifindex
            for name, link in links.items()
            if name not in right and (_is_marked(link) or name in chosen)
        )
        with_ipv4 = [vmac for vmac in chosen.values() if vmac.has_ipv4 and vmac.ipvlan is None]
        try:
            self._settle_others({names[vmac.parent] for vmac in with_ipv4}, chosen)
        except OSError as error:
            if not with_ipv4:
                raise
            # Without these, parents would answer for the addresses of their VMACs.
            refusals += [_unwritable(vmac.name, error) for vmac in with_ipv4]
            return refusals + self.settle(v for v in chosen.values() if v not in with_ipv4)
        missing = [vmac for name, vmac in chosen.items() if name not in right]
        refusals += self._make(missing, names)
        self._notify(missing, links.values())
        fresh = {vmac.name for vmac in missing}
        self.indexes = {
            link.name: link.ifindex
            for link in self._channel.dump_links()
            if link.name in chosen and (link.name in right or link.group == chosen[link.name].group)
        }
        known, self._made = self._made, {name: chosen[name] for name in self.indexes}
        new = [
            vmac for name, vmac in self._made.items() if name in fresh or known.get(name) != vmac
        ]
        unusable = self._configure(new, fresh)
        self._remove(self.indexes.pop(refusal.name) for refusal in unusable)
        for refusal in unusable:
            del self._made[refusal.name]
        return refusals + unusable

    def _make(self, wanted: list[Wanted], names: dict[int, str]) -> list[Refusal]:
        errors = self._apply(
            encode_macvlan(vmac.name, vmac.parent, vmac.mac, MACVLAN_MODE_VEPA, vmac.group)
            if vmac.ipvlan is None
            else vmac.ipvlan.encode(vmac.name, vmac.parent, vmac.group)
            for vmac in wanted
        )
        refusals: list[Refusal] = []
        for index, errno in errors:
            vmac = wanted[index]
            parent = names[vmac.parent]
            reason = os.strerror(errno)
            if errno == EBUSY:
                reason += f" (is {parent} a port of a bridge or a bond, or has it ipvlans?)"
            refusals.append(Refusal(vmac.name, f"cannot make {vmac.name} on {parent}: {reason}"))
        return refusals

    def _notify(self, made: Iterable[Wanted], links: Iterable[LinkEvent]) -> None:
        """Has the kernel tell of the links below: it does when a link is put into its own group."""
        parents = {vmac.parent for vmac in made if vmac.notifies}
        self._apply(
            encode_link(link.ifindex, group=link.group) for link in links if link.ifindex in parents
        )

    def _configure(self, wanted: list[Wanted], fresh: Collection[str]) -> list[Refusal]:
        """Sets what keeps a VMAC silent, and only then brings it up."""
        refusals: list[Refusal] = []
        ready: list[Wanted] = []
        for vmac in wanted:
            try:
                sysctl.write(sysctl.path_of("ipv6", vmac.name, "accept_ra"), "0")
                if vmac.ipvlan is None:
                    for name, value in (_WITH_IPV4 if vmac.has_ipv4 else _WITHOUT_IPV4).items():
                        sysctl.write(sysctl.path_of("ipv4", vmac.name, name), value)
                    # One that is taken over may belong to a master, whose addresses have to stay.
                    if vmac.name in fresh:
                        sysctl.write(ipv6_gate(vmac.name), "1")
            except OSError as error:
                refusals.append(_unwritable(vmac.name, error))
            else:
                ready.append(vmac)
        indexes = [self.indexes[vmac.name] for vmac in ready]
        self._apply(
            encode_link(
                index,
                group=vmac.group,
                addr_gen_mode=IN6_ADDR_GEN_MODE_EUI64
                if vmac.ipvlan is not None and vmac.ipvlan.address is None
                else IN6_ADDR_GEN_MODE_NONE,
                alias=None if vmac.group == GROUP else ALIAS,
            )
            for index, vmac in zip(indexes, ready, strict=True)
        )
        ups = self._apply(encode_link(index, up=True) for index in indexes)
        refusals += self._address([vmac for vmac in ready if vmac.ipvlan is not None])
        for index, errno in ups:
            name = ready[index].name
            reason = os.strerror(errno)
            if errno == EADDRINUSE:
                reason = "another macvlan on its parent has the same MAC"
            refusals.append(Refusal(name, f"cannot bring {name} up: {reason}"))
        return refusals

    def _address(self, ipvlans: list[Wanted]) -> list[Refusal]:
        """Gives ipvlans the addresses that are their own."""
        requests = {
            vmac.name: vmac.ipvlan.encode_address(self.indexes[vmac.name])
            for vmac in ipvlans
            if vmac.ipvlan is not None and vmac.ipvlan.address is not None
        }
        names = list(requests)
        return [
            Refusal(names[index], f"cannot give {names[index]} its address: {os.strerror(errno)}")
            for index, errno in self._apply(requests.values())
            if errno != EEXIST
        ]

    def _settle_others(self, parents: Collection[str], vmacs: Collection[str]) -> None:
        """Changes links that are not ours as far as VMACs with IPv4 addresses need it, and restores
        what they do not need (any more)."""
        needed = {
            sysctl.path_of("ipv4", parent, name): value
            for parent in parents
            for name, value in _PARENT.items()
        }
        if parents:
            needed |= self._without_all_rp_filter(vmacs)
        self._sysctls.restore(
            path
            for path in list(self._sysctls.originals)
            if path not in needed and path.rpartition("/")[2] in _OF_OTHERS
        )
        for path, value in needed.items():
            self._sysctls.change(path, value)

    def _without_all_rp_filter(self, vmacs: Collection[str]) -> dict[str, str]:
        """A link's `rp_filter` in force is the larger one of its own and that of "all" (Linux,
        ip-sysctl). It has to be 0 on a VMAC, whose packets come back by the parent: so "all" goes
        down to 0, and every other link gets what was in force."""
        everywhere = self._sysctls.originals.get(_ALL_RP_FILTER) or sysctl.read(_ALL_RP_FILTER)
        if everywhere in (None, "0"):
            return {}
        needed: dict[str, str] = {}
        for link in sysctl.links_of("ipv4"):
            path = sysctl.path_of("ipv4", link, "rp_filter")
            own = sysctl.read(path)
            if own is not None and path != _ALL_RP_FILTER and link not in vmacs:
                needed[path] = max(own, everywhere)
        needed[_ALL_RP_FILTER] = "0"
        return needed

    def _remove(self, ifindexes: Iterable[int]) -> None:
        """Removes links in one go, which costs the kernel a hundredth of one after the other. They
        are put into a group that nobody else is in, so that no other link goes with them."""
        indexes = list(ifindexes)
        if indexes:
            group = 1 << 30 | secrets.randbits(30)
            self._apply(encode_link(index, group=group) for index in indexes)
            self._apply([encode_link_removal(group=group)])

    def _apply(self, requests: Iterable[bytes]) -> list[tuple[int, int]]:
        """Errors by the index of their request."""
        self._channel.apply(list(requests), 0, _UNBOUNDED_NS)
        return self._channel.take_errors()


def _unwritable(name: str, error: OSError) -> Refusal:
    return Refusal(
        name,
        f"cannot make {name}: kernel parameters that it needs cannot be set ({error.strerror}); "
        f"mount /proc/sys writable",
    )


def _objection(
    wanted: Wanted,
    link: LinkEvent | None,
    names: Mapping[int, str],
    holders: dict[tuple[int, bytes], str],
) -> str | None:
    """Why a VMAC cannot be made: `link` has its name, `names` has all links by ifindex, `holders`
    has the VMACs that were chosen already by parent and MAC."""
    if wanted.parent not in names:
        return "no parent link"
    if link is not None and not _is_ours(link, wanted):
        kind = f"{link.kind} link" if link.kind else "link"
        return (
            f"a {kind} of that name exists and is not ours; rename or remove it, or give use_vmac "
            f"another name"
        )
    if wanted.ipvlan is None:
        holder = holders.setdefault((wanted.parent, wanted.mac), wanted.name)
        if holder != wanted.name:
            # Linux would make it, and refuse to bring it up.
            return (
                f"{holder} has the same MAC on the same link; give one of their virtual routers "
                f"another virtual_router_id, or a MAC of its own"
            )
    return None


def _is_right(link: LinkEvent | None, wanted: Wanted) -> bool:
    if link is None or link.parent != wanted.parent:
        return False
    if wanted.ipvlan is not None:
        return wanted.ipvlan.is_right(link)
    return link.kind == "macvlan" and link.mode == MACVLAN_MODE_VEPA and link.mac == wanted.mac


def _is_marked(link: LinkEvent) -> bool:
    return link.kind in ("macvlan", "ipvlan") and (link.group == GROUP or link.alias == ALIAS)


def _is_ours(link: LinkEvent, wanted: Wanted) -> bool:
    """Whether a link with a VMAC's name may be taken over or replaced: keepalived's count too."""
    return _is_marked(link) or (
        (
            link.kind == "macvlan"
            and (
                link.mac[:5] in _MAC_PREFIXES
                or (link.mac, link.parent) == (wanted.mac, wanted.parent)
            )
        )
        or (wanted.ipvlan is not None and link.kind == "ipvlan" and link.parent == wanted.parent)
    )
