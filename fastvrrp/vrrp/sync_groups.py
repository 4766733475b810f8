"""`vrrp_sync_group`: virtual routers that are master together, or none of them.

The rules are keepalived's:

* A member whose Master_Down_Interval ends waits (fsm.pyx: `wants_master`). When every member waits,
  the group becomes master, the one that waited last first. So a group follows a master as long as
  one of its members does, and one of which some members have higher priorities than the peer's and
  some lower ones stays where it is.
* When a member yields to another master, the others become backup with it, silently.
* When a member fails, the others fail with it, and those who were master resign. As long as one of
  them has a fault of its own all stay in FAULT; then all become backup together.
* A group starts as one: in FAULT where one member cannot take part, and as master only where all
  are owners of their addresses.

Adverts of all members leave in the tick in which the first one changed: `react` takes the engine's
notes before anybody else does, and tells the engine what becomes of the others.

After a reload a group whose members are in different states becomes backup, as keepalived's does.
But members that are new join a master that goes on: keepalived stops it and has another election.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from fastvrrp._engine import Engine, Note
from fastvrrp._fsm import MEMBERSHIP_NAMES
from fastvrrp._table import Table
from fastvrrp.model import Configuration, State, SyncGroup, VirtualRouter
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import PRIORITY_OWNER, Instance, Lack, Pending
from fastvrrp.vrrp.roster import Roster

log = logging.getLogger(__name__)

CAUSE = "sync group"
"""Why an instance is held that has no fault of its own."""
ALONE, MEMBER, OWNING_MEMBER = (
    MEMBERSHIP_NAMES.index(name) for name in ("ALONE", "MEMBER", "OWNING_MEMBER")
)
YIELDING = (State.MASTER, State.BACKUP)
STRIDE = 500
"""Instances that are looked at in one step of a reload, some 0.1 ms."""


class Group:
    """One sync group, and how its members are."""

    __slots__ = (
        "_told",
        "faulty",
        "heading",
        "members",
        "model",
        "newcomers",
        "state",
        "tally",
        "waiting",
    )

    def __init__(self, model: SyncGroup) -> None:
        self.model = model
        self.members: list[Instance] = []
        """In the order of the configuration."""
        self.faulty: dict[int, Instance] = {}
        """Those with a fault of their own, or that wait."""
        self.waiting: set[int] = set()
        """Indexes of those of them that only wait."""
        self.newcomers: set[int] = set()
        """Indexes of those that have entered since the last `settle`."""
        self.state = State.INIT
        """In which all members were when they last were in one, as others have been told."""
        self.heading = State.INIT
        """Where they are going: what the last one to change was told to be."""
        self._told: dict[int, State] = {}
        """The state of each, as others have been told: they hear of it later than it changes."""
        self.tally = Counter[State]()
        """How many are told to be in each."""

    def mind(self, instance: Instance) -> tuple[bool, bool]:
        """Looks at what a member has of its own; whether it became, or stopped being, faulty by
        that, and whether what keeps it is of another kind now."""
        index = instance.index
        was_faulty, did_wait = index in self.faulty, index in self.waiting
        is_faulty, waits = _is_faulty(instance), _waits(instance)
        if is_faulty:
            self.faulty[index] = instance
        else:
            self.faulty.pop(index, None)
        if waits:
            self.waiting.add(index)
        else:
            self.waiting.discard(index)
        return is_faulty is not was_faulty, waits is not did_wait

    def tell(self, instance: Instance, state: State) -> None:
        """Others are told that a member is in a state."""
        self.forget(instance)
        self._told[instance.index] = state
        self.tally[state] += 1

    def forget(self, instance: Instance) -> None:
        """Others were not told of that one."""
        before = self._told.pop(instance.index, None)
        if before is not None:
            self.tally[before] -= 1

    def is_in(self, state: State) -> bool:
        """Whether all members are told to be in that state."""
        return 0 < self.tally[state] == len(self._told)


class SyncGroups(Follower):
    """Keeps the members of every group together.

    `on_group_change(group, before, after)` is called for each change of a group, after the last of
    its members was told, and its followers after it were too; but at the start, where a group
    becomes backup, before the first, because keepalived does so. `after` is INIT where it stops.
    """

    def __init__(
        self, engine: Engine, table: Table, roster: Roster, clock: Callable[[], int]
    ) -> None:
        self._engine = engine
        self._table = table
        self._roster = roster
        self._clock = clock
        self._groups: dict[str, Group] = {}
        """By name."""
        self._wanted: Mapping[str, Group] = {}
        """The group that each virtual router belongs to, by its name, as the configuration says."""
        self._of: dict[int, Group] = {}
        """The same by index, as it is."""
        self._unsettled: dict[str, Group] = {}
        """Groups whose members have changed, by name."""
        self._is_stale = False
        self.on_group_change: Callable[[SyncGroup, State, State], None] = lambda *_: None
        self.changes: list[tuple[SyncGroup, State, State]] = []
        """Changes of which the members were told, and that are to be told now."""

    # --- the configuration ------------------------------------------------------------------------

    def configure(self, configuration: Configuration) -> None:
        models = {model.name: model for model in configuration.sync_groups}
        if models == {name: group.model for name, group in self._groups.items()}:
            return
        self._unsettled.update(self._groups)
        groups: dict[str, Group] = {}
        for name, model in models.items():
            groups[name] = self._groups.get(name) or Group(model)
            groups[name].model = model
        self._groups = groups
        self._unsettled.update(groups)
        self._wanted = {
            member: group for group in groups.values() for member in group.model.members
        }
        self._is_stale = True

    def enter(self, instance: Instance) -> None:
        group = self._wanted.get(instance.model.name)
        if group is not None:
            self._join(group, instance, State.INIT)
            group.newcomers.add(instance.index)
            self._hold(group, instance)
            self._engine.set_membership(instance.index, MEMBER)
            if len(group.members) == len(group.model.members):
                self._arrange(group)  # owners need to know before they start that all are

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        group = self._of.get(instance.index)
        if group is not None:
            self._unsettled[group.model.name] = group
        if instance.model.name != old.name:
            self._is_stale = True

    def leave(self, instance: Instance) -> None:
        group = self._of.get(instance.index)
        if group is not None:
            self._part(group, instance)

    def settle(self) -> Iterator[None]:
        if self._is_stale:
            yield from self._regroup()
        while self._unsettled:
            _, group = self._unsettled.popitem()
            self._arrange(group)
            self._reconcile(group)
            # One that waits for its scripts is a newcomer still when the next reload comes.
            for each in group.members:
                if self._state(each) in (State.MASTER, State.FAULT):
                    group.newcomers.discard(each.index)
            yield

    def _regroup(self) -> Iterator[None]:
        """Moves virtual routers that run already to the groups where they belong now."""
        self._is_stale = False
        instances = iter(list(self._roster.instances.values()))
        while some := list(islice(instances, STRIDE)):
            for instance in some:
                before = self._of.get(instance.index)
                after = self._wanted.get(instance.model.name)
                if before is after or self._roster.is_leaving(instance):
                    continue
                if before is not None:
                    self._part(before, instance)
                    if after is None:
                        self._engine.set_membership(instance.index, ALONE)
                        self._roster.hold(instance, CAUSE, None)
                if after is not None:
                    self._join(after, instance, State(self._table.state(instance.index)))
            yield

    def _join(self, group: Group, instance: Instance, state: State) -> None:
        group.members.append(instance)
        group.tell(instance, state)
        group.mind(instance)
        self._of[instance.index] = group
        self._unsettled[group.model.name] = group

    def _part(self, group: Group, instance: Instance) -> None:
        group.members.remove(instance)
        group.forget(instance)
        group.faulty.pop(instance.index, None)
        group.waiting.discard(instance.index)
        group.newcomers.discard(instance.index)
        del self._of[instance.index]
        self._unsettled[group.model.name] = group

    def _arrange(self, group: Group) -> None:
        """Puts the members in order, and tells the engine what they are."""
        order = {name: position for position, name in enumerate(group.model.members)}
        group.members.sort(key=lambda each: order.get(each.model.name, len(order)))
        are_owners = len(group.members) == len(order) and all(
            each.model.priority == PRIORITY_OWNER for each in group.members
        )
        for each in group.members:
            self._engine.set_membership(each.index, OWNING_MEMBER if are_owners else MEMBER)

    def _reconcile(self, group: Group) -> None:
        """Brings members into one state that have come together."""
        for each in group.members:
            self._hold(group, each)
        for state in State:
            if group.is_in(state):
                group.state = group.heading = state
        masters = [each for each in group.members if self._state(each) == State.MASTER]
        others = [each for each in group.members if self._state(each) != State.MASTER]
        if masters and others and {each.index for each in others} - group.newcomers:
            self._demote(masters)
        elif masters or self._agree(group):
            self._promote(others)

    # --- what happens -----------------------------------------------------------------------------

    def react(self, notes: list[Note]) -> list[Note]:
        """Lets the other members follow in the same tick; returns what others are to be told."""
        if not self._of:
            return notes
        for note in notes:
            group = self._of.get(note.router)
            if group is None:
                continue
            if note.wants:
                log.debug(
                    "(%s) Receive advertisement timeout",
                    self._roster.instances[note.router].model.name,
                )
                if self._table.state(note.router) == State.BACKUP and self._agree(group):
                    self._promote(_first(group.members, note.router))
            elif note.event == "RESIGN":
                # Nobody has taken over yet: the others say that they go, too.
                self._resign(_first(group.members, note.router))
            elif note.event != "DEMOTE" and (note.before, note.after) == YIELDING:
                self._demote(_first(group.members, note.router))
        return [note for note in notes if not note.wants]

    def lacks(self, instance: Instance) -> None:
        group = self._of.get(instance.index)
        if group is None:
            return
        is_news, is_another_kind = group.mind(instance)
        if is_another_kind or (is_news and len(group.faulty) < 2):
            for each in _first(group.members, instance.index):
                self._hold(group, each)
        elif is_news and len(group.faulty) == 2:
            for each in list(group.faulty.values()):
                self._hold(group, each)

    def take(self, instance: Instance, note: Note) -> None:
        group = self._of.get(instance.index)
        if group is None or note.before == note.after:
            return
        after = State(note.after)
        if after != group.heading and (note.before != State.INIT or group.state == State.INIT):
            group.heading = after
            if after == State.INIT:
                pass  # each member stops by itself
            elif group.state != State.INIT or after == State.FAULT:
                log.info(
                    "VRRP_Group(%s) Syncing instances to %s state", group.model.name, after.name
                )
            elif after == State.BACKUP:
                group.state = after
                self.on_group_change(group.model, State.INIT, after)
        group.tell(instance, after)
        if after != group.state and group.is_in(after):
            self.changes.append((group.model, group.state, after))
            group.state = after

    def resume(self, instance: Instance, state: State) -> None:
        group = self._of.get(instance.index)
        if group is not None:
            group.tell(instance, state)

    def companions(self, instance: Instance) -> list[Instance]:
        """Those that are master together with an instance, itself among them."""
        group = self._of.get(instance.index)
        return [instance] if group is None else list(group.members)

    def states(self) -> Iterator[tuple[SyncGroup, State]]:
        """Every group, in the order of the configuration, and the state that others know."""
        for group in self._groups.values():
            yield group.model, group.state

    def _hold(self, group: Group, instance: Instance) -> None:
        """Holds a member in FAULT while another one has a fault of its own, or lets it wait while
        others wait for what is not known yet."""
        others = len(group.faulty) - (instance.index in group.faulty)
        waiting = len(group.waiting) - (instance.index in group.waiting)
        why: str | None = None
        if others:
            why = f"VRRP_Group({group.model.name}) is in FAULT"
            if others == waiting:
                why = Pending(f"VRRP_Group({group.model.name}) waits")
        self._roster.hold(instance, CAUSE, why)

    def _agree(self, group: Group) -> bool:
        """Whether every member is master or waits to be."""
        return all(self._engine.wants_master(each.index) for each in group.members)

    def _promote(self, instances: Iterable[Instance]) -> None:
        now = self._clock()
        for each in instances:
            self._engine.promote(each.index, now)

    def _demote(self, instances: Iterable[Instance]) -> None:
        now = self._clock()
        for each in instances:
            self._engine.demote(each.index, now)

    def _resign(self, instances: Iterable[Instance]) -> None:
        now = self._clock()
        for each in instances:
            self._engine.resign(each.index, now)

    def _state(self, instance: Instance) -> int:
        return self._table.state(instance.index)


class GroupNews(Follower):
    """Tells of changes of groups; the last of all followers, so that each of them has heard of the
    last member by then."""

    def __init__(self, groups: SyncGroups) -> None:
        self._groups = groups

    def take(self, instance: Instance, note: Note) -> None:
        if self._groups.changes:
            changes, self._groups.changes = self._groups.changes, []
            for change in changes:
                self._groups.on_group_change(*change)


def _first(instances: list[Instance], index: int) -> list[Instance]:
    """A group's members, the one with that index first: whoever brought the change goes on with
    it."""
    return sorted(instances, key=lambda each: each.index != index)


def _is_faulty(instance: Instance) -> bool:
    """Whether a member has a fault of its own, and not its group's."""
    if instance.lack is Lack.HELD:
        return any(cause != CAUSE for cause in instance.faults)
    return instance.lack is not None


def _waits(instance: Instance) -> bool:
    """Whether nothing of its own keeps a member but what is not known yet."""
    return (
        instance.lack is Lack.HELD
        and _is_faulty(instance)
        and all(
            isinstance(why, Pending) for cause, why in instance.faults.items() if cause != CAUSE
        )
    )
