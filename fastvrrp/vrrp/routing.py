"""Routes and rules that go with a master, and addresses, routes and rules that stay.

A master's routes and rules are added after its addresses and removed before them. One that is
tracked holds its instance: in FAULT while its interface is down or missing, and when somebody else
removes it the instance leaves MASTER, as it does under keepalived, and comes back by an election,
which puts everything back. With `no_track` neither happens, and it is put back when the instance
becomes master the next time.

What stays (`static_ipaddress`, `static_routes`, `static_rules`) is put back at once when somebody
removes it, and when its interface comes up. Where it has a `track_group`, the instances of that are
in FAULT while its interface is down or missing, and while it cannot be put back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from fastvrrp._engine import Note
from fastvrrp.kernel.links import Change, Link
from fastvrrp.kernel.rtsockets import Watch
from fastvrrp.kernel.sysctl import path_of
from fastvrrp.model import Configuration, State, TrackGroup, VirtualAddress, VirtualRouter
from fastvrrp.vrrp.apart import Local
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place, Survey
from fastvrrp.vrrp.roster import Roster
from fastvrrp.vrrp.upkeep import Thing, Upkeep, describe, interfaces_of, tracked_interfaces

log = logging.getLogger(__name__)

STATIC = "static"
"""Owner of what stays; the others are indexes of instances."""
RETRY = 2.0
"""Seconds between two attempts to put back what instances wait for."""
_RETURNS = frozenset({Change.UP, Change.APPEARED, Change.PRIMARY_ADDRESS})
"""Changes of a link after which what the kernel refused may be possible."""


@dataclass(slots=True)
class _Watched:
    """What is to be done when an interface changes."""

    needed_by: set[int] = field(default_factory=set)
    """Indexes of instances that fail without it."""
    promoted_for: set[int] = field(default_factory=set)
    """Indexes of instances that want its secondary addresses kept."""
    things: dict[Thing, None] = field(default_factory=dict)
    """What stays on it."""

    def __bool__(self) -> bool:
        return bool(self.needed_by or self.promoted_for or self.things)


class Routing(Local):
    """Keeps routes and rules of one network namespace, and what is static in the daemon's own, as
    the configuration and the masters want it."""

    def __init__(
        self,
        place: Place,
        roster: Roster,
        loop: asyncio.AbstractEventLoop,
        read_links: Callable[[Place], bool],
        settle: Callable[[], None],
    ) -> None:
        """`read_links` takes in what the kernel tells of links, and says whether there may be more;
        `settle` is called after instances may have resigned."""
        self._place = place
        self._upkeep = upkeep = Upkeep(place)
        self._roster = roster
        self._links = place.links
        self._sysctls = place.sysctls
        self._loop = loop
        self._read_links = read_links
        self._settle = settle
        self._watching = -1
        """The socket that tells of removals, if there is one."""
        self._is_waiting = False
        """Links are compared with a dump, and removals are not heard of meanwhile."""
        self._will_hear = False
        """Removals are read when the loop comes round."""
        self._is_starting = True
        self._static: tuple[Thing, ...] = ()
        """What stays, in the order in which it is added."""
        self._groups: tuple[TrackGroup, ...] = ()
        self._coming: Configuration | None = None
        """What a reload has read."""
        self._tracked: dict[str, list[Thing]] = {}
        """What stays and is tracked, by the names of instances."""
        self._members: dict[int, str] = {}
        """By instance in a track group: its name."""
        self._missing: dict[Thing, None] = {}
        """What stays, is tracked by a group, and is not there."""
        self._is_retrying = False
        self._watched: dict[str, _Watched] = {}
        """By interface."""
        self._needs: dict[int, frozenset[str]] = {}
        """By instance: the interfaces without which it fails, but for its own."""
        self._promotes: dict[int, str] = {}
        """By instance: the interface whose secondary addresses are kept."""
        self._left: dict[int, tuple[Thing, ...]] = {}
        """At the start, by instance that does not go on as master: what an earlier process may have
        left of it."""
        self._orphans: Collection[Thing] = ()
        """At the start: what an earlier process may have left, and nobody wants any more."""
        self._owned: dict[int, tuple[Thing, ...]] = {}
        """By instance: what was added for it."""
        self._stale: dict[int, bool] = {}
        """Masters whose things a reload has changed; True where their addresses are put on again,
        which is waited for."""
        upkeep.on_watch = self._on_watch
        upkeep.on_missing = self._hear_soon
        self._links.on_static_address_gone = upkeep.address_gone
        self.keeps_routes = False
        """Who stops leaves its routes and rules where they are."""
        upkeep.on_lost = self._on_lost
        upkeep.on_settled = self._on_settled

    def finish(self) -> None:
        if self._upkeep.is_busy and self._place.is_open:
            with self._place.inside():
                self._upkeep.finish()

    @property
    def is_busy(self) -> bool:
        return self._upkeep.is_busy

    def survey(self) -> Survey:
        self._is_waiting = True
        if self._watching != -1:
            self._loop.remove_reader(self._watching)
        return self._upkeep.survey()

    def caught_up(self) -> None:
        self._is_waiting = False
        if self._watching != -1:
            self._loop.add_reader(self._watching, self._hear_soon)
        self._hear_soon()

    def arrive(self, place: Place) -> None:
        self._upkeep.resume()

    def depart(self, place: Place) -> None:
        self._close()

    def disown(self, things: Collection[Thing]) -> None:
        """At the start: has removed what an earlier process may have left, when everything is taken
        over and in the other thread."""
        self._orphans = things

    def configure(self, configuration: Configuration) -> None:
        if not self._place.is_own:
            configuration = replace(
                configuration, static_addresses=(), static_routes=(), static_rules=()
            )
        self._coming = configuration
        if self._is_starting:
            for _ in self._renew(configuration):
                pass
            # Adverts may leave from an address that stays.
            self.finish()
            while self._links.read():
                pass

    def enter(self, instance: Instance) -> None:
        self._join(instance)
        if self._is_starting and _has_own(instance.model):
            self._left[instance.index] = _own(instance.model)

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        self._join(instance)
        if instance.index in self._owned and _own(instance.model) != self._owned[instance.index]:
            self._stale[instance.index] = (
                old.all_addresses != instance.model.all_addresses or old.vmac != instance.model.vmac
            )

    def leave(self, instance: Instance) -> None:
        self._members.pop(instance.index, None)
        self._depend(instance, frozenset(), None)

    def settle(self) -> Iterator[None]:
        if self._is_starting:
            self._is_starting = False
            for things in self._left.values():
                self._upkeep.clear(things)
            self._left.clear()
            self._upkeep.clear(self._orphans)
            self._orphans = ()
            try:
                self._upkeep.begin()
            except OSError:  # it is tried again with whatever is asked for next
                log.exception("Routes and rules of %s cannot be changed", self._place.where)
            return
        if self._coming is not None:
            yield from self._renew(self._coming)
        for index, is_moving in list(self._stale.items()):
            if not is_moving and index in self._owned:
                self._put(self._roster.instances[index])
            yield
        self._stale.clear()

    def take(self, instance: Instance, note: Note) -> None:
        if self.keeps_routes and note.event == "STOP":
            return
        if note.releases and instance.index in self._owned:
            _tell(instance, "removing")
            self._upkeep.remove(instance.index, reversed(self._owned.pop(instance.index)))

    def resume(self, instance: Instance, state: State) -> None:
        if state == State.MASTER:
            self._left.pop(instance.index, None)

    def applied(self, instance: Instance, added: bool) -> None:
        if added and (_has_own(instance.model) or instance.index in self._owned):
            _tell(instance, "setting")
            self._put(instance)

    def stop(self) -> None:
        self._upkeep.remove(STATIC, reversed(self._static))
        self.finish()
        self._close()

    def _close(self) -> None:
        if self._watching != -1:
            self._loop.remove_reader(self._watching)
            self._watching = -1
        self._is_waiting = False
        self._upkeep.close()

    def _on_watch(self, watch: Watch) -> None:
        """There are routes or rules, whose removal is to be heard."""
        self._watching = watch.fileno()
        if not self._is_waiting:
            self._loop.add_reader(self._watching, self._hear_soon)

    def _hear_soon(self) -> None:
        if not self._will_hear:
            self._will_hear = True
            self._loop.call_soon(self._hear_removals)

    def _hear_removals(self) -> None:
        """Takes in what was removed. A link that goes down takes routes with it, so whatever is
        told of links comes first; after an overrun `caught_up` brings us here again."""
        self._will_hear = False
        if not self._place.is_open:
            return
        if self._read_links(self._place):
            self._hear_soon()
        elif not self._links.is_behind:
            self._upkeep.read_removals()
            self._settle()

    def _put(self, instance: Instance) -> None:
        """Has a master's things where they belong, also those that went with an address."""
        owned, wanted = self._owned.get(instance.index, ()), _own(instance.model)
        self._owned[instance.index] = wanted
        if owned and owned != wanted:
            for _ in self._upkeep.replace(instance.index, owned, wanted):
                pass
        else:
            self._upkeep.add(instance.index, wanted)

    def _renew(self, configuration: Configuration) -> Iterator[None]:
        """Puts what stays as a configuration has it, and has instances track it."""
        self._coming = None
        old, self._static = self._static, static_of(configuration)
        if old == self._static and configuration.track_groups == self._groups:
            yield from self._upkeep.replace(STATIC, old, old)  # what has gone is put back
            return
        yield
        watched = [(thing, name) for thing in old for name in interfaces_of(thing)]
        for thing, name in watched:
            self._watched[name].things.pop(thing, None)
            yield
        for thing in self._static:
            for name in interfaces_of(thing):
                self._watch(name).things[thing] = None
            yield
        for _, name in watched:
            self._ignore(name)
        self._links.static_addresses = {
            (address.family, address.address) for address in configuration.static_addresses
        }
        self._groups = configuration.track_groups
        self._tracked = self._things_by_member()
        for thing in self._missing.keys() - set(self._static):
            del self._missing[thing]
        yield from self._upkeep.replace(STATIC, old, self._static)
        for instance in list(self._roster.instances.values()):
            tracks = instance.index in self._members or instance.model.name in self._tracked
            if tracks and not self._roster.is_leaving(instance):
                self._join(instance)
            yield

    def _things_by_member(self) -> dict[str, list[Thing]]:
        """What each member of a track group tracks."""
        members = {group.name: group.members for group in self._groups}
        found: dict[str, list[Thing]] = {}
        for thing in self._static:
            if thing.track_group is not None:
                for name in members.get(thing.track_group, ()):
                    found.setdefault(name, []).append(thing)
        return found

    def _join(self, instance: Instance) -> None:
        """Finds out what an instance depends on."""
        model = instance.model
        tracked = self._tracked.get(model.name, [])
        if tracked:
            self._members[instance.index] = model.name
        else:
            self._members.pop(instance.index, None)
        promoted = None
        if model.options.promotes_secondaries:
            promoted = model.interface if model.vmac is None else model.vmac.name
        needs = needs_of(model, tracked)
        index = instance.index
        if needs or promoted or index in self._needs or index in self._promotes:
            self._depend(instance, needs, promoted)
        if needs or tracked or instance.faults:
            self._hold(instance)

    def _depend(self, instance: Instance, needs: frozenset[str], promoted: str | None) -> None:
        """Watches the interfaces that concern an instance, and those no more that did."""
        index = instance.index
        before, promoted_before = self._needs.get(index, frozenset()), self._promotes.get(index)
        for name in needs - before:
            self._watch(name).needed_by.add(index)
        if needs:
            self._needs[index] = needs
        else:
            self._needs.pop(index, None)
        if promoted is not None and promoted != promoted_before:
            self._promotes[index] = promoted
            self._watch(promoted).promoted_for.add(index)
            self._promote(promoted)
        for name in before - needs:
            self._watched[name].needed_by.discard(index)
            self._ignore(name)
        if promoted_before is not None and promoted != promoted_before:
            if promoted is None:
                del self._promotes[index]
            watched = self._watched[promoted_before]
            watched.promoted_for.discard(index)
            if not watched.promoted_for:
                path = path_of("ipv4", promoted_before, "promote_secondaries")
                if path in self._sysctls.originals:
                    with self._place.inside():
                        self._sysctls.restore([path])
            self._ignore(promoted_before)

    def _hold(self, instance: Instance) -> None:
        """Holds an instance by what it has to do without, and by nothing else of here."""
        causes: dict[str, str] = {}
        for name in self._needs.get(instance.index, ()):
            link = self._links.by_name(name)
            if link is None:
                causes[f"{_CAUSE} {name}"] = f"interface {name} does not exist"
            elif not link.is_up:
                causes[f"{_CAUSE} {name}"] = f"interface {name} is down"
        for thing in self._tracked.get(instance.model.name, ()):
            if thing in self._missing:
                causes[f"{_CAUSE} {describe(thing)}"] = f"static {describe(thing)} is not there"
        for cause in tuple(instance.faults):
            if cause.startswith(_CAUSE) and cause not in causes:
                self._roster.hold(instance, cause, None)
        for cause, why in causes.items():
            self._roster.hold(instance, cause, why)

    def _watch(self, name: str) -> _Watched:
        watched = self._watched.get(name)
        if watched is None:
            watched = self._watched[name] = _Watched()
            self._links.subscribe(self._on_link, name)
        return watched

    def _ignore(self, name: str) -> None:
        """Hears no more of an interface that concerns nobody."""
        if name in self._watched and not self._watched[name]:
            del self._watched[name]
            self._links.unsubscribe(self._on_link, name)

    def _promote(self, name: str) -> None:
        if self._links.by_name(name) is None:
            return  # it is done when it comes
        try:
            with self._place.inside():
                self._sysctls.change(path_of("ipv4", name, "promote_secondaries"), "1")
        except OSError as error:
            log.warning("promote_secondaries cannot be set on %s: %s", name, error.strerror)

    def _on_link(self, change: Change, link: Link) -> None:
        watched = self._watched.get(link.name)
        if watched is None:
            return
        for index in tuple(watched.needed_by):
            self._hold(self._roster.instances[index])
        if change is Change.APPEARED and watched.promoted_for:
            self._promote(link.name)
        if change in _RETURNS and link.is_up:
            self._upkeep.restore(
                thing
                for thing in watched.things
                if thing.is_tracked or not self._upkeep.has_stood(thing)
            )

    def _on_lost(self, thing: Thing, owners: frozenset[Hashable]) -> None:
        """Somebody else has removed a thing. Where that came with its interface, that is all that
        counts."""
        # An address can be put back on a link that is down, and goes when one goes down.
        is_static = STATIC in owners
        comes_back = is_static and isinstance(thing, VirtualAddress)
        if not comes_back and not all(self._is_up(name) for name in tracked_interfaces(thing)):
            return
        if is_static:
            self._upkeep.restore([thing])
        for index in owners:
            instance = self._roster.instances.get(index) if isinstance(index, int) else None
            if instance is not None:
                log.info(
                    "(%s) %s was removed by somebody else", instance.model.name, describe(thing)
                )
                self._roster.resign(instance)

    def _is_up(self, name: str) -> bool:
        link = self._links.by_name(name)
        return link is not None and link.is_up

    def _on_settled(self, thing: Thing, owners: frozenset[Hashable], stands: bool) -> None:
        """The kernel has answered. What a group tracks, and is not there, faults its instances."""
        if STATIC not in owners or thing.track_group is None or not thing.is_tracked:
            return
        if stands == (thing not in self._missing):
            return
        if stands:
            del self._missing[thing]
        else:
            self._missing[thing] = None
            self._retry_later()
        for index, name in tuple(self._members.items()):
            if thing in self._tracked.get(name, ()):
                self._hold(self._roster.instances[index])
        self._roster.on_changed(self._place)

    def _retry(self) -> None:
        """Tries what instances wait for again: what it needs may have come without a word."""
        self._is_retrying = False
        if self._missing:
            self._retry_later()
            self._upkeep.restore(self._missing)

    def _retry_later(self) -> None:
        if not self._is_retrying:
            self._is_retrying = True
            self._loop.call_later(RETRY, self._retry)


