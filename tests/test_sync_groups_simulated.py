"""Sync groups over simulated links: which member brings which others along, and when."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvrrp.model import State, SyncGroup
from simulated_machine import Machine, virtual_router
from simulation import SECOND, Link

NAMES = ("VI_1", "VI_2", "VI_3")
GROUP = SyncGroup("G", NAMES)


def machine(
    name: str, number: int, *priorities: int, group: Sequence[str] = NAMES, **fields: object
) -> Machine:
    """One with a virtual router on each wire, all of them in a group."""
    made = Machine(name, number, len(priorities))
    made.begin(
        [
            virtual_router(NAMES[wire], wire, priority=priority, **fields)
            for wire, priority in enumerate(priorities)
        ],
        [SyncGroup("G", tuple(group))] if group else [],
    )
    return made


def are_all(machine: Machine, state: str) -> bool:
    return set(machine.states().values()) == {state}


def last_changes(machine: Machine, state: str) -> list[str]:
    """Who was the last to get into a state, and in which order."""
    last = takewhile(lambda change: change[1] == state, reversed(machine.changes))
    return [name for name, _ in last][::-1]


def test_members_become_master_in_one_moment_when_the_last_one_would() -> None:
    """The first waits for the last, whose priority is lowest and whose skew is longest."""
    ours = machine("a", 1, 250, 200, 100)
    link = Link([ours])
    last = 3 * SECOND + 156 * SECOND // 256
    link.run_until(last - 1)
    assert are_all(ours, "BACKUP")
    link.run_until(last)
    assert are_all(ours, "MASTER")
    assert last_changes(ours, "MASTER") == ["VI_3", "VI_1", "VI_2", "G"]


def test_the_group_says_that_it_is_backup_before_its_members_at_the_start() -> None:
    ours = machine("a", 1, 100, 100, 100)
    assert [name for name, _ in ours.changes] == ["VI_1", "G", "VI_2", "VI_3"]


def test_a_member_that_hears_a_master_keeps_the_group_from_being_one() -> None:
    ours, theirs = machine("a", 1, 100, 100, 100), machine("b", 2, 200, 200, 200)
    link = Link([ours, theirs])
    link.run_until(5 * SECOND)
    assert are_all(theirs, "MASTER")
    link.unplugged = {("b", 2)}
    link.run_until(30 * SECOND)
    assert are_all(ours, "BACKUP")
    link.unplugged = {("b", 1), ("b", 2), ("b", 3)}
    link.run_until(34 * SECOND)
    assert are_all(ours, "MASTER")


def test_one_that_yields_takes_the_others_along_silently() -> None:
    ours, theirs = machine("a", 1, 100, 100, 100), machine("b", 2, 200, 200, 200)
    link = Link([ours, theirs])
    link.unplugged = {("b", 1), ("b", 2), ("b", 3)}
    link.run_until(5 * SECOND)
    assert are_all(ours, "MASTER")
    assert are_all(theirs, "MASTER")
    resigned = [ours.table.read(index)["resigns_sent"] for index in range(3)]  # type: ignore[index]
    link.unplugged = {("b", 1), ("b", 3)}
    link.run_until(7 * SECOND)
    assert are_all(ours, "BACKUP")
    assert last_changes(ours, "BACKUP") == ["VI_2", "VI_1", "VI_3", "G"]
    assert [ours.table.read(index)["resigns_sent"] for index in range(3)] == resigned  # type: ignore[index]


def test_one_that_resigns_lets_the_others_resign_too() -> None:
    """As one does that has lost a route: nobody has taken over yet, and everybody may at once."""
    ours, theirs = machine("a", 1, 200, 200, 200), machine("b", 2, 100, 100, 100)
    link = Link([ours, theirs])
    link.run_until(5 * SECOND)
    assert are_all(ours, "MASTER")
    ours.roster.resign(ours.instance("VI_2"))
    ours.settle()
    assert are_all(ours, "BACKUP")
    link.run_until(link.now + SECOND)
    assert [theirs.table.read(index)["resigns_received"] for index in range(3)] == [1, 1, 1]  # type: ignore[index]
    assert are_all(theirs, "MASTER")


def test_one_that_fails_takes_the_others_along_and_masters_resign() -> None:
    ours, theirs = machine("a", 1, 200, 200, 200), machine("b", 2, 100, 100, 100)
    link = Link([ours, theirs])
    link.run_until(5 * SECOND)
    link.unplugged = {("a", 2)}
    ours.plug(1, is_in=False)
    assert are_all(ours, "FAULT")
    assert last_changes(ours, "FAULT") == ["VI_2", "VI_1", "VI_3", "G"]
    link.run_until(link.now + 4 * SECOND)
    assert are_all(theirs, "MASTER")
    assert theirs.table.read(0)["resigns_received"] == 1  # type: ignore[index]
    # They come back together, and together they are better.
    link.unplugged = set()
    ours.plug(1, is_in=True)
    assert are_all(ours, "BACKUP")
    assert last_changes(ours, "BACKUP") == ["VI_2", "VI_1", "VI_3", "G"]
    link.run_until(link.now + 5 * SECOND)
    assert are_all(ours, "MASTER")


def test_a_group_is_in_fault_until_the_last_of_its_members_has_none() -> None:
    ours = machine("a", 1, 200, 200, 200)
    for wire in (1, 0):
        ours.plug(wire, is_in=False)
    ours.changes.clear()
    ours.plug(1, is_in=True)
    assert ours.changes == []
    ours.plug(0, is_in=True)
    assert ours.changes == [(name, "BACKUP") for name in (*NAMES, "G")]


def test_a_fault_that_is_not_of_a_link_counts_too() -> None:
    ours = machine("a", 1, 200, 200, 200)
    ours.roster.hold(ours.instance("VI_3"), "script check", "check has failed")
    ours.settle()
    assert are_all(ours, "FAULT")
    ours.plug(2, is_in=False)
    ours.roster.hold(ours.instance("VI_3"), "script check", None)
    ours.settle()
    assert are_all(ours, "FAULT")
    ours.plug(2, is_in=True)
    assert are_all(ours, "BACKUP")


def test_a_group_starts_in_fault_where_one_member_cannot_take_part() -> None:
    ours = Machine("a", 1, 3)
    ours.plug(2, is_in=False)
    ours.begin([virtual_router(name, wire) for wire, name in enumerate(NAMES)], [GROUP])
    assert ours.changes == [(name, "FAULT") for name in (*NAMES, "G")]


@pytest.mark.parametrize(
    ("priorities", "state"), [((255,) * 3, "MASTER"), ((255, 255, 100), "BACKUP")]
)
def test_a_group_starts_as_master_where_all_are_owners(
    priorities: tuple[int, ...], state: str
) -> None:
    ours = machine("a", 1, *priorities, state=State.MASTER)
    assert are_all(ours, state)
    Link([ours]).run_until(5 * SECOND)
    assert are_all(ours, "MASTER")


def test_members_of_different_priorities_stay_where_they_are() -> None:
    """keepalived's manual says that they are re-elected for ever; neither does it."""
    ours, theirs = machine("a", 1, 200, 200, 100), machine("b", 2, 100, 100, 200)
    link = Link([ours, theirs])
    link.unplugged = {("b", 1), ("b", 2), ("b", 3)}
    theirs.plug(0, is_in=False)
    link.run_until(5 * SECOND)
    assert are_all(ours, "MASTER")
    link.unplugged = set()
    theirs.plug(0, is_in=True)
    before = list(ours.changes)
    link.run_until(60 * SECOND)
    assert ours.changes == before
    assert are_all(theirs, "BACKUP")


