"""Giving masters away and taking them back, over simulated links and a virtual clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from fastvrrp._fsm import Machine as StateMachine
from fastvrrp.model import SyncGroup
from fastvrrp.observe import maintenance
from fastvrrp.vrrp.maintenance import Maintenance, Pace
from simulated_machine import Machine, virtual_router
from simulation import SECOND, Link

RATE = 100.0


class Timer:
    """What VirtualLoop gives to whoever wants to be called."""

    def __init__(self, at: int, call: Callable[[], object]) -> None:
        self.at = at
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class VirtualLoop:
    """The timers of an event loop, on a virtual clock."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._timers: list[Timer] = []

    def call_later(self, delay: float, call: Callable[..., object], *arguments: object) -> Timer:
        timer = Timer(self._clock() + round(delay * SECOND), lambda: call(*arguments))
        self._timers.append(timer)
        return timer

    def call_soon(self, call: Callable[..., object], *arguments: object) -> Timer:
        return self.call_later(0, call, *arguments)

    def run(self) -> int | None:
        """Calls what is due; when the next is."""
        while True:
            self._timers = [each for each in self._timers if not each.is_cancelled]
            due = [each for each in self._timers if each.at <= self._clock()]
            if not due:
                return min((each.at for each in self._timers), default=None)
            for each in due:
                self._timers.remove(each)
                if not each.is_cancelled:
                    each.call()


class Asker:
    """Somebody who has asked for something."""

    def __init__(self) -> None:
        self.answer: tuple[bool, list[str], Any] | None = None
        self.said: list[str] = []

    def __call__(self, is_ok: bool, lines: Sequence[str], value: object) -> None:
        assert self.answer is None
        self.answer = is_ok, list(lines), value

    def say(self, line: str) -> None:
        self.said.append(line)


class Maintained(Machine):
    """A machine whose masters can be given away; its virtual routers are VI_1, VI_2, ..., each on a
    wire of its own."""

    def __init__(self, name: str, number: int, wires: int, folder: Path) -> None:
        super().__init__(name, number, wires)
        self.loop = VirtualLoop(lambda: self.now)
        self.maintenance = Maintenance(
            cast(asyncio.AbstractEventLoop, self.loop),
            self.engine,
            self.table,
            self.roster,
            self.groups,
            lambda: self.now,
            self.settle,
            folder / f"{name}.maintenance",
        )
        self.followers = (self.groups, self.maintenance, *self.followers[1:])  # type: ignore[assignment]
        self.roster.follow(self.followers)

    def begin(self, models: Sequence[Any], groups: Sequence[SyncGroup] = ()) -> None:
        super().begin(models, groups)
        for _ in self.maintenance.settle():
            pass

    def run(self, now: int) -> int | None:
        wake = super().run(now)
        timer = self.loop.run()
        wakes = [each for each in (super().run(now), wake, timer) if each is not None]
        return min(wakes, default=None)

    def resigns_sent(self) -> int:
        return sum(router["resigns_sent"] for router in self.table)

    def restraints(self) -> set[int]:
        return {router["restraint"] for router in self.table}


def names(count: int) -> tuple[str, ...]:
    return tuple(f"VI_{number}" for number in range(1, count + 1))


def started(
    folder: Path, name: str, number: int, count: int, priority: int, *groups: SyncGroup, **more: Any
) -> Maintained:
    made = Maintained(name, number, count, folder)
    made.begin(
        [
            virtual_router(each, wire, priority=priority, **more)
            for wire, each in enumerate(names(count))
        ],
        groups,
    )
    return made


def pair(
    folder: Path, count: int, *groups: SyncGroup, **more: Any
) -> tuple[Maintained, Maintained, Link]:
    """One that is master of all, and one that is its backup."""
    ours = started(folder, "a", 1, count, 200, *groups, **more)
    theirs = started(folder, "b", 2, count, 100, *groups)
    link = Link([ours, theirs])
    link.run_until(5 * SECOND)
    assert are_all(ours, "MASTER")
    assert are_all(theirs, "BACKUP")
    return ours, theirs, link


def are_all(machine: Machine, state: str) -> bool:
    return set(machine.states().values()) == {state}


def test_one_that_resigns_is_followed_at_once_and_does_not_preempt(tmp_path: Path) -> None:
    ours, theirs, link = pair(tmp_path, 2)
    asker = Asker()
    ours.maintenance.resign("VI_1", 30, RATE, asker)
    assert asker.answer == (
        True,
        ["VI_1 was master, and has resigned", "It does not preempt for 30 s"],
        {"resigned": 1, "others": 0},
    )
    link.run_until(link.now + SECOND)  # Skew_Time of priority 100 is 0.6 s
    assert theirs.states() == {"VI_1": "MASTER", "VI_2": "BACKUP"}
    assert ours.resigns_sent() == 1
    link.run_until(link.now + 28 * SECOND)
    assert ours.states() == {"VI_1": "BACKUP", "VI_2": "MASTER"}
    link.run_until(link.now + 6 * SECOND)
    assert are_all(ours, "MASTER")
    assert ours.restraints() == {0}
    assert not list(tmp_path.iterdir())


