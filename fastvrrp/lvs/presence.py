"""Which of some addresses are on this machine, in this network namespace (`ha_suspend`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastvrrp._rtmessage import AddressEvent
from fastvrrp._rtnetlink import Channel, Monitor, Overrun

READ_LIMIT = 512
"""Notifications of one turn of the loop."""


class Presence:
    """Hears of addresses from `Presence(...)` to `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        on_change: Callable[[bytes, bool], None],
    ) -> None:
        """`on_change` is called with an address, in network order, that has come to this machine or
        has left it. Raises OSError."""
        self._loop = loop
        self._on_change = on_change
        self._places: dict[bytes, set[tuple[int, int]]] = {}
        """Where each address is: indexes of links, and lengths of prefixes."""
        self._monitor = Monitor()
        self._places = _dumped()
        loop.add_reader(self._monitor.fileno(), self._on_readable)

    def has(self, first: bytes, last: bytes) -> bool:
        """Whether an address of a range is here; the last one belongs to it."""
        if first == last:
            return first in self._places
        return any(len(each) == len(first) and first <= each <= last for each in self._places)

    def close(self) -> None:
        self._loop.remove_reader(self._monitor.fileno())
        self._monitor.close()

    def _on_readable(self) -> None:
        try:
            events = self._monitor.read(READ_LIMIT)
        except Overrun:
            before, self._places = self._places, _dumped()
            for address in before.keys() ^ self._places.keys():
                self._tell(address)
            return
        for event in events:
            if isinstance(event, AddressEvent):
                self._take(event)

    def _take(self, event: AddressEvent) -> None:
        was_here = event.address in self._places
        _note(self._places, event)
        if (event.address in self._places) != was_here:
            self._tell(event.address)

    def _tell(self, address: bytes) -> None:
        self._on_change(address, address in self._places)


def _dumped() -> dict[bytes, set[tuple[int, int]]]:
    channel = Channel()
    try:
        places: dict[bytes, set[tuple[int, int]]] = {}
        for event in channel.dump_addresses():
            _note(places, event)
    finally:
        channel.close()
    return places


def _note(places: dict[bytes, set[tuple[int, int]]], event: AddressEvent) -> None:
    there = places.setdefault(event.address, set())
    if event.removed:
        there.discard((event.ifindex, event.prefixlen))
    else:
        there.add((event.ifindex, event.prefixlen))
    if not there:
        del places[event.address]
