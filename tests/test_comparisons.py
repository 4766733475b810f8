"""After an overrun the picture is compared with a dump in slices, and nothing is taken for lost
that was only not there yet."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator

import pytest

from fastvrrp._rtmessage import encode_address
from fastvrrp._rtnetlink import Channel, Monitor
from fastvrrp.daemon.comparisons import SLICE, Comparisons
from fastvrrp.kernel.addresses import AddressBatch
from fastvrrp.kernel.links import Change
from fastvrrp.model import VirtualAddress, VirtualRouter
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place, Survey
from fastvrrp.vrrp.standing import Standing
from kernel_namespace import add_veth, inside_namespace, ip, needs_root

pytestmark = needs_root
AF_INET = int(socket.AF_INET)
PAIRS = 12
MANY = 60
"""Turns of the loop that are more than enough for them."""


class Deaf:
    """A place in a namespace whose monitor holds little, and what is asked of the other thread."""

    def __init__(self) -> None:
        self.place = Place(lambda run, then: self.asked.append((run, then)))
        self.asked: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self.told: list[tuple[Change, str]] = []
        self.slices = 0
        self.now = 0
        self.surveys: list[Survey] = []
        self.loop = asyncio.SelectorEventLoop()
        self.comparisons = Comparisons(
            self.loop, self.clock, lambda _: self.surveys, self.settle, lambda place: self.read()
        )
        self.place.links.on_overrun = lambda: self.comparisons.begin(self.place)
        self.place.links.subscribe(lambda change, link: self.told.append((change, link.name)))
        self.place.open()
        self.place.links.start()
        self.loop.add_reader(self.place.links.fileno(), self.read)
        self.told.clear()

    def clock(self) -> int:
        self.now += SLICE // 4
        return self.now

    def settle(self, place: Place) -> None:
        assert place is self.place
        self.slices += 1

    def read(self) -> None:
        self.place.links.read()

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def overrun(self) -> None:
        """Has the kernel drop notifications, which the loop then finds out."""
        channel = Channel()
        index = socket.if_nametoindex("lo")
        local = bytes((10, 9, 9, 9))
        both = [encode_address(add, AF_INET, index, local, 32) for add in (True, False)]
        channel.apply(both * 5_000, 0, 10**12)
        channel.close()
        self.turn(2)
        assert len(self.asked) == 1

    def carry_out(self) -> None:
        """What the other thread is asked for."""
        ((run, then),) = self.asked
        self.asked.clear()
        run()
        then()


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deaf]:
    monkeypatch.setattr("fastvrrp.kernel.links.Monitor", lambda: Monitor(8192))
    with inside_namespace():
        for pair in range(PAIRS):
            add_veth(f"a{pair}", f"b{pair}")
        found = Deaf()
        yield found
        found.place.close()
        found.loop.close()


def test_the_loop_has_its_turn_between_slices(deaf: Deaf) -> None:
    deaf.overrun()
    ip("link del a3")
    ip("link set b5 down")
    deaf.turn(3)
    assert deaf.told == [], "nothing is read until there is a dump"
    deaf.carry_out()
    first = deaf.slices
    assert first == 1
    ip("link set b6 down")  # newer than the dump
    deaf.turn(MANY)
    steps = 3 * (2 * PAIRS - 1)  # three looks at each link that there is
    assert deaf.slices >= steps // 4
    changes = [each for each in deaf.told if each[0] in (Change.VANISHED, Change.DOWN)]
    assert set(changes[:4]) == {
        (Change.VANISHED, "a3"),
        (Change.VANISHED, "b3"),
        (Change.DOWN, "a5"),
        (Change.DOWN, "b5"),
    }
    assert set(changes[4:]) == {(Change.DOWN, "a6"), (Change.DOWN, "b6")}
    deaf.overrun()
    deaf.carry_out()
    deaf.turn(MANY)
    assert len(deaf.told) == 6, "what is as it was is not told"


def test_a_place_that_is_left_is_not_compared_any_more(deaf: Deaf) -> None:
    deaf.overrun()
    deaf.carry_out()
    deaf.comparisons.forget(deaf.place)
    deaf.loop.remove_reader(deaf.place.links.fileno())
    deaf.place.links.close()
    slices = deaf.slices
    deaf.turn(MANY)
    assert deaf.slices == slices


def test_a_dump_that_fails_is_asked_for_again(
    deaf: Deaf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fastvrrp.daemon.comparisons.ATTEMPT", 0.0)
    monkeypatch.setattr("fastvrrp.kernel.links.dump_of", lambda _: refuse())
    deaf.overrun()
    deaf.carry_out()
    assert "cannot be read: the table never stood still" in caplog.text
    monkeypatch.undo()
    deaf.turn(MANY)
    ip("link del a3")
    deaf.carry_out()
    deaf.turn(MANY)
    assert (Change.VANISHED, "a3") in deaf.told


def refuse() -> None:
    raise OSError(11, "the table never stood still")


def test_what_is_added_after_the_dump_was_asked_for_is_not_lost(deaf: Deaf) -> None:
    standing = Standing(deaf.place, lambda _: None, lambda _: None, lambda: None)
    masters = [master(deaf.place, number) for number in (1, 2, 3)]
    for each in masters[:2]:
        standing.stand(each)
    standing.send()
    deaf.carry_out()
    lost: list[bytes] = []
    deaf.surveys = [standing.survey(lambda _, address: lost.append(address))]
    deaf.overrun()
    ip("address del 10.0.0.1/32 dev a0")
    run, then = deaf.asked.pop()
    standing.stand(masters[2])
    standing.send()
    run()  # the dump, before the third address is added
    deaf.carry_out()
    then()
    deaf.turn(MANY)
    assert lost == [bytes((10, 0, 0, 1))]


def master(place: Place, number: int) -> Instance:
    instance = Instance(VirtualRouter(f"V{number}", "a0", number, AF_INET), number, place)
    address = VirtualAddress(AF_INET, bytes((10, 0, 0, number)), 32)
    instance.batch = AddressBatch([address], [socket.if_nametoindex("a0")])
    return instance
