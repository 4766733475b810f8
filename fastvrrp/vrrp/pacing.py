"""Gaps between announcements, for switches that cannot take many at once.

`vrrp_garp_interval` and `vrrp_gna_interval` keep gratuitous ARPs, and by themselves neighbour
advertisements, apart on each interface; a `garp_group` has gaps of its own, for one interface or
for some together, and its interfaces do not have the general ones. What may not leave yet waits in
a `Lane`, first in, first out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple

from fastvrrp._sockets import place_and_ifindex
from fastvrrp.model import GarpGroup

MOST_WAITING = 10
"""Of one address in one lane: two sets. Where more are asked for than a gap lets through, the later
ones say nothing that those which wait do not say."""


class Ticket(NamedTuple):
    """An announcement that waits."""

    router: int
    """Index of the virtual router in the table."""
    term: int
    """Which term as master it belongs to."""
    target: int
    """Position among the router's targets."""


class Lane:
    """Announcements of one kind that keep their distance from each other."""

    __slots__ = ("_counts", "_free_at", "_gap", "_waiting", "number")

    def __init__(self, number: int, gap: int) -> None:
        """`gap` is in nanoseconds."""
        self.number = number
        self._gap = gap
        self._free_at = 0
        self._waiting: deque[Ticket] = deque()
        self._counts: dict[Ticket, int] = {}

    def enters(self, now: int) -> bool:
        """Whether one may leave now, and if so it does: the next one may after the gap."""
        if self._waiting or now < self._free_at:
            return False
        self._free_at = now + self._gap
        return True

    def put(self, ticket: Ticket) -> int | None:
        """Lets an announcement wait; when the first one that waits may leave (nanoseconds), where
        that is this one."""
        count = self._counts.get(ticket, 0)
        if count < MOST_WAITING:
            self._counts[ticket] = count + 1
            self._waiting.append(ticket)
            if len(self._waiting) == 1:
                return self._free_at
        return None

    def take(self, now: int, is_valid: Callable[[Ticket], bool]) -> Ticket | None:
        """The next one, which leaves now; those that are not valid any more take no time."""
        while self._waiting:
            ticket = self._waiting.popleft()
            self._counts[ticket] -= 1
            if not self._counts[ticket]:
                del self._counts[ticket]
            if is_valid(ticket):
                self._free_at = now + self._gap
                return ticket
        return None

    def next_at(self) -> int | None:
        """When `take` may be called again (nanoseconds); None where nothing waits."""
        return self._free_at if self._waiting else None

    def empty(self) -> Iterable[Ticket]:
        """All that wait, which wait no more."""
        waiting, self._waiting, self._counts = self._waiting, deque(), {}
        return waiting


class Pacing:
    """All lanes. `name_of` gives the name of an interface by the engine's number of it, or None."""

    def __init__(self, name_of: Callable[[int], str | None]) -> None:
        self._name_of = name_of
        self._general: dict[int, int] = {}
        """Gap by family, 4 or 6."""
        self._groups: dict[str, tuple[int, GarpGroup]] = {}
        """By interface: a group and its number."""
        self._by_place: dict[tuple[int, int | tuple[int, int]], Lane] = {}
        """By family, and the engine's number of an interface, or a group's number and that of a
        network namespace."""
        self._lanes: dict[int, Lane] = {}
        """By number, which no other lane gets."""
        self._numbers = count()
        self.is_on = False
        """Whether there is a gap at all."""

    def set(
        self, garp_interval: int, gna_interval: int, groups: Iterable[GarpGroup]
    ) -> list[Ticket]:
        """Sets all gaps (nanoseconds; 0 is none). What has waited until then waits no more, and is
        to be asked for again."""
        self._general = {4: garp_interval, 6: gna_interval}
        self._groups = {
            name: (number, group)
            for number, group in enumerate(groups, 1)
            for name in group.interfaces
        }
        waiting = [ticket for lane in self._lanes.values() for ticket in lane.empty()]
        self._by_place, self._lanes = {}, {}
        self.is_on = bool(garp_interval or gna_interval or self._groups)
        return waiting

    def lane(self, number: int) -> Lane | None:
        """A lane by its number; None where other gaps were set since."""
        return self._lanes.get(number)

    def lane_of(self, family: int, ifindex: int) -> Lane | None:
        """Where announcements of a family, 4 or 6, on an interface wait; None where they need
        not."""
        place: int | tuple[int, int] = ifindex
        gap = self._general[family]
        if self._groups:
            found = self._groups.get(self._name_of(ifindex) or "")
            if found is not None:
                number, group = found
                # Interfaces of one name in two network namespaces are two, and have a group each.
                place = number, place_and_ifindex(ifindex)[0]
                gap = group.garp_interval if family == 4 else group.gna_interval
        if not gap:
            return None
        lane = self._by_place.get((family, place))
        if lane is None:
            lane = self._by_place[family, place] = Lane(next(self._numbers), gap)
            self._lanes[lane.number] = lane
        return lane
