"""Carries a change of state on, from the engine's note to the last announcement.

The engine has sent the adverts already. What is left is slow: a log line, addresses in the kernel,
gratuitous ARP. It is queued, and `work` does a slice of it, so that between two slices the loop can
send and hear adverts: first every note, then announcements. Addresses wait for a lock of the kernel
that anybody may hold (rtnl), so they are carried out in another thread, in the order of the notes.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import ip_address
from itertools import count
from socket import AF_INET
from typing import NamedTuple

from fastvrrp._engine import Engine, Note
from fastvrrp.kernel.addresses import Applied, Placed
from fastvrrp.model import GarpGroup, State
from fastvrrp.notify.fields import about
from fastvrrp.vrrp.announcer import Announcer
from fastvrrp.vrrp.follower import Follower, hearers
from fastvrrp.vrrp.instance import NO_ADDRESSES, Instance, link_of
from fastvrrp.vrrp.place import Place, Survey
from fastvrrp.vrrp.standing import Standing

log = logging.getLogger(__name__)

SLICE = 2_000_000
"""Nanoseconds of one slice: a fifth of the shortest advert interval."""
SPLIT_BRAINS = ("SPLIT_BRAIN", "SPLIT_BRAIN_OVER")
"""Notes that are about another master, and no change of state."""


class _End(NamedTuple):
    """A virtual router was removed: what waits after its last note."""

    router: int
    then: Callable[[int], None]


class Transitions:
    """The queue between the engine and the kernel.

    `work` is to be called again soon while it returns True; `wake` is called when there is
    something to do after it returned False.
    """

    def __init__(
        self,
        engine: Engine,
        instances: dict[int, Instance],
        announcer: Announcer,
        clock: Callable[[], int],
        wake: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._instances = instances
        self._announcer = announcer
        self._clock = clock
        self._wake = wake
        self._notes: deque[Note | _End] = deque()
        self._ends: dict[int, _End] = {}
        self._moves = count()
        self.follow(())
        self.on_split_brain: Callable[[Instance, Note], None] = lambda _, __: None
        """Called with notes of that kind."""
        self.keeps_addresses = False
        """Who stops leaves its addresses where they are."""
        self.on_lost: Callable[[Instance, int], None] = lambda _, __: None
        """Called with a master, and an ifindex from which somebody has removed its address."""
        self._standing: dict[Place, Standing] = {}
        self._unsent: dict[Standing, None] = {}
        """Those with something for the kernel."""

    def standing(self, place: Place) -> Standing:
        """The addresses of masters in a network namespace."""
        found = self._standing.get(place)
        if found is None:
            found = self._standing[place] = Standing(
                place, self._on_applied, self._on_queued, self._wake
            )
        return found

    def arrive(self, place: Place) -> None:
        """A network namespace has come."""
        self.standing(place).queue.channel = place.channel

    def drop(self, place: Place) -> None:
        """Nobody uses a network namespace any more."""
        self._standing.pop(place, None)

    def follow(self, followers: Sequence[Follower]) -> None:
        """Tells these, in this order, of changes of state."""
        self._hear_lower_priority = hearers(followers, "heard_lower_priority")
        self._hear_take = hearers(followers, "take")
        self._hear_applied = hearers(followers, "applied")

    def take(self, notes: list[Note]) -> None:
        """Queues the engine's notes."""
        self._notes.extend(notes)
        self._wake()

    def resume(self, instance: Instance, since: int, found: Mapping[Placed, bool]) -> None:
        """Takes over the addresses of an instance that goes on as master, which it is since then
        (nanoseconds); `found` are those that stood at the start, and whether they have our mark.
        They are not touched, and announced no more than they would have been."""
        if self.standing(instance.place).take_over(instance, found):
            self._announcer.resumed(instance, since)
            _tell(self._hear_applied, instance, True)
        self._wake()

    def remove_left(self, instance: Instance) -> None:
        """Removes the addresses of an instance that was to go on as master, and does not."""
        self.standing(instance.place).put(instance.index, instance.batch, add=False)
        self._wake()

    def end(self, instance: Instance, then: Callable[[int], None]) -> None:
        """Calls `then` with the index of an instance that was stopped, when its addresses are gone
        and nothing about it is queued any more. Its last notes must have been taken."""
        self._notes.append(_End(instance.index, then))
        self._wake()

    def put_again(self, instance: Instance) -> None:
        """Moves a master's addresses to where they belong now; those that are there stay."""
        self.take_off(instance)
        self.put_on(instance)

    def take_off(self, instance: Instance) -> None:
        """Removes a master's addresses from where they do not belong any more. Where addresses go
        from one master to another, every `take_off` has to come before the first `put_on`."""
        moved = instance.standing.without(instance.batch)
        if moved.addresses:
            standing = self.standing(instance.place)
            standing.forget(instance.index, moved)
            # A key of its own: what is moved later leaves this undone no more.
            standing.put((instance.index, next(self._moves)), moved, add=False)
            self._wake()

    def put_on(self, instance: Instance) -> None:
        """Adds a master's addresses where they belong now, and announces them."""
        instance.batch.follow(instance.standing)
        self.standing(instance.place).stand(instance)
        self._wake()

    def pace(self, garp_interval: int, gna_interval: int, groups: Iterable[GarpGroup]) -> None:
        """Sets the gaps between announcements (nanoseconds), also for what waits."""
        self._announcer.pace(garp_interval, gna_interval, groups)
        self._wake()

    def on_address_gone(self, place: Place, ifindex: int, family: int, address: bytes) -> None:
        """An address has left the kernel. Where a master has it, somebody else removed it."""
        index = self.standing(place).loser_of(ifindex, address)
        if index is not None:
            log.info(
                "(%s) Netlink reflector reports IP %s removed",
                self._instances[index].model.name,
                ip_address(address),
            )
            self.on_lost(self._instances[index], ifindex)

    def survey(self, place: Place) -> Survey:
        """Notifications were lost, and a dump of addresses is about to be made."""
        return self.standing(place).survey(
            lambda ifindex, address: self.on_address_gone(place, ifindex, 0, address)
        )

    @property
    def is_idle(self) -> bool:
        """Whether no address is on its way to the kernel, in any place."""
        return all(standing.is_idle for standing in self._standing.values())

    @property
    def has_notes(self) -> bool:
        """True while notes wait that say what becomes of addresses."""
        return bool(self._notes)

    def work(self) -> bool:
        """Does one slice; True where something is left to do at once."""
        until = self._clock() + SLICE
        while self._notes:
            self._carry_on(self._notes.popleft())
            if self._clock() >= until:
                return True
        while self._unsent:
            self._unsent.popitem()[0].send()
            if self._unsent and self._clock() >= until:
                return True
        return self._announcer.work(max(until - self._clock(), 1))

    def finish(self) -> None:
        """Does everything that is queued, however long it takes: the daemon is stopping, and the
        other thread has ended."""
        for standing in self._standing.values():
            standing.take_back()
        while self._notes:
            self._carry_on(self._notes.popleft())
        for place, standing in self._standing.items():
            try:
                standing.finish()
            except Exception:
                log.exception("The addresses in %s could not be removed", place.where)

    def _on_queued(self, standing: Standing) -> None:
        self._unsent[standing] = None

    def _carry_on(self, note: Note | _End) -> None:
        instance = self._instances.get(note.router)
        if instance is None:
            return
        if isinstance(note, _End):
            # Behind everything that is queued for it. What is gone already is no error.
            self._ends[note.router] = note
            standing = self.standing(instance.place)
            standing.forget(instance.index, instance.standing)
            standing.put((note.router, "end"), instance.standing, add=False)
            return
        if note.event in SPLIT_BRAINS:
            self.on_split_brain(instance, note)
            return
        if note.reannounces:
            _tell(self._hear_lower_priority, instance)
        if note.reannounces and not self._announcer.heard_lower_priority(instance):
            return
        _log_change(instance, note)
        _tell(self._hear_take, instance, note)
        if note.acquires:
            log.debug("(%s) setting VIPs.", instance.model.name)
            instance.batch.follow(instance.standing)  # some may not be gone yet
            self.standing(instance.place).stand(instance)
        elif note.releases and not (self.keeps_addresses and note.event == "STOP"):
            log.debug("(%s) removing VIPs.", instance.model.name)
            self._announcer.released(instance)
            # What stands is to go, also where its link has another name or index by now.
            standing = self.standing(instance.place)
            standing.forget(instance.index, instance.standing)
            standing.put(note.router, instance.standing, add=False)

    def _on_applied(self, applied: Applied) -> None:
        if not isinstance(applied.key, int):
            assert isinstance(applied.key, tuple)
            index, why = applied.key
            if why == "end":
                _tell(self._hear_applied, self._instances[index], False)
                self._ends.pop(index).then(index)
            return  # what moved elsewhere is a matter of the new place
        instance = self._instances[applied.key]
        for failure in applied.failures:
            log.error(
                "(%s) cannot %s %s/%d: %s",
                instance.model.name,
                "add" if applied.added else "remove",
                ip_address(failure.address.address),
                failure.address.prefixlen,
                os.strerror(failure.errno),
            )
        if not applied.added:
            instance.standing = NO_ADDRESSES
        else:
            if log.isEnabledFor(logging.DEBUG):
                self._log_announcements(instance)
            self._announcer.became_master(instance)
        _tell(self._hear_applied, instance, applied.added)

    def _log_announcements(self, instance: Instance) -> None:
        for address in instance.standing.addresses:
            log.debug(
                "(%s) Sending/queueing %s on %s for %s",
                instance.model.name,
                "gratuitous ARPs" if address.family == AF_INET else "Unsolicited Neighbour Adverts",
                link_of(instance.model, address),
                ip_address(address.address),
            )


