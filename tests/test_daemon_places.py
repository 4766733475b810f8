"""The network namespaces of a daemon, without a daemon: sockets that fail, notes that stay."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from errno import EMFILE
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastvrrp._rtmessage import encode_address
from fastvrrp._rtnetlink import Channel, Monitor
from fastvrrp._sockets import SocketSender
from fastvrrp.daemon.places import Places
from fastvrrp.model import VirtualRouter
from lab import Laboratory


class Ears:
    """Instead of a driver: says what it is to hear, or that it cannot."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int, int]] = []
        self.is_deaf = False
        self.crowd, self._other = socket.socketpair()

    def listen(self, family: int, protocol: int, place: int) -> Any:
        if self.is_deaf:
            raise OSError(EMFILE, "Too many open files")
        self.heard.append((family, protocol, place))
        return SimpleNamespace(descriptor=self._other.fileno())

    def on_packets(self, receiver: object) -> None:
        """Nothing comes."""

    def on_crowd(self) -> None:
        """Nothing comes."""

    def close(self) -> None:
        self.crowd.close()
        self._other.close()


@pytest.fixture
def ears() -> Iterator[Ears]:
    ears = Ears()
    yield ears
    ears.close()


@pytest.fixture
def places(ears: Ears, tmp_path: Path) -> Iterator[Places]:
    """Of a daemon whose own namespace is called `home`."""
    loop = asyncio.new_event_loop()
    driver: Any = ears
    found = Places(loop, driver, SocketSender(), lambda run, then: None, tmp_path / "state", "home")
    heedless: Any = SimpleNamespace(arrive=lambda place: None)
    found.roster = found.transitions = heedless
    yield found
    found.close()
    loop.close()


def test_a_socket_that_could_not_be_opened_is_tried_again(
    lab: Laboratory, places: Places, ears: Ears
) -> None:
    """A reload that fails for want of descriptors, and the one after it."""
    model = VirtualRouter("V", "eth0", 51, socket.AddressFamily.AF_INET6)
    lab.router("home").call(lambda: places.start((), ()))
    ears.is_deaf = True
    with pytest.raises(OSError, match="Too many open files"):
        places.expect(model)
    ears.is_deaf = False
    places.expect(model)
    assert ears.heard == [(socket.AF_INET6, 112, 0)]
    places.expect(model)
    assert len(ears.heard) == 1


def test_a_note_of_what_is_the_daemons_own_namespace_now_is_forgotten(
    lab: Laboratory, places: Places, tmp_path: Path
) -> None:
    folder = tmp_path / "state.namespaces"
    folder.mkdir()
    (folder / "home").write_text('{"namespace": 1, "originals": {}}')
    lab.router("home").call(lambda: places.start((), ()))
    assert not folder.exists()


def test_an_overrun_at_the_start_is_made_good_at_once(
    lab: Laboratory, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What begins next needs to know the links and the addresses that stay."""
    monkeypatch.setattr("fastvrrp.kernel.links.Monitor", lambda: Monitor(8192))
    home = lab.router("home")
    home.call(lambda: places.start((), ()))
    links = places.own.links

    def drop_notifications() -> None:
        channel = Channel()
        index, local = socket.if_nametoindex("lo"), bytes((10, 9, 9, 9))
        both = [encode_address(add, 2, index, local, 32) for add in (True, False)]
        channel.apply(both * 5_000, 0, 10**12)
        channel.close()

    home.call(drop_notifications)
    home.ip("link add late type veth peer name other")
    links.read()
    assert links.by_name("late") is not None
    assert not links.is_behind


def test_nothing_is_noted_of_a_namespace_that_is_not_there(places: Places, tmp_path: Path) -> None:
    """A crashed daemon's note stays as it is."""
    place = places.use("absent")
    places.note(place)
    assert not (tmp_path / "state.namespaces").exists()
    places.release(place)
