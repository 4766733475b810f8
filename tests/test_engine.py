"""The engine over a simulated link: elections, timers, refusals, frames."""

from __future__ import annotations

import random
from typing import Any

import pytest

from fastvrrp._engine import Engine
from fastvrrp._table import Table
from fastvrrp._wire import REASONS
from simulation import GROUP4, IFINDEX, SECOND, Link, Router

BACKUP, MASTER, FAULT = 1, 2, 3


def record(router: Router, index: int = 0) -> dict[str, Any]:
    found = router.table.read(index)
    assert found is not None
    return found


def pair(**options: object) -> tuple[Link, Router, Router]:
    high, low = Router("high", 1), Router("low", 2)
    high.add(51, priority=200, **options)  # type: ignore[arg-type]
    low.add(51, priority=100, **options)  # type: ignore[arg-type]
    link = Link([high, low])
    high.engine.start(0, 0)
    low.engine.start(0, 0)
    return link, high, low


@pytest.mark.parametrize("family", [4, 6])
def test_the_higher_priority_becomes_master(family: int) -> None:
    link, high, low = pair(family=family)
    link.run_until(5 * SECOND)
    assert (high.state(0), low.state(0)) == (MASTER, BACKUP)
    assert record(high)["adverts_sent"] == 2
    assert record(low)["adverts_received"] == 2


def silenced(link: Link, high: Router) -> int:
    """When a master that runs for a while was heard last."""
    link.run_until(5 * SECOND)
    high.is_up = False
    sent_at: int = record(high)["sent_at"]
    return sent_at


def takes_over_at(link: Link, low: Router, moment: int) -> None:
    """Sees that a backup is master from that moment on and not before."""
    link.run_until(moment - 1)
    assert low.state(0) == BACKUP
    link.run_until(moment)
    assert low.state(0) == MASTER


