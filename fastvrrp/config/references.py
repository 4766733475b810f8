"""Names that one block gives and another uses: trackers, sync groups, track groups.

Members of groups may be given after the group, so everything is remembered while the file is read,
and compared at its end; trackers and track groups must be given before they are used. Of an
instance only what it tracks is kept, so that instances that track nothing cost nothing. What a name
that does not exist would have done is dropped, as keepalived does.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastvrrp.config.build import OWNER, Draft
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.options import Options
from fastvrrp.config.statement import Statement
from fastvrrp.config.tracking import Tracked
from fastvrrp.config.tree import Entry
from fastvrrp.model import VirtualAddress, VirtualRouter

GIVEN_BY = {
    "vrrp_script": "track_script",
    "track_file": "track_file",
    "vrrp_track_file": "track_file",
    "vrrp_track_process": "track_process",
    "bfd_instance": "track_bfd",
}
"""The blocks that give a tracker its name, and the keyword that uses it."""
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
WEIGHS_1 = frozenset({"track_file"})
"""What weighs 1 where no weight is written; everything else weighs nothing."""
TRACKS = frozenset({*GIVEN_BY.values(), "track_interface"})
STATIC = frozenset({"static_ipaddress", "static_routes", "static_rules"})


@dataclass(slots=True)
class _Uses:
    """What one instance or sync group tracks: keyword, reference and its line."""

    name: str
    tracked: list[tuple[str, Tracked, Statement]]
    missing: frozenset[tuple[str, str]]
    """Trackers that were not given before it."""
    router: VirtualRouter | None = None
    """None of a sync group."""


@dataclass(slots=True)
class _Group:
    """A sync group: where it stands, its members and what it tracks."""

    statement: Statement
    members: list[tuple[str, Statement, int]]
    uses: _Uses
    may_weigh: bool


@dataclass(slots=True)
class References:
    """Everything named and used so far."""

    complaints: Complaints
    _instances: set[str] = field(default_factory=set)
    _trackers: dict[tuple[str, str], Statement] = field(default_factory=dict)
    _weights: dict[tuple[str, str], int] = field(default_factory=dict)
    """Weights that trackers have of themselves."""
    _neighbors: dict[bytes, Statement] = field(default_factory=dict)
    _track_groups: dict[str, Statement] = field(default_factory=dict)
    _groups: dict[str, _Group] = field(default_factory=dict)
    _uses: list[_Uses] = field(default_factory=list)
    _static: list[tuple[str, Statement, bool]] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        """Remember a top-level block that is no instance."""
        keyword = entry.keyword.name
        if keyword in STATIC:
            self._static += [
                (name, statement, name in self._track_groups)
                for name, statement in _used_track_groups(entry)
            ]
        elif entry.value is None:
            return
        elif keyword in GIVEN_BY:
            self._take_tracker(entry)
        elif keyword == "vrrp_sync_group":
            self._take_sync_group(entry)
        elif keyword == "track_group":
            self._is_first(self._track_groups, str(entry.value), entry)
            self._check_track_group(entry)

    def take_instance(self, entry: Entry, draft: Draft | None) -> None:
        """Remember an instance's name, and what it tracks if it was not dropped."""
        name = str(entry.value)
        self._instances.add(name)
        tracked = _tracked(entry)
        if tracked and draft is not None:
            self._uses.append(_Uses(name, tracked, self._missing(tracked), draft.router))

    def check(self) -> None:
        """Complain of what does not fit, at the end of the file."""
        group_of = self._members()
        for uses in self._uses:
            self._check_uses(uses)
            assert uses.router is not None
            self._check_weights(uses, uses.router, group_of.get(uses.name))
        for group in self._groups.values():
            self._check_uses(group.uses)
        for name, statement, was_given in self._static:
            if not was_given:
                fault = "does not exist"
                if name in self._track_groups:
                    fault = f"stands after it, in line {self._track_groups[name].number}"
                self.complaints.error(
                    statement,
                    statement.words.index("track_group") + 1,
                    f"track_group {name} {fault}; nothing tracks {statement.words[0]}",
                )

    def _missing(self, tracked: list[tuple[str, Tracked, Statement]]) -> frozenset[tuple[str, str]]:
        """Trackers that no block has given so far."""
        keys = ((keyword, reference.name) for keyword, reference, _ in tracked)
        return frozenset(key for key in keys if key not in self._trackers)

    def _take_tracker(self, entry: Entry) -> None:
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
        if "checker" in values and "vrrp" not in values:
            return
        key = (GIVEN_BY[keyword], name)
        self._trackers.setdefault(key, entry.statement)
        weight = values.get("weight")
        if isinstance(weight, tuple):
            self._weights[key] = weight[0]
        else:
            self._weights[key] = 1 if key[0] in WEIGHS_1 else 0

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
        known = self._trackers.get(("track_bfd", name))
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

    def _take_sync_group(self, entry: Entry) -> None:
        name = str(entry.value)
        tracked = _tracked(entry)
        uses = _Uses(name, tracked, self._missing(tracked))
        group = _Group(entry.statement, [], uses, False)
        for inner in entry.entries:
            if inner.keyword.name == "sync_group_tracking_weight":
                group.may_weigh = True
            elif inner.keyword.name == "group":
                group.members += [
                    (word, statement, index)
                    for _, statement in inner.items
                    for index, word in enumerate(statement.words)
                ]
        known = self._groups.setdefault(name, group)
        if known is not group:
            self._already_given(entry, name, known.statement)

    def _is_first(self, known: dict[str, Statement], name: str, entry: Entry) -> None:
        first = known.setdefault(name, entry.statement)
        if first is not entry.statement:
            self._already_given(entry, name, first)

    def _check_track_group(self, entry: Entry) -> None:
        for inner in entry.entries:
            if inner.keyword.name == "group" and not inner.items:
                self.complaints.warning(
                    inner.statement, 0, f"group of track_group {entry.value} names no instance"
                )

    def _already_given(self, entry: Entry, name: str, first: Statement) -> None:
        self.complaints.error(
            entry.statement,
            1,
            f"{entry.keyword.name} {name} is in line {first.number} already; it is left out here",
        )

    def _members(self) -> dict[str, _Group]:
        """The sync group of each instance, after complaints of groups and their members."""
        group_of: dict[str, _Group] = {}
        for name, group in self._groups.items():
            count = 0
            for member, statement, index in group.members:
                if member not in self._instances:
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
            if count == 0:
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

    def _check_uses(self, uses: _Uses) -> None:
        """Trackers that do not exist, and those that are named twice."""
        seen: set[tuple[str, str]] = set()
        for keyword, tracked, statement in uses.tracked:
            key = (keyword, tracked.name)
            if keyword != "track_interface" and key not in self._trackers:
                self.complaints.error(
                    statement,
                    0,
                    f"{keyword} {tracked.name} of {uses.name} does not exist; it is ignored",
                )
            elif keyword != "track_interface" and key in uses.missing:
                given = self._trackers[key]
                self.complaints.error(
                    statement,
                    0,
                    f"{keyword} {tracked.name} of {uses.name} is ignored: {given.words[0]}"
                    f" {tracked.name} stands after it, in line {given.number}; write it before",
                )
            elif key in seen:
                self.complaints.warning(
                    statement,
                    0,
                    f"{keyword} {tracked.name} is in {uses.name} already; it is ignored here",
                )
            seen.add(key)

    def _check_weights(self, uses: _Uses, router: VirtualRouter, group: _Group | None) -> None:
        """Weights that cannot count, and interfaces that are tracked already."""
        of_group: set[str] = set()
        if group is not None:
            of_group = {
                tracked.name
                for keyword, tracked, _ in group.uses.tracked
                if keyword == "track_interface"
            }
        for keyword, tracked, statement in uses.tracked:
            weight = tracked.weight
            if weight is None:
                weight = self._weights.get((keyword, tracked.name), 0)
            if keyword == "track_interface" and tracked.name == router.interface:
                text = f"is ignored: it is the interface of {uses.name}, which counts already"
            elif weight and router.priority == OWNER:
                text = f"is ignored: {uses.name} has priority 255, which no weight may change"
            elif weight and group is not None and not group.may_weigh:
                text = f"has no weight: {uses.name} is in vrrp_sync_group {group.uses.name}"
            elif keyword == "track_interface" and tracked.name in of_group:
                assert group is not None
                text = f"is tracked by vrrp_sync_group {group.uses.name} too; remove one of them"
            else:
                continue
            self.complaints.warning(statement, 0, f"{keyword} {tracked.name} {text}")


def _tracked(entry: Entry) -> list[tuple[str, Tracked, Statement]]:
    """What an instance or a sync group tracks."""
    return [
        (inner.keyword.name, value, statement)
        for inner in entry.entries
        if inner.keyword.name in TRACKS
        for value, statement in inner.items
        if isinstance(value, Tracked)
    ]


def _used_track_groups(entry: Entry) -> list[tuple[str, Statement]]:
    """Names after `track_group` in the lines of a block of static things."""
    used: list[tuple[str, Statement]] = []
    for value, statement in entry.items:
        name: object = None
        if isinstance(value, VirtualAddress):
            name = value.track_group
        elif isinstance(value, Options):
            name = value.get("track_group")
        if isinstance(name, str):
            used.append((name, statement))
    return used
