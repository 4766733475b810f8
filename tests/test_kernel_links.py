"""The picture of links and addresses, and what its subscribers are told."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastvrrp._rtmessage import encode_address
from fastvrrp._rtnetlink import Channel, Monitor
from fastvrrp.kernel.addresses import PROTOCOL
from fastvrrp.kernel.links import Change, Link, Links
from kernel_namespace import add_veth, inside_namespace, ip, needs_root

pytestmark = needs_root

A = socket.inet_aton
AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6


def A6(text: str) -> bytes:
    return socket.inet_pton(AF_INET6, text)


class Listener:
    """Links with one subscriber to every change."""

    def __init__(self) -> None:
        self.links = Links(set())
        self.told: list[tuple[Change, str]] = []
        self.links.subscribe(self.tell)

    def tell(self, change: Change, link: Link) -> None:
        self.told.append((change, link.name))

    def until(self, reached: Callable[[], bool]) -> None:
        """Reads notifications until `reached`, which takes the kernel up to seconds."""
        deadline = time.monotonic() + 30
        while not reached():
            assert time.monotonic() < deadline, f"not reached; told: {self.told}"
            if select.select([self.links], [], [], 0.2)[0]:
                self.links.read()

    def take(self) -> list[tuple[Change, str]]:
        """What was told since the last call; everything the kernel has said is read."""
        while select.select([self.links], [], [], 0)[0]:
            self.links.read()
        told, self.told = self.told, []
        return told

    def link(self, name: str) -> Link:
        link = self.links.by_name(name)
        assert link is not None
        return link

    def primary(self, name: str, family: int) -> bytes | None:
        return self.links.primary_address(self.link(name).index, family)


def test_nothing_is_read_before_the_first_picture() -> None:
    """What was told until then would be taken for newer than the dump."""
    with inside_namespace():
        listener = Listener()
        listener.links.open()
        add_veth("a0", "b0")
        assert not listener.links.read()
        assert listener.told == []
        listener.links.begin()
        # A kernel may have links of its own in each namespace.
        for name in ("a0", "b0", "lo"):
            assert listener.told.count((Change.APPEARED, name)) == 1
        assert {change for change, _ in listener.told} == {Change.APPEARED}
        listener.links.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Listens in a namespace where `a0` and its peer `b0` are up."""
    with inside_namespace():
        add_veth("a0", "b0")
        listener = Listener()
        listener.links.start()
        listener.until(lambda: listener.link("a0").is_up and listener.link("b0").is_up)
        listener.take()
        yield listener
        listener.links.close()


def add(*, protocol: int = 0, **addresses: str) -> None:
    """Adds addresses to links by name, with a protocol."""
    channel = Channel()
    for name, text in addresses.items():
        address, prefixlen = text.split("/")
        family = AF_INET6 if ":" in address else AF_INET
        request = encode_address(
            True,
            family,
            socket.if_nametoindex(name),
            socket.inet_pton(family, address),
            int(prefixlen),
            flags=0x02,
            protocol=protocol,
        )
        channel.apply([request], 0, 0)
        assert channel.take_errors() == []
    channel.close()


def test_every_link_is_told_at_the_start() -> None:
    with inside_namespace():
        add_veth("a0", "b0")
        listener = Listener()
        listener.links.start()
        there = {name for _, name in socket.if_nameindex()}  # a kernel may bring tunnels, too
        assert there >= {"a0", "b0", "lo"}
        told = [name for change, name in listener.told if change is Change.APPEARED]
        assert sorted(told) == sorted(there)
        assert {link.name for link in listener.links} == there
        assert listener.links.by_index(listener.link("a0").index) is listener.link("a0")
        listener.links.close()


