"""The network namespaces of a daemon: opened when they come, left when they go or nobody uses them.

The daemon's own is there from the start to the end. Another one is opened when the first virtual
router, or tracked interface, in it enters, or as soon as a namespace has its name (ip-netns(8)).
When the name is removed, the virtual routers there fail; the namespace itself lives for as long as
we hold it, so masters resign, addresses and all else that is ours are removed as ever, and then it
is let go. A reload after which nobody uses one does the same. Nothing of it is kept: a namespace
that gets the name later is another one.

What is ours in a namespace is noted in a file beside the state segment, with the kernel parameters
that were changed: so it is cleaned after a crash also where the next configuration has no such
namespace.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from time import monotonic, monotonic_ns, sleep
from typing import Any

from fastvrrp._driver import Driver
from fastvrrp._sockets import Receiver, SocketSender, place_and_ifindex
from fastvrrp.daemon.comparisons import Comparisons
from fastvrrp.daemon.leftovers import Notes, remove_addresses
from fastvrrp.kernel.addresses import Placed
from fastvrrp.kernel.closing import close_all
from fastvrrp.kernel.namespaces import Change, Namespaces
from fastvrrp.kernel.nftables import PacketFilter, our_tables
from fastvrrp.model import Authentication, VirtualAddress, VirtualRouter
from fastvrrp.vrrp.adoption import Predecessor
from fastvrrp.vrrp.apart import Apart
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.place import Place, RunElsewhere, Survey
from fastvrrp.vrrp.roster import Roster
from fastvrrp.vrrp.transitions import Transitions

log = logging.getLogger(__name__)

PROTO_VRRP = 112
PROTO_AH = 51
ATTEMPT = 2.0
"""Seconds between two attempts to open a namespace that cannot be used."""
REST = 0.01
"""Seconds between two looks at whether what is to be removed in a namespace has been."""
LAST_MOMENTS = 1.0
"""Seconds, from the start, until the kernel has closed all that a process which was killed had
open."""
DESCRIPTORS = 16
"""That a namespace takes at most, in the ordinary case."""


class _Phase(Enum):
    ABSENT = "absent"
    OPEN = "open"
    LEAVING = "leaving"


class _Room:
    """A place, and the sockets that are heard and sent by in it."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.phase = _Phase.ABSENT
        self.wanted: set[tuple[int, int]] = set()
        """Families and protocols to be heard."""
        self.unicast: set[int] = set()
        """Families in which routed packets are to be sent."""
        self.routed: set[int] = set()
        """Those in which they can be."""
        self.receivers: dict[tuple[int, int], Receiver] = {}
        self.claim: socket.socket | None = None
        self.attempt: asyncio.TimerHandle | None = None
        self.arrived: list[Follower] = []
        """Those who were told that something can be done there."""


