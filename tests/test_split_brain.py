"""Two masters of one virtual router, seen by those who hear them; and no false alarm."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from socket import AF_INET
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvrrp._engine import Note
from fastvrrp.model import VirtualRouter
from fastvrrp.vrrp.follower import Follower, Rival
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.split_brain import SplitBrains
from fastvrrp.vrrp.standing import Standing
from simulation import IFINDEX, SECOND, Link, Router
from test_simulation import events, router_options

BACKUP, MASTER = 1, 2


class Watched:
    """Routers on a link, and what each of them has noted of split brains, with the time."""

    def __init__(self, *priorities: int, **options: object) -> None:
        self.routers = [Router(f"r{i}", i + 1) for i in range(len(priorities))]
        self.link = Link(self.routers)
        for router, priority in zip(self.routers, priorities, strict=True):
            router.add(51, priority=priority, **options)  # type: ignore[arg-type]
            router.engine.start(0, 0)
        self.found: list[tuple[int, str, Note]] = []
        """(time, router, note)"""

    def run(self, seconds: float) -> None:
        end = self.link.now + round(seconds * SECOND)
        while self.link.now < end:
            self.link.run_until(min(self.link.now + SECOND // 20, end))
            self.take()

    def take(self) -> None:
        for router in self.routers:
            for note in router.engine.take_notes():
                if note.event.startswith("SPLIT_BRAIN"):
                    self.found.append((self.link.now, router.name, note))

    def deafen(self, deaf: Router, to: Router | None = None) -> None:
        """A router that does not hear another one, or anybody."""
        self.link.loses = lambda sender, receiver: receiver is deaf and to in (None, sender)

    def heal(self) -> None:
        self.link.loses = lambda sender, receiver: False

    def states(self) -> list[int]:
        return [router.state(0) for router in self.routers]

    def said(self) -> list[tuple[str, str]]:
        return [(name, note.event) for _, name, note in self.found]


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("quiet", [False, True])
def test_a_master_that_is_not_heard_by_another_says_so_once_and_when_it_is_over(
    family: int, quiet: bool
) -> None:
    watched = Watched(200, 100, family=family, lower_prio_no_advert=quiet)
    low = watched.routers[1]
    watched.run(5)
    watched.deafen(low)
    watched.run(3.8)
    assert watched.states() == [MASTER, MASTER]
    begun = watched.link.now
    assert watched.found == []
    watched.run(60)
    ((at, name, note),) = watched.found
    assert (name, note.event) == ("r0", "SPLIT_BRAIN")
    assert note.source[-1] == low.number
    assert len(note.source) == (4 if family == 4 else 16)
    assert 1.9 * SECOND <= at - note.since <= 3.2 * SECOND
    assert begun - SECOND <= note.since <= begun
    watched.heal()
    watched.run(5)
    assert watched.states() == [MASTER, BACKUP]
    assert watched.said() == [("r0", "SPLIT_BRAIN"), ("r0", "SPLIT_BRAIN_OVER")]
    assert watched.found[1][2].since == note.since
    assert watched.found[1][2].source == note.source


def test_a_backup_that_hears_two_masters_says_so() -> None:
    watched = Watched(200, 100, 50)
    high, low, _ = watched.routers
    watched.run(5)
    watched.link.loses = lambda sender, receiver: {sender.name, receiver.name} == {"r0", "r1"}
    watched.run(20)
    assert watched.states() == [MASTER, MASTER, BACKUP]
    ((_, name, note),) = watched.found
    assert (name, note.event) == ("r2", "SPLIT_BRAIN")
    assert note.source[-1] in (high.number, low.number)
    low.engine.stop(0, watched.link.now)
    low.engine.flush()
    watched.run(0.1)
    assert watched.said()[1:] == [("r2", "SPLIT_BRAIN_OVER")], "a resignation ends it at once"


def test_it_is_over_when_the_other_is_silent() -> None:
    watched = Watched(200, 100)
    low = watched.routers[1]
    watched.run(5)
    watched.deafen(low)
    watched.run(20)
    low.is_up = False
    gone = watched.link.now
    watched.run(20)
    assert watched.said() == [("r0", "SPLIT_BRAIN"), ("r0", "SPLIT_BRAIN_OVER")]
    assert 2 * SECOND < watched.found[1][0] - gone < 5 * SECOND


def test_it_is_over_when_we_are_no_master_any_more() -> None:
    watched = Watched(200, 100)
    high, low = watched.routers
    watched.run(5)
    watched.deafen(low)
    watched.run(20)
    high.engine.fail(0, watched.link.now)
    high.engine.flush()
    watched.run(0.1)
    assert watched.said() == [("r0", "SPLIT_BRAIN"), ("r0", "SPLIT_BRAIN_OVER")]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            {"version": 2, "auth_type": 1, "password": b"one"},
            {"version": 2, "auth_type": 1, "password": b"two"},
        ),
        ({"version": 2}, {"version": 2, "advert_interval": 2 * SECOND}),
        ({"version": 2}, {"version": 3}),
    ],
)
def test_masters_that_refuse_each_other_are_found_by_both(
    ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    watched = Watched()
    for number, options in ((1, ours), (2, theirs)):
        router = Router(f"r{number}", number)
        router.add(51, priority=100 * number, **options)
        router.engine.start(0, 0)
        watched.routers.append(router)
    watched.run(20)
    assert watched.states() == [MASTER, MASTER]
    assert sorted(watched.said()) == [("r1", "SPLIT_BRAIN"), ("r2", "SPLIT_BRAIN")]


def test_a_forged_interval_keeps_no_contest_for_minutes() -> None:
    watched = Watched(200, 100, version=2)
    high, low = watched.routers
    watched.run(5)
    forger = Router("forger", 9)
    forger.add(51, version=2, priority=255, advert_interval=255 * SECOND, starts_backup=False)
    forger.engine.start(0, watched.link.now)
    forger.run(watched.link.now)
    ((_, frame),) = forger.recorder.take_frames()
    high.engine.receive_frame(IFINDEX, frame, watched.link.now)
    watched.run(40)
    watched.deafen(low)
    watched.run(20)
    assert watched.said()[0] == ("r0", "SPLIT_BRAIN")


def test_adverts_that_come_back_or_twice_are_no_second_master() -> None:
    watched = Watched(200, 100, version=2, auth_type=2, password=b"abc")
    high, low = watched.routers
    heard: list[bytes] = []
    for _ in range(300):
        watched.link.run_until(watched.link.now + SECOND // 10)
        for router in watched.routers:
            for frame in heard:
                router.engine.receive_frame(IFINDEX, frame, watched.link.now)
        high.engine.run(watched.link.now + SECOND // 100)
        sent = [frame for _, frame in high.recorder.take_frames()]
        for frame in sent:
            low.engine.receive_frame(IFINDEX, frame, watched.link.now)
        heard = (heard + sent)[-5:]
        watched.take()
    assert watched.found == []


class Told(Follower):
    """What a follower is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bool, Rival]] = []

    def split_brain(self, instance: Instance, is_over: bool, who: Rival) -> None:
        self.heard.append((instance.model.name, is_over, who))


