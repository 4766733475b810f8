"""A follower for each network namespace, where what it does is the matter of one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from fastvrrp._engine import Note
from fastvrrp.model import Configuration, State, VirtualRouter
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place, Survey

log = logging.getLogger(__name__)


class Local(Follower):
    """A follower that hears of the virtual routers of one place only."""

    def finish(self) -> None:
        """The other thread has ended, and what it has not done yet is to be done."""

    def survey(self) -> Survey:
        """Notifications of addresses were lost, and a dump is about to be made."""
        return lambda _: iter(())

    def caught_up(self) -> None:
        """What that dump has shown is known, and notifications are read again."""

    @property
    def is_busy(self) -> bool:
        """Whether something is still to be done there that instances which have gone have left."""
        return False


Kind = TypeVar("Kind", bound=Local)


class Apart(Follower, Generic[Kind]):
    """Makes a follower for every place, and tells each of what happens there."""

    def __init__(self, make: Callable[[Place], Kind]) -> None:
        self._make = make
        self._of: dict[Place, Kind] = {}
        self._configuration: Configuration | None = None

    def of(self, place: Place) -> Kind:
        """The one of a place."""
        found = self._of.get(place)
        if found is None:
            found = self._of[place] = self._make(place)
            if self._configuration is not None:
                found.configure(self._configuration)
        return found

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._of.values())

    def finish(self) -> None:
        """See Local."""
        for place, each in self._of.items():
            try:
                each.finish()
            except Exception:
                log.exception("%s: %s failed", place.where, each.finish.__qualname__)

    def is_busy(self, place: Place) -> bool:
        """See Local."""
        return place in self._of and self._of[place].is_busy

    def arrive(self, place: Place) -> None:
        self.of(place).arrive(place)

    def depart(self, place: Place) -> None:
        if place in self._of:
            self._of[place].depart(place)

    def drop(self, place: Place) -> None:
        self._of.pop(place, None)

    def configure(self, configuration: Configuration) -> None:
        self._configuration = configuration
        for each in self._of.values():
            each.configure(configuration)

    def enter(self, instance: Instance) -> None:
        self.of(instance.place).enter(instance)

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        self._of[instance.place].change(instance, old)

    def leave(self, instance: Instance) -> None:
        self._of[instance.place].leave(instance)

    def settle(self) -> Iterator[None]:
        for each in list(self._of.values()):
            yield from each.settle()

    def take(self, instance: Instance, note: Note) -> None:
        self._of[instance.place].take(instance, note)

    def resume(self, instance: Instance, state: State) -> None:
        self._of[instance.place].resume(instance, state)

    def applied(self, instance: Instance, added: bool) -> None:
        self._of[instance.place].applied(instance, added)

    def stop(self) -> None:
        for place, each in self._of.items():
            try:
                each.stop()
            except Exception:
                log.exception("%s: %s failed", place.where, each.stop.__qualname__)
