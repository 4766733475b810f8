"""Gratuitous ARP and unsolicited neighbour advertisements: who, how often, how far apart.

A new master announces its addresses `master_repeat` times at once and again after `master_delay`,
because switches lose frames and hosts are slow to believe (keepalived.conf(5), `garp_*`). When many
virtual routers become master together, every one gets its first announcement before any gets its
second. The frames are the engine's; the order and the time are decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import IntEnum
from heapq import heappop, heappush
from itertools import cycle
from typing import NamedTuple

from fastvrrp._engine import Engine
from fastvrrp.model import SECOND, GarpGroup
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.pacing import Pacing, Ticket


class Kind(IntEnum):
    """Why an announcement waits for its time."""

    SECOND_SET = 0
    REFRESH = 1
    EXTRA_INTERFACE = 2
    PACED = 3


class _Waiting(NamedTuple):
    at: int
    """Nanoseconds of the engine's clock."""
    router: int
    """Index of the virtual router in the table; PACED: number of the lane."""
    kind: Kind
    term: int
    """Which term as master it belongs to: a later one has its own."""
    repeats: int
    """SECOND_SET: how many."""


class Announcer:
    """Announces for every master among `instances`, which are looked up by table index.

    `name_of` gives the name of an interface by the engine's number of it, or None.
    """

    def __init__(
        self,
        engine: Engine,
        instances: dict[int, Instance],
        clock: Callable[[], int],
        name_of: Callable[[int], str | None],
    ) -> None:
        self._engine = engine
        self._instances = instances
        self._clock = clock
        self._pacing = Pacing(name_of)
        self._now: deque[tuple[int, int, int]] = deque()
        """(index, term, repeats left)"""
        self._later: list[_Waiting] = []
        self._terms = cycle(range(1, 256))
        """Numbers of which Python keeps one object each: others would take 2 MB of 65,280 masters.
        One comes again after 255 terms, of whatever instance; should something still wait for the
        earlier one, it announces once more than it need."""
        self._gaps: object = None

    def pace(
        self, garp_interval: int = 0, gna_interval: int = 0, groups: Iterable[GarpGroup] = ()
    ) -> None:
        """Sets the gaps between two messages on one interface (nanoseconds; 0 is none), and those
        of groups of interfaces."""
        gaps = (garp_interval, gna_interval, tuple(groups))
        if gaps != self._gaps:
            self._gaps = gaps
            for ticket in self._pacing.set(*gaps):
                if self._is_valid(ticket):
                    self._announce_paced(self._instances[ticket.router], ticket.target)

    def became_master(self, instance: Instance) -> None:
        """The addresses are in place."""
        settings = instance.model.announcements
        now = self._clock()
        instance.term = next(self._terms)
        instance.quiet_until = 0
        self._start_set(instance, settings.master_repeat)
        if settings.master_delay:
            self._wait(
                now + settings.master_delay, instance, Kind.SECOND_SET, settings.master_repeat
            )
        self._wait_regularly(instance, now, now)

    def resumed(self, instance: Instance, since: int) -> None:
        """It is master since then, in another process before this one. Hosts and switches know
        that, unless the second round was still to come: then it announces as if it had just become
        master."""
        settings = instance.model.announcements
        now = self._clock()
        if now - since < settings.master_delay:
            self.became_master(instance)
            return
        instance.term = next(self._terms)
        instance.quiet_until = 0
        self._wait_regularly(instance, now, since)

    def heard_lower_priority(self, instance: Instance) -> bool:
        """Somebody of lower priority spoke as master: hosts may believe it.

        Once a second is enough, however often they speak: False where that is not over yet. A
        strict instance does not answer, and has a lower_prio_repeat of 0.
        """
        settings = instance.model.announcements
        now = self._clock()
        if now < instance.quiet_until or not settings.lower_prio_repeat:
            return False
        instance.quiet_until = now + max(SECOND, settings.lower_prio_delay)
        self._start_set(instance, settings.lower_prio_repeat)
        if settings.lower_prio_delay and settings.lower_prio_repeat:
            self._wait(
                now + settings.lower_prio_delay,
                instance,
                Kind.SECOND_SET,
                settings.lower_prio_repeat,
            )
        return True

    def released(self, instance: Instance) -> None:
        """The instance is master no more: what still waits for it will not be sent."""
        instance.term = next(self._terms)

    def work(self, budget: int) -> bool:
        """Sends for about `budget` nanoseconds; True where more could be sent now."""
        until = self._clock() + budget
        self._take_due(until)
        paced = self._pacing.is_on
        while self._now:
            index, term, repeats = self._now.popleft()
            instance = self._instances.get(index)
            if instance is None or instance.term != term:
                continue
            if paced:
                for target in range(self._engine.target_count(index)):
                    self._announce_paced(instance, target)
            else:
                self._engine.announce(index)
            if repeats > 1:
                self._now.append((index, term, repeats - 1))
            if self._clock() >= until:
                break
        self._engine.flush()
        return bool(self._now) or (bool(self._later) and self._later[0].at <= self._clock())

    def next_due(self) -> int | None:
        """When `work` next has something to do that does not wait now (nanoseconds)."""
        return self._later[0].at if self._later else None

    def _start_set(self, instance: Instance, repeats: int) -> None:
        if repeats and self._engine.target_count(instance.index):
            self._now.append((instance.index, instance.term, repeats))

    def _wait(self, at: int, instance: Instance, kind: Kind, repeats: int = 0) -> None:
        heappush(self._later, _Waiting(at, instance.index, kind, instance.term, repeats))

    def _wait_regularly(self, instance: Instance, now: int, since: int) -> None:
        """Begins, or goes on with, what a master says again and again since then."""
        settings = instance.model.announcements
        if settings.master_refresh:
            self._wait(_next(since, settings.master_refresh, now), instance, Kind.REFRESH)
        if settings.extra_interface_interval and instance.extra_targets:
            at = _next(since, settings.extra_interface_interval, now)
            self._wait(at, instance, Kind.EXTRA_INTERFACE)

    def _take_due(self, until: int) -> None:
        """Begins what has waited for its time; what is still left at `until` waits on."""
        while self._later and self._later[0].at <= (now := self._clock()):
            waiting = heappop(self._later)
            if waiting.kind is Kind.PACED:
                self._send_next(waiting.router, now)
                if now >= until:
                    break
                continue
            instance = self._instances.get(waiting.router)
            if instance is None or instance.term != waiting.term:
                continue
            settings = instance.model.announcements
            if waiting.kind is Kind.SECOND_SET:
                self._start_set(instance, waiting.repeats)
            elif waiting.kind is Kind.REFRESH:
                # A reload may have ended it meanwhile.
                if settings.master_refresh:
                    self._start_set(instance, settings.master_refresh_repeat)
                    self._wait(now + settings.master_refresh, instance, Kind.REFRESH)
            elif waiting.kind is Kind.EXTRA_INTERFACE:
                interval = settings.extra_interface_interval
                if interval:
                    for target in instance.extra_targets:
                        self._announce_paced(instance, target)
                    self._wait(now + interval, instance, Kind.EXTRA_INTERFACE)
            if now >= until:
                break

    def _announce_paced(self, instance: Instance, target: int) -> None:
        """Sends now, or when it is its turn on its interface."""
        lane = None
        if self._pacing.is_on:
            family, _, ifindex = self._engine.target(instance.index, target)
            lane = self._pacing.lane_of(family, ifindex)
        if lane is None or lane.enters(self._clock()):
            self._engine.announce(instance.index, target, 1)
            return
        at = lane.put(Ticket(instance.index, instance.term, target))
        if at is not None:
            heappush(self._later, _Waiting(at, lane.number, Kind.PACED, 0, 0))

    def _send_next(self, number: int, now: int) -> None:
        """Sends what waits longest in a lane."""
        lane = self._pacing.lane(number)
        if lane is None:
            return
        ticket = lane.take(now, self._is_valid)
        if ticket is not None:
            self._engine.announce(ticket.router, ticket.target, 1)
        at = lane.next_at()
        if at is not None:
            heappush(self._later, _Waiting(at, number, Kind.PACED, 0, 0))

    def _is_valid(self, ticket: Ticket) -> bool:
        """Whether its router is master still, and has such a target."""
        instance = self._instances.get(ticket.router)
        return (
            instance is not None
            and instance.term == ticket.term
            and ticket.target < self._engine.target_count(ticket.router)
        )


def _next(since: int, interval: int, now: int) -> int:
    """The next time after `now` of what comes every interval since then."""
    return now + interval - (now - since) % interval
