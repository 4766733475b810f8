"""What a reload would change, virtual router by virtual router.

A virtual router goes on through a reload where its identity stays: namespace, interface, family,
VRID, and where its adverts go, which is the multicast group, or unicast peers of which at least one
remains (those that remain go on hearing it). Its name may change. So it leaves MASTER only

- where it is removed,
- where its identity changes: that is another virtual router, which starts from the beginning,
- where its priority is lowered, if a backup then has a higher one and preempts.

Everything else (addresses, intervals, authentication, VMAC, announcements) is changed under a
MASTER that stays one.

What else a configuration has (sync groups, trackers, servers, ...) is compared thing by thing, by
what names it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from typing import Any

from fastvrrp.config.as_json import SECRETS, units_of
from fastvrrp.config.naming import KEYED, KINDS, name_of, text_of
from fastvrrp.config.written import FAMILY_NAMES
from fastvrrp.model import Command, Configuration, VirtualRouter


@dataclass(frozen=True, slots=True)
class Change:
    """One virtual router that a reload adds (no `old`), removes (no `new`) or changes."""

    old: VirtualRouter | None
    new: VirtualRouter | None
    differences: tuple[str, ...] = ()
    """`FIELD: OLD -> NEW` each, of what is changed."""
    leaves: str = ""
    """Why it would leave MASTER, or nothing where it stays."""

    @property
    def router(self) -> VirtualRouter:
        """The virtual router as it will be, or was."""
        router = self.new or self.old
        assert router is not None
        return router


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a reload would do."""

    definitions: tuple[str, ...]
    """Differences of what holds for the whole daemon."""
    things: tuple[str, ...]
    """Lines about everything that is no virtual router."""
    changes: tuple[Change, ...]
    """Removals first, then what the new configuration has, in its order."""
    unchanged: int
    """Virtual routers that stay as they are."""

    def lines(self) -> Iterator[str]:
        """The plan for a person to read, its last line a summary."""
        for difference in self.definitions:
            yield f"~ global_defs: {difference}"
        yield from self.things
        for change in self.changes:
            router = change.router
            sign = "+" if change.old is None else "-" if change.new is None else "~"
            yield (
                f"{sign} {router.name} ({router.where}, {FAMILY_NAMES[router.family]},"
                f" VRID {router.vrid})"
            )
            for difference in change.differences:
                yield f"    {difference}"
            if change.leaves:
                yield f"    leaves MASTER: {change.leaves}"
        added = sum(change.old is None for change in self.changes)
        removed = sum(change.new is None for change in self.changes)
        leaving = sum(bool(change.leaves) for change in self.changes)
        yield (
            f"{added} added, {removed} removed, {len(self.changes) - added - removed} changed,"
            f" {self.unchanged} unchanged; {leaving or 'none'} would leave MASTER"
        )


def compare(old: Configuration, new: Configuration) -> Plan:
    """What a reload from one configuration to the other would do."""
    waiting = {router.name: router for router in old.virtual_routers}
    by_identity = {key: router for router in old.virtual_routers for key in identities(router)}
    pairs: dict[str, VirtualRouter] = {}
    for router in new.virtual_routers:
        for key in identities(router):
            before = by_identity.get(key)
            if before is not None and before.name in waiting:
                pairs[router.name] = waiting.pop(before.name)
                break
    changes: list[Change] = []
    unchanged = 0
    for router in new.virtual_routers:
        before = pairs.get(router.name)
        leaves = ""
        if before is not None:
            if before == router:
                unchanged += 1
                continue
            if router.priority < before.priority:
                leaves = f"if a backup has a priority above {router.priority}, and preempts"
        elif router.name in waiting:
            before = waiting.pop(router.name)
            leaves = "it becomes another virtual router"
        found = () if before is None else tuple(differences(before, router))
        changes.append(Change(before, router, found, leaves))
    removed = [Change(router, None, (), "it is removed") for router in waiting.values()]
    return Plan(
        tuple(differences(old.definitions, new.definitions)),
        tuple(_things(old, new)),
        (*removed, *changes),
        unchanged,
    )


Identity = tuple[str | None, str, int, int, bool, bytes]
"""Namespace, interface, family, VRID, whether it is unicast, and the group or a peer."""


def identities(router: VirtualRouter) -> Iterator[Identity]:
    """What must stay for a virtual router to go on; one of several where it is unicast."""
    place = (router.namespace, router.where, router.family, router.vrid)
    if not router.unicast_peers:
        yield (*place, False, router.multicast_group)
    for peer in router.unicast_peers:
        yield (*place, True, peer.address)


def _things(old: Configuration, new: Configuration) -> Iterator[str]:
    """Lines about what is no virtual router: what goes, then what comes or changes."""
    for difference in differences(old.tls_client, new.tls_client):
        yield f"~ SSL: {difference}"
    for field, kind in KINDS.items():
        before = {name_of(thing): thing for thing in getattr(old, field)}
        after = {name_of(thing): thing for thing in getattr(new, field)}
        for name in before:
            if name not in after:
                yield f"- {kind} {name}"
        for name, thing in after.items():
            if name not in before:
                yield f"+ {kind} {name}"
            elif before[name] != thing:
                yield f"~ {kind} {name}"
                for difference in differences(before[name], thing):
                    yield f"    {difference}"


def differences(old: Any, new: Any, prefix: str = "") -> Iterator[str]:
    """`FIELD: OLD -> NEW` for each field that differs of two values of one class."""
    for name, unit in units_of(type(old)).items():
        yield from _difference(prefix + name, unit, getattr(old, name), getattr(new, name))


def _difference(name: str, unit: str, old: object, new: object) -> Iterator[str]:
    """Differences of one field: of a list what comes and goes, of a group its fields."""
    if old == new:
        return
    if unit in SECRETS:
        yield f"{name}: changed"
    elif isinstance(old, tuple) and isinstance(new, tuple):
        yield from _list_difference(name, unit, old, new)
    elif is_dataclass(old) and type(old) is type(new) and not isinstance(old, Command):
        yield from differences(old, new, f"{name}.")
    else:
        yield f"{name}: {text_of(old, unit)} -> {text_of(new, unit)}"


def _list_difference(
    name: str, unit: str, old: tuple[object, ...], new: tuple[object, ...]
) -> Iterator[str]:
    """What goes and what comes; of what stays by its name, the fields that change."""
    before = {name_of(item): item for item in old if isinstance(item, KEYED)}
    after = {name_of(item): item for item in new if isinstance(item, KEYED)}
    changed = [key for key in after if key in before and before[key] != after[key]]
    kept = set(old) & set(new)
    kept.update(after[key] for key in changed)
    kept.update(before[key] for key in changed)
    gone = [f"-{text_of(item, unit)}" for item in old if item not in kept]
    come = [f"+{text_of(item, unit)}" for item in new if item not in kept]
    if gone or come or not changed:
        yield f"{name}: {' '.join(gone + come) or 'in another order'}"
    for key in changed:
        yield from differences(before[key], after[key], f"{name}[{key}].")