def test_one_with_nopreempt_keeps_the_group_from_preempting() -> None:
    theirs = machine("b", 2, 100, 100, 100)
    link = Link([theirs])
    link.run_until(5 * SECOND)
    ours = Machine("a", 1, 3)
    ours.now = link.now
    ours.begin(
        [
            virtual_router(name, wire, priority=200, preempt=wire != 1)
            for wire, name in enumerate(NAMES)
        ],
        [GROUP],
    )
    link.routers = [ours, theirs]
    link.run_until(30 * SECOND)
    assert are_all(ours, "BACKUP")
    assert are_all(theirs, "MASTER")


class TestReload:
    @pytest.fixture
    def link(self) -> Link:
        link = Link([machine("a", 1, 100, 100, 100, group=NAMES[:2])])
        link.run_until(5 * SECOND)
        return link

    @pytest.fixture
    def ours(self, link: Link) -> Machine:
        (ours,) = link.routers
        assert isinstance(ours, Machine)
        assert are_all(ours, "MASTER")
        ours.changes.clear()
        return ours

    def test_a_master_that_joins_masters_changes_nothing(self, ours: Machine) -> None:
        ours.reload([GROUP])
        assert ours.changes == []
        ours.plug(0, is_in=False)
        assert are_all(ours, "FAULT")

    def test_a_new_member_joins_a_master(self, ours: Machine) -> None:
        ours.reload([SyncGroup("G", NAMES[:2])], removed=["VI_3"])
        ours.changes.clear()
        ours.reload([GROUP], added=[virtual_router("VI_3", 2)])
        assert ours.changes == [("VI_3", "BACKUP"), ("VI_3", "MASTER")]
        assert are_all(ours, "MASTER")

    def test_a_backup_that_joins_masters_makes_them_backups(
        self, ours: Machine, link: Link
    ) -> None:
        theirs = Machine("b", 2, 3)
        theirs.now = link.now
        theirs.begin([virtual_router("VI_3", 2, priority=200)], [])
        link.routers = [ours, theirs]
        link.run_until(10 * SECOND)
        assert ours.states()["VI_3"] == "BACKUP"
        ours.reload([GROUP])
        assert are_all(ours, "BACKUP")
        link.run_until(60 * SECOND)
        assert are_all(ours, "BACKUP")
        # It leaves again: the others are one group, and nobody else is master.
        ours.reload([SyncGroup("G", NAMES[:2])])
        link.run_until(64 * SECOND)
        assert ours.states() == {"VI_1": "MASTER", "VI_2": "MASTER", "VI_3": "BACKUP"}

    def test_one_in_fault_that_joins_takes_the_others_along(self, ours: Machine) -> None:
        ours.plug(2, is_in=False)
        assert ours.states() == {"VI_1": "MASTER", "VI_2": "MASTER", "VI_3": "FAULT"}
        ours.reload([GROUP])
        assert are_all(ours, "FAULT")
        ours.reload([SyncGroup("G", NAMES[:2])])
        assert ours.states() == {"VI_1": "BACKUP", "VI_2": "BACKUP", "VI_3": "FAULT"}

    def test_a_group_that_is_removed_leaves_its_members_as_they_are(self, ours: Machine) -> None:
        ours.reload([])
        assert ours.changes == []
        ours.plug(0, is_in=False)
        assert ours.states() == {"VI_1": "FAULT", "VI_2": "MASTER", "VI_3": "MASTER"}

    def test_members_of_a_removed_group_are_in_fault_no_more(self, ours: Machine) -> None:
        ours.plug(0, is_in=False)
        ours.reload([])
        assert ours.states() == {"VI_1": "FAULT", "VI_2": "BACKUP", "VI_3": "MASTER"}

    def test_a_member_that_is_removed_in_fault_takes_the_fault_along(self, ours: Machine) -> None:
        ours.plug(0, is_in=False)
        ours.reload([SyncGroup("G", ("VI_2",))], removed=["VI_1"])
        assert ours.states() == {"VI_2": "BACKUP", "VI_3": "MASTER"}

    def test_a_group_that_stops_says_so_last(self, ours: Machine) -> None:
        ours.roster.stop()
        ours.settle()
        assert ours.changes == [(name, "INIT") for name in ("VI_1", "VI_2", "G", "VI_3")]