class TestUpAndDown:
    def test_a_link_set_down_and_up(self, listener: Listener) -> None:
        ip("link set a0 down")
        listener.until(lambda: not listener.link("a0").is_up)
        assert (Change.DOWN, "a0") in listener.take()
        ip("link set a0 up")
        listener.until(lambda: listener.link("a0").is_up)
        assert (Change.UP, "a0") in listener.take()

    def test_a_link_whose_peer_goes_down_is_up_and_not_running(self, listener: Listener) -> None:
        ip("link set b0 down")
        listener.until(lambda: not listener.link("a0").is_up)
        assert listener.link("a0").flags & 1
        assert (Change.DOWN, "a0") in listener.take()

    def test_a_macvlan_goes_down_with_its_parent(self, listener: Listener) -> None:
        ip("link add link a0 name m0 type macvlan mode private")
        ip("link set m0 up")
        listener.until(lambda: listener.links.by_name("m0") is not None)
        listener.until(lambda: listener.link("m0").is_up)
        assert listener.link("m0").parent == listener.link("a0").index
        assert (listener.link("m0").kind, listener.link("m0").mode) == ("macvlan", 1)
        ip("link set b0 down")
        listener.until(lambda: not listener.link("m0").is_up)
        ip("link set b0 up")
        listener.until(lambda: listener.link("m0").is_up)

    def test_what_is_said_twice_is_told_once(self, listener: Listener) -> None:
        ip("link set a0 mtu 1400")
        ip("link set a0 up")
        listener.until(lambda: listener.link("a0").mtu == 1400)
        assert listener.take() == []


class TestComingAndGoing:
    def test_a_link_appears_and_vanishes(self, listener: Listener) -> None:
        add_veth("c0", "d0")
        listener.until(lambda: listener.links.by_name("c0") is not None)
        assert (Change.APPEARED, "c0") in listener.take()
        link = listener.link("c0")
        ip("link del c0")
        listener.until(lambda: listener.links.by_name("c0") is None)
        assert (Change.VANISHED, "c0") in listener.take()
        assert not link.is_up
        assert listener.links.by_index(link.index) is None

    def test_a_renamed_link_vanishes_and_appears(self, listener: Listener) -> None:
        link = listener.link("a0")
        ip("link set a0 down")
        ip("link set a0 name z0")
        listener.until(lambda: listener.links.by_name("z0") is link)
        told = listener.take()
        at = told.index((Change.VANISHED, "a0"))
        assert told[at + 1] == (Change.APPEARED, "z0")
        assert listener.links.by_name("a0") is None

    def test_a_new_mac_is_told(self, listener: Listener) -> None:
        ip("link set a0 address 02:00:00:00:00:01")
        listener.until(lambda: listener.link("a0").mac == b"\2\0\0\0\0\1")
        assert (Change.MAC, "a0") in listener.take()

    def test_a_port_leaving_a_bridge_does_not_vanish(self, listener: Listener) -> None:
        ip("link add br0 type bridge")
        ip("link set a0 master br0")
        ip("link set a0 nomaster")
        ip("link del br0")
        listener.until(lambda: listener.links.by_name("br0") is None)
        told = [event for event in listener.take() if event[0] is not Change.MAC]
        assert (Change.VANISHED, "a0") not in told
        assert listener.links.by_name("a0") is not None


class TestSubscribers:
    def test_one_link_by_its_name_before_it_exists(self, listener: Listener) -> None:
        told: list[tuple[Change, str]] = []

        def subscriber(change: Change, link: Link) -> None:
            told.append((change, link.name))

        listener.links.subscribe(subscriber, "c0")
        add_veth("c0", "d0")
        listener.until(lambda: listener.links.by_name("d0") is not None)
        assert told[0] == (Change.APPEARED, "c0")
        assert {name for _, name in told} == {"c0"}
        listener.links.unsubscribe(subscriber, "c0")
        told.clear()
        ip("link del c0")
        listener.until(lambda: listener.links.by_name("c0") is None)
        assert told == []