def test_followers_are_told_once_when_it_begins_and_once_when_it_is_over() -> None:
    watched = Watched(200, 100)
    high, low = watched.routers
    model = VirtualRouter(name="VI_1", interface="eth0", vrid=51, family=AF_INET)
    place = Place(lambda run, then: None)
    instance, told = Instance(model, 0, place), Told()
    loop = asyncio.new_event_loop()
    try:
        found = SplitBrains(
            high.table,
            loop,
            lambda: watched.link.now,
            {0: instance},
            lambda _: Standing(place, lambda _: None, lambda _: None, lambda: None),
        )
        found.follow((found, told))
        watched.run(5)
        watched.deafen(low)
        watched.run(20)
        for _, _, note in watched.found:
            found.heard(instance, note)
            found.heard(instance, note)
        ((name, is_over, who),) = told.heard
        assert (name, is_over) == ("VI_1", False)
        assert (who.source, who.mac) == (bytes((10, 0, 0, 2)), None)
        assert who.since == watched.found[0][2].since
        record = high.table.read(0)
        assert record is not None
        assert (record["split_since"], record["split_brains"]) == (who.since, 1)
        watched.heal()
        watched.run(5)
        found.heard(instance, watched.found[-1][2])
        assert told.heard[1:] == [("VI_1", True, who)]
        record = high.table.read(0)
        assert record is not None
        assert (record["split_since"], record["split_brains"]) == (None, 1)
    finally:
        loop.close()


def preempt(watched: Watched) -> None:
    watched.routers[1].engine.set_priority(0, 254)


def fail(watched: Watched) -> None:
    watched.routers[0].engine.fail(0, watched.link.now)
    watched.routers[0].engine.flush()


