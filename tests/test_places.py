"""One engine in several network namespaces: the same interface number in each, and no mixing."""

from __future__ import annotations

import select
import socket
import time

import pytest

from fastvrrp._driver import Driver
from fastvrrp._engine import Engine
from fastvrrp._sockets import SocketSender, interface_number
from fastvrrp._table import Table
from fastvrrp.kernel.memberships import Memberships
from lab import Capture, Laboratory, Router

GROUP = bytes((224, 0, 0, 18))
SECOND = 1_000_000_000
MASTER = 2


def ifindex(router: Router, name: str = "eth0") -> int:
    return router.call(lambda: socket.if_nametoindex(name))


def run(driver: Driver, seconds: float) -> None:
    """What an event loop does, for so long."""
    descriptors = {receiver.descriptor: receiver for receiver in driver.receivers}
    until = time.monotonic() + seconds
    driver.settle()
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([driver.alarm.descriptor, *descriptors], [], [], left)
        for descriptor in ready:
            if descriptor == driver.alarm.descriptor:
                driver.on_alarm()
            else:
                driver.on_packets(descriptors[descriptor])


@pytest.mark.parametrize("is_unicast", [False, True])
def test_each_place_sends_and_hears_its_own(lab: Laboratory, is_unicast: bool) -> None:
    """Two namespaces, one VRID and one ifindex: an owner each, which its neighbour hears."""
    routers = [lab.router(name) for name in ("red", "blue")]
    peers = [lab.router(name) for name in ("redpeer", "bluepeer")]
    for router, peer in zip(routers, peers, strict=True):
        lab.connect(router, peer)
    table = Table(None, 4)
    sender = SocketSender()
    engine = Engine(table, sender, time.monotonic_ns())
    driver = Driver(engine, lambda notes: None)
    memberships = []
    indexes = []
    for place, router in enumerate(routers, 1):
        name = router.interfaces[0]
        real = ifindex(router, name)
        number = interface_number(place, real)
        router.call(lambda place=place: sender.open(place))  # type: ignore[misc]
        router.call(lambda place=place: driver.listen(socket.AF_INET, 112, place))  # type: ignore[misc]
        if is_unicast:
            router.call(lambda place=place: sender.open_unicast(socket.AF_INET, place))  # type: ignore[misc]
        joined = Memberships()
        router.call(lambda joined=joined, real=real: joined.join(GROUP, real))  # type: ignore[misc]
        memberships.append(joined)
        host, neighbour = (socket.inet_aton(f"10.0.{place - 1}.{n}") for n in (place, place + 2))
        index = table.add(f"V{place}", name, number, 4, 51, 255)
        engine.configure(
            index,
            version=3,
            advert_interval=SECOND // 10,
            addresses=socket.inet_aton("192.0.2.1"),
            group=GROUP,
            peers=[(neighbour, 0, 255)] if is_unicast else (),
        )
        engine.attach(index, number, bytes((2, 0, 0, 0, place - 1, place)), host)
        engine.start(index, time.monotonic_ns())
        indexes.append(index)
    with Capture(peers[0]) as red, Capture(peers[1]) as blue:
        run(driver, 1.0)
    assert [table.state(index) for index in indexes] == [MASTER, MASTER]
    for place, capture in ((1, red), (2, blue)):
        sources = {advert.source for advert in capture.adverts()}
        assert sources == {f"10.0.{place - 1}.{place}"}
        assert len(capture.adverts()) >= 5
    driver.close()
    sender.close()
    for joined in memberships:
        joined.close()


def test_what_is_heard_belongs_to_the_place_of_the_receiver(lab: Laboratory) -> None:
    """An advert in one namespace, where both have a router of that VRID on that ifindex."""
    routers = [lab.router(name) for name in ("red", "blue")]
    peer = lab.router("peer")
    lab.connect(routers[0], peer)
    lab.connect(routers[1], lab.router("other"))
    table = Table(None, 4)
    engine = Engine(table, SocketSender(), time.monotonic_ns())
    driver = Driver(engine, lambda notes: None)
    joined = Memberships()
    for place, router in enumerate(routers, 1):
        name = router.interfaces[0]
        real = ifindex(router, name)
        router.call(lambda place=place: driver.listen(socket.AF_INET, 112, place))  # type: ignore[misc]
        if place == 1:
            router.call(lambda real=real: joined.join(GROUP, real))  # type: ignore[misc]
        table.add(f"V{place}", name, interface_number(place, real), 4, 51, 100)
    advert = bytes.fromhex("3133c801000abe56c0000201")
    sending = peer.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 112))
    with sending:
        sending.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        sending.setsockopt(
            socket.IPPROTO_IP,
            socket.IP_MULTICAST_IF,
            socket.inet_aton("10.0.0.3"),
        )
        sending.sendto(advert, ("224.0.0.18", 0))
        run(driver, 0.3)
    records = [table.read(index) for index in (0, 1)]
    assert [sum(record["refused"]) for record in records if record] == [1, 0]
    driver.close()
    joined.close()


def test_the_number_of_an_interface_has_a_limit_outside_the_daemons_namespace() -> None:
    assert interface_number(0, 2**31 - 1) == 2**31 - 1
    assert interface_number(1, 2**20 - 1) == -(2**21 - 1)
    with pytest.raises(OverflowError, match="1048576 is above 1048575"):
        interface_number(1, 2**20)
    with pytest.raises(ValueError, match="place 2048 is outside 0-2047"):
        interface_number(2048, 1)


def test_a_place_that_was_never_opened_has_no_sockets() -> None:
    """Also one whose number is too high: a daemon with so many goes on with the others."""
    sender = SocketSender()
    assert sender.give_up(5) == []
    assert sender.give_up(2048) == []