def _tell(hearing: Iterable[Callable[..., None]], instance: Instance, *what: object) -> None:
    """Tells followers. An error in one of them must not cost an instance its addresses, or the
    others their news."""
    for hear in hearing:
        try:
            hear(instance, *what)
        except Exception:
            log.exception("(%s) %s failed", instance.model.name, hear.__qualname__)


def _log_change(instance: Instance, note: Note) -> None:
    """Says what happened, in keepalived's words, which people grep for."""
    name = instance.model.name
    ours = instance.priority
    here = about(name)
    if note.event == "ADVERT" and note.reannounces:
        log.info(
            "(%s) Received advert from %s with lower priority %d, ours %d, forcing new election",
            name,
            ip_address(note.source),
            note.priority,
            ours,
            extra=here,
        )
        return
    if note.event == "ADVERT" and note.priority >= ours:
        log.info(
            "(%s) Master received advert from %s with %s priority %d, ours %d",
            name,
            ip_address(note.source),
            "higher" if note.priority > ours else "same",
            note.priority,
            ours,
            extra=here,
        )
    elif note.event in ("TIMER", "ADVERT") and note.before == State.MASTER:
        log.warning(
            "(%s) Was silent for so long that another one may be master by now", name, extra=here
        )
    elif note.event == "TIMER":
        log.debug("(%s) Receive advertisement timeout", name, extra=here)
    if note.before == State.MASTER and note.event in ("STOP", "FAIL", "RESIGN"):
        log.info("(%s) sent 0 priority", name, extra=here)
    if note.after != State.INIT:
        suffix = " (init)" if note.before == State.INIT and note.after == State.BACKUP else ""
        state = State(note.after).name
        log.info("(%s) Entering %s STATE%s", name, state, suffix, extra=about(name, state))
