"""The catalogue: what the configuration says of each virtual router, for readers outside.

A file with a line of JSON for each, written when it comes or changes; the last line of an index
counts. What most do not have is not written, because there may be 65,280 lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from socket import inet_ntop

from fastvrrp.model import SECOND, VirtualRouter
from fastvrrp.observe.details import name_of

DEFAULT_DELAY = 5.0
"""Seconds of `garp_master_delay` that need not be written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one virtual router besides its record."""

    addresses: tuple[tuple[str, str], ...] = ()
    """Every virtual address with its prefix length, and the interface on which it is to stand
    ("" is the virtual router's own)."""
    excluded: int = 0
    """How many of them, the last ones, are excluded from adverts."""
    announcement_delay: float = DEFAULT_DELAY
    """`garp_master_delay` in seconds."""
    group: str = ""
    """Its sync group; "" is none."""
    tracked: tuple[tuple[str, str, int], ...] = ()
    """What it tracks by itself: kind, name and weight (0: a fault where it is bad)."""


def line(index: int, model: VirtualRouter, group: str = "") -> bytes:
    """The line of a virtual router in the catalogue."""
    addresses = " ".join(
        f"{inet_ntop(address.family, address.address)}/{address.prefixlen}"
        + (f"@{address.interface}" if address.interface is not None else "")
        for address in model.all_addresses
    )
    rest: dict[str, object] = {}
    delay = model.announcements.master_delay / SECOND
    if delay != DEFAULT_DELAY:
        rest["delay"] = delay
    if model.excluded_addresses:
        rest["excluded"] = len(model.excluded_addresses)
    if group:
        rest["group"] = group
    if model.tracked:
        rest["tracked"] = [
            (
                each.kind.name.lower(),
                name_of(each),
                -each.weight if each.is_reversed else each.weight,
            )
            for each in model.tracked
        ]
    said = json.dumps(addresses)
    if rest:
        said += "," + json.dumps(rest, separators=(",", ":"))
    return f"[{index},{said}]\n".encode()


def read(descriptor: int, wanted: int | None = None) -> dict[int, Entry]:
    """The entries of an open catalogue by index; of one virtual router alone where `wanted` says
    which. The end of a line that is being written is left out."""
    found: dict[int, Entry] = {}
    start = f"[{wanted},".encode()
    for each in _lines(descriptor):
        if wanted is None or each.startswith(start):
            try:
                index, entry = _entry(each)
            except (ValueError, TypeError, AttributeError):
                continue  # half a line, which was cut by a file system that was full
            found[index] = entry
    return found


def _lines(descriptor: int) -> Iterator[bytes]:
    size = os.fstat(descriptor).st_size
    whole, _, _ = os.pread(descriptor, size, 0).rpartition(b"\n")
    yield from whole.splitlines()


def _entry(text: bytes) -> tuple[int, Entry]:
    index, addresses, *more = json.loads(text)
    rest = more[0] if more else {}
    pairs = (each.partition("@") for each in addresses.split())
    return index, Entry(
        tuple((address, interface) for address, _, interface in pairs),
        rest.get("excluded", 0),
        rest.get("delay", DEFAULT_DELAY),
        rest.get("group", ""),
        tuple((kind, name, weight) for kind, name, weight in rest.get("tracked", ())),
    )
