"""The timer wheel against a sorted list."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvrrp._wheel import Wheel

TIMERS = 40
# Distances from a nanosecond to half a century: every level of the wheel.
distances = st.one_of(
    st.integers(-(10**9), 0),
    st.integers(0, 10**6),
    st.integers(0, 10**10),
    st.integers(0, 1_600_000_000 * 10**9),
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("schedule"), st.integers(0, TIMERS - 1), distances),
        st.tuples(st.just("cancel"), st.integers(0, TIMERS - 1), st.just(0)),
        st.tuples(st.just("advance"), st.integers(1, 7), distances),
        st.tuples(st.just("sleep"), st.integers(1, 7), st.just(0)),
    ),
    max_size=80,
)


@settings(max_examples=400, deadline=None)
@given(start=st.integers(0, 2**61), history=operations)
def test_agrees_with_a_sorted_list(start: int, history: list[tuple[str, int, int]]) -> None:
    now = start
    wheel = Wheel(TIMERS, now)
    expected: dict[int, int] = {}
    for operation, number, distance in history:
        if operation == "schedule":
            wheel.schedule_at(number, now + distance)
            expected[number] = now + distance
        elif operation == "cancel":
            wheel.cancel_timer(number)
            expected.pop(number, None)
        else:
            if operation == "sleep":
                now = max(now, wheel.sleeps_until or now)
            else:
                now += max(0, distance)
            due = sorted(timer for timer, deadline in expected.items() if deadline <= now)
            assert sorted(wheel.expired(now, limit=number)) == due
            for timer in due:
                del expected[timer]
        assert wheel.scheduled == len(expected)
        if expected:
            assert wheel.sleeps_until is not None
            assert wheel.sleeps_until <= min(expected.values())
        else:
            assert wheel.sleeps_until is None


def test_expires_in_order_of_ticks() -> None:
    wheel = Wheel(1000)
    deadlines = [(i * 7919 % 1000) * 10**7 for i in range(1000)]
    for timer, deadline in enumerate(deadlines):
        wheel.schedule_at(timer, deadline)
    order = [deadlines[timer] for timer in wheel.expired(10**11)]
    assert order == sorted(deadlines)


@pytest.mark.parametrize("deadline", [10**6, 10**9, 3600 * 10**9])  # on different levels
def test_keeps_the_order_of_timers_that_are_due_together(deadline: int) -> None:
    wheel = Wheel(1000)
    order = [i * 7919 % 1000 for i in range(1000)]
    for timer in order:
        wheel.schedule_at(timer, deadline)
    for timer in order[::2]:
        wheel.cancel_timer(timer)
    assert wheel.expired(deadline) == order[1::2]


def test_is_asleep_when_nothing_is_due() -> None:
    """A wake brings the next deadline nearer: few wakes lie between now and a distant timer."""
    wheel = Wheel(1)
    hour = 3600 * 10**9
    wheel.schedule_at(0, hour)
    wakes = 0
    while (now := wheel.sleeps_until) is not None:
        wakes += 1
        wheel.expired(now)
    assert wakes == 1


def test_holds_a_hundred_thousand_timers() -> None:
    wheel = Wheel(100_000)
    for timer in range(100_000):
        wheel.schedule_at(timer, timer * 36_000)
    assert wheel.scheduled == 100_000
    assert len(wheel.expired(50_000 * 36_000 - 1)) == 50_000
    assert len(wheel.expired(100_000 * 36_000)) == 50_000


def test_a_timer_outside_is_refused() -> None:
    with pytest.raises(IndexError, match="timer 8 is outside 0-7"):
        Wheel(8).schedule_at(8, 0)