class TestPrimaryAddress:
    def test_ipv4_is_the_first_that_is_not_secondary(self, listener: Listener) -> None:
        assert listener.primary("a0", AF_INET) is None
        for text in ("10.0.0.9/24", "10.0.0.1/24", "10.9.0.1/24"):
            add(a0=text)
        listener.until(lambda: listener.primary("a0", AF_INET) == A("10.0.0.9"))
        assert listener.take() == [(Change.PRIMARY_ADDRESS, "a0")]

    def test_ipv4_of_a_narrower_scope_comes_last(self, listener: Listener) -> None:
        ip("address add 10.1.0.1/24 scope link dev a0")
        ip("address add 10.2.0.1/24 dev a0")
        listener.until(lambda: listener.primary("a0", AF_INET) == A("10.2.0.1"))

    def test_a_secondary_address_takes_over_when_it_is_promoted(self, listener: Listener) -> None:
        ip("address add 10.0.0.1/24 dev a0")
        ip("address add 10.0.0.2/24 dev a0")
        Path("/proc/sys/net/ipv4/conf/a0/promote_secondaries").write_text("1")
        ip("address del 10.0.0.1/24 dev a0")
        listener.until(lambda: listener.primary("a0", AF_INET) == A("10.0.0.2"))

    def test_ipv6_is_the_link_local_address(self, listener: Listener) -> None:
        add(a0="2001:db8::1/64")
        add(a0="fe80::1/64")
        listener.until(lambda: listener.primary("a0", AF_INET6) == A6("fe80::1"))
        assert listener.take() == [(Change.PRIMARY_ADDRESS, "a0")]

    def test_ipv6_is_not_tentative(self, listener: Listener) -> None:
        ip("address add fe80::2/64 dev a0")
        listener.links.read()
        assert listener.primary("a0", AF_INET6) is None
        listener.until(lambda: listener.primary("a0", AF_INET6) == A6("fe80::2"))

    def test_ipv6_has_not_failed_the_detection_of_duplicates(self, listener: Listener) -> None:
        add(b0="fe80::3/64")
        ip("address add fe80::3/64 dev a0")
        # a0 hears of b0, which has the address already, and keeps it as dadfailed (0x08).
        listener.until(
            lambda: any(event.flags & 0x08 for event in listener.link("a0").addresses.values())
        )
        assert listener.primary("a0", AF_INET6) is None

    @pytest.mark.parametrize("protocol", [0, PROTOCOL])
    def test_a_virtual_address_is_passed_over(self, listener: Listener, protocol: int) -> None:
        virtual = [(AF_INET, A("10.0.0.50")), (AF_INET6, A6("fe80::50"))]
        listener.links.virtual_addresses = set() if protocol else set(virtual)
        for text in ("10.0.0.50/32", "10.0.0.1/24", "fe80::50/128", "fe80::1/64"):
            add(a0=text, protocol=protocol if "50" in text else 0)
        listener.until(lambda: listener.primary("a0", AF_INET6) == A6("fe80::1"))
        assert listener.primary("a0", AF_INET) == A("10.0.0.1")
        listener.take()
        gone: list[bytes] = []
        listener.links.on_virtual_address_gone = lambda *which: gone.append(which[2])
        ip("address del 10.0.0.50/32 dev a0")
        listener.until(lambda: gone == [A("10.0.0.50")])
        assert listener.take() == []

    def test_an_owner_has_only_its_virtual_address(self, listener: Listener) -> None:
        listener.links.virtual_addresses = {(AF_INET, A("10.0.0.1")), (AF_INET, A("10.0.0.2"))}
        add(a0="10.0.0.1/24")
        listener.until(lambda: listener.primary("a0", AF_INET) == A("10.0.0.1"))
        assert listener.take() == [(Change.PRIMARY_ADDRESS, "a0")]
        add(a0="10.0.0.3/32")
        listener.until(lambda: listener.primary("a0", AF_INET) == A("10.0.0.3"))
        assert listener.take() == [(Change.PRIMARY_ADDRESS, "a0")]

    def test_our_own_mark_is_never_primary(self, listener: Listener) -> None:
        add(a0="10.0.0.1/24", protocol=PROTOCOL)
        add(a0="10.1.0.1/24")
        listener.until(lambda: listener.primary("a0", AF_INET) is not None)
        assert listener.primary("a0", AF_INET) == A("10.1.0.1")
        assert listener.take() == [(Change.PRIMARY_ADDRESS, "a0")]

    def test_other_addresses_can_be_excluded_for_once(self, listener: Listener) -> None:
        add(a0="10.0.0.1/24")
        add(a0="10.1.0.1/24")
        listener.until(lambda: len(listener.link("a0").addresses) == 2)
        index = listener.link("a0").index
        excluding = {(AF_INET, A("10.0.0.1"))}
        assert listener.links.primary_address(index, AF_INET, excluding) == A("10.1.0.1")

    def test_a_link_that_is_not_there_has_none(self, listener: Listener) -> None:
        assert listener.links.primary_address(9999, AF_INET) is None