_CAUSE = "routing:"
"""How the causes begin for which instances are held here."""


def _tell(instance: Instance, doing: str) -> None:
    """Says in keepalived's words what is done for an instance."""
    options = instance.model.options
    for what, things in (("Routes", options.routes), ("Rules", options.rules)):
        if things:
            log.debug("(%s) %s Virtual %s", instance.model.name, doing, what)


def static_of(configuration: Configuration) -> tuple[Thing, ...]:
    """What stays, each once, in the order in which one may need the other."""
    things: Iterable[Thing] = (
        *configuration.static_addresses,
        *configuration.static_routes,
        *configuration.static_rules,
    )
    return tuple(dict.fromkeys(things))


def _has_own(model: VirtualRouter) -> bool:
    return bool(model.options.routes or model.options.rules)


def _own(model: VirtualRouter) -> tuple[Thing, ...]:
    """What goes with a master besides its addresses, each once, routes first."""
    things: Iterable[Thing] = (*model.options.routes, *model.options.rules)
    return tuple(dict.fromkeys(things))


def needs_of(model: VirtualRouter, tracked: Iterable[Thing]) -> frozenset[str]:
    """The interfaces of the routes and rules that it tracks, without those that hold it in any
    case."""
    names: set[str] = set()
    for thing in tracked:
        names |= tracked_interfaces(thing)
    if _has_own(model):
        for thing in _own(model):
            names |= tracked_interfaces(thing)
    if model.vmac is not None:
        names.discard(model.vmac.name)
    if model.tracks_interface:
        names.discard(model.interface)
    return frozenset(names)