class Places:
    """All network namespaces in use, by name; None is the daemon's own."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        driver: Driver,
        sender: SocketSender,
        run_elsewhere: RunElsewhere,
        segment: Path,
        own_name: str | None,
    ) -> None:
        """`own_name` is what the daemon's own namespace is called, where that is written; `segment`
        is the path of the state segment. `roster`, `transitions`, `followers` and
        `apart` are to be set before anything else is done."""
        self._loop = loop
        self._driver = driver
        self._sender = sender
        self._run_elsewhere = run_elsewhere
        self.own_name = own_name
        self._notes = Notes(segment)
        self.own = Place(run_elsewhere)
        self._rooms: dict[str | None, _Room] = {None: _Room(self.own)}
        self._by_number: dict[int, Place] = {0: self.own}
        self._comparisons = Comparisons(
            loop, monotonic_ns, self._surveys, self._settle, self.on_links, self._on_caught_up
        )
        self._watcher: Namespaces | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._changes: deque[Change] = deque()
        """Names that have come or gone, and are to be opened or left."""
        self.roster: Roster
        self.transitions: Transitions
        self.followers: Sequence[Follower] = ()
        self.apart: Sequence[Apart[Any]] = ()
        """Those of the followers that are one for each place."""
        self._is_starting = True
        self.is_running = False
        """The virtual routers of the start have begun, and the daemon does not end yet."""
        self._before: Predecessor | None = None
        self._patient_until = 0.0
        """Until when namespaces may still be held by a process that was killed."""
        self.claims: dict[str | None, socket.socket] = {}
        """Of namespaces, by name, that were handed over to us; None is the daemon's own."""
        self.found: dict[Place, Mapping[Placed, bool]] = {}
        """Addresses that stood at the start, where a predecessor has left something, and whether
        each has our mark; until `settle`."""

    def __iter__(self) -> Iterator[Place]:
        """Every place in use, open or not."""
        return iter([room.place for room in self._rooms.values()])

    def note(self, place: Place) -> None:
        """Remembers for a successor what was changed in a place, if we crash."""
        if place.is_own or place.is_open:
            self._notes.write(place)

    def name_of(self, number: int) -> str | None:
        """The name of an interface by the engine's number of it."""
        place_number, ifindex = place_and_ifindex(number)
        place = self._by_number.get(place_number)
        link = place.links.by_index(ifindex) if place is not None else None
        return link.name if link is not None else None

    def called(self, number: int) -> str | None:
        """The same, for a person."""
        name = self.name_of(number)
        if name is None:
            return None
        return self._by_number[place_and_ifindex(number)[0]].called(name)

    # --- who uses them ----------------------------------------------------------------------------

    def use(self, name: str | None) -> Place:
        """The place of a name, which is opened if it is there; it stays until it is released."""
        room = self._room(name)
        room.place.users += 1
        if room.place.users == 1 and room.phase is _Phase.ABSENT and not room.place.is_own:
            self._open(room)
        return room.place

    def release(self, place: Place) -> None:
        """Undoes one `use`."""
        place.users -= 1
        if not place.users and not place.is_own and self.is_running:
            self._leave_unused(self._rooms[place.name])

    def expect(self, model: VirtualRouter) -> None:
        """Says what has to be known of a virtual router before it enters, or changes: its addresses
        and the sockets that it needs, which are opened where no other has needed them."""
        room = self._room(model.namespace)
        room.place.virtual_addresses.update(
            (address.family, address.address) for address in model.all_addresses
        )
        self._listen(room, model)

    def _room(self, name: str | None) -> _Room:
        room = self._rooms.get(name if name != self.own_name else None)
        if room is None:
            assert name is not None
            number = next(n for n in range(len(self._by_number) + 1) if n not in self._by_number)
            place = Place(self._run_elsewhere, name, number)
            room = self._rooms[name] = _Room(place)
            self._by_number[number] = place
            self._connect(place)
            _have_descriptors(DESCRIPTORS * len(self._rooms))
            if self._watcher is None:
                self._watcher = Namespaces()
                self._loop.add_reader(self._watcher.fileno(), self._look)
                self._loop.add_reader(self._driver.crowd.fileno(), self._driver.on_crowd)
            self._watcher.add(name)
            self._look_later()
        return room

    def _connect(self, place: Place) -> None:
        """Has what the links tell reach those who want to know."""
        links, transitions = place.links, self.transitions
        links.on_virtual_address_gone = lambda *what: transitions.on_address_gone(place, *what)
        links.on_overrun = lambda: self._on_overrun(place)

    def _on_overrun(self, place: Place) -> None:
        if self._is_starting:
            # What begins next needs to know the links.
            place.links.catch_up()
        else:
            self._comparisons.begin(place)

    def _surveys(self, place: Place) -> Iterator[Survey]:
        yield self.transitions.survey(place)
        for each in self.apart:
            yield each.of(place).survey()

    def _on_caught_up(self, place: Place) -> None:
        for each in self.apart:
            each.of(place).caught_up()

    def _listen(self, room: _Room, model: VirtualRouter) -> None:
        wanted = {(model.family, PROTO_VRRP)}
        if model.authentication == Authentication.AH:
            wanted.add((socket.AF_INET, PROTO_AH))
        unicast = {model.family} if model.unicast_peers else set()
        # What could not be opened for one is tried again for the next.
        if not (wanted <= room.receivers.keys() and unicast <= room.routed):
            room.wanted |= wanted
            room.unicast |= unicast
            if room.phase is _Phase.OPEN:
                self._open_sockets(room)

    def _open_sockets(self, room: _Room) -> None:
        place = room.place
        with place.inside():
            for family in room.unicast:
                self._sender.open_unicast(family, place.number)
                room.routed.add(family)
            for each in room.wanted - room.receivers.keys():
                receiver = self._driver.listen(*each, place.number)
                room.receivers[each] = receiver
                if place.is_own:
                    self._loop.add_reader(receiver.descriptor, self._driver.on_packets, receiver)

    def resize(self, place: Place, family: int, size: int | None) -> None:
        """Gives the receivers of a family buffers of that size."""
        for (each, _), receiver in self._rooms[place.name].receivers.items():
            if each == family:
                receiver.resize(size)

    # --- the start and the end --------------------------------------------------------------------

    def start(
        self,
        models: Iterable[VirtualRouter],
        static_addresses: Iterable[VirtualAddress],
        before: Predecessor | None = None,
    ) -> None:
        """Opens the daemon's own namespace and all others in which virtual routers are to be, and
        removes what a crash has left there, but for the masters that go on as `before` has left
        them. Raises OSError for the daemon's own."""
        self._before = before
        if before is not None:
            self._patient_until = monotonic() + LAST_MOMENTS
        self._connect(self.own)
        by_name: dict[str | None, list[VirtualRouter]] = {None: []}
        for model in models:
            self.expect(model)
            by_name.setdefault(self._room(model.namespace).place.name, []).append(model)
        own = self._rooms[None]
        self._begin(own, by_name[None], static_addresses)
        for name, those in by_name.items():
            if name is not None:
                self._open(self._rooms[name], those)
        for name in self._notes.names():
            if name == self.own_name:
                self._notes.forget_name(name)  # it was another daemon's other one
            elif name not in self._rooms:
                # What a crashed daemon has left where no virtual router is to be any more.
                room = self._room(name)
                self._open(room)
                if room.phase is _Phase.ABSENT:
                    self._notes.forget(room.place)
                self._leave_unused(room)

    def claim(self, name: str | None, patience: float) -> socket.socket:
        """Holds the namespace of that name, in which this thread is. Raises OSError."""
        handed_over = self.claims.pop(name, None)
        return claim_namespace(patience) if handed_over is None else handed_over

    def held(self) -> dict[str | None, socket.socket]:
        """The claims of namespaces other than the daemon's own, by name."""
        rooms = self._rooms.items()
        return {name: room.claim for name, room in rooms if room.claim is not None}

    def settle(self) -> None:
        """All that a predecessor has left is taken over."""
        self._before = None
        self.found.clear()
        self._is_starting = False
        self.is_running = True
        for place in self:
            self.note(place)

    def stop(self) -> None:
        """The daemon ends: none is left by itself any more."""
        self.is_running = False

    def clear(self) -> None:
        """Takes VMACs, memberships and kernel parameters back, after the addresses are gone."""
        for room in self._rooms.values():
            if room.place.is_open:
                try:
                    with room.place.inside():
                        _clear(room.place)
                    self._notes.forget(room.place)
                except Exception:
                    log.exception("%s could not be cleaned", room.place.where)

    def close(self) -> None:
        """Lets go of all."""
        if self._watcher is not None:
            self._watcher.close()
        close_all(
            each
            for room in self._rooms.values()
            for each in self._sender.give_up(room.place.number)
        )
        for room in self._rooms.values():
            room.place.close()
            if room.claim is not None:
                room.claim.close()

    # --- one that comes ---------------------------------------------------------------------------

    def _open(self, room: _Room, models: Iterable[VirtualRouter] = ()) -> None:
        """Opens a namespace other than the daemon's own, if there is one."""
        place, before = room.place, room.place.fault
        assert place.name is not None
        if room.attempt is not None:
            room.attempt.cancel()
            room.attempt = None
        try:
            self._begin(room, models, ())
            if self.is_running:
                self.roster.arrive(place)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                place.missing()
            else:
                place.fault = f"{place.where} cannot be used: {error.strerror or error}"
                if place.fault != before:
                    log.error("%s", place.fault)
                room.attempt = self._loop.call_later(ATTEMPT, self._open_again, room)
            self._depart(room)
            self._shut(room)
            if self.is_running:
                self.roster.depart(place)
        if self.is_running:
            self._driver.settle()

    def _depart(self, room: _Room) -> None:
        """Tells followers that nothing can be done there any more; an error in one of them must not
        keep the namespace."""
        arrived, room.arrived = room.arrived, []
        for follower in arrived:
            try:
                follower.depart(room.place)
            except Exception:
                log.exception("%s: %s failed", room.place.where, follower.depart.__qualname__)

    def _begin(
        self,
        room: _Room,
        models: Iterable[VirtualRouter],
        static_addresses: Iterable[VirtualAddress],
    ) -> None:
        place = room.place
        place.open()
        with place.inside():
            if not place.is_own:
                room.claim = self.claim(place.name, self._patient_until - monotonic())
                self._sender.open(place.number)
            self._notes.recall(place)
            place.links.open()
        room.phase, place.fault = _Phase.OPEN, None
        self._open_sockets(room)
        self.transitions.arrive(place)
        for follower in self.followers:
            room.arrived.append(follower)  # also one that fails half-way is to be told of the end
            follower.arrive(place)
        place.links.begin()
        self._loop.add_reader(place.links.fileno(), self.on_links, place)
        self.found[place] = remove_addresses(place, models, static_addresses, self._before)

    def _open_again(self, room: _Room) -> None:
        room.attempt = None
        if room.phase is _Phase.ABSENT and self._rooms.get(room.place.name) is room:
            self._open(room)

    def on_links(self, place: Place) -> bool:
        """The kernel tells of links or addresses; True where there may be more than was read."""
        has_more = place.links.read()
        self._settle(place)
        return has_more

    def _settle(self, place: Place) -> None:
        self.roster.catch_up(place)
        self._driver.settle()

    # --- one that goes ----------------------------------------------------------------------------

    def _look(self) -> None:
        """A name has come or gone."""
        assert self._watcher is not None
        if not self._changes:
            self._loop.call_soon(self._take_change)
        self._changes.extend(self._watcher.read())
        self._look_later()

    def _look_later(self) -> None:
        """Once more, where a namespace may be about to be mounted: that is no event."""
        assert self._watcher is not None
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if self._watcher.is_unfinished:
            self._next_look = self._loop.call_later(self._watcher.pause, self._look_again)

    def _take_change(self) -> None:
        """Opens or leaves one namespace; adverts may leave before the next one."""
        if not self._changes:
            return
        change = self._changes.popleft()
        try:
            self._carry_out(change)
        finally:
            if self._changes:
                self._loop.call_soon(self._take_change)

    def _carry_out(self, change: Change) -> None:
        room = self._rooms.get(change.name)
        if room is None:
            pass  # nobody uses it any more
        elif change.exists and room.phase is _Phase.ABSENT:
            log.info("Network namespace %s has come", change.name)
            self._open(room)
        elif not change.exists and room.phase is _Phase.OPEN:
            log.warning("Network namespace %s has gone", change.name)
            room.place.missing()
            self._leave(room)
        elif not change.exists and room.phase is _Phase.ABSENT:
            room.place.missing()

    def _look_again(self) -> None:
        self._next_look = None
        self._look()

    def _leave_unused(self, room: _Room) -> None:
        """Nobody uses it."""
        if room.phase is _Phase.OPEN:
            room.place.fault = f"{room.place.where} is not used"
            self._leave(room)
        elif room.phase is _Phase.ABSENT:
            self._drop(room)

    def _leave(self, room: _Room) -> None:
        """Lets go of a namespace when everything of ours in it is gone."""
        room.phase = _Phase.LEAVING
        try:
            self.roster.depart(room.place)
            self._driver.settle()
        finally:
            self._leave_at_rest(room)

    def _leave_at_rest(self, room: _Room) -> None:
        place = room.place
        is_busy = (
            self._before is not None  # who may have left something that is to be removed
            or self.transitions.has_notes
            or self.roster.reviews.is_busy(place)
            or not self.transitions.standing(place).is_idle
            or any(each.is_busy(place) for each in self.apart)
        )
        if is_busy:
            self._loop.call_later(REST, self._leave_at_rest, room)
            return
        self._depart(room)
        # When that thread has come to what is asked for here, it does not read the links any more.
        self._give_up_links(place)
        place.run_elsewhere(lambda: _clear(place), lambda: self._left(room))

    def _left(self, room: _Room) -> None:
        place = room.place
        assert self._watcher is not None
        assert place.name is not None
        try:
            self._notes.forget(place)
            self._shut(room)
        finally:
            if not place.users:
                self._drop(room)
            elif self._watcher.exists(place.name):
                self._open(room)
            else:
                place.missing()

    def _shut(self, room: _Room) -> None:
        """Closes all sockets of a namespace."""
        place = room.place
        room.phase = _Phase.ABSENT
        self._give_up_links(place)
        for receiver in room.receivers.values():
            self._driver.unlisten(receiver)
        room.receivers.clear()
        room.routed.clear()
        sockets = self._sender.give_up(place.number)
        if sockets:
            self._run_elsewhere(lambda: close_all(sockets), lambda: None)
        # Who hears that a link has gone may still look at what is there.
        place.links.close()
        try:
            place.links.forget()
        finally:
            place.close()
            if room.claim is not None:
                room.claim.close()
                room.claim = None

    def _give_up_links(self, place: Place) -> None:
        """Hears of links no more."""
        self._comparisons.forget(place)
        if place.links.fileno() != -1:
            self._loop.remove_reader(place.links.fileno())

    def _drop(self, room: _Room) -> None:
        place = room.place
        assert self._watcher is not None
        assert place.name is not None
        if room.attempt is not None:
            room.attempt.cancel()
        self._watcher.forget(place.name)
        del self._rooms[place.name]
        del self._by_number[place.number]
        for follower in self.followers:
            follower.drop(place)
        self.transitions.drop(place)
        self.roster.drop(place)