def test_a_backup_takes_over_after_the_master_down_interval_and_not_before() -> None:
    link, high, low = pair()
    silent_from = silenced(link, high)
    takes_over_at(link, low, silent_from + 3 * SECOND + 156 * SECOND // 256)


def test_a_resignation_hands_over_within_the_skew_time() -> None:
    link, high, low = pair()
    link.run_until(5 * SECOND)
    high.engine.stop(0, link.now)
    high.engine.flush()
    link.deliver()
    link.run_until(link.now + 156 * SECOND // 256)
    assert low.state(0) == MASTER
    assert record(low)["resigns_received"] == 1


def test_adverts_share_a_wake_and_none_is_late() -> None:
    """Sixteen masters with phases 1 ms apart: their adverts go early together, never late."""
    router = Router("many", 1)
    for vrid in range(1, 17):
        router.add(vrid, priority=255)
    for index in range(16):
        router.engine.start(index, index * SECOND // 1000)
        router.engine.flush()
    router.recorder.take_frames()
    now = 16 * SECOND // 1000
    due = {index: index * SECOND // 1000 + SECOND for index in range(16)}
    wakes = 0
    while now < 10 * SECOND:
        wake = router.engine.run(now)
        if router.recorder.take_frames():
            wakes += 1
        for index, latest in due.items():
            sent = record(router, index)["sent_at"]
            if sent == now:
                assert latest - SECOND // 100 <= sent <= latest
                due[index] = sent + SECOND
            assert due[index] > now
        assert wake is not None
        now = wake
    assert wakes < 3 * 9


@pytest.mark.parametrize("lateness", [0, SECOND // 2000])
def test_no_gap_is_longer_than_the_interval(lateness: int) -> None:
    """With phases all over the second, and wakes that come up to half a millisecond late."""
    router = Router("many", 1, capacity=255)
    chance = random.Random(1)
    sent = dict(enumerate(sorted(chance.randrange(SECOND) for _ in range(255))))
    for index, phase in sent.items():
        router.add(index + 1, priority=255)
        router.engine.start(index, phase)
        router.engine.flush()
    router.recorder.take_frames()
    now = SECOND
    gaps: list[int] = []
    wakes = 0
    while now < 20 * SECOND:
        wake = router.engine.run(now)
        wakes += 1
        for _, frame in router.recorder.take_frames():
            index = frame[14 + 20 + 1] - 1  # the VRID
            gaps.append(now - sent[index])
            sent[index] = now
        assert wake is not None
        now = max(wake, now) + chance.randint(0, lateness)
    assert max(gaps) <= SECOND + lateness
    assert min(gaps) >= SECOND * 99 // 100 - lateness
    # Once they have found together they stay so: no more than a wake in a hundredth of a second.
    settled = gaps[5 * 255 :]
    assert min(settled) >= SECOND - lateness
    assert wakes <= 20 * 100 + 255


def test_masters_of_one_moment_do_not_stay_one_burst() -> None:
    """2,000 adverts at once, each of which takes 4 us: after a minute they go in wakes of 64. On
    the way there no gap was longer than the interval and the burst, or a hundredth shorter."""
    count, cost = 2_000, 4_000
    router = Router("many", 1, capacity=count)
    for index in range(count):
        router.add(index % 255 + 1, priority=255, ifindex=1 + index // 255)
        router.engine.start(index, 0)
        router.engine.flush()
    router.recorder.take_frames()
    sent = [0] * count
    now = 0
    wakes: list[tuple[int, int]] = []
    while now < 60 * SECOND:
        wake = router.engine.run(now)
        frames = router.recorder.take_frames()
        for ifindex, frame in frames:
            index = (ifindex - 1) * 255 + frame[14 + 20 + 1] - 1  # the VRID
            gap, sent[index] = now - sent[index], now
            assert SECOND * 99 // 100 - count * cost <= gap <= SECOND + count * cost
        wakes.append((now, len(frames)))
        assert wake is not None
        now = max(wake, now + len(frames) * cost)
    assert max(frames for moment, frames in wakes if moment > 50 * SECOND) <= 64
    settled = sum(frames for moment, frames in wakes if moment > 50 * SECOND)
    assert abs(settled - 10 * count) <= 64
    assert len([moment for moment, _ in wakes if moment > 50 * SECOND]) <= 1000


def test_a_master_says_its_new_priority_and_yields_to_a_better_one() -> None:
    link, high, low = pair()
    link.run_until(5 * SECOND)
    high.engine.set_priority(0, 50)
    link.run_until(12 * SECOND)
    assert (high.state(0), low.state(0)) == (BACKUP, MASTER)
    assert record(low)["priority"] == 100
    high.engine.set_priority(0, 150)
    link.run_until(18 * SECOND)
    assert (high.state(0), low.state(0)) == (MASTER, BACKUP)


@pytest.mark.parametrize("priority", [1, 254])
def test_a_backup_waits_as_long_as_its_new_priority_says(priority: int) -> None:
    link, high, low = pair()
    silent_from = silenced(link, high)
    link.run_until(silent_from + SECOND)
    low.engine.set_priority(0, priority)
    takes_over_at(link, low, silent_from + 3 * SECOND + (256 - priority) * SECOND // 256)


def test_a_priority_outside_its_range_is_refused() -> None:
    _, high, _ = pair()
    for priority in (0, 256):
        with pytest.raises(ValueError, match="outside 1-255"):
            high.engine.set_priority(0, priority)


def test_a_short_interval_that_has_gone_wakes_nobody_any_more() -> None:
    """Sixteen masters whose phases are 1 ms apart share wakes again when a fast one is removed."""
    router = Router("many", 1, capacity=32)
    for vrid in range(1, 17):
        router.add(vrid, priority=255)
    fast = router.add(100, priority=255, advert_interval=SECOND // 100)
    for index in range(16):
        router.engine.start(index, index * SECOND // 1000)
    router.engine.start(fast, 0)
    router.engine.stop(fast, SECOND // 50)
    router.engine.forget(fast)
    router.table.remove(fast)
    router.engine.flush()
    router.recorder.take_frames()
    now, wakes = SECOND // 50, 0
    while now < 10 * SECOND:
        wake = router.engine.run(now)
        wakes += bool(router.recorder.take_frames())
        assert wake is not None
        now = wake
    assert wakes < 3 * 10


def test_what_a_master_does_is_noted() -> None:
    _, high, low = pair()
    link = Link([high, low])
    link.run_until(5 * SECOND)
    notes = high.engine.take_notes()
    assert [(note[1], note[2], note[3]) for note in notes] == [("START", 0, 1), ("TIMER", 1, 2)]
    assert notes[1][4] is True
    assert high.engine.take_notes() == []


@pytest.mark.parametrize(
    ("reason", "options", "theirs"),
    [
        ("INTERVAL", {"version": 2}, {"version": 2, "advert_interval": 2 * SECOND}),
        ("VERSION", {"version": 3}, {"version": 2}),
        ("AUTH_TYPE", {"version": 2}, {"version": 2, "auth_type": 1, "password": b"secret"}),
        (
            "PASSWORD",
            {"version": 2, "auth_type": 1, "password": b"one"},
            {"version": 2, "auth_type": 1, "password": b"two"},
        ),
        (
            "AH_ICV",
            {"version": 2, "auth_type": 2, "password": b"one"},
            {"version": 2, "auth_type": 2, "password": b"two"},
        ),
    ],
)
def test_an_advert_that_does_not_fit_is_refused_with_its_reason(
    reason: str, options: dict[str, object], theirs: dict[str, object]
) -> None:
    ours, other = Router("ours", 1), Router("other", 2)
    ours.add(51, **options)  # type: ignore[arg-type]
    other.add(51, priority=200, **theirs)  # type: ignore[arg-type]
    link = Link([ours, other])
    ours.engine.start(0, 0)
    other.engine.start(0, 0)
    link.run_until(10 * SECOND)
    assert (ours.state(0), other.state(0)) == (MASTER, MASTER)
    refused = record(ours)["refused"]
    assert refused[REASONS.index(reason)] > 0
    assert sum(refused) == refused[REASONS.index(reason)]
    assert ours.table.totals()["refused"][: len(refused)] == refused


def test_ah_adverts_are_accepted_once_each() -> None:
    link, high, low = pair(version=2, auth_type=2, password=b"abc")
    link.run_until(8 * SECOND)
    assert (high.state(0), low.state(0)) == (MASTER, BACKUP)
    high.engine.stop(0, link.now)
    high.engine.flush()
    (frame,) = [frame for _, frame in high.recorder.take_frames()]
    received = record(low)["adverts_received"]
    low.engine.receive_frame(IFINDEX, frame, link.now)
    low.engine.receive_frame(IFINDEX, frame, link.now)
    assert record(low)["adverts_received"] == received + 1


def test_a_forged_advert_does_not_open_the_way_for_a_replay() -> None:
    """What is not authentic must not begin a new count of sequence numbers."""
    link, high, low = pair(version=2, auth_type=2, password=b"abc")
    link.run_until(6 * SECOND)
    high.engine.run(7 * SECOND)
    (replayed,) = [frame for _, frame in high.recorder.take_frames()]
    low.engine.receive_frame(IFINDEX, replayed, link.now)
    received = record(low)["adverts_received"]
    stranger = Router("stranger", 9)
    stranger.add(51, version=2, auth_type=2, password=b"xyz")
    stranger.engine.start(0, 0)
    stranger.engine.run(4 * SECOND)
    (forged,) = [frame for _, frame in stranger.recorder.take_frames()]
    low.engine.receive_frame(IFINDEX, forged, link.now)
    low.engine.receive_frame(IFINDEX, replayed, link.now)
    assert record(low)["adverts_received"] == received


def other_addresses(router: Router, count: int) -> None:
    """Configures a router of `Router.add` with other addresses than its neighbour's."""
    router.engine.configure(
        0,
        version=3,
        advert_interval=SECOND,
        addresses=b"".join(bytes((10, 0, 9, last)) for last in range(count)),
        group=GROUP4,
    )
    router.engine.attach(0, IFINDEX, bytes((2, 0, 0, 0, 0, router.number)), bytes((10, 0, 0, 1)))


@pytest.mark.parametrize(("count", "reason"), [(1, "ADDRESS_LIST"), (2, "ADDRESS_COUNT")])
def test_an_advert_with_other_addresses_is_refused(count: int, reason: str) -> None:
    high, low = Router("high", 1), Router("low", 2)
    high.add(51, priority=200)
    low.add(51, priority=100)
    other_addresses(high, count)
    link = Link([high, low])
    high.engine.start(0, 0)
    low.engine.start(0, 0)
    link.run_until(6 * SECOND)
    assert (high.state(0), low.state(0)) == (MASTER, MASTER)
    assert record(low)["refused"][REASONS.index(reason)] > 0


@pytest.mark.keywords("vrrp_instance/skip_check_adv_addr")
def test_known_addresses_may_be_skipped_until_the_master_changes() -> None:
    link, high, low = pair(skips_known_addresses=True)
    link.run_until(6 * SECOND)
    other_addresses(high, 2)
    link.run_until(12 * SECOND)
    assert (high.state(0), low.state(0)) == (MASTER, BACKUP)
    assert sum(record(low)["refused"]) == 0


def test_a_hop_more_than_none_is_refused() -> None:
    link, high, low = pair()
    link.run_until(6 * SECOND)
    high.engine.run(7 * SECOND)
    (frame,) = [frame for _, frame in high.recorder.take_frames()]
    low.engine.receive_frame(IFINDEX, frame[:22] + b"\xfe" + frame[23:], link.now)
    assert record(low)["refused"][REASONS.index("TTL")] == 1


def test_our_own_advert_come_back_is_refused() -> None:
    link, high, _ = pair()
    link.run_until(6 * SECOND)
    high.engine.run(7 * SECOND)
    (frame,) = [frame for _, frame in high.recorder.take_frames()]
    high.engine.receive_frame(IFINDEX, frame, link.now)
    assert record(high)["refused"][REASONS.index("SOURCE")] == 1


def test_an_advert_for_nobody_is_counted() -> None:
    link, high, low = pair()
    link.run_until(6 * SECOND)
    high.engine.run(7 * SECOND)
    (frame,) = [frame for _, frame in high.recorder.take_frames()]
    low.engine.receive_frame(IFINDEX + 1, frame, link.now)
    assert low.table.totals()["refused"][REASONS.index("VRID_UNKNOWN")] == 1


def test_the_same_vrid_on_another_family_is_another_router() -> None:
    first, second = Router("first", 1), Router("second", 2)
    first.add(51, family=4, priority=200)
    first.add(51, family=6, priority=50)
    second.add(51, family=4, priority=100)
    second.add(51, family=6, priority=100)
    link = Link([first, second])
    for router in (first, second):
        router.engine.start(0, 0)
        router.engine.start(1, 0)
    link.run_until(6 * SECOND)
    assert [first.state(0), first.state(1)] == [MASTER, BACKUP]
    assert [second.state(0), second.state(1)] == [BACKUP, MASTER]


def test_a_router_that_is_not_attached_cannot_start() -> None:
    router = Router("one", 1)
    router.add(51)
    router.engine.detach(0)
    with pytest.raises(ValueError, match="not attached"):
        router.engine.start(0, 0)


def test_no_router_at_an_index_is_an_index_error() -> None:
    router = Router("one", 1)
    engine: Engine = router.engine
    with pytest.raises(IndexError, match="no virtual router at 3"):
        engine.stop(3, 0)


def configure(router: Router, **options: object) -> None:
    """Configures a router of `Router.add` anew, while it runs."""
    settings = {"version": 3, "advert_interval": SECOND, "addresses": bytes((10, 0, 0, 100))}
    router.engine.configure(0, group=GROUP4, **settings | options)  # type: ignore[arg-type]
    router.engine.attach(
        0, IFINDEX, bytes((2, 0, 0, 0, 0, router.number)), bytes((10, 0, 0, router.number))
    )


def test_a_master_says_at_once_what_is_new_and_stays_master() -> None:
    link, high, low = pair()
    link.run_until(5 * SECOND)
    changed_at = record(high)["changed_at"]
    configure(high, advert_interval=10 * SECOND)
    high.table.update(0, "high", 150)
    high.engine.hurry(0, link.now)
    link.run_until(link.now)
    heard = record(low)
    assert (heard["master_priority"], heard["master_interval"]) == (150, 10 * SECOND)
    # The backup has learned the longer interval before it misses the adverts of the shorter one.
    link.run_until(link.now + 60 * SECOND)
    assert (high.state(0), low.state(0)) == (MASTER, BACKUP)
    assert record(high)["changed_at"] == changed_at
    assert record(low)["became_master"] == 0


def test_a_backup_that_is_configured_anew_goes_on_by_its_masters_interval() -> None:
    link, high, low = pair()
    configure(high, advert_interval=5 * SECOND)
    link.run_until(20 * SECOND)
    assert record(low)["master_interval"] == 5 * SECOND
    configure(low, advert_interval=SECOND // 10)
    low.engine.hurry(0, link.now)
    assert record(low)["master_interval"] == 5 * SECOND
    link.run_until(link.now + 60 * SECOND)
    assert (high.state(0), low.state(0)) == (MASTER, BACKUP)


def test_ah_goes_on_above_its_sequence_number_when_configured_anew() -> None:
    link, high, low = pair(version=2, auth_type=2, password=b"abc", ah_sequence=1000)
    link.run_until(8 * SECOND)
    configure(high, version=2, auth_type=2, password=b"abc", ah_sequence=5)
    link.run_until(30 * SECOND)
    assert (high.state(0), low.state(0)) == (MASTER, BACKUP)
    assert sum(record(low)["refused"]) == 0


def test_an_engine_grows_with_its_table_while_masters_go_on() -> None:
    router = Router("many", 1)
    router.table = Table(None, 1, 500)
    router.engine = Engine(router.table, router.recorder, 0)
    router.add(1, priority=255)
    router.engine.start(0, 0)
    link = Link([router])
    link.run_until(2 * SECOND)
    router.table.grow(500)
    router.engine.grow()
    indexes = [router.add(vrid, priority=255) for vrid in range(2, 256)]
    for index in indexes:
        router.engine.start(index, link.now)
    link.run_until(10 * SECOND)
    assert {router.state(index) for index in (0, *indexes)} == {MASTER}
    assert record(router)["adverts_sent"] in (10, 11)
    router.engine.forget(indexes[0])
    router.table.remove(indexes[0])
    assert router.add(7, priority=255) == indexes[0]


def test_nobody_becomes_master_by_silence_before_the_engine_opens() -> None:
    ours = Router("ours", 1)
    ours.engine.open_at(10 * SECOND)
    ours.add(51, priority=200)
    ours.add(52, priority=255)
    for index in (0, 1):
        ours.engine.start(index, 0)
    link = Link([ours])
    link.run_until(10 * SECOND - 1)
    assert (ours.state(0), ours.state(1)) == (BACKUP, BACKUP)
    link.run_until(10 * SECOND)
    assert (ours.state(0), ours.state(1)) == (BACKUP, MASTER)
    down = 3 * SECOND + 56 * SECOND // 256
    link.run_until(10 * SECOND + down - 1)
    assert ours.state(0) == BACKUP
    link.run_until(10 * SECOND + down)
    assert ours.state(0) == MASTER


def test_a_member_of_a_sync_group_says_that_it_would_be_master() -> None:
    ours = Router("ours", 1)
    ours.add(51)
    ours.engine.set_membership(0, 1)
    ours.engine.start(0, 0)
    ours.engine.take_notes()
    down = 3 * SECOND + 156 * SECOND // 256
    for turn in (1, 2):
        Link([ours]).run_until(turn * down)
        (note,) = ours.engine.take_notes()
        assert (note.wants, note.before, note.after) == (True, BACKUP, BACKUP)
        assert ours.engine.wants_master(0)
    ours.engine.promote(0, 3 * down)
    ours.engine.flush()
    (note,) = ours.engine.take_notes()
    assert (note.wants, note.after, note.acquires) == (False, MASTER, True)
    assert len(ours.recorder.take_frames()) == 1
    ours.engine.demote(0, 3 * down)
    ours.engine.flush()
    (note,) = ours.engine.take_notes()
    assert (note.after, note.releases) == (BACKUP, True)
    assert ours.recorder.take_frames() == []


def test_an_unknown_vrid_is_told_of_once() -> None:
    ours, theirs = Router("ours", 1), Router("theirs", 2)
    theirs.add(51, priority=255)
    theirs.engine.start(0, 0)
    told: list[tuple[int, int, int, bytes]] = []
    ours.engine.on_unknown = lambda *what: told.append(what)
    link = Link([ours, theirs])
    link.run_until(5 * SECOND)
    assert told == [(IFINDEX, 4, 51, bytes((10, 0, 0, 2)))]
    assert ours.table.totals()["refused"][REASONS.index("VRID_UNKNOWN")] == 6
