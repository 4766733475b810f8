"""Virtual servers and real servers, as the process of health checkers shows them.

A file beside the state segment, written in place and at most once a second, so that a process that
has opened it once (and may open nothing any more) can go on reading:

    head | numbers: virtual servers, real servers, checks of each, checks | words | reasons

The numbers are records of fixed length, of which a change costs a few bytes in the writer's memory;
the words (JSON) are what the configuration says, and change with that; the reasons (JSON) are why
checks have failed. The head has checksums: a reader that finds them wrong has come while the file
was being written, and reads again. It is empty while there are no virtual servers.
"""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from zlib import crc32

MAGIC = b"FASTVRRP-SERVERS"
HEAD = struct.Struct("<I16sIIIIIIIIIQ")
"""Checksum of the rest of the head and the numbers; MAGIC; process id of the writer; how many
virtual servers, real servers, checks of real servers and checks; length and checksum of the words,
and of the reasons; when IPVS was counted (ns of the monotonic clock; 0 is never)."""
VIRTUAL = struct.Struct("<BBB5xQQ")
"""Whether it has its quorum, its sorry server serves, its checks are suspended; weight of all that
are up; when the quorum came or went (ns of the monotonic clock)."""
REAL = struct.Struct("<B3xIQ")
"""Whether it is up; its weight now; when it went up or down."""
COUNTERS = struct.Struct("<QQQQQII")
"""What IPVS has counted, behind each VIRTUAL and REAL: Counters."""
LINK = struct.Struct("<I")
"""Which check a checker of a real server is; equal ones of several servers are one."""
CHECK = struct.Struct("<B7xQQQ")
"""State (0 is bad, 1 good, 2 not known); checks made, and failed; when it became good or bad."""
VIRTUAL_SIZE = VIRTUAL.size + COUNTERS.size
REAL_SIZE = REAL.size + COUNTERS.size
UNKNOWN = 2
PERIOD = 10.0
"""Seconds between two counts of IPVS; scrapes are seldom closer."""
ATTEMPTS = 50
PAUSE = 0.002
"""Seconds between two attempts to read a file that is being written."""


class CheckerWords(NamedTuple):
    """A checker, as the configuration has it."""

    kind: str
    """Its keyword."""
    what: str
    """What is asked."""


class RealWords(NamedTuple):
    """A real server, as the configuration has it."""

    name: str
    address: str
    port: int
    weight: int
    forwarding: str
    checkers: tuple[CheckerWords, ...]


class VirtualWords(NamedTuple):
    """A virtual server, as the configuration has it."""

    name: str
    """keepalived's name for it."""
    protocol: str
    """tcp, udp, sctp, or none for a mark."""
    family: str
    """ipv4 or ipv6; nothing for a group, which may have both."""
    address: str | None
    port: int
    mark: int | None
    group: str | None
    scheduler: str
    forwarding: str
    quorum: int
    hysteresis: int
    sorry_server: str | None
    real_servers: tuple[RealWords, ...]


class Counters(NamedTuple):
    """What IPVS has counted since the service, or the destination, was made."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    active: int = 0
    """Connections that are open now; 0 for a virtual server, whose real servers have them."""
    inactive: int = 0


@dataclass(frozen=True, slots=True)
class CheckerState:
    """A checker of a real server."""

    words: CheckerWords
    is_good: bool | None
    """None is not known yet."""
    done: int
    failed: int
    changed_at: int
    why: str
    """Of the last failure; nothing where there was none."""


@dataclass(frozen=True, slots=True)
class RealServerState:
    """A real server of a virtual server."""

    words: RealWords
    is_up: bool
    weight: int
    changed_at: int
    counters: Counters
    checkers: tuple[CheckerState, ...]


@dataclass(frozen=True, slots=True)
class VirtualServerState:
    """A virtual server."""

    words: VirtualWords
    has_quorum: bool
    is_sorry: bool
    """Its sorry server gets the connections."""
    is_suspended: bool
    """Nothing is checked: `ha_suspend`, and the address is not here."""
    weight: int
    changed_at: int
    counters: Counters
    real_servers: tuple[RealServerState, ...]


@dataclass(frozen=True, slots=True)
class Servers:
    """Everything that is shown."""

    virtual_servers: tuple[VirtualServerState, ...] = ()
    pid: int = 0
    """Of the process that has written it."""
    counted_at: int = 0
    """When IPVS was counted; 0 is never."""

    @property
    def is_alive(self) -> bool:
        """Whether that process is still there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True