def _clear(place: Place) -> None:
    """Takes back VMACs, memberships and kernel parameters; each also where another one fails."""
    with ExitStack() as ending:
        # Last, so that a VMAC is shut for as long as it is there.
        ending.callback(_remove_table)
        ending.callback(place.sysctls.restore)
        # While it is still as the configuration wants it whether the kernel reports that we leave.
        ending.callback(place.memberships.close)
        if place.vmacs is not None:
            place.vmacs.settle(())


def _remove_table() -> None:
    if our_tables():
        try:
            PacketFilter().remove()
        except OSError as error:
            log.error("The table of nftables could not be removed: %s", error.strerror)


def _have_descriptors(needed: int) -> None:
    """Lets the process open so many files, if it may."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if needed > now // 2 and now < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def claim_namespace(patience: float = 0.0) -> socket.socket:
    """Holds the network namespace of this thread until it is closed: two daemons would take each
    other's VMACs and addresses for what a crash has left. Raises OSError where another one holds it
    for longer than `patience` (seconds)."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    until = monotonic() + patience
    while True:
        try:
            claim.bind("\0fastvrrp")  # an abstract name is one of the network namespace
        except OSError as error:
            if monotonic() < until:
                sleep(REST)
                continue
            claim.close()
            raise OSError(
                error.errno,
                "another fastvrrp runs in this network namespace: stop it, or run this one in"
                " another",
            ) from None
        return claim
