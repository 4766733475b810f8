"""The rule of a crash, in simulated histories: who may go on as master, and who begins anew."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvrrp._engine import Engine
from fastvrrp._fsm import Machine
from fastvrrp._sockets import Recorder
from fastvrrp._table import Table
from simulation import SECOND, Link, Router

INIT, BACKUP, MASTER = 0, 1, 2
MOMENT = SECOND // 100
"""By which an advert may go early, and what an election takes besides."""


@dataclass
class Mortal(Router):
    """A router whose process dies, stands still and is started again."""

    options: dict[str, object] = field(default_factory=dict)
    is_dead: bool = False
    stands_still: bool = False

    def begin(self, now: int = 0) -> None:
        self.add(51, **self.options)  # type: ignore[arg-type]
        self.engine.start(0, now)

    def run(self, now: int) -> int | None:
        return None if self.is_dead or self.stands_still else super().run(now)

    def hear(self, ifindex: int, frame: bytes, now: int) -> None:
        if not (self.is_dead or self.stands_still):
            super().hear(ifindex, frame, now)

    def die(self) -> None:
        self.is_dead = True
        self.recorder.take_frames()  # what was on its way to the kernel

    def rise(self, now: int) -> int:
        """A new process; the state in which it goes on, or INIT where it begins anew."""
        left, self.table = self.table, Table(None, self.capacity)
        self.recorder = Recorder()
        self.engine = Engine(self.table, self.recorder, 0)
        left.left(now)
        index = self.add(51, **self.options)  # type: ignore[arg-type]
        self.engine.detach(index)
        state = self.engine.resume(index, left, index, now)
        self.attach(index)
        if state == INIT:
            self.engine.start(index, now)
        self.engine.flush()
        self.is_dead = False
        return state

    def attach(self, index: int) -> None:
        record = self.table.read(index)
        assert record is not None
        mac = bytes((2, 0, 0, 0, 0, self.number))
        self.engine.attach(index, record["ifindex"], mac, record["source"])

    @property
    def is_master(self) -> bool:
        return not self.is_dead and self.state(0) == MASTER


def watch(link: Link, routers: list[Mortal], end: int, longest: int) -> None:
    """Lets time pass; no two routers that hear each other are masters for longer than that."""
    since: int | None = None
    while link.now < end:
        link.run_until(min(link.now + SECOND // 50, end))
        speaking = [each for each in routers if each.is_master and each.is_up]
        speaking = [each for each in speaking if not each.stands_still]
        if len(speaking) < 2:
            since = None
        elif since is None:
            since = link.now
        else:
            assert link.now - since <= longest, [each.name for each in speaking]


router_options = st.fixed_dictionaries(
    {"priority": st.integers(1, 254), "preempt": st.booleans(), "starts_backup": st.booleans()}
)
history = st.lists(
    st.tuples(
        st.sampled_from(("crash", "crash", "rise", "lose", "cut", "join", "still", "wait")),
        st.integers(0, 3),
        st.integers(0, 5 * SECOND),
    ),
    max_size=16,
)


def test_ah_goes_on_above_its_sequence_number_where_the_clock_was_set_back() -> None:
    options = {"version": 2, "auth_type": 2, "password": b"abc", "ah_sequence": 1000}
    high, low = (
        Mortal(name, number, options={**options, "priority": priority})
        for name, number, priority in (("high", 1, 200), ("low", 2, 100))
    )
    link = Link([high, low])
    for each in (high, low):
        each.begin()
    link.run_until(8 * SECOND)
    high.die()
    high.options["ah_sequence"] = 5
    assert high.rise(link.now) == MASTER
    link.run_until(30 * SECOND)
    assert (high.state(0), low.state(0)) == (MASTER, BACKUP)
    heard = low.table.read(0)
    assert heard is not None
    assert sum(heard["refused"]) == 0


@settings(max_examples=150, deadline=None)
@given(
    version=st.sampled_from((2, 3)),
    interval=st.sampled_from((SECOND, 2 * SECOND)),
    options=st.lists(router_options, min_size=2, max_size=4),
    events=history,
)
def test_crashes_make_no_more_masters_than_elections_do(
    version: int,
    interval: int,
    options: list[dict[str, object]],
    events: list[tuple[str, int, int]],
) -> None:
    routers = [
        Mortal(
            f"r{number}",
            number + 1,
            options={**each, "version": version, "advert_interval": interval},
        )
        for number, each in enumerate(options)
    ]
    for router in routers:
        router.begin()
    link = Link(routers)
    longest = interval + 2 * MOMENT  # after that each has heard the other
    lossless_since = 0
    for event, which, pause in events:
        router = routers[which % len(routers)]
        if event == "crash":
            router.die()
        elif event == "rise" and router.is_dead:
            speakers = {each.name for each in routers if each.is_master}
            if router.rise(link.now) == MASTER and link.now - lossless_since > 5 * interval:
                # Whoever is master by now would have become it under a living master, too.
                priority = int(str(router.options["priority"]))
                others = [each for each in routers if each.name in speakers]
                assert all(int(str(each.options["priority"])) > priority for each in others)
        elif event == "lose":
            link.loses = lambda *_: True
            link.run_until(link.now + pause % (2 * interval))
            link.loses = lambda *_: False
            lossless_since = link.now
        elif event in ("cut", "join"):
            link.deliver()
            router.is_up = event == "join"
            lossless_since = link.now
        elif event == "still":
            router.stands_still = True
            watch(link, routers, link.now + pause, longest)
            router.stands_still = False
            lossless_since = link.now
        link.deliver()
        watch(link, routers, link.now + pause, longest)
        if not all(each.is_up for each in routers):
            lossless_since = link.now
    for router in routers:
        router.is_up = True
        if router.is_dead:
            router.rise(link.now)
    watch(link, routers, link.now + 4 * interval + SECOND, longest)
    assert sum(each.is_master for each in routers) == 1


@pytest.mark.parametrize("version", [2, 3])
@given(phase=st.integers(0, SECOND), pause=st.integers(0, 5 * SECOND))
@settings(max_examples=100, deadline=None)
def test_no_router_is_lost_when_the_rule_says_go_on(version: int, phase: int, pause: int) -> None:
    master = Mortal("master", 2, options={"priority": 200, "version": version})
    others = [
        Mortal(f"b{number}", number + 2, options={"priority": priority, "version": version})
        for number, priority in ((1, 254), (2, 100))
    ]
    # The one with the higher priority is the least patient.
    others[0].options["preempt"] = False
    master.begin()
    link = Link([master, *others])
    link.run_until(5 * SECOND)
    for each in others:
        each.begin(link.now)
    link.run_until(10 * SECOND + phase)
    assert [each.state(0) for each in (master, *others)] == [MASTER, BACKUP, BACKUP]
    record = master.table.read(0)
    assert record is not None
    master.die()
    link.run_until(link.now + pause)
    silence = link.now - record["sent_at"]
    state = master.rise(link.now)
    link.deliver()
    assert state == (MASTER if silence < 3 * SECOND + 2 * SECOND // 256 - SECOND // 10 else INIT)
    became = sum(each.table.read(0)["became_master"] for each in others)  # type: ignore[index]
    link.run_until(link.now + 6 * SECOND)
    later = sum(each.table.read(0)["became_master"] for each in others)  # type: ignore[index]
    if state == MASTER:
        assert (became, later) == (0, 0)
        assert master.state(0) == MASTER


def test_the_rule_counts_from_the_last_advert_that_left_for_sure() -> None:
    machine = Machine(priority=100, advert_interval=SECOND)
    machine.step("START", 0)
    assert not machine.may_go_on(0, 1)  # a backup never goes on as master
    machine.step("TIMER", 4 * SECOND)
    assert machine.state == "MASTER"
    skew = 2 * SECOND // 256
    last = 3 * SECOND + skew - SECOND // 10
    assert machine.may_go_on(4 * SECOND, 4 * SECOND + last - 1)
    assert not machine.may_go_on(4 * SECOND, 4 * SECOND + last)
    assert not machine.may_go_on(4 * SECOND, 3 * SECOND)  # of another clock


@pytest.mark.parametrize("has_left", [True, False])
def test_an_advert_that_may_not_have_left_is_sent_again(has_left: bool) -> None:
    router = Mortal("r", 1, options={"priority": 255})
    router.begin()
    if has_left:
        router.engine.flush()
    router.die()
    now = SECOND // 10
    assert router.rise(now) == MASTER
    record = router.table.read(0)
    assert record is not None
    assert record["deadline"] == (SECOND if has_left else now)
    router.engine.run(now)
    assert len(router.recorder.take_frames()) == (0 if has_left else 1)
