"""Virtual routers are looked at in slices, each once, and others have their turn in between."""

from __future__ import annotations

from collections.abc import Callable
from socket import AF_INET

import pytest

from fastvrrp.model import VirtualRouter
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.reviews import SLICE, Reviews

COST = SLICE // 4


class Loop:
    """A clock that goes on when one is looked at, and what is to be called later."""

    def __init__(self) -> None:
        self.now = 0
        self.later: list[Callable[[], None]] = []
        self.told: list[Place] = []
        self.seen: list[tuple[str, int]] = []
        self.reviews = Reviews(lambda: self.now, self.told.append)
        self.reviews.later = self.later.append

    def look(self, name: str) -> Callable[[Instance], None]:
        def note(instance: Instance) -> None:
            self.seen.append((name, instance.index))
            self.now += COST

        return note

    def turn(self) -> None:
        taken, self.later = self.later, []
        self.reviews.later = self.later.append
        for call in taken:
            call()


def some(count: int, place: Place) -> list[Instance]:
    return [
        Instance(VirtualRouter(f"V{index}", "eth0", 1, AF_INET), index, place)
        for index in range(count)
    ]


def here() -> Place:
    return Place(lambda run, then: None)


def test_a_slice_ends_after_its_time() -> None:
    loop, place = Loop(), here()
    loop.reviews.add(some(10, place), loop.look("a"))
    assert [index for _, index in loop.seen] == [0, 1, 2, 3]
    assert loop.told == [place]
    assert loop.reviews.is_busy(place)
    loop.turn()
    loop.turn()
    assert [index for _, index in loop.seen] == list(range(10))
    assert not loop.reviews.is_busy(place)
    assert not loop.later
    assert len(loop.told) == 3


def test_only_the_last_look_counts() -> None:
    loop, place = Loop(), here()
    instances = some(6, place)
    loop.reviews.add(instances, loop.look("arrive"))
    loop.reviews.add(instances, loop.look("depart"))
    assert len(loop.later) == 1
    loop.turn()
    loop.turn()
    assert loop.seen == [
        *(("arrive", index) for index in range(4)),
        *(("depart", index) for index in (4, 5, 0, 1, 2, 3)),
    ]


def test_one_that_leaves_is_not_looked_at() -> None:
    loop, place, other = Loop(), here(), here()
    instances = some(5, place) + some(1, other)
    loop.reviews.add(instances, loop.look("a"))
    loop.reviews.forget(instances[4])
    assert not loop.reviews.is_busy(place)
    assert loop.reviews.is_busy(other)
    loop.reviews.clear()
    loop.turn()
    assert len(loop.seen) == 4
    assert not loop.reviews.is_busy(other)


def test_a_look_may_ask_for_another_and_may_fail() -> None:
    loop, place = Loop(), here()
    first, second = some(2, place)

    def fail(instance: Instance) -> None:
        loop.reviews.add([second], loop.look("asked"))
        raise ValueError("it fails")

    with pytest.raises(ValueError, match="it fails"):
        loop.reviews.add([first], fail)
    loop.turn()
    assert loop.seen == [("asked", 1)]
    assert not loop.reviews.is_busy(place)