def die(watched: Watched) -> None:
    watched.routers[0].is_up = False


def resign_unheard(watched: Watched) -> None:
    watched.routers[0].is_up = False
    fail(watched)


@pytest.mark.parametrize("happens", [preempt, fail, die, resign_unheard])
@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("quiet", [False, True])
@pytest.mark.parametrize("interval", [SECOND // 100, SECOND])
def test_an_ordinary_change_of_the_master_is_none(
    happens: Callable[[Watched], None], answers: bool, quiet: bool, interval: int
) -> None:
    watched = Watched(
        200,
        150,
        100,
        higher_prio_send_advert=answers,
        lower_prio_no_advert=quiet,
        advert_interval=interval,
    )
    watched.run(5)
    happens(watched)
    watched.run(10)
    assert watched.states()[1] == MASTER
    watched.routers[0].is_up = True
    if watched.routers[0].state(0) == 3:
        watched.routers[0].engine.start(0, watched.link.now)
    watched.routers[1].engine.set_priority(0, 150)
    watched.run(20)
    assert watched.states() == [MASTER, BACKUP, BACKUP]
    assert watched.found == []


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    family=st.sampled_from((4, 6)),
    options=st.lists(router_options, min_size=2, max_size=5),
    history=events,
    priorities=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 254)), max_size=6),
    interval=st.sampled_from((SECOND // 100, SECOND)),
)
def test_no_history_without_a_deaf_one_is_a_split_brain(
    family: int,
    options: list[dict[str, object]],
    history: list[tuple[str, int, int]],
    priorities: list[tuple[int, int]],
    interval: int,
) -> None:
    """Starts, ends, failures, cut links and other priorities, in any order and at any time: where
    everybody on the link hears everybody, one yields before it is two intervals."""
    watched = Watched()
    for number, chosen in enumerate(options):
        router = Router(f"r{number}", number + 1)
        settings = {**chosen, "advert_interval": interval}
        router.add(51, family=family, **settings)  # type: ignore[arg-type]
        router.engine.start(0, 0)
        watched.routers.append(router)
    running = set(range(len(options)))
    changes = iter(priorities)
    for event, which, pause in history:
        number = which % len(options)
        router = watched.routers[number]
        now = watched.link.now
        if event in ("stop", "fail") and number in running:
            getattr(router.engine, event)(0, now)
            running.discard(number)
        elif event == "start" and number not in running:
            router.engine.start(0, now)
            running.add(number)
        elif event in ("cut", "join"):
            watched.link.deliver()
            router.is_up = event == "join"
        elif event == "wait" and (change := next(changes, None)) is not None:
            other, priority = change
            if other < len(options) and options[other]["priority"] != 255:
                watched.routers[other].engine.set_priority(0, priority)
        router.engine.flush()
        watched.link.deliver()
        watched.link.run_until(now + pause * interval // SECOND)
        watched.take()
    for router in watched.routers:
        router.is_up = True
    watched.link.run_until(watched.link.now + 20 * interval)
    watched.take()
    assert watched.said() == []


@pytest.mark.parametrize("seed", range(60))
def test_on_a_link_that_loses_adverts_there_are_two_masters_when_it_is_said(seed: int) -> None:
    """Losses by chance, of which nobody searches the worst: where somebody chose which adverts are
    lost, two that are master by turns could look like two at once."""
    chance = random.Random(seed)
    loss = chance.randint(1, 60)
    watched = Watched()
    for number in range(chance.randint(2, 4)):
        router = Router(f"r{number}", number + 1)
        router.add(
            51,
            priority=chance.randint(1, 254),
            preempt=chance.random() < 0.5,
            lower_prio_no_advert=chance.random() < 0.5,
            higher_prio_send_advert=chance.random() < 0.5,
            starts_backup=chance.random() < 0.5,
            advert_interval=SECOND,
        )
        router.engine.start(0, 0)
        watched.routers.append(router)
    watched.link.loses = lambda sender, receiver: chance.randrange(100) < loss
    two_for = 0
    for _ in range(1200):
        watched.link.run_until(watched.link.now + SECOND // 20)
        before = len(watched.found)
        watched.take()
        two_for = two_for + 1 if watched.states().count(MASTER) > 1 else max(0, two_for - 1)
        for _, _, note in watched.found[before:]:
            if note.event == "SPLIT_BRAIN":
                assert two_for > 10