class TestOverrun:
    def overrun(self, listener: Listener) -> None:
        """Has the kernel drop notifications; what follows is lost until the next read."""
        channel = Channel()
        index = socket.if_nametoindex("lo")
        both = [encode_address(add, AF_INET, index, A("10.9.9.9"), 32) for add in (True, False)]
        channel.apply(both * 20_000, 0, 10**12)
        channel.close()

    @pytest.fixture
    def deaf(self, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Listener:
        """A listener with a small receive buffer."""
        monkeypatch.setattr("fastvrrp.kernel.links.Monitor", lambda: Monitor(8192))
        listener.links.close()
        listener.links.start()
        listener.take()
        return listener

    def test_what_was_missed_is_told_as_a_difference(self, deaf: Listener) -> None:
        add(a0="10.0.0.1/24")
        deaf.until(lambda: deaf.primary("a0", AF_INET) == A("10.0.0.1"))
        deaf.take()
        self.overrun(deaf)
        ip("link set b0 down")
        ip("address del 10.0.0.1/24 dev a0")
        add_veth("c0", "d0")
        deaf.until(lambda: deaf.links.by_name("c0") is not None)
        told = deaf.take()
        assert (Change.DOWN, "b0") in told
        assert (Change.PRIMARY_ADDRESS, "a0") in told
        assert told.count((Change.APPEARED, "c0")) == 1
        assert deaf.primary("a0", AF_INET) is None
        self.overrun(deaf)
        ip("link del c0")
        deaf.until(lambda: deaf.links.by_name("c0") is None)
        assert (Change.VANISHED, "c0") in deaf.take()

    def test_a_dump_has_every_address(self, deaf: Listener) -> None:
        add(a0="10.0.0.1/24")
        deaf.until(lambda: deaf.primary("a0", AF_INET) == A("10.0.0.1"))
        dump = deaf.links.dump()
        assert (socket.if_nametoindex("a0"), A("10.0.0.1")) in dump.placed

    def test_links_that_swapped_their_names(self, deaf: Listener) -> None:
        old_a, old_b = deaf.link("a0"), deaf.link("b0")
        self.overrun(deaf)
        for command in ("set a0 down", "set b0 down", "set a0 name t0", "set b0 name a0"):
            ip("link " + command)
        ip("link set t0 name b0")
        deaf.until(lambda: deaf.links.by_name("b0") is old_a)
        assert deaf.links.by_name("a0") is old_b
        told = [event for event in deaf.take() if event[0] in (Change.APPEARED, Change.VANISHED)]
        assert set(told[:2]) == {(Change.VANISHED, "a0"), (Change.VANISHED, "b0")}
        assert set(told[2:]) == {(Change.APPEARED, "a0"), (Change.APPEARED, "b0")}