class Layout(NamedTuple):
    """Where records are in the numbers, by how many there are."""

    virtual_servers: int
    real_servers: int
    links: int
    checks: int

    def virtual(self, number: int) -> int:
        return number * VIRTUAL_SIZE

    def real(self, number: int) -> int:
        return self.virtual(self.virtual_servers) + number * REAL_SIZE

    def link(self, number: int) -> int:
        return self.real(self.real_servers) + number * LINK.size

    def check(self, number: int) -> int:
        return self.link(self.links) + number * CHECK.size

    @property
    def size(self) -> int:
        return self.check(self.checks)


class Mark(NamedTuple):
    """What the head says of words."""

    size: int
    check: int

    @classmethod
    def of(cls, text: bytes) -> Mark:
        return cls(len(text), crc32(text))


def write(
    descriptor: int,
    layout: Layout,
    numbers: bytes,
    words: bytes | Mark,
    reasons: bytes,
    counted_at: int = 0,
) -> Mark:
    """Writes an open file from its beginning. Words that are in it already are given by their mark,
    which is returned. Raises OSError."""
    mark = Mark.of(words) if isinstance(words, bytes) else words
    rest = HEAD.pack(0, MAGIC, os.getpid(), *layout, *mark, *Mark.of(reasons), counted_at)[4:]
    head = struct.pack("<I", crc32(numbers, crc32(rest))) + rest
    end = len(head) + len(numbers) + mark.size
    os.pwritev(descriptor, [head, numbers, words if isinstance(words, bytes) else b""], 0)
    os.pwrite(descriptor, reasons, end)
    os.ftruncate(descriptor, end + len(reasons))
    return mark


def read(descriptor: int) -> Servers:
    """What an open file shows. Raises ValueError where it shows nothing whole."""
    for _ in range(ATTEMPTS):
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        if not data:
            return Servers()
        with suppress(ValueError, struct.error):
            return _parsed(memoryview(data))
        time.sleep(PAUSE)
    raise ValueError("the file of virtual servers is not whole")


def _parsed(data: memoryview) -> Servers:
    head = HEAD.unpack_from(data)
    check, magic, pid, *counts = head[:7]
    words_size, words_check, reasons_size, reasons_check, counted_at = head[7:]
    layout = Layout(*counts)
    words_at = HEAD.size + layout.size
    reasons_at = words_at + words_size
    numbers = data[HEAD.size : words_at]
    words, reasons = data[words_at:reasons_at], data[reasons_at : reasons_at + reasons_size]
    if magic != MAGIC or check != crc32(data[4:words_at]):
        raise ValueError("numbers")
    if words_check != crc32(words) or reasons_check != crc32(reasons):
        raise ValueError("words")
    servers = _servers(layout, numbers, json.loads(bytes(words)), json.loads(bytes(reasons)))
    return Servers(tuple(servers), pid, counted_at)


def _servers(
    layout: Layout, numbers: memoryview, words: list[list[Any]], reasons: Mapping[str, str]
) -> Iterator[VirtualServerState]:
    checks = list(CHECK.iter_unpack(numbers[layout.check(0) : layout.size]))
    links = (number for (number,) in LINK.iter_unpack(numbers[layout.link(0) : layout.check(0)]))
    at = layout.real(0)
    for number, said in enumerate(words):
        servers = []
        for server in said.pop():
            checkers = []
            for checker, link in zip(server.pop(), links, strict=False):
                state, done, failed, changed_at = checks[link]
                is_good = None if state == UNKNOWN else bool(state)
                why = reasons.get(str(link), "")
                known = CheckerWords._make(checker)
                checkers.append(CheckerState(known, is_good, done, failed, changed_at, why))
            is_up, weight, changed_at = REAL.unpack_from(numbers, at)
            counters = Counters._make(COUNTERS.unpack_from(numbers, at + REAL.size))
            name = RealWords._make((*server, tuple(each.words for each in checkers)))
            servers.append(
                RealServerState(name, bool(is_up), weight, changed_at, counters, tuple(checkers))
            )
            at += REAL_SIZE
        own = layout.virtual(number)
        has_quorum, is_sorry, is_suspended, weight, changed_at = VIRTUAL.unpack_from(numbers, own)
        yield VirtualServerState(
            VirtualWords._make((*said, tuple(each.words for each in servers))),
            bool(has_quorum),
            bool(is_sorry),
            bool(is_suspended),
            weight,
            changed_at,
            Counters._make(COUNTERS.unpack_from(numbers, own + VIRTUAL.size)),
            tuple(servers),
        )
