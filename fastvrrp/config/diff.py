"""What a reload would change, virtual router by virtual router.

A virtual router goes on through a reload where its identity stays: interface, family, VRID, and
where its adverts go, which is the multicast group, or unicast peers of which at least one remains
(those that remain go on hearing it). Its name may change. So it leaves MASTER only

- where it is removed,
- where its identity changes: that is another virtual router, which starts from the beginning,
- where its priority is lowered, if a backup then has a higher one and preempts.

Everything else (addresses, intervals, authentication, VMAC, announcements) is changed under a
MASTER that stays one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

from fastvrrp.config.arguments import address_text
from fastvrrp.config.as_json import plain
from fastvrrp.config.written import FAMILY_NAMES
from fastvrrp.model import (
    Configuration,
    GlobalDefinitions,
    UnicastPeer,
    VirtualAddress,
    VirtualRouter,
)

SECRETS = frozenset({"password"})
"""Fields whose values are nobody's to read."""


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
    changes: tuple[Change, ...]
    """Removals first, then what the new configuration has, in its order."""
    unchanged: int
    """Virtual routers that stay as they are."""

    def lines(self) -> Iterator[str]:
        """The plan for a person to read, its last line a summary."""
        for difference in self.definitions:
            yield f"~ global_defs: {difference}"
        for change in self.changes:
            router = change.router
            sign = "+" if change.old is None else "-" if change.new is None else "~"
            yield (
                f"{sign} {router.name} ({router.interface}, {FAMILY_NAMES[router.family]},"
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
        (*removed, *changes),
        unchanged,
    )


Identity = tuple[str, int, int, bool, bytes]
"""Interface, family, VRID, whether it is unicast, and the group or a peer."""


def identities(router: VirtualRouter) -> Iterator[Identity]:
    """What must stay for a virtual router to go on; one of several where it is unicast."""
    place = (router.interface, router.family, router.vrid)
    if not router.unicast_peers:
        yield (*place, False, router.multicast_group)
    for peer in router.unicast_peers:
        yield (*place, True, peer.address)


def differences(
    old: VirtualRouter | GlobalDefinitions, new: VirtualRouter | GlobalDefinitions
) -> Iterator[str]:
    """`FIELD: OLD -> NEW` for each field that differs."""
    for field in fields(old):
        yield from _difference(field.name, getattr(old, field.name), getattr(new, field.name))


def _difference(name: str, old: object, new: object) -> Iterator[str]:
    """Differences of one field: of a list what comes and goes, of a group its fields."""
    if old == new:
        return
    if name in SECRETS:
        yield f"{name}: changed"
    elif isinstance(old, tuple) and isinstance(new, tuple):
        kept = set(old) & set(new)
        gone = [f"-{_item(item)}" for item in old if item not in kept]
        come = [f"+{_item(item)}" for item in new if item not in kept]
        yield f"{name}: {' '.join(gone + come) or 'in another order'}"
    elif is_dataclass(old) and type(old) is type(new) and not isinstance(old, type):
        for field in fields(old):
            before, after = getattr(old, field.name), getattr(new, field.name)
            yield from _difference(f"{name}.{field.name}", before, after)
    else:
        yield f"{name}: {_text(old, name)} -> {_text(new, name)}"


def _item(item: object) -> str:
    """An address or a peer in one word, with what else there is of it."""
    assert isinstance(item, VirtualAddress | UnicastPeer)
    word = address_text(item.address)
    if isinstance(item, UnicastPeer):
        bounds = (item.min_ttl, item.max_ttl)
        return word if bounds == (0, 255) else f"{word}[ttl {bounds[0]}-{bounds[1]}]"
    plainest = VirtualAddress(
        item.family, item.address, item.prefixlen, preferred_lifetime=item.preferred_lifetime
    )
    options = [
        f"{field.name} {_text(getattr(item, field.name), field.name)}"
        for field in fields(item)
        if getattr(item, field.name) != getattr(plainest, field.name)
    ]
    return f"{word}/{item.prefixlen}" + (f"[{', '.join(options)}]" if options else "")


def _text(value: object, name: str) -> str:
    """A value in one word; nothing is `none`."""
    shown = plain(value, name.rpartition(".")[2])
    if shown is None or shown == "":
        return "none"
    if isinstance(shown, dict):
        return str(shown["name"])
    return shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
