"""Names that one block gives and another uses: trackers, sync groups, track groups.

Members of groups may be given after the group, so everything is remembered while the file is read,
and compared at its end; trackers and track groups must be given before they are used. Of an
instance only what it tracks is kept, so that instances that track nothing cost nothing. What a name
that does not exist would have done is dropped, as keepalived does; what is left is the model's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from fastvrrp.config.build import OWNER, Draft
from fastvrrp.config.building.notification import NotificationBuilder
from fastvrrp.config.building.routes import RuleBuilder
from fastvrrp.config.building.scripts import ScriptUsers
from fastvrrp.config.building.static import StaticThing, static_things
from fastvrrp.config.building.tracking import (
    bfd_instance,
    track_file,
    track_process,
    track_script,
)
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.namespaces import Namespaces
from fastvrrp.config.options import Options
from fastvrrp.config.statement import Statement
from fastvrrp.config.tracking import Reference
from fastvrrp.config.tree import Entry
from fastvrrp.model import (
    BfdInstance,
    Notifications,
    SyncGroup,
    Tracked,
    Tracker,
    TrackFile,
    TrackGroup,
    TrackProcess,
    TrackScript,
    VirtualRouter,
)

AnyTracker: TypeAlias = TrackScript | TrackFile | TrackProcess | BfdInstance
GIVEN_BY = {
    "vrrp_script": Tracker.SCRIPT,
    "track_file": Tracker.FILE,
    "vrrp_track_file": Tracker.FILE,
    "vrrp_track_process": Tracker.PROCESS,
    "bfd_instance": Tracker.BFD,
}
"""The blocks that give a tracker its name."""
USED_BY = {
    "track_interface": Tracker.INTERFACE,
    "track_script": Tracker.SCRIPT,
    "track_file": Tracker.FILE,
    "track_process": Tracker.PROCESS,
    "track_bfd": Tracker.BFD,
}
"""The keywords that use one."""
NEEDS = {
    "vrrp_script": ("script",),
    "track_file": ("file",),
    "vrrp_track_file": ("file",),
    "vrrp_track_process": ("process",),
    "bfd_instance": ("neighbor_ip", "neighbour_ip"),
}
"""Keywords of which such a block needs one; without it keepalived removes the block."""
LONGEST_BFD_NAME = 31
LARGEST_WEIGHT = 254
"""What changes a priority from one end to the other."""
STATIC = ("static_ipaddress", "static_routes", "static_rules")
Use: TypeAlias = tuple[str, Reference, Statement]
"""A keyword, what it says of a tracker, and its line."""
Member: TypeAlias = tuple[str, Statement, int]
"""The name of an instance, and where it stands."""


@dataclass(slots=True)
class _Uses:
    """What one instance or sync group tracks."""

    name: str
    tracked: list[Use]
    missing: frozenset[tuple[Tracker, str]]
    """Trackers that were not given before it."""
    draft: Draft | None = None
    """None of a sync group."""


@dataclass(slots=True)
class _Group:
    """A sync group: where it stands, its members and what it tracks."""

    statement: Statement
    members: list[Member]
    uses: _Uses
    may_weigh: bool
    tracks_for_all: bool
    notifications: Notifications
    tracked: tuple[Tracked, ...] = ()
    names: list[str] = field(default_factory=list)
    """Of the members that exist."""


@dataclass(slots=True)
class References:
    """Everything named and used so far."""

    complaints: Complaints
    namespaces: Namespaces
    _namespaces: dict[str, str] = field(default_factory=dict)
    """Of instances that are in another network namespace than the daemon's."""
    _instances: dict[str, str] = field(default_factory=dict)
    """Names of instances, and the interface of each that counts by itself, or nothing."""
    _dropped: set[str] = field(default_factory=set)
    """Names of instances that were dropped: of them enough was said."""
    trackers: dict[tuple[Tracker, str], AnyTracker] = field(default_factory=dict)
    _given: dict[tuple[Tracker, str], Statement] = field(default_factory=dict)
    _neighbors: dict[bytes, Statement] = field(default_factory=dict)
    _track_groups: dict[str, tuple[Statement, list[Member]]] = field(default_factory=dict)
    _track_members: dict[str, list[str]] = field(default_factory=dict)
    """Those of them that exist."""
    _groups: dict[str, _Group] = field(default_factory=dict)
    _told_by_groups: dict[str, bool] = field(default_factory=dict)
    """Whether members of groups are to tell of changes of their priorities."""
    _tell_themselves: set[str] = field(default_factory=set)
    """Instances that say whether theirs are to be told."""
    _uses: list[_Uses] = field(default_factory=list)
    _static: dict[str, list[tuple[StaticThing, Statement]]] = field(default_factory=dict)
    _too_early: set[Statement] = field(default_factory=set)
    """Lines of static things whose group was not given before them."""

    def take_tracker(self, entry: Entry, users: ScriptUsers) -> None:
        """Remember a block that gives a tracker."""
        if entry.value is None:
            return
        keyword = entry.keyword.name
        name = str(entry.value)
        values = {inner.keyword.name: inner.value for inner in entry.entries}
        needs = NEEDS[keyword]
        if not any(needed in values for needed in needs):
            self.complaints.error(
                entry.statement, 1, f"{keyword} {name} has no {needs[0]}; it is left out"
            )
            return
        self._check_values(keyword, name, entry, values)
        if keyword == "bfd_instance" and not self._is_sound_bfd(entry, name, values):
            return
        key = (GIVEN_BY[keyword], name)
        if key in self._given:
            self._already_given(entry, name, self._given[key], is_ours=True)
            return
        self._given[key] = entry.statement
        tracker = _tracker(entry, users)
        if tracker is not None:
            self.trackers[key] = tracker

    def take_static(self, entry: Entry, interface: str, rules: RuleBuilder) -> None:
        """Remember static things; addresses that name no interface go to `interface`."""
        things = list(static_things(entry, interface, rules))
        self._static.setdefault(entry.keyword.name, []).extend(things)
        self._too_early.update(
            statement
            for thing, statement in things
            if thing.track_group is not None and thing.track_group not in self._track_groups
        )

    def take_track_group(self, entry: Entry) -> None:
        """Remember a `track_group`."""
        if entry.value is None:
            return
        name = str(entry.value)
        known = self._track_groups.setdefault(name, (entry.statement, _members(entry)))
        if known[0] is not entry.statement:
            self._already_given(entry, name, known[0])
        for inner in entry.entries:
            if inner.keyword.name == "group" and not inner.items:
                self.complaints.warning(
                    inner.statement, 0, f"group of track_group {name} names no instance"
                )

    def take_instance(self, entry: Entry, draft: Draft | None) -> None:
        """Remember an instance's name, and what it tracks if it was not dropped."""
        name = str(entry.value)
        if draft is None:
            self._dropped.add(name)
            return
        router = draft.router
        self._instances[name] = router.interface if router.tracks_interface else ""
        if router.namespace is not None:
            self._namespaces[name] = router.namespace
        if any(inner.keyword.name == "notify_priority_changes" for inner in entry.entries):
            self._tell_themselves.add(name)
        tracked = self._tracked(entry, router.namespace)
        if tracked:
            self._uses.append(_Uses(name, tracked, self._missing(tracked), draft))

    def take_sync_group(self, entry: Entry, notifications: NotificationBuilder) -> None:
        """Remember a `vrrp_sync_group`."""
        if entry.value is None:
            return
        name = str(entry.value)
        written = {
            inner.keyword.name: inner.value for inner in entry.entries if inner.value is not None
        }
        tracked = self._tracked(entry, None)
        group = _Group(
            entry.statement,
            _members(entry),
            _Uses(name, tracked, self._missing(tracked)),
            "sync_group_tracking_weight" in written,
            "global_tracking" in written,
            notifications.build(written),
        )
        known = self._groups.setdefault(name, group)
        if known is not group:
            self._already_given(entry, name, known.statement)

    def resolve(self) -> dict[str, tuple[Tracked, ...]]:
        """Complain of what does not fit, at the end of the file; what each instance tracks."""
        group_of = self._find_members()
        tracked: dict[str, tuple[Tracked, ...]] = {}
        for group in self._groups.values():
            known = self._known_uses(group.uses)
            self._check_own_interfaces(group, known)
            group.tracked = tuple([self._resolved(use) for use in known])
            wanted = group.notifications.says_priority_changes
            self._told_by_groups.update(dict.fromkeys(group.names, wanted))
        for uses in self._uses:
            assert uses.draft is not None
            known = self._known_uses(uses)
            tracked[uses.name] = tuple(
                self._counting(uses.name, known, uses.draft.router, group_of.get(uses.name))
            )
        self._check_track_groups()
        return tracked

    def sync_groups(self) -> tuple[SyncGroup, ...]:
        """Sync groups that have members, after `resolve`."""
        return tuple(
            SyncGroup(
                name,
                tuple(group.names),
                group.tracked,
                group.notifications,
                group.tracks_for_all,
                group.may_weigh,
            )
            for name, group in self._groups.items()
            if group.names
        )

    def tells_priorities(self, name: str) -> bool | None:
        """Whether the priorities of an instance are told, where its group decides; after
        `resolve`."""
        return None if name in self._tell_themselves else self._told_by_groups.get(name)

    def track_groups(self) -> tuple[TrackGroup, ...]:
        """Track groups that have members, after `resolve`."""
        return tuple(
            TrackGroup(name, tuple(members))
            for name, members in self._track_members.items()
            if members
        )

    def scripts(self) -> tuple[TrackScript, ...]:
        """Every `vrrp_script`."""
        return tuple(one for one in self.trackers.values() if isinstance(one, TrackScript))

    def files(self) -> tuple[TrackFile, ...]:
        """Every `track_file`."""
        return tuple(one for one in self.trackers.values() if isinstance(one, TrackFile))

    def processes(self) -> tuple[TrackProcess, ...]:
        """Every `vrrp_track_process`."""
        return tuple(one for one in self.trackers.values() if isinstance(one, TrackProcess))

    def sessions(self) -> tuple[BfdInstance, ...]:
        """Every `bfd_instance`."""
        return tuple(one for one in self.trackers.values() if isinstance(one, BfdInstance))

    def static(self, keyword: str) -> Iterable[StaticThing]:
        """Static addresses, routes or rules, after `resolve`."""
        return [thing for thing, _ in self._static.get(keyword, ())]

    def _tracked(self, entry: Entry, home: str | None) -> list[Use]:
        """What an instance or a sync group in a network namespace tracks, and where."""
        uses = []
        for inner in entry.entries:
            if inner.keyword.name not in USED_BY:
                continue
            for value, statement in inner.items:
                if not isinstance(value, Reference):
                    continue
                place = self.namespaces.of_tracked(value.namespace, home)
                what = f"{value.name} of {entry.value}"
                if self.namespaces.has_room(place, statement, len(statement.words) - 1, what):
                    is_there = place == value.namespace
                    placed = value if is_there else replace(value, namespace=place)
                    uses.append((inner.keyword.name, placed, statement))
        return uses

    def _has(self, kind: Tracker, name: str) -> bool:
        """Whether such a tracker was given for virtual routers."""
        tracker = self.trackers.get((kind, name))
        if isinstance(tracker, BfdInstance):
            return tracker.tells_vrrp
        return (kind, name) in self._given

    def _missing(self, tracked: list[Use]) -> frozenset[tuple[Tracker, str]]:
        """Trackers that no block has given so far."""
        keys = ((USED_BY[keyword], reference.name) for keyword, reference, _ in tracked)
        return frozenset(key for key in keys if not self._has(*key))

    def _check_values(
        self, keyword: str, name: str, entry: Entry, values: dict[str, object]
    ) -> None:
        """Numbers of a tracker that do not go together, or are of no use."""
        last = {inner.keyword.name: inner.statement for inner in entry.entries}
        least, most = values.get("quorum", 1), values.get("quorum_max")
        if isinstance(most, int) and isinstance(least, int) and most < least and "quorum" in last:
            self.complaints.warning(
                last["quorum_max"],
                1,
                f"quorum_max {most} of {keyword} {name} is less than its quorum {least}; the"
                " second of the two is ignored",
            )
        first = values.get("init_file")
        value = first.get("value") if isinstance(first, Options) else None
        if isinstance(value, int) and abs(value) > LARGEST_WEIGHT:
            self.complaints.warning(
                last["init_file"],
                1,
                f"init_file {value} of {keyword} {name} is outside"
                f" -{LARGEST_WEIGHT}-{LARGEST_WEIGHT}, which no priority can follow",
            )

    def _is_sound_bfd(self, entry: Entry, name: str, values: dict[str, object]) -> bool:
        known = self._given.get((Tracker.BFD, name))
        neighbor = values.get("neighbor_ip") or values.get("neighbour_ip")
        source = values.get("source_ip")
        fault = ""
        if len(name) > LONGEST_BFD_NAME:
            fault = f"has a name of more than {LONGEST_BFD_NAME} characters"
        elif known is not None:
            fault = f"is in line {known.number} already"
        elif not isinstance(neighbor, bytes):
            return True
        elif isinstance(source, bytes) and len(source) != len(neighbor):
            fault = "has a source_ip and a neighbor_ip of two families"
        elif self._neighbors.setdefault(neighbor, entry.statement) is not entry.statement:
            fault = f"has the neighbor_ip of line {self._neighbors[neighbor].number}"
        if fault:
            self.complaints.error(
                entry.statement, 1, f"bfd_instance {name} {fault}; it is left out"
            )
        return not fault

    def _already_given(
        self, entry: Entry, name: str, first: Statement, *, is_ours: bool = False
    ) -> None:
        self.complaints.error(
            entry.statement,
            1,
            f"{entry.keyword.name} {name} is in line {first.number} already; it is left out here",
            is_ours=is_ours,
        )

    def _find_members(self) -> dict[str, _Group]:
        """The sync group of each instance, after complaints of groups and their members."""
        group_of: dict[str, _Group] = {}
        for name, group in self._groups.items():
            count = 0
            for member, statement, index in group.members:
                if member not in self._instances and member not in self._dropped:
                    self.complaints.error(
                        statement,
                        index,
                        f"vrrp_instance {member} of vrrp_sync_group {name} does not exist",
                    )
                elif member in group_of:
                    self.complaints.error(
                        statement,
                        index,
                        f"vrrp_instance {member} is in vrrp_sync_group"
                        f" {group_of[member].uses.name} already; it is ignored here",
                    )
                else:
                    group_of[member] = group
                    count += 1
                    if member in self._instances:
                        group.names.append(member)
            if not count:
                self.complaints.error(
                    group.statement, 1, f"vrrp_sync_group {name} has no members; it is left out"
                )
            elif count == 1:
                self.complaints.warning(
                    group.statement,
                    1,
                    f"vrrp_sync_group {name} has one member only; that is probably not meant",
                )
        return group_of

    def _check_own_interfaces(self, group: _Group, uses: list[Use]) -> None:
        """Complain of interfaces that a group tracks and a member has as its own."""
        for keyword, reference, statement in uses:
            for member in group.names:
                if (
                    keyword == "track_interface"
                    and reference.namespace is None
                    and self._instances[member] == reference.name
                    and member not in self._namespaces
                ):
                    self.complaints.warning(
                        statement,
                        0,
                        f"track_interface {reference.name} of {group.uses.name} is the interface of"
                        f" {member}, which counts already; remove one of them",
                    )

    def _known_uses(self, uses: _Uses) -> list[Use]:
        """Uses without those of trackers that do not exist, and those that are named twice.

        Of a tracker that is left out of the model enough was said where it stands.
        """
        seen: set[tuple[Tracker, str, str | None]] = set()
        known: list[Use] = []
        for keyword, reference, statement in uses.tracked:
            kind = USED_BY[keyword]
            key = (kind, reference.name)
            if kind != Tracker.INTERFACE and not self._has(*key):
                self.complaints.error(
                    statement,
                    0,
                    f"{keyword} {reference.name} of {uses.name} does not exist; it is ignored",
                )
            elif kind != Tracker.INTERFACE and key in uses.missing:
                given = self._given[key]
                self.complaints.error(
                    statement,
                    0,
                    f"{keyword} {reference.name} of {uses.name} is ignored: {given.words[0]}"
                    f" {reference.name} stands after it, in line {given.number}; write it before",
                )
            elif (*key, reference.namespace) in seen:
                self.complaints.warning(
                    statement,
                    0,
                    f"{keyword} {reference.name} is in {uses.name} already; it is ignored here",
                )
            elif kind == Tracker.INTERFACE or key in self.trackers:
                known.append((keyword, reference, statement))
            seen.add((*key, reference.namespace))
        return known

    def _resolved(self, use: Use) -> Tracked:
        """A use with the tracker's own weight and direction where it says none."""
        keyword, reference, _ = use
        kind = USED_BY[keyword]
        tracker = self.trackers.get((kind, reference.name))
        weight, is_reversed = reference.weight, reference.is_reversed
        if weight is None:
            weight = 0 if tracker is None else tracker.weight
        if is_reversed is None:
            is_reversed = tracker is not None and tracker.is_reversed
        return Tracked(kind, reference.name, weight, is_reversed, reference.namespace)

    def _counting(
        self, name: str, uses: list[Use], router: VirtualRouter, group: _Group | None
    ) -> Iterable[Tracked]:
        """What counts, after complaints of weights that cannot, and of what is tracked already."""
        of_group = group.tracked if group is not None else ()
        for use in uses:
            keyword, _, statement = use
            tracked = self._resolved(use)
            is_interface = tracked.kind == Tracker.INTERFACE
            kept: Tracked | None = tracked
            place = router.namespace if tracked.namespace is None else tracked.namespace or None
            if is_interface and (tracked.name, place) == (router.interface, router.namespace):
                text = f"is ignored: it is the interface of {name}, which counts already"
                kept = None
            elif tracked.weight and router.priority == OWNER:
                text = f"is ignored: {name} has priority 255, which no weight may change"
                kept = None
            elif tracked.weight and group is not None and not group.may_weigh:
                text = f"has no weight: {name} is in vrrp_sync_group {group.uses.name}"
                kept = replace(tracked, weight=0)
            elif is_interface and any(
                (tracked.name, place) == (other.name, other.namespace)
                and other.kind == Tracker.INTERFACE
                for other in of_group
            ):
                assert group is not None
                text = f"is tracked by vrrp_sync_group {group.uses.name} too; remove one of them"
            else:
                text = ""
            if text:
                self.complaints.warning(
                    statement,
                    0,
                    f"{keyword} {tracked.name} {text}",
                    is_ours=tracked.kind == Tracker.PROCESS,
                )
            if kept is not None:
                yield kept

    def _check_track_groups(self) -> None:
        """Members that do not exist, groups without any, and static things of no group."""
        for name, (statement, members) in self._track_groups.items():
            kept = self._track_members[name] = []
            for member, line, index in members:
                if member in self._instances:
                    kept.append(member)
                    if member in self._namespaces:
                        self.complaints.warning(
                            line,
                            index,
                            f"vrrp_instance {member} of track_group {name} does not track it:"
                            " static addresses, routes and rules are in the daemon's network"
                            f" namespace, and {member} is in {self._namespaces[member]}; take it"
                            " out of the group",
                            is_ours=True,
                        )
                elif member not in self._dropped:
                    self.complaints.error(
                        line,
                        index,
                        f"vrrp_instance {member} of track_group {name} does not exist",
                        is_ours=True,
                    )
            if not kept:
                self.complaints.error(
                    statement,
                    1,
                    f"track_group {name} has no members; it is left out",
                    is_ours=True,
                )
        for things in self._static.values():
            for index, (thing, statement) in enumerate(things):
                group = thing.track_group
                if group is None:
                    continue
                is_too_early = statement in self._too_early
                if is_too_early:
                    fault = "does not exist"
                    if group in self._track_groups:
                        fault = f"stands after it, in line {self._track_groups[group][0].number}"
                    self.complaints.error(
                        statement,
                        statement.words.index("track_group") + 1,
                        f"track_group {group} {fault}; nothing tracks {statement.words[0]}",
                    )
                if is_too_early or not self._track_members.get(group):
                    things[index] = (replace(thing, track_group=None), statement)


def _tracker(entry: Entry, users: ScriptUsers) -> AnyTracker | None:
    kind = GIVEN_BY[entry.keyword.name]
    if kind == Tracker.SCRIPT:
        return track_script(entry, users)
    if kind == Tracker.FILE:
        return track_file(entry)
    return track_process(entry) if kind == Tracker.PROCESS else bfd_instance(entry)


def _members(entry: Entry) -> list[Member]:
    """Instances that a sync group or a track group names."""
    return [
        (word, statement, index)
        for inner in entry.entries
        if inner.keyword.name == "group"
        for _, statement in inner.items
        for index, word in enumerate(statement.words)
    ]
