"""What has to be in the kernel besides virtual addresses: routes, rules and static addresses.

Whoever wants a thing there is an owner of it; equal things are one, and it is there for as long as
one owner is. So the default route of two instances stays when one of them becomes a backup.

Changes are queued and carried out in the one other thread, in the order in which they were asked
for, many to a batch. A thing that the kernel refuses is said once, with the kernel's reason, and
everything else goes on; it is tried again when its interface has changed, or its owner asks.

What we have added ourselves, and the kernel tells to be removed, was removed by somebody else:
`on_lost`. Linux does not tell of every route of IPv4 that it removes: those of a link that goes
down, or of an address that goes, vanish without a word. `add` and `restore` put them back without
asking whether they are there.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from errno import EADDRNOTAVAIL, EEXIST, ENODEV, ENOENT, ESRCH
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from typing import NamedTuple, TypeAlias

from fastvrrp._rtnetlink import Overrun
from fastvrrp.kernel import addresses, routes, rules
from fastvrrp.kernel.attributes import HEADER, Message, request
from fastvrrp.kernel.links import Links
from fastvrrp.kernel.routes import RTM_DELROUTE
from fastvrrp.kernel.rtsockets import Requests, Watch
from fastvrrp.kernel.rules import RTM_DELRULE
from fastvrrp.model import Placement, Route, Rule, VirtualAddress
from fastvrrp.vrrp.place import Place, Survey

log = logging.getLogger(__name__)

Thing: TypeAlias = Route | Rule | VirtualAddress

_ALREADY = {True: (EEXIST,), False: (ESRCH, ENOENT, ENODEV, EADDRNOTAVAIL)}
"""Answers that mean that a thing is as it should be, by whether it is added."""
_BATCH = 128
"""Requests at most between two looks at what is asked for meanwhile."""
_READ_LIMIT = 128


class _Kind(Enum):
    ADD = "add"
    REMOVE = "remove"
    REPLACE = "replace"
    CLEAR = "clear"
    """Remove what another process has left, if it is there."""


class _Entry:
    """A thing that somebody wants, and what became of it."""

    __slots__ = ("additions", "key", "owners", "removal", "stands", "stood")

    def __init__(self) -> None:
        self.owners: set[Hashable] = set()
        self.additions = 0
        """How often the kernel has answered one."""
        self.stands: bool | None = None
        """None until the kernel has answered."""
        self.stood = False
        """It was there once."""
        self.removal: bytes | None = None
        """The request that removes it from where it was added, whatever its link is called then."""
        self.key: Hashable = None
        """What the kernel calls it, where it is to be noticed that it is removed."""


class _Stood(NamedTuple):
    """A thing that is to stand, when a dump was asked for. What that does not show is lost, unless
    the thing was added anew, or is unwanted, since then."""

    key: Hashable
    thing: Thing
    entry: _Entry
    additions: int


@dataclass(slots=True)
class _Change:
    kind: _Kind
    thing: Thing
    entry: _Entry
    old: Thing | None = None
    """What is replaced."""
    old_removal: bytes | None = None
    is_repair: bool = False
    """It may have gone without a word."""
    message: bytes | None = None
    key: Hashable = None
    refusal: str = ""


class Upkeep:
    """Adds things, keeps them and removes them; speaks to one network namespace."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._links = place.links
        self._entries: dict[Thing, _Entry] = {}
        self._by_key: dict[Hashable, Thing] = {}
        self._queue: deque[_Change] = deque()
        self._out: _Batch | None = None
        self._requests: Requests | None = None
        self._watch: Watch | None = None
        self._missing: deque[_Stood] = deque()
        """What a dump has not found."""
        self._has_begun = False
        self._said: dict[Thing, str] = {}
        """What was said last of things that the kernel refused."""
        self.on_lost: Callable[[Thing, frozenset[Hashable]], None] = lambda *_: None
        """Somebody else has removed a thing of these owners."""
        self.on_settled: Callable[[Thing, frozenset[Hashable], bool], None] = lambda *_: None
        """The kernel has answered: a thing of these owners is there, or it is not."""
        self.on_missing: Callable[[], object] = self.read_removals
        """A dump has shown that things are missing: `read_removals` is to be called, soon."""
        self.on_watch: Callable[[Watch], None] = lambda _: None
        """The socket that is to be read (`read_removals`) was opened."""

    def add(self, owner: Hashable, things: Iterable[Thing]) -> None:
        """Has things added for an owner; also those that it has already, since one may have gone
        without a word."""
        for thing in things:
            self._add(owner, thing)
        self._pump()

    def remove(self, owner: Hashable, things: Iterable[Thing]) -> None:
        """Has things removed, but for those that somebody else owns too."""
        for thing in things:
            self._remove(owner, thing)
        self._pump()

    def replace(
        self, owner: Hashable, old: Iterable[Thing], new: Iterable[Thing]
    ) -> Iterator[None]:
        """Has new things instead of old ones. A route takes the place of another one without a gap;
        what is in both is not touched, but added where it has gone without a word. It may stop
        between any two steps."""
        after: dict[Thing, None] = {}
        for thing in new:
            after[thing] = None
            yield
        going: dict[Thing, None] = {}
        kept: Counter[Hashable] = Counter()
        for thing in old:
            if thing in after:
                kept[_place(thing)] += 1
            else:
                going[thing] = None
            yield
        by_place = {_place(thing): thing for thing in going if self._is_replaceable(thing, owner)}
        for thing in after:
            place = _place(thing)
            before = by_place.pop(place, None) if thing not in self._entries else None
            if before is not None and not kept[place]:
                del going[before]
                self._replace(owner, before, thing)
            elif before is not None:
                by_place[place] = before
            yield
        for thing in going:
            self._remove(owner, thing)
            yield
        for thing in after:
            entry = self._entries.get(thing)
            if entry is None or entry.stands is not None or owner not in entry.owners:
                self._add(owner, thing)
            yield
        self._pump()

    def clear(self, things: Iterable[Thing]) -> None:
        """Has removed what an earlier process may have left of things that nobody owns. What is
        owned and may have been taken for one of them is added again."""
        left = {_in_kernel(thing): thing for thing in things}
        if not left:
            return
        for same in left.keys() & {_in_kernel(thing) for thing in self._entries}:
            del left[same]
        self._queue.extend(_Change(_Kind.CLEAR, thing, _Entry()) for thing in left.values())
        near = {_near(thing) for thing in left}
        for thing, entry in self._entries.items():
            if _near(thing) in near:
                self._queue.append(_Change(_Kind.ADD, thing, entry))
        self._pump()

    def restore(self, things: Iterable[Thing]) -> None:
        """Has things that are owned added again where they are not there any more."""
        for thing in things:
            entry = self._entries.get(thing)
            if entry is not None:
                self._queue.append(_Change(_Kind.ADD, thing, entry, is_repair=True))
        self._pump()

    def has_stood(self, thing: Thing) -> bool:
        """Whether a thing that is owned was ever there."""
        entry = self._entries.get(thing)
        return entry is not None and entry.stood

    def read_removals(self) -> None:
        """Takes in what the kernel has told (`on_watch`). Where it dropped something, everything
        is compared with a dump."""
        if self._watch is None:
            return
        for _ in range(min(len(self._missing), _READ_LIMIT)):
            self._lose_since(self._missing.popleft())
        if self._missing:
            self.on_missing()
        try:
            messages = self._watch.read(_READ_LIMIT)
        except Overrun:
            log.warning("the kernel dropped notifications of routes: reading all of them")
            self._resynchronise()
            return
        for message in messages:
            self._take(message)

    def address_gone(self, ifindex: int, family: int, address: bytes) -> None:
        """An address has left the kernel, whoever removed it."""
        self._lose(self._by_key.get((ifindex, family, address)))

    def begin(self) -> None:
        """From now on the other thread carries out what is asked for; until then, `finish`."""
        self._has_begun = True
        self._pump()

    def resume(self) -> None:
        """The namespace has come: what has been asked for meanwhile is carried out."""
        self._pump()

    def survey(self) -> Survey:
        """Notifications of addresses were lost, and a dump is about to be made: see Survey."""
        before = self._standing(are_addresses=True)

        def compare(found: set[tuple[int, bytes]]) -> Iterator[None]:
            for each in before:
                if isinstance(each.key, tuple):
                    ifindex, _, address = each.key
                    if (ifindex, address) not in found:
                        self._lose_since(each)
                yield

        return compare

    def finish(self) -> None:
        """Carries out everything that is queued, in this thread: the other one does nothing for us
        yet (`begin`), or has ended."""
        if self._out is not None:
            self._settle(self._out)
            self._out = None
        while self._queue:
            batch = self._next_batch()
            batch.run()
            self._settle(batch)

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be carried out."""
        return bool(self._queue) or self._out is not None

    def close(self) -> None:
        """Closes the sockets; they are opened again when there is something to do."""
        for opened in (self._watch, self._requests):
            if opened is not None:
                opened.close()
        self._watch = self._requests = None
        self._missing.clear()

    def _add(self, owner: Hashable, thing: Thing) -> None:
        entry = self._entries.get(thing)
        if entry is None:
            entry = self._entries[thing] = _Entry()
        entry.owners.add(owner)
        self._queue.append(_Change(_Kind.ADD, thing, entry))

    def _remove(self, owner: Hashable, thing: Thing) -> None:
        entry = self._entries.get(thing)
        if entry is None or owner not in entry.owners:
            return
        entry.owners.discard(owner)
        if not entry.owners:
            self._forget(thing, entry)
            self._queue.append(_Change(_Kind.REMOVE, thing, entry))

    def _replace(self, owner: Hashable, old: Thing, new: Thing) -> None:
        before = self._entries[old]
        self._forget(old, before)
        entry = self._entries[new] = _Entry()
        entry.owners.add(owner)
        self._queue.append(_Change(_Kind.REPLACE, new, entry, old, before.removal))

    def _is_replaceable(self, thing: Thing, owner: Hashable) -> bool:
        """Whether nobody else wants it, and the kernel has it to be replaced."""
        entry = self._entries.get(thing)
        is_there = entry is not None and entry.owners == {owner} and entry.stands is True
        return is_there and _place(thing) is not None

    def _forget(self, thing: Thing, entry: _Entry) -> None:
        self._entries.pop(thing, None)
        if self._by_key.get(entry.key) == thing:
            del self._by_key[entry.key]

    def _pump(self) -> None:
        if self._has_begun and self._out is None and self._queue and self._place.is_open:
            self._out = self._next_batch()
            self._place.run_elsewhere(self._out.run, self._take_back)

    def _next_batch(self) -> _Batch:
        if self._requests is None:
            with self._place.inside():
                self._requests = Requests()
        batch = _Batch(self._requests, self._links)
        while self._queue and len(batch.changes) < _BATCH:
            # What is to be removed is looked for when all that comes before was done.
            clears = self._queue[0].kind is _Kind.CLEAR
            if batch.changes and clears != (batch.changes[-1].kind is _Kind.CLEAR):
                break
            change = self._queue.popleft()
            batch.changes.append(change)
            if self._watch is None and not isinstance(change.thing, VirtualAddress):
                with self._place.inside():
                    self._watch = Watch()
                self.on_watch(self._watch)
        return batch

    def _take_back(self) -> None:
        batch, self._out = self._out, None
        if batch is not None:
            self._settle(batch)
        self._pump()

    def _settle(self, batch: _Batch) -> None:
        for change in batch.changes:
            if change.kind in (_Kind.ADD, _Kind.REPLACE):
                self._settle_addition(change)
            elif change.refusal:
                self._say(change)

    def _settle_addition(self, change: _Change) -> None:
        entry, thing = change.entry, change.thing
        if change.refusal:
            self._say(change)
            if change.old is not None and change.old_removal is not None:
                gone = _Entry()
                gone.removal = change.old_removal
                self._queue.append(_Change(_Kind.REMOVE, change.old, gone))
        else:
            self._said.pop(thing, None)
            if change.is_repair and entry.stood:
                log.info("Restoring deleted %s", describe(thing))
        if self._entries.get(thing) is not entry:
            return  # it is unwanted again, and its removal is queued
        entry.additions += 1
        entry.stands = not change.refusal
        entry.stood |= entry.stands
        if entry.stands and change.key is not None and thing.is_tracked:
            if self._by_key.get(entry.key) == thing:
                del self._by_key[entry.key]  # its interface has another number
            entry.key = change.key
            self._by_key[change.key] = thing
        self.on_settled(thing, frozenset(entry.owners), entry.stands)

    def _say(self, change: _Change) -> None:
        if self._said.get(change.thing) != change.refusal:
            self._said[change.thing] = change.refusal
            verb = "remove" if change.kind in (_Kind.REMOVE, _Kind.CLEAR) else "add"
            log.error("cannot %s %s: %s", verb, describe(change.thing), change.refusal)

    def _take(self, message: Message) -> None:
        assert self._requests is not None
        if message.port == self._requests.port:
            return
        if message.kind == RTM_DELROUTE:
            self._lose(self._by_key.get(routes.key_in(message.body)))
        elif message.kind == RTM_DELRULE:
            self._lose(self._by_key.get(rules.key_in(message.body)))

    def _lose(self, thing: Thing | None) -> None:
        entry = self._entries.get(thing) if thing is not None else None
        if thing is not None and entry is not None and entry.stands:
            entry.stands = False
            self.on_lost(thing, frozenset(entry.owners))

    def _standing(self, *, are_addresses: bool) -> list[_Stood]:
        """The addresses that should stand, or all else that should."""
        return [
            _Stood(key, thing, self._entries[thing], self._entries[thing].additions)
            for key, thing in self._by_key.items()
            if isinstance(thing, VirtualAddress) == are_addresses
        ]

    def _lose_since(self, stood: _Stood) -> None:
        """A dump has not shown it."""
        entry = self._entries.get(stood.thing)
        if entry is stood.entry and entry.additions == stood.additions:
            self._lose(stood.thing)

    def _resynchronise(self) -> None:
        """Compares what should stand with what there is."""
        found: set[Hashable] = set()
        watched = self._standing(are_addresses=False)

        def read() -> None:
            assert self._requests is not None
            for family in (AF_INET, AF_INET6):
                found.update(map(routes.key_in, self._requests.dump_routes(family)))
                found.update(map(rules.key_in, self._requests.dump_rules(family)))

        def compare() -> None:
            if found:
                self._missing.extend(each for each in watched if each.key not in found)
                if self._missing:
                    self.on_missing()

        self._place.run_elsewhere(read, compare)


@dataclass(slots=True)
class _Batch:
    """Some changes on their way to the kernel."""

    requests: Requests
    links: Links
    changes: list[_Change] = field(default_factory=list)
    found: dict[int, set[Hashable]] = field(default_factory=dict)
    """By family: what routes there are, once that was asked for."""
    rules_left: dict[int, list[bytes]] = field(default_factory=dict)
    """By family: what rules there were before any of these changes, once that was asked for."""
    routes_left: dict[int, list[bytes]] = field(default_factory=dict)
    """By protocol: what routes of IPv4 there are before the next of these changes, in the order in
    which the kernel looks at them, once that was asked for."""

    def run(self) -> None:
        """Has the kernel carry them out: in the other thread, since it may take long."""
        asked: list[tuple[_Change, bytes]] = []
        for change in self.changes:
            try:
                asked += [(change, message) for message in self._messages(change)]
            except (LookupError, ValueError, OverflowError, struct.error) as error:
                change.refusal = str(error.args[0])
            except OSError as error:
                change.refusal = error.strerror or str(error)
        try:
            refusals = self.requests.apply([message for _, message in asked])
        except OSError as error:
            for change, _ in asked:
                change.refusal = error.strerror or str(error)
            return
        for refusal in refusals:
            change, _ = asked[refusal.position]
            adds = change.kind in (_Kind.ADD, _Kind.REPLACE)
            if refusal.errno not in _ALREADY[adds] and not self._is_there(change):
                change.refusal = refusal.reason
            elif adds:
                change.is_repair = False  # it was there

    def _is_there(self, change: _Change) -> bool:
        """Whether what should be restored is there although the kernel refuses it: it would not add
        a route whose gateway cannot be reached any more, but keeps it."""
        thing = change.thing
        if not (change.is_repair and isinstance(thing, Route)):
            return False
        if thing.family not in self.found:
            try:
                bodies = self.requests.dump_routes(thing.family, thing.protocol)
            except OSError:
                return False
            self.found[thing.family] = {routes.key_in(body) for body in bodies}
        return change.key in self.found[thing.family]

    def _messages(self, change: _Change) -> Iterator[bytes]:
        thing, entry = change.thing, change.entry
        if change.kind is _Kind.CLEAR:
            yield from self._clearing(thing)
            return
        if change.kind is _Kind.REMOVE:
            if entry.removal is not None:
                yield entry.removal
            return
        replaces = change.kind is _Kind.REPLACE
        message = self._encode(thing, add=True, replace=replaces)
        entry.removal = self._encode(thing, add=False)
        change.key = self._key(thing)
        yield message

    def _clearing(self, thing: Thing) -> Iterator[bytes]:
        """What removes a thing that we, or keepalived, left; one that cannot be is not there."""
        if isinstance(thing, Rule):
            wanted = rules.key_of(thing)
            # keepalived marks no rule that it does not track.
            marks = {thing.protocol} if thing.is_tracked else {thing.protocol, 0}
            if thing.family not in self.rules_left:
                self.rules_left[thing.family] = self.requests.dump_rules(thing.family)
            for body in self.rules_left[thing.family]:
                if rules.key_in(body) == wanted and rules.protocol_in(body) in marks:
                    yield request(RTM_DELRULE, 0, body)
            return
        try:
            if isinstance(thing, Route) and thing.family == AF_INET:
                yield from self._clearing_route(thing)
            elif isinstance(thing, Route):
                # Without a metric the kernel would remove whichever comes first.
                metric = thing.priority or routes.IPV6_DEFAULT_PRIORITY
                yield self._encode(replace(thing, priority=metric), add=False)
            else:
                yield self._encode(thing, add=False)
        except LookupError:
            return

    def _clearing_route(self, thing: Route) -> Iterator[bytes]:
        """What removes just that route of IPv4: the kernel removes the first one that has all that
        is asked for, and whatever else. Those that are before it go behind it first; meanwhile it
        stands, so that there is a route at any moment."""
        if thing.protocol not in self.routes_left:
            dumped = self.requests.dump_routes(AF_INET, thing.protocol)
            self.routes_left[thing.protocol] = dumped
        there = self.routes_left[thing.protocol]
        asked = self._encode(thing, add=False)[HEADER.size :]
        at = next((at for at, body in enumerate(there) if routes.is_just(asked, body)), None)
        if at is None:
            return
        body = there.pop(at)
        before = [each for each in there[:at] if routes.covers(body, each)]
        removal = request(RTM_DELROUTE, 0, body)
        yield from (removal for _ in before)
        for each in before:
            there.remove(each)
            there.append(each)
            yield routes.again_last(each)
        yield removal

    def _encode(self, thing: Thing, *, add: bool, replace: bool = False) -> bytes:
        if isinstance(thing, Route):
            return routes.encode(thing, add, self._ifindex, self._table, replace=replace)
        if isinstance(thing, Rule):
            return rules.encode(thing, add)
        ifindex = self._ifindex(thing.interface or "")
        return addresses.encode(thing, ifindex, add, addresses.STATIC_PROTOCOL)

    def _key(self, thing: Thing) -> Hashable:
        if isinstance(thing, Route):
            return routes.key_of(thing, self._ifindex, self._table)
        if isinstance(thing, Rule):
            return rules.key_of(thing)
        return (self._ifindex(thing.interface or ""), thing.family, thing.address)

    def _ifindex(self, name: str) -> int:
        link = self.links.by_name(name)
        if link is None:
            raise LookupError(f"interface {name} does not exist")
        return link.index

    def _table(self, name: str) -> int:
        table = self.requests.vrf_table(self._ifindex(name))
        if table is None:
            raise LookupError(f"interface {name} is no VRF")
        return table


def interfaces_of(thing: Thing) -> set[str]:
    """The interfaces that a thing is about."""
    if isinstance(thing, Route):
        return routes.interfaces_of(thing)
    if isinstance(thing, Rule):
        return rules.interfaces_of(thing)
    return {thing.interface} if thing.interface is not None else set()


def tracked_interfaces(thing: Thing) -> set[str]:
    """The interfaces without which those who track a thing fail."""
    if not thing.is_tracked:
        return set()
    if isinstance(thing, Route):
        name = routes.interface_of(thing)
        return {name} if name is not None else set()
    return interfaces_of(thing)


def describe(thing: Thing) -> str:
    """A thing in the words of ip(8)."""
    if isinstance(thing, Route):
        return f"route {routes.describe(thing)}"
    if isinstance(thing, Rule):
        return f"rule {rules.describe(thing)}"
    return f"address {ip_address(thing.address)}/{thing.prefixlen} dev {thing.interface}"


def _in_kernel(thing: Thing) -> Thing:
    """A thing without what the kernel does not know of it: equal ones are one there."""
    return replace(thing, is_tracked=True, track_group=None)


def _near(thing: Thing) -> Hashable:
    """What things have in common that the kernel may take for each other."""
    if isinstance(thing, Route):
        return routes.near_of(thing)
    return rules.key_of(thing) if isinstance(thing, Rule) else thing


def _place(thing: Thing) -> Hashable:
    """What the kernel replaces a thing by; None where it replaces nothing."""
    if isinstance(thing, Route) and thing.placement is Placement.PREPEND:
        return routes.place_of(thing)
    return None
