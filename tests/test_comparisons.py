"""After an overrun the picture is compared with a dump in slices, and nothing is taken for lost
that was only not there yet."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator

import pytest

from fastvrrp._rtmessage import encode_address
from fastvrrp._rtnetlink import Channel, Monitor
from fastvrrp.daemon.comparisons import SLICE, Comparisons
from fastvrrp.kernel.addresses import AddressBatch
from fastvrrp.kernel.links import Change
from fastvrrp.model import InstanceOptions, NextHop, Prefix, Route, VirtualAddress, VirtualRouter
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place, Survey
from fastvrrp.vrrp.routing import Routing
from fastvrrp.vrrp.standing import Standing
from kernel_namespace import add_veth, inside_namespace, ip, needs_root
from lab import wait_until
from simulated_machine import Machine
from simulation import GROUP4

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
        self.surveys: Callable[[], list[Survey]] = list
        self.on_end: Callable[[], None] = lambda: None
        self.loop = asyncio.SelectorEventLoop()
        self.comparisons = Comparisons(
            self.loop,
            self.clock,
            lambda _: self.surveys(),
            self.settle,
            lambda _: self.read(),
            lambda _: self.on_end(),
        )
        self.place.links.on_overrun = lambda: self.comparisons.begin(self.place)
        self.place.links.subscribe(lambda change, link: self.told.append((change, link.name)))
        self.place.open()
        self.place.links.start()
        self.loop.add_reader(self.place.links.fileno(), self.read)
        self.told.clear()

    def heard(self, change: Change, link: str) -> bool:
        """Has been told, after one more turn."""
        self.turn(1)
        return (change, link) in self.told

    def clock(self) -> int:
        self.now += SLICE // 4
        return self.now

    def settle(self, place: Place) -> None:
        assert place is self.place
        self.slices += 1

    def read(self) -> bool:
        return self.place.links.read()

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
        wait_until(lambda: ip("link").count("state UP") == 2 * PAIRS, what="all carriers")
        found = Deaf()
        yield found
        found.place.close()
        found.loop.close()


def test_the_loop_has_its_turn_between_slices(deaf: Deaf) -> None:
    deaf.overrun()
    ip("link del a3")
    ip("link set b5 down")
    wait_until(lambda: "LOWERLAYERDOWN" in ip("link show a5"), what="a5 without carrier")
    deaf.turn(3)
    assert deaf.told == [], "nothing is read until there is a dump"
    deaf.carry_out()
    first = deaf.slices
    assert first == 1
    ip("link set b6 down")  # newer than the dump
    deaf.turn(MANY)
    wait_until(lambda: deaf.heard(Change.DOWN, "a6"), what="a6 without carrier")
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


def test_a_place_that_goes_while_it_is_read_is_not_heard_again(
    deaf: Deaf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fastvrrp.daemon.comparisons.ATTEMPT", 0.0)
    deaf.overrun()
    ((run, then),) = deaf.asked
    deaf.asked.clear()
    monitor = deaf.place.links.fileno()
    deaf.comparisons.forget(deaf.place)
    deaf.place.links.close()
    run()
    then()
    assert "cannot be read: the sockets are closed" in caplog.text
    deaf.turn(MANY)
    assert (deaf.asked, deaf.slices, deaf.told) == ([], 0, [])
    assert not deaf.loop.remove_reader(monitor)


def fail(*_: object) -> None:
    raise ValueError("an error of a subscriber")


def failing_survey(_: set[tuple[int, bytes]]) -> Iterator[None]:
    yield
    fail()


def test_an_error_on_the_way_leaves_nobody_deaf(
    deaf: Deaf, caplog: pytest.LogCaptureFixture
) -> None:
    links, shown = deaf.place.links, []

    def show(_: set[tuple[int, bytes]]) -> Iterator[None]:
        shown.append(links.by_name("a3"))
        yield

    for name in ("a3", "b5", "b6"):
        links.subscribe(fail, name)
    deaf.surveys = lambda: [failing_survey, show]
    deaf.overrun()
    ip("link del a3")
    ip("link set b5 down")
    deaf.carry_out()
    deaf.turn(MANY)
    assert set(deaf.told) == {
        *((Change.VANISHED, name) for name in ("a3", "b3")),
        *((Change.DOWN, name) for name in ("a5", "b5")),
    }
    assert shown == [None]
    assert caplog.text.count("ValueError: an error of a subscriber") == 3
    # What comes one by one reaches the others, too.
    deaf.told.clear()
    ip("link set b6 down")
    deaf.turn(2)
    assert set(deaf.told) == {(Change.DOWN, "a6"), (Change.DOWN, "b6")}


def test_who_cannot_be_asked_what_stands_leaves_nobody_deaf(deaf: Deaf) -> None:
    def refuse_to_survey() -> list[Survey]:
        raise ValueError("an error of who keeps addresses")

    deaf.surveys = refuse_to_survey
    deaf.overrun()
    ip("link del a3")
    deaf.carry_out()
    deaf.turn(MANY)
    assert (Change.VANISHED, "a3") in deaf.told
    assert not deaf.place.links.is_behind


def test_a_route_that_goes_with_its_link_is_not_taken_for_removed(
    deaf: Deaf, caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel tells at once that the route has gone, and of the link only the dump does."""
    ip("address add 10.0.0.1/24 dev a0")
    deaf.turn(2)
    machine = Machine("A", 1, 0)
    machine.place = deaf.place
    routing = Routing(deaf.place, machine.roster, deaf.loop, lambda _: deaf.read(), machine.settle)
    deaf.surveys, deaf.on_end = lambda: [routing.survey()], routing.caught_up
    machine.followers = (routing,)  # type: ignore[assignment]
    machine.roster.follow(machine.followers)
    destination = Prefix(socket.inet_pton(socket.AF_INET6, "2001:db8:9::"), 64)
    route = Route(int(socket.AF_INET6), destination, next_hops=(NextHop(None, "a1"),))
    machine.roster.add(
        [
            VirtualRouter(
                "V",
                "a0",
                1,
                AF_INET,
                priority=255,
                multicast_group=GROUP4,
                addresses=(VirtualAddress(AF_INET, bytes((10, 0, 0, 1)), 32),),
                options=InstanceOptions(routes=(route,)),
            )
        ]
    )
    machine.finish()
    machine.run(10_000_000_000)
    for _ in routing.settle():
        pass
    instance = machine.instance("V")
    assert machine.states()["V"] == "MASTER"
    deaf.carry_out()  # nothing was left by another process
    routing.applied(instance, True)
    deaf.carry_out()
    assert "2001:db8:9::/64" in ip("-6 route show dev a1")
    caplog.set_level(logging.INFO)
    deaf.overrun()
    ip("link set a1 down")
    assert "2001:db8:9::/64" not in ip("-6 route show dev a1")
    deaf.turn(MANY)
    assert machine.states()["V"] == "MASTER", "nobody knows of the link yet"
    deaf.carry_out()
    deaf.turn(MANY)
    assert machine.states()["V"] == "FAULT"
    assert "removed by somebody else" not in caplog.text


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
    deaf.surveys = lambda: [standing.survey(lambda _, address: lost.append(address))]
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
