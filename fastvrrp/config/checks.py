"""What can only be seen in the whole: two instances that claim the same thing.

The second claimant of a name or of a VRID is dropped. An address in two instances is a warning: it
may be meant, where the two are never master together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fastvrrp.config.arguments import address_text
from fastvrrp.config.build import Draft
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry
from fastvrrp.config.written import FAMILY_NAMES, is_link_local
from fastvrrp.model import VirtualAddress, VirtualRouter

Key = tuple[str | None, str, int, int, bytes]
"""Namespace, interface, family, VRID, and the multicast group or a peer."""


class Claims:
    """Who has which name, VRID and address so far."""

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._names: dict[str, Statement] = {}
        self._multicast: dict[Key, Draft] = {}
        self._unicast: dict[Key, Draft] = {}
        self._addresses: dict[tuple[bytes, str, str | None], Draft] = {}

    def name(self, entry: Entry) -> bool:
        """False, after a complaint, where an instance of that name was written before."""
        name = entry.statement.words[1]
        holder = self._names.setdefault(name, entry.statement)
        if holder is not entry.statement:
            self._complaints.error(
                entry.statement,
                1,
                f"vrrp_instance {name} is in {holder.place().file}:{holder.number} already;"
                " it is left out here",
            )
            return False
        return True

    def accept(self, draft: Draft) -> bool:
        """False, after a complaint, where another instance has what this one claims."""
        router = draft.router
        holder = self._holder_of_vrid(router)
        if holder is not None:
            self._complaints.error(
                draft.statement,
                1,
                f"vrrp_instance {router.name} has virtual_router_id {router.vrid} with"
                f" {FAMILY_NAMES[router.family]} on {router.where}, as"
                f" {holder.router.name} of line {holder.statement.number} has",
            )
            return False
        self._remember(draft)
        self._check_addresses(draft)
        return True

    def _holder_of_vrid(self, router: VirtualRouter) -> Draft | None:
        for claims, key in _vrid_keys(self._multicast, self._unicast, router):
            holder = claims.get(key)
            if holder is not None:
                return holder
        return None

    def _remember(self, draft: Draft) -> None:
        for claims, key in _vrid_keys(self._multicast, self._unicast, draft.router):
            claims[key] = draft

    def _check_addresses(self, draft: Draft) -> None:
        router = draft.router
        addresses: Iterable[VirtualAddress] = router.addresses
        if router.excluded_addresses:
            addresses = router.addresses + router.excluded_addresses
        for address, statement in zip(addresses, draft.address_statements, strict=True):
            packed = address.address
            where = ""
            if is_link_local(address):
                where = address.interface or router.interface
            holder = self._addresses.setdefault((packed, where, router.namespace), draft)
            if holder is not draft:
                self._complaints.warning(
                    statement,
                    0,
                    f"{address_text(packed)} of {router.name} is also an address of"
                    f" {holder.router.name} (line {holder.statement.number})",
                    is_ours=True,
                )


def _vrid_keys(
    multicast: dict[Key, Draft], unicast: dict[Key, Draft], router: VirtualRouter
) -> Iterator[tuple[dict[Key, Draft], Key]]:
    """What must be unique: one key a multicast group, or one for every unicast peer."""
    place = (router.namespace, router.where, router.family, router.vrid)
    if not router.unicast_peers:
        yield multicast, (*place, router.multicast_group)
    for peer in router.unicast_peers:
        yield unicast, (*place, peer.address)