events = st.lists(
    st.tuples(
        st.sampled_from(
            ("unplug", "plug", "cut", "join", "hold", "release", "leave", "enter", "wait")
        ),
        st.integers(0, 2),
        st.integers(0, 2),
        st.integers(0, 6 * SECOND),
    ),
    max_size=16,
)


@settings(max_examples=120, deadline=None)
@given(
    priorities=st.lists(
        st.tuples(*[st.one_of(st.integers(1, 254), st.sampled_from((100, 255)))] * 3),
        min_size=1,
        max_size=3,
    ),
    preempts=st.lists(st.booleans(), min_size=3, max_size=3),
    history=events,
)
def test_members_are_all_master_or_none_of_them(
    priorities: list[tuple[int, ...]],
    preempts: list[bool],
    history: list[tuple[str, int, int, int]],
) -> None:
    machines = [
        machine(f"m{number}", number + 1, *each, preempt=preempts[number])
        for number, each in enumerate(priorities)
    ]
    link = Link(machines)

    def check() -> None:
        """At any time, when all notes were taken."""
        for each in machines:
            states = each.states()
            ((model, _),) = each.groups.states()
            assert len({states[name] for name in model.members}) == 1, states
            assert each.groups.changes == []

    for event, which, wire, pause in history:
        chosen = machines[which % len(machines)]
        instance = chosen.instance(NAMES[wire])
        chosen.now = link.now
        if event in ("unplug", "plug"):
            chosen.plug(wire, is_in=event == "plug")
        elif event == "cut":
            link.unplugged.add((chosen.name, wire + 1))
        elif event == "join":
            link.unplugged.discard((chosen.name, wire + 1))
        elif event in ("hold", "release"):
            chosen.roster.hold(instance, "script", "it failed" if event == "hold" else None)
            chosen.settle()
        elif event in ("leave", "enter"):
            members = NAMES if event == "enter" else (name for name in NAMES if name != NAMES[wire])
            chosen.reload([SyncGroup("G", tuple(members))])
        check()
        link.deliver()
        link.run_until(link.now + pause)
        check()
    # When the machines are whole again, and one of them is the best on every wire, that one is
    # master of all, and nobody else.
    link.unplugged.clear()
    for each in machines:
        each.now = link.now
        for wire in range(3):
            each.plug(wire, is_in=True)
            each.roster.hold(each.instance(NAMES[wire]), "script", None)
        each.settle()
        each.reload([GROUP])
    link.run_until(link.now + 30 * SECOND)
    check()
    masters = [each.name for each in machines if are_all(each, "MASTER")]
    assert len(masters) <= 1
    if len({tuple(sorted(set(each))) for each in priorities}) == len(machines) and all(
        len(set(each)) == 1 for each in priorities
    ):
        assert len(masters) == 1
