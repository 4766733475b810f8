"""What happens to virtual servers, as the process of health checkers writes it down.

A file beside the state segment, which remembers the last events:

    head | records of fixed length, of which the event with the number N has the one N % REMEMBERED

A record is written as the event comes, and the head behind it, so a reader that knows the head's
number finds all up to it. Each record has its number and a checksum: a reader that has been
overtaken, or comes in between, sees that. Nobody waits for a reader. The file stays as long as the
daemon; a process of health checkers that is started again goes on in it. The times are of the
machine's clock since its boot, so the head says which one that was: what is of another one is
forgotten.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from fastvrrp.observe.files import open_to_write
from fastvrrp.observe.maintenance import BOOT_ID

MAGIC = b"FASTVRRP-POOLS-1"
HEAD = struct.Struct("<16sQ36s")
"""MAGIC; number of the last event, from 1; the machine's boot, as `this_boot`."""
RECORD = struct.Struct("<IQQHxxqqH")
"""Checksum of the rest; number; time (ns of the monotonic clock); Kind; Event.numbers; length of
the texts that follow."""
SIZE = 512
"""Bytes of a record with its texts, which are cut where they do not fit."""
REMEMBERED = 4096
AT_ONCE = 256
"""Records that are read for one question."""


class Kind(IntEnum):
    """What has happened."""

    REAL_SERVER_UP = 1
    REAL_SERVER_DOWN = 2
    QUORUM_GAINED = 3
    """`numbers` are the weight of all that are up, and the quorum."""
    QUORUM_LOST = 4
    """The same."""
    SORRY_SERVER_IN = 5
    """The sorry server gets the connections."""
    SORRY_SERVER_OUT = 6
    WEIGHT = 7
    """`numbers` are a real server's weight before, and now."""


KINDS = frozenset(Kind)


class Event(NamedTuple):
    """One of them."""

    kind: Kind
    virtual_server: str
    server: str = ""
    """The real server, or the sorry server."""
    why: str = ""
    """For a person; nothing where that is plain."""
    numbers: tuple[int, int] = (0, 0)


class Writer:
    """Writes the file at a path; goes on behind what another process has written there. Raises
    OSError."""

    def __init__(self, path: Path) -> None:
        self._boot = this_boot()
        self._file = open_to_write(path)
        os.fchmod(self._file, 0o644)  # the mask is for keepalived's files
        self._last = _last(self._file, self._boot)
        if not self._last:
            os.ftruncate(self._file, 0)

    def write(self, events: Sequence[Event], at: int) -> None:
        """These have happened now, `at` in nanoseconds of the monotonic clock. Raises OSError."""
        for event in events:
            number = self._last + 1
            os.pwrite(self._file, _packed(event, number, at), _place(number))
            self._last = number
        if events:
            os.pwrite(self._file, HEAD.pack(MAGIC, self._last, self._boot), 0)

    def close(self) -> None:
        os.close(self._file)


class Reader:
    """Reads the file at a path, from when on there is one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._boot = this_boot()
        self._file: int | None = None

    @property
    def last_event(self) -> int:
        """Number of the last event; 0 where there was none."""
        if self._file is None:
            with suppress(FileNotFoundError):
                self._file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        return 0 if self._file is None else _last(self._file, self._boot)

    def events_after(self, number: int, most: int = AT_ONCE) -> list[dict[str, Any]]:
        """The next events that are remembered, each as `number`, `at` and `event` (Event, or None
        where that is of a newer version). What was overtaken meanwhile is left out."""
        last = self.last_event
        found: list[dict[str, Any]] = []
        for each in range(max(number, last - REMEMBERED, 0) + 1, last + 1):
            assert self._file is not None
            record = _unpacked(os.pread(self._file, SIZE, _place(each)), each)
            if record is not None:
                found.append(record)
            if len(found) == most:
                break
        return found

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def this_boot() -> bytes:
    """The name of this boot of the machine."""
    return BOOT_ID.read_bytes().strip()


def _last(descriptor: int, boot: bytes) -> int:
    data = os.pread(descriptor, HEAD.size, 0)
    if len(data) < HEAD.size:
        return 0
    magic, last, of = HEAD.unpack(data)
    return int(last) if (magic, of) == (MAGIC, boot) else 0


def _place(number: int) -> int:
    return SIZE * (1 + number % REMEMBERED)


def _packed(event: Event, number: int, at: int) -> bytes:
    texts = "\0".join((event.virtual_server, event.server, event.why))
    encoded = texts.encode("utf-8", "replace")[: SIZE - RECORD.size]
    rest = RECORD.pack(0, number, at, event.kind, *event.numbers, len(encoded))[4:] + encoded
    return (struct.pack("<I", crc32(rest)) + rest).ljust(SIZE, b"\0")


def _unpacked(data: bytes, number: int) -> dict[str, Any] | None:
    if len(data) < SIZE:
        return None
    check, found, at, kind, first, second, length = RECORD.unpack_from(data)
    end = RECORD.size + length
    if found != number or check != crc32(data[4:end]):
        return None
    texts = data[RECORD.size : end].decode("utf-8", "replace").split("\0")
    virtual, server, why = (*texts, "", "")[:3]
    event = None
    if kind in KINDS:
        event = Event(Kind(kind), virtual, server, why, (first, second))
    return {"number": number, "at": at, "event": event}
