"""Virtual routers that are looked at again, in slices: a network namespace with a thousand of them
comes or goes, or their VMACs have been made, and adverts of all others leave in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place

SLICE = 2_000_000
"""Nanoseconds."""
Look = Callable[[Instance], None]


class Reviews:
    """A queue of virtual routers, each of which is in it once."""

    def __init__(self, clock: Callable[[], int], after: Callable[[Place], None]) -> None:
        """`after` is called with the places of those that were looked at, at the end of a slice."""
        self._clock = clock
        self._after = after
        self.later: Callable[[Callable[[], None]], object] = lambda run: run()
        """Calls something when others have had their turn."""
        self._waiting: dict[Instance, Look] = {}
        self._many: dict[Place, int] = {}
        """How many wait in each place."""
        self._is_coming = False
        """A slice is."""

    def add(self, instances: Iterable[Instance], look: Look) -> None:
        """Has each of these looked at; a look that waits for one already is not needed then."""
        for instance in instances:
            if instance not in self._waiting:
                self._many[instance.place] = self._many.get(instance.place, 0) + 1
            self._waiting[instance] = look
        if not self._is_coming:
            self._work()

    def is_busy(self, place: Place) -> bool:
        """Whether some wait in a place."""
        return place in self._many

    def forget(self, instance: Instance) -> None:
        """Looks at that one no more."""
        if self._waiting.pop(instance, None) is not None:
            self._count_off(instance.place)

    def clear(self) -> None:
        """Looks at none of them any more."""
        self._waiting.clear()
        self._many.clear()

    def _work(self) -> None:
        self._is_coming = True
        until = self._clock() + SLICE
        places = set()
        try:
            while self._waiting:
                instance = next(iter(self._waiting))
                look = self._waiting.pop(instance)
                self._count_off(instance.place)
                places.add(instance.place)
                look(instance)
                if self._clock() >= until:
                    break
        finally:
            self._is_coming = bool(self._waiting)
            if self._is_coming:
                self.later(self._work)
            for place in places:
                self._after(place)

    def _count_off(self, place: Place) -> None:
        self._many[place] -= 1
        if not self._many[place]:
            del self._many[place]
