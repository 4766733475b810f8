"""Gratuitous ARP and unsolicited neighbour advertisements: who, how often, how far apart.

A new master announces its addresses `master_repeat` times at once and again after `master_delay`,
because switches lose frames and hosts are slow to believe (keepalived.conf(5), `garp_*`). When many
virtual routers become master together, every one gets its first announcement before any gets its
second. The frames are the engine's; the order and the time are decided here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count
from typing import NamedTuple

from fastvrrp._engine import Engine
from fastvrrp.model import SECOND
from fastvrrp.vrrp.instance import Instance


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
    """Index of the virtual router in the table."""
    kind: Kind
    term: int
    """Which term as master it belongs to: a later one has its own."""
    first: int
    """First target; SECOND_SET: how many repeats."""


class Announcer:
    """Announces for every master among `instances`, which are looked up by table index.

    `garp_interval` and `gna_interval` are nanoseconds between two messages on one interface.
    """

    def __init__(
        self,
        engine: Engine,
        instances: dict[int, Instance],
        clock: Callable[[], int],
        garp_interval: int = 0,
        gna_interval: int = 0,
    ) -> None:
        self._engine = engine
        self._instances = instances
        self._clock = clock
        self._garp_interval = garp_interval
        self._gna_interval = gna_interval
        self._now: deque[tuple[int, int, int]] = deque()
        """(index, term, repeats left)"""
        self._later: list[_Waiting] = []
        self._terms = count(1)
        """Of all instances: an index that was given to another one has no term of before."""
        self._free_at: dict[int, int] = {}
        """By ifindex: when the next paced message may leave."""

    def pace(self, garp_interval: int, gna_interval: int) -> None:
        """Sets other intervals between two messages on one interface (nanoseconds)."""
        self._garp_interval = garp_interval
        self._gna_interval = gna_interval

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
        if settings.master_refresh:
            self._wait(now + settings.master_refresh, instance, Kind.REFRESH)
        if settings.extra_interface_interval and instance.extra_targets:
            self._wait(now + settings.extra_interface_interval, instance, Kind.EXTRA_INTERFACE)

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
        paced = bool(self._garp_interval or self._gna_interval)
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

    def _wait(self, at: int, instance: Instance, kind: Kind, first: int = 0) -> None:
        heappush(self._later, _Waiting(at, instance.index, kind, instance.term, first))

    def _take_due(self, until: int) -> None:
        """Begins what has waited for its time; what is still left at `until` waits on."""
        while self._later and self._later[0].at <= (now := self._clock()):
            waiting = heappop(self._later)
            instance = self._instances.get(waiting.router)
            if instance is None or instance.term != waiting.term:
                continue
            settings = instance.model.announcements
            if waiting.kind is Kind.SECOND_SET:
                self._start_set(instance, waiting.first)
            elif waiting.kind is Kind.REFRESH:
                # A reload may have ended it meanwhile.
                if settings.master_refresh:
                    self._start_set(instance, settings.master_refresh_repeat)
                    self._wait(now + settings.master_refresh, instance, Kind.REFRESH)
            elif waiting.kind is Kind.EXTRA_INTERFACE:
                interval = settings.extra_interface_interval
                if interval:
                    for target in instance.extra_targets:
                        self._engine.announce(instance.index, target, 1)
                    self._wait(now + interval, instance, Kind.EXTRA_INTERFACE)
            else:
                self._engine.announce(instance.index, waiting.first, 1)
            if now >= until:
                break

    def _announce_paced(self, instance: Instance, target: int) -> None:
        """Sends now, or waits until the interface has been quiet for its interval."""
        family, _, ifindex = self._engine.target(instance.index, target)
        interval = self._garp_interval if family == 4 else self._gna_interval
        now = self._clock()
        free_at = max(self._free_at.get(ifindex, 0), now)
        self._free_at[ifindex] = free_at + interval
        if free_at > now:
            self._wait(free_at, instance, Kind.PACED, target)
        else:
            self._engine.announce(instance.index, target, 1)
