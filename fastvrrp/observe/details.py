"""The details: what the state segment has no room for, because few virtual routers have it.

A file of JSON with a line before it that says how long it is, and its checksum. It is written in
place, so that a process that has opened it once (and may open nothing any more) can go on reading;
a reader that finds the checksum wrong has come while it was being written, and reads again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, TypeVar
from zlib import crc32

from fastvrrp.model import Tracked, Tracker

MAGIC = b"FASTVRRP-DETAILS"
ATTEMPTS = 50
PAUSE = 0.002
"""Seconds between two attempts to read a file that is being written."""
STEP = 200
"""Entries that are encoded at once."""

KINDS = tuple(kind.name.lower() for kind in Tracker)
"""In the order in which what is tracked is shown."""

T = TypeVar("T")


class TrackerState(NamedTuple):
    """Something that is tracked, as it is now."""

    kind: str
    """interface, script, file or process."""
    name: str
    state: int | None
    """1 is good, 0 is not; of a file it is the number in it. None is not known yet."""
    text: str
    """The same for a person."""


def name_of(tracked: Tracked) -> str:
    """What is tracked, also where several network namespaces have an interface of that name."""
    if not tracked.namespace:
        return tracked.name
    return f"{tracked.name}@{tracked.namespace}"


@dataclass
class Details:
    """What the details say."""

    faults: dict[int, str] = field(default_factory=dict)
    """Why virtual routers are in FAULT, or have not begun, by their index in the segment."""
    trackers: list[TrackerState] = field(default_factory=list)
    places: dict[int, str] = field(default_factory=dict)
    """Names of network namespaces, by the number in the records."""
    configuration: str = ""
    """The file that was read."""


def write(descriptor: int, details: Details) -> None:
    """Writes the details into an open file, from its beginning. Raises OSError."""
    body = b"".join(_encoded(details))
    head = b"%s %08x %d\n" % (MAGIC, crc32(body), len(body))
    data = head + body
    os.pwrite(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))


def _encoded(details: Details) -> Iterator[bytes]:
    """The details in pieces of JSON. The encoder keeps every other thread waiting as long as it is
    at work, so none of them is long."""
    yield b'{"faults": {'
    yield from _listed(details.faults.items(), lambda some: _text(dict(some))[1:-1])
    yield b'}, "trackers": ['
    yield from _listed(details.trackers, lambda some: _text(some)[1:-1])
    rest = {"places": details.places, "configuration": details.configuration}
    yield b"], " + _text(rest)[1:]


def _listed(entries: Iterable[T], encode: Callable[[list[T]], bytes]) -> Iterator[bytes]:
    every = iter(entries)
    comma = b""
    while some := list(islice(every, STEP)):
        yield comma + encode(some)
        comma = b", "


def _text(said: object) -> bytes:
    return json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")


def read(descriptor: int, attempts: int = ATTEMPTS) -> Details:
    """What an open file says. Raises ValueError where it says nothing whole."""
    for _ in range(attempts):
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        head, _, body = data.partition(b"\n")
        words = head.split()
        if len(words) == 3 and words[0] == MAGIC and crc32(body) == int(words[1], 16):
            return _decoded(json.loads(body))
        time.sleep(PAUSE)
    raise ValueError("the file of details is not whole")


def _decoded(said: dict[str, object]) -> Details:
    details = Details(**said)  # type: ignore[arg-type]
    details.faults = {int(index): text for index, text in details.faults.items()}
    details.places = {int(number): name for number, name in details.places.items()}
    # Sorted here: whoever writes them may not be kept for so long.
    details.trackers = sorted(
        (TrackerState(*each) for each in details.trackers),
        key=lambda each: (KINDS.index(each.kind), each.name),
    )
    return details
