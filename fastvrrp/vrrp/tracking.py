"""What moves a virtual router's priority, or lets it fail, as things that it tracks change.

Who tracks what is kept both ways: what an instance tracks (its own, and that of its sync group),
and who tracks a thing. When a thing changes, its users are looked at, in slices, and what all that
each of them tracks adds up to (track/priority.py) is told to the roster.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import islice

from fastvrrp._driver import Driver
from fastvrrp.kernel.links import Change, Link
from fastvrrp.model import (
    Configuration,
    InterfaceDelay,
    LinkPolling,
    SyncGroup,
    Tracked,
    Tracker,
    VirtualRouter,
)
from fastvrrp.observe.details import TrackerState
from fastvrrp.track.priority import effective
from fastvrrp.track.scripts import Scripts
from fastvrrp.vrrp.carrier import Carrier
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance, Pending
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.roster import Roster
from fastvrrp.vrrp.trackers import Key, Trackers

log = logging.getLogger(__name__)

SLICE = 2_000_000
"""Nanoseconds of one slice, as of transitions.py."""
CAUSE = "tracking"
"""Of the faults that come from here."""
STEP = 200
"""Instances that are looked at between two steps of `settle`."""


class _User:
    """An instance that tracks something."""

    __slots__ = ("instance", "tracked")

    def __init__(self, instance: Instance, tracked: tuple[Tracked, ...]) -> None:
        self.instance = instance
        self.tracked = tracked

    def things(self) -> set[Key]:
        return {Key.of(each) for each in self.tracked}


class Tracking(Follower):
    """Lets instances follow what they track."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        roster: Roster,
        use: Callable[[str | None], Place],
        release: Callable[[Place], None],
        scripts: Scripts,
        driver: Driver,
    ) -> None:
        """`use` and `release` are as the roster's."""
        self._loop = loop
        self._roster = roster
        self._driver = driver
        self._carriers: dict[Place, Carrier] = {}
        roster.reporter = lambda place, name: self._carrier(place).reporter(name)
        self._trackers = Trackers(
            loop,
            lambda name: self._with_carrier(use(name)),
            release,
            scripts,
            self._log_link,
            self._on_change,
        )
        self.states = self._trackers.states
        self.state_of = self._trackers.state_of
        self.counts = self._trackers.counts
        self.on_state: Callable[[], None] = lambda: None
        """Called when the state of something that is tracked has changed, or is known at last."""
        self._users: dict[int, _User] = {}
        """By the instance's index."""
        self._users_of: dict[Key, dict[int, _User]] = {}
        self._groups: dict[str, SyncGroup] = {}
        """Groups that track, by the names of their members."""
        self._members: dict[str, Instance] = {}
        """Those of them that there are."""
        self._regrouped: set[str] = set()
        """Instances that may track something else since the last `configure`."""
        self._queue: deque[Iterator[_User]] = deque()
        """Whom to look at."""
        self._next_slice: asyncio.Handle | None = None
        self._configuration = Configuration()
        self._polling: dict[int, Instance] = {}
        """Instances with `linkbeat_use_polling`, by their index."""

    def presume(self, states: Iterable[TrackerState]) -> None:
        """Takes what is tracked to be as it was under a process that has died, until it is known
        otherwise. To be called before the first `configure`."""
        self._trackers.presume(states)

    def arrive(self, place: Place) -> None:
        self._carrier(place).resume()

    def depart(self, place: Place) -> None:
        if place in self._carriers:
            self._carriers[place].pause()

    def drop(self, place: Place) -> None:
        carrier = self._carriers.pop(place, None)
        if carrier is not None:
            carrier.close()

    def _carrier(self, place: Place) -> Carrier:
        """What says whether a place's links are up."""
        carrier = self._carriers.get(place)
        if carrier is None:
            carrier = self._carriers[place] = Carrier(place, self._loop, self._driver.settle)
        return carrier

    def _with_carrier(self, place: Place) -> Place:
        """A place whose links are delayed and asked as it is written, also one that comes later."""
        self._carrier(place)
        return place

    def configure(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._trackers.configure(configuration)
        groups = tracking_groups(configuration)
        self._regrouped = {
            name
            for name in groups.keys() | self._groups.keys()
            if _tracking_of(groups.get(name)) != _tracking_of(self._groups.get(name))
        }
        self._groups = groups

    def enter(self, instance: Instance) -> None:
        self._carrier(instance.place)
        if instance.model.name in self._groups:
            self._members[instance.model.name] = instance
        if instance.model.options.polls_link:
            self._polling[instance.index] = instance
        self._follow_with_group(instance)

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        if self._members.get(old.name) is instance:
            del self._members[old.name]
        self._polling.pop(instance.index, None)
        self.enter(instance)

    def leave(self, instance: Instance) -> None:
        self._polling.pop(instance.index, None)
        self._unfollow(instance.index)
        name = instance.model.name
        if self._members.get(name) is instance:
            del self._members[name]
            self._follow_group(name)

    def settle(self) -> Iterator[None]:
        yield from self._find_members()
        for name in self._regrouped:
            member = self._members.get(name)
            if member is not None and self._is_stale(member):
                self._follow(member)
                yield
            if name not in self._groups:
                self._members.pop(name, None)
        self._regrouped = set()
        yield from self._trackers.settle(self._users_of.keys())
        yield from self._settle_carriers()

    def stop(self) -> None:
        self._queue.clear()
        if self._next_slice is not None:
            self._next_slice.cancel()
        self._trackers.stop()
        for carrier in self._carriers.values():
            carrier.close()

    # --- who tracks what -------------------------------------------------------------------------

    def _find_members(self) -> Iterator[None]:
        """Instances that run already, and are in a group that tracks since now."""
        missing = {name for name in self._regrouped if name not in self._members}
        instances = iter(list(self._roster.instances.values()))
        while missing and (some := list(islice(instances, STEP))):
            for instance in some:
                if instance.model.name in missing:
                    missing.discard(instance.model.name)
                    self._members[instance.model.name] = instance
            yield

    def _is_stale(self, instance: Instance) -> bool:
        user = self._users.get(instance.index)
        return self._tracked_by(instance) != (() if user is None else user.tracked)

    def _follow_with_group(self, instance: Instance) -> None:
        self._follow(instance)
        self._follow_group(instance.model.name)

    def _follow_group(self, name: str) -> None:
        """Where what one member tracks counts for all, it may have changed for the others."""
        group = self._groups.get(name)
        if group is not None and group.tracks_for_all:
            for other in group.members:
                member = self._members.get(other)
                if other != name and member is not None and self._is_stale(member):
                    self._follow(member)

    def _follow(self, instance: Instance) -> None:
        """Lets an instance follow what it tracks now."""
        tracked = self._tracked_by(instance)
        before = self._users.get(instance.index)
        if not tracked and before is None:
            return
        self._unfollow(instance.index)
        user = _User(instance, tracked)
        if tracked:
            self._users[instance.index] = user
            for key in user.things():
                self._trackers.begin(key)
                self._users_of.setdefault(key, {})[instance.index] = user
        self._move(user)
        if instance.is_coming:
            self._hold(user)
        else:
            self._queue.append(iter((user,)))  # whoever changes it has not finished with it
            if self._next_slice is None:
                self._next_slice = self._loop.call_soon(self._work)

    def _unfollow(self, index: int) -> None:
        user = self._users.pop(index, None)
        if user is None:
            return
        for key in user.things():
            users = self._users_of[key]
            del users[index]
            if not users:
                del self._users_of[key]

    def _tracked_by(self, instance: Instance) -> tuple[Tracked, ...]:
        """What an instance tracks, by itself and by its group."""
        model = instance.model
        group = self._groups.get(model.name)
        if group is None:
            return tracked_in_all(model) if model.tracked else ()
        members = [self._members[name].model for name in group.members if name in self._members]
        return tracked_in_all(model, group, members)

    # --- what comes of it ------------------------------------------------------------------------

    def _on_change(self, key: Key) -> None:
        self.on_state()
        users = self._users_of.get(key)
        if users:
            self._queue.append(iter(list(users.values())))
            if self._next_slice is None:
                self._work()

    def _work(self) -> None:
        """Looks at those who wait, for one slice."""
        self._next_slice = None
        clock = self._driver.now
        until = clock() + SLICE
        while self._queue:
            user = next(self._queue[0], None)
            if user is None:
                self._queue.popleft()
                continue
            index = user.instance.index
            current = self._users.get(index)
            if current is user or (current is None and not user.tracked):
                self._move(user)
                self._hold(user)
            if clock() >= until:
                break
        self._driver.settle()
        if self._queue:
            self._next_slice = self._loop.call_soon(self._work)

    def _move(self, user: _User) -> None:
        """Gives an instance the priority that comes of what it tracks, faults aside."""
        contributions = [self._trackers.contribution(each) for each in user.tracked]
        instance = user.instance
        priority = effective(
            instance.model.priority, [each for each in contributions if each is not None]
        )
        assert priority is not None
        self._roster.set_priority(instance, priority)

    def _hold(self, user: _User) -> None:
        """Lets an instance fail for as long as something that it tracks is a fault, or begin later
        when that is not known yet."""
        held = [each for each in user.tracked if self._trackers.contribution(each) is None]
        text = "; ".join(map(self._trackers.describe, held))
        if not any(map(self._trackers.is_known, held)):
            text = Pending(text)
        self._roster.hold(user.instance, CAUSE, text or None)

    # --- interfaces ------------------------------------------------------------------------------

    def _log_link(self, place: Place, change: Change, link: Link) -> None:
        if link.name in self._roster.interfaces(place):
            return  # the roster says it
        name = place.called(link.name)
        if change in (Change.UP, Change.DOWN):
            reporter = self._carrier(place).reporter(link.name)
            log.info("%s reports %s %s", reporter, name, change.value)
        else:
            what = "added" if change is Change.APPEARED else "deleted"
            log.info("Interface %s %s", name, what)

    def _settle_carriers(self) -> Iterator[None]:
        """Lets interfaces be delayed and asked as it is written, in whatever namespace they are."""
        configuration = self._configuration
        delays = {each.interface: each for each in configuration.interface_delays}
        for carrier in list(self._carriers.values()):
            carrier.delay(delays)
            yield
        if delays:
            yield from self._shorten_delays(delays)
        asked = {each.interface: each.polling for each in configuration.linkbeat_interfaces}
        polled: dict[Place, dict[str, LinkPolling]] = {place: {} for place in self._carriers}
        for instance in self._polling.values():
            polled[instance.place][instance.model.interface] = LinkPolling.ANY
        if configuration.definitions.vrrp.polls_links:
            tracked: dict[str, list[str]] = {}
            for key in self._users_of:
                if key.kind == Tracker.INTERFACE:
                    tracked.setdefault(key.namespace, []).append(key.name)
            for place, names in polled.items():
                names.update(dict.fromkeys(self._roster.interfaces(place), LinkPolling.ANY))
                names.update(dict.fromkeys(tracked.get(place.name or "", ()), LinkPolling.ANY))
        yield
        for place, names in polled.items():
            if place in self._carriers:
                self._carriers[place].poll(names | asked)
                yield

    def _shorten_delays(self, delays: dict[str, InterfaceDelay]) -> Iterator[None]:
        carriers = {place.name or "": carrier for place, carrier in self._carriers.items()}
        instances = iter(list(self._roster.instances.values()))
        while some := list(islice(instances, STEP)):
            for instance in some:
                user = self._users.get(instance.index)
                used = {(instance.model.namespace or "", instance.model.interface)}
                if user is not None:
                    used |= {
                        (key.namespace, key.name)
                        for key in user.things()
                        if key.kind == Tracker.INTERFACE
                    }
                for namespace, name in used:
                    if name in delays and namespace in carriers:
                        carriers[namespace].shorten(name, instance.model)
            yield


def tracking_groups(configuration: Configuration) -> dict[str, SyncGroup]:
    """Groups that track, by the names of their members."""
    return {
        member: group
        for group in configuration.sync_groups
        if group.tracked or group.tracks_for_all
        for member in group.members
    }


def tracked_in_all(
    model: VirtualRouter, group: SyncGroup | None = None, members: Iterable[VirtualRouter] = ()
) -> tuple[Tracked, ...]:
    """What a virtual router tracks, by itself and by its group, whose members there are. A thing
    counts once, as it was written first. BFD sessions are none yet."""
    every = [*_placed(model)]
    if group is not None:
        every += group.tracked
        if group.tracks_for_all:
            every += (tracked for member in members for tracked in _placed(member))
    found = {Key.of(each): each for each in reversed(every) if each.kind != Tracker.BFD}
    return tuple(reversed(found.values()))


def _placed(model: VirtualRouter) -> tuple[Tracked, ...]:
    """What a virtual router tracks, with the network namespace of each interface."""
    if model.namespace is None:
        return model.tracked
    return tuple(
        replace(each, namespace=model.namespace)
        if each.kind == Tracker.INTERFACE and each.namespace is None
        else each
        for each in model.tracked
    )


def _tracking_of(group: SyncGroup | None) -> object:
    """What of a group makes a difference to what its members track."""
    if group is None:
        return None
    return group.tracked, group.members if group.tracks_for_all else ()