def test_one_that_resigned_takes_over_where_nobody_else_is_master(tmp_path: Path) -> None:
    ours, theirs, link = pair(tmp_path, 1)
    ours.maintenance.resign("VI_1", 1000, RATE, Asker())
    link.run_until(link.now + 5 * SECOND)
    assert are_all(theirs, "MASTER")
    theirs.is_up = False
    link.run_until(link.now + 5 * SECOND)
    assert are_all(ours, "MASTER")


def test_without_a_time_one_comes_back_by_the_ordinary_rules(tmp_path: Path) -> None:
    ours, theirs, link = pair(tmp_path, 1)
    ours.maintenance.resign("VI_1", 0, RATE, Asker())
    link.run_until(link.now + SECOND)
    assert are_all(theirs, "MASTER")
    link.run_until(link.now + 3 * SECOND)
    assert are_all(ours, "MASTER")


def test_a_pattern_names_many_and_an_unknown_name_is_refused(tmp_path: Path) -> None:
    ours, _, link = pair(tmp_path, 3)
    asker, other = Asker(), Asker()
    ours.maintenance.resign("VI_[12]", 30, RATE, asker)
    link.run_until(link.now + SECOND // 50)
    assert asker.answer is not None
    assert asker.answer[2] == {"resigned": 2, "others": 0}
    assert ours.states() == {"VI_1": "BACKUP", "VI_2": "BACKUP", "VI_3": "MASTER"}
    ours.maintenance.resign("VI_9", 30, RATE, other)
    assert other.answer == (False, ["the daemon has no virtual router VI_9"], "unknown")


def test_a_sync_group_resigns_and_comes_back_together(tmp_path: Path) -> None:
    ours, theirs, link = pair(tmp_path, 3, SyncGroup("G", ("VI_1", "VI_2")))
    ours.maintenance.resign("VI_2", 30, RATE, Asker())
    assert ours.states() == {"VI_1": "BACKUP", "VI_2": "BACKUP", "VI_3": "MASTER"}
    assert [router["restraint"] for router in ours.table] == [1, 1, 0]
    link.run_until(link.now + 2 * SECOND)
    assert theirs.states() == {"VI_1": "MASTER", "VI_2": "MASTER", "VI_3": "BACKUP"}
    link.run_until(link.now + 40 * SECOND)
    assert are_all(ours, "MASTER")


def test_masters_are_given_away_evenly(tmp_path: Path) -> None:
    """Twenty at ten a second take two seconds: one each tenth."""
    ours, theirs, link = pair(tmp_path, 20)
    sent: list[int] = []
    asker = Asker()
    ours.maintenance.drain(10, asker)
    for _ in range(19):
        before = ours.resigns_sent()
        link.run_until(link.now + SECOND // 10)
        sent.append(ours.resigns_sent() - before)
    assert sent == [1] * 19
    assert asker.answer == (True, ["drained: 20 masters were given away"], {"resigned": 20})
    assert asker.said == ["11 of 20 masters are given away"]
    link.run_until(link.now + SECOND)
    assert are_all(theirs, "MASTER")


@pytest.mark.parametrize("priority", [200, 255])
def test_what_is_drained_never_becomes_master(tmp_path: Path, priority: int) -> None:
    ours = started(tmp_path, "a", 1, 2, priority)
    link = Link([ours])
    link.run_until(5 * SECOND)
    assert are_all(ours, "MASTER")
    ours.maintenance.drain(RATE, Asker())
    link.run_until(30 * SECOND)
    assert are_all(ours, "BACKUP")
    # Neither when its interface has been away, nor when it has just come.
    ours.plug(0, is_in=False)
    ours.plug(0, is_in=True)
    ours.reload((), added=[virtual_router("VI_9", 1, priority=255)], removed=["VI_2"])
    link.run_until(60 * SECOND)
    assert ours.states() == {"VI_1": "BACKUP", "VI_9": "BACKUP"}
    assert ours.restraints() == {2}


def test_masters_are_taken_back_evenly(tmp_path: Path) -> None:
    """Those that would preempt, one each half second; the others at once."""
    ours, theirs, link = pair(tmp_path, 6, SyncGroup("G", ("VI_1", "VI_2")))
    ours.maintenance.drain(1e6, Asker())
    link.run_until(link.now + 5 * SECOND)
    assert are_all(theirs, "MASTER")
    asker = Asker()
    ours.maintenance.undrain(2, asker)
    seen: list[int] = []
    for _ in range(20):
        link.run_until(link.now + SECOND // 2)
        masters = sum(state == "MASTER" for state in ours.states().values())
        if not seen or masters != seen[-1]:
            seen.append(masters)
    # The group counts as many as it has members, and is one.
    assert seen == [0, 2, 3, 4, 5, 6]
    assert asker.answer is not None
    assert asker.answer[2] == {"released": 6, "eager": 6}
    assert not list(tmp_path.iterdir())


def test_the_last_word_counts(tmp_path: Path) -> None:
    ours, _, link = pair(tmp_path, 10)
    first, second, third = Asker(), Asker(), Asker()
    ours.maintenance.drain(1, first)
    link.run_until(link.now + 3 * SECOND)
    ours.maintenance.undrain(RATE, second)
    assert first.answer == (False, ["the daemon was told to take masters back"], None)
    link.run_until(link.now + 10 * SECOND)
    assert are_all(ours, "MASTER")
    ours.maintenance.drain(RATE, Asker())
    ours.maintenance.resign("VI_1", 30, RATE, third)
    assert third.answer == (False, ["the daemon is drained: nothing is master, or to be"], None)


def test_the_next_process_goes_on_where_this_one_has_died(tmp_path: Path) -> None:
    """In the middle of giving masters away; it is told of none."""
    ours, _, link = pair(tmp_path, 4)
    ours.maintenance.drain(0.1, Asker())
    assert maintenance.read(tmp_path / "a.maintenance").drain_rate == 0.1
    ours.is_up = False
    again = started(tmp_path, "a", 1, 4, 255)
    again.now = link.now
    assert are_all(again, "BACKUP")
    assert again.restraints() == {2}
    again.maintenance.stop()
    assert not list(tmp_path.iterdir())


def test_the_next_process_knows_who_has_resigned_and_until_when(tmp_path: Path) -> None:
    ours, _, link = pair(tmp_path, 2)
    ours.maintenance.resign("VI_2", 30, RATE, Asker())
    path = tmp_path / "a.maintenance"
    assert maintenance.read(path).until == {"VI_2": link.now + 30 * SECOND}
    with path.open("ab") as file:
        file.write(b'{"resigned": "VI_')  # a crash in the middle of a line
    again = started(tmp_path, "a", 1, 2, 200)
    assert [router["restraint"] for router in again.table] == [0, 1]
    # What is of an earlier boot says nothing.
    path.write_bytes(b"another boot\n" + maintenance.drained(1))
    assert maintenance.read(path) == maintenance.Maintenance()


def test_a_damaged_file_hides_nothing_that_comes_later(tmp_path: Path) -> None:
    path = tmp_path / "a.maintenance"
    path.write_bytes(maintenance.head() + b"{damaged\n")
    ours = started(tmp_path, "a", 1, 1, 200)
    assert not path.exists()
    assert ours.restraints() == {0}
    path.write_bytes(b"another boot\n")
    ours.maintenance.drain(5, Asker())
    assert maintenance.read(path).drain_rate == 5


def test_it_is_known_while_masters_are_being_given_away(tmp_path: Path) -> None:
    ours, _, link = pair(tmp_path, 2)
    assert not ours.maintenance.is_under_way
    asker = Asker()
    ours.maintenance.resign("*", 30, 1, asker)
    assert ours.maintenance.is_under_way
    link.run_until(link.now + 3 * SECOND)
    assert asker.answer is not None
    assert not ours.maintenance.is_under_way


def test_a_pace_makes_up_for_little_of_what_was_missed() -> None:
    pace = Pace(100, 0)
    pace.take(1, 0)
    assert pace.next_at(0) == SECOND // 100
    # A second late: five are let through at once, and not a hundred.
    went = 0
    while not pace.next_at(SECOND):
        pace.take(1, SECOND)
        went += 1
    assert went == 6


@pytest.mark.parametrize("restraint", ["YIELDING", "ABSTAINING"])
def test_a_restrained_owner_begins_as_a_backup(restraint: Any) -> None:
    machine = StateMachine(priority=255, restraint=restraint)
    machine.step("START", 0)
    assert machine.state == "BACKUP"
    assert machine.deadline is not None
    machine.step("TIMER", machine.deadline)
    assert machine.state == ("MASTER" if restraint == "YIELDING" else "BACKUP")


def test_a_promotion_of_its_group_has_no_effect_on_one_that_abstains() -> None:
    machine = StateMachine(membership="MEMBER", restraint="ABSTAINING")
    machine.step("START", 0)
    machine.step("TIMER", 4 * SECOND)
    assert not machine.wants_master
    machine.step("PROMOTE", 4 * SECOND)
    assert machine.state == "BACKUP"
