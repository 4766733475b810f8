"""A configuration read by another process: what the reader says, and how it is heard.

Reading takes seconds and hundreds of megabytes where there are many virtual routers. In a process
of its own it keeps no advert waiting, and its memory is gone when it ends. It is a new interpreter,
not a fork: that would copy page by page what the daemon writes meanwhile.

The daemon tells the reader what it runs, one digest a virtual router, so that nothing but what is
different comes back. It comes in parts, each small enough to be taken between two adverts; one part
is a length (four bytes, in the machine's order) and a pickle. All pickles of a stream share what
they have in common, as the reader's model does.
"""

from __future__ import annotations

import gc
import os
import pickle
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import partial
from hashlib import blake2b
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fastvrrp.daemon.options import Half
from fastvrrp.daemon.reader_process import ReaderProcess
from fastvrrp.daemon.sealing import (
    DIGEST_SIZE,
    Sealed,
    digests_in,
    servers_of,
    with_servers,
)
from fastvrrp.model import Configuration, VirtualRouter
from fastvrrp.track.credentials import Account, learn
from fastvrrp.track.interpreter import LastWords
from fastvrrp.track.script import Credentials

if TYPE_CHECKING:
    import asyncio

UNUSED = bytes(DIGEST_SIZE)
"""Instead of a digest: no virtual router runs at this index."""
LENGTH = struct.Struct("=I")
PART_ROUTERS = 32
"""Virtual routers in one part: to take one takes less than a millisecond."""
PART_ITEMS = 512
PART_SERVERS = 256
"""Virtual servers in one part, which nobody opens here."""
READ_SIZE = 65536
NICENESS = 10
"""Of the reader while the daemon runs: adverts come first."""
TIME_LIMIT = 300.0
"""Seconds that a reload's reader has."""


class Part(IntEnum):
    """What a part of the stream is."""

    COMPLAINTS = 0
    """A list of (level of `logging`, line)."""
    SUMMARY = 1
    GONE = 2
    """A list of indexes whose digest is not in the new configuration."""
    ROUTERS = 3
    """A list of (model, digest) of what does not run yet as it should."""
    SERVERS = 4
    """A list of sealed virtual servers that are not known."""
    END = 5
    """Everything was said; whether it stays, to be asked again."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the reader says of the whole."""

    configuration: Configuration
    """All but the virtual routers and the virtual servers."""
    has_errors: bool
    routers: int
    """Virtual routers in the new configuration."""
    servers: bytes = b""
    """Digests of its virtual servers, one after the other."""
    accounts: Mapping[Account, Credentials | None] = field(default_factory=dict)
    """Everybody as whom something is run; None is unknown on this machine."""


class Known(NamedTuple):
    """What a reload's reader is told of what runs: digests, one after the other."""

    routers: bytes | bytearray
    servers: bytes = b""

    def packed(self) -> bytes:
        return LENGTH.pack(len(self.routers)) + self.routers + self.servers

    @classmethod
    def unpacked(cls, packed: bytes) -> Known:
        end = LENGTH.size + LENGTH.unpack_from(packed)[0]
        return cls(packed[LENGTH.size : end], packed[end:])


class ReaderError(Exception):
    """The reader did not say everything; why, for a person."""


class Digester:
    """Digests of models: equal ones, and as good as only those, have the same."""

    def __init__(self) -> None:
        self._buffer = BytesIO()
        self._pickler = pickle.Pickler(self._buffer, pickle.HIGHEST_PROTOCOL)
        # Without its memo a pickle depends on values alone, and not on which of them are shared.
        self._pickler.fast = True

    def digest(self, model: VirtualRouter) -> bytes:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._pickler.dump(model)
        return blake2b(self._buffer.getbuffer(), digest_size=DIGEST_SIZE).digest()


class Sink(Protocol):
    """Where a stream goes."""

    def write(self, data: bytes | memoryview, /) -> object: ...


class PartWriter:
    """The reader's end of the stream."""

    def __init__(self, file: Sink) -> None:
        self._file = file
        self._buffer = BytesIO()
        self._pickler = pickle.Pickler(self._buffer, pickle.HIGHEST_PROTOCOL)

    def write(self, part: Part, value: object) -> None:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._pickler.dump((int(part), value))
        self._file.write(LENGTH.pack(self._buffer.tell()))
        self._file.write(self._buffer.getbuffer())


class PartReader:
    """The daemon's end: `feed` it what comes."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._buffer = BytesIO()
        self._unpickler = pickle.Unpickler(self._buffer)

    def feed(self, data: bytes) -> Iterator[tuple[Part, Any]]:
        """The parts that are whole now."""
        self._waiting += data
        while len(self._waiting) >= LENGTH.size:
            end = LENGTH.size + LENGTH.unpack_from(self._waiting)[0]
            if len(self._waiting) < end:
                return
            self._buffer.seek(0)
            self._buffer.truncate()
            self._buffer.write(self._waiting[LENGTH.size : end])
            self._buffer.seek(0)
            del self._waiting[:end]
            number, value = self._unpickler.load()
            yield Part(number), value


@dataclass(slots=True)
class Aside:
    """What a start's reader has said."""

    configuration: Configuration
    digests: bytearray
    """Of its virtual routers, one after the other."""
    has_errors: bool
    snapshot: int | None = None
    """A file with all of it for a successor (daemon/snapshot); None where it is there already."""
    process: ReaderProcess | None = None
    """Who has read it, where it stays for the next reload."""


def read_aside(
    path: str,
    config_id: str | None,
    on_complaint: Callable[[str], object],
    half: Half = Half.BOTH,
) -> Aside:
    """Reads a configuration in another process and waits for it; `on_complaint` hears every line
    that `fastvrrp check` would print. Raises ReaderError."""
    snapshot = os.memfd_create("snapshot")
    try:
        process = ReaderProcess(path, config_id, half)
        process.ask(snapshot)
    except OSError as error:
        os.close(snapshot)
        raise ReaderError(f"no process can be started to read it: {error.strerror}") from None
    summary: Summary | None = None
    routers: list[VirtualRouter] = []
    digests = bytearray()
    servers: list[Sealed] = []
    stays: bool | None = None
    stream = PartReader()
    collects = gc.isenabled()
    gc.disable()  # everything that comes stays: there is nothing to find
    try:
        while stays is None and (data := process.said.read1(READ_SIZE)):  # type: ignore[attr-defined]
            for part, value in stream.feed(data):
                if part is Part.COMPLAINTS:
                    for _, line in value:
                        on_complaint(line)
                elif part is Part.SUMMARY:
                    summary = value
                elif part is Part.ROUTERS:
                    for model, digest in value:
                        routers.append(model)
                        digests += digest
                elif part is Part.SERVERS:
                    servers += value
                elif part is Part.END:
                    stays = value
    finally:
        if collects:
            gc.enable()
    if not stays:
        status = process.wait()
        process.close()
    if summary is None or stays is None:
        os.close(snapshot)
        raise ReaderError(_ended(status))
    configuration = replace(
        with_servers(summary.configuration, tuple(servers)), virtual_routers=tuple(routers)
    )
    learn(summary.accounts)
    return Aside(configuration, digests, summary.has_errors, snapshot, process if stays else None)


@dataclass(slots=True)
class News:
    """What a reload's reader has said."""

    complaints: list[tuple[int, str]] = field(default_factory=list)
    summary: Summary | None = None
    gone: list[int] = field(default_factory=list)
    routers: list[tuple[VirtualRouter, bytes]] = field(default_factory=list)
    servers: list[Sealed] = field(default_factory=list)
    is_whole: bool = False
    snapshot: int | None = None
    """As of Aside: whoever is told the news closes it."""

    def configuration(self, before: Configuration) -> Configuration:
        """All but the virtual routers; `before` ran until now, and has those of the virtual servers
        that were not said."""
        assert self.summary is not None
        known = {each.digest: each for each in servers_of(before)}
        known.update((each.digest, each) for each in self.servers)
        return with_servers(
            self.summary.configuration,
            tuple([known[digest] for digest in digests_in(self.summary.servers)]),
        )


class Reader:
    """A reload's reader, heard from within an event loop. `on_end` is called once with what it has
    said, or with a ReaderError; never after `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        config_id: str | None,
        known: Known,
        on_end: Callable[[News | ReaderError], object],
        time_limit: float = TIME_LIMIT,
        half: Half = Half.BOTH,
        process: ReaderProcess | None = None,
        *,
        keeps: bool = True,
    ) -> None:
        """`known` is what runs. `process` is one that has stayed, if any. A snapshot is made where
        it `keeps` one. Raises OSError where no process can be made."""
        self._loop = loop
        self._on_end = on_end
        self._news = News()
        self._stream = PartReader()
        self._last_words = LastWords()
        self.stayed: ReaderProcess | None = None
        """It, when it has said everything and waits to be asked again."""
        self._known = known.packed()
        self._snapshot = os.memfd_create("snapshot") if keeps else None
        self._start = partial(ReaderProcess, path, config_id, half, self._last_words)
        self._has_successor = process is not None
        """One that has stayed may have been killed since, and be found dead when it is asked."""
        try:
            self._process = process or self._start()
            self._ask()
        except OSError:
            self._last_words.close()
            if self._snapshot is not None:
                os.close(self._snapshot)
            raise
        self._alarm = loop.call_later(time_limit, self._give_up, time_limit)
        self._is_open = True
        self._is_ending = False
        """The process is, or has ended."""

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        """Ends it."""
        if not self._is_open:
            return
        self._is_open = False
        self._alarm.cancel()
        if not self._is_ending:
            self._loop.remove_reader(self._pipe)
            if self.stayed is None:
                self._process.end(self._loop)
        self._last_words.close()
        if self._snapshot is not None and self._news.snapshot is None:
            os.close(self._snapshot)

    def _ask(self) -> None:
        """Asks the process, or its successor. Raises OSError."""
        try:
            self._process.ask_again(self._known, self._last_words, self._snapshot)
        except OSError:
            self._process.end(self._loop)
            if not self._has_successor:
                raise
            self._succeed()
            return
        self._pipe = self._process.said.fileno()
        os.set_blocking(self._pipe, False)
        self._loop.add_reader(self._pipe, self._on_readable)

    def _succeed(self) -> None:
        self._has_successor = False
        self._news, self._stream = News(), PartReader()
        if self._snapshot is not None:
            os.ftruncate(self._snapshot, 0)
            os.lseek(self._snapshot, 0, os.SEEK_SET)
        self._process = self._start()
        self._ask()

    def _on_readable(self) -> None:
        try:
            data = os.read(self._pipe, READ_SIZE)
        except BlockingIOError:
            return
        if not data:
            self._on_closed()
            return
        for part, value in self._stream.feed(data):
            if part is Part.COMPLAINTS:
                self._news.complaints += value
            elif part is Part.SUMMARY:
                self._news.summary = value
            elif part is Part.GONE:
                self._news.gone += value
            elif part is Part.ROUTERS:
                self._news.routers += value
            elif part is Part.SERVERS:
                self._news.servers += value
            elif part is Part.END:
                self._news.is_whole = True
                self._news.snapshot = self._snapshot
                self.stayed = self._process if value else None
                self._finish(self._news)
                return

    def _on_closed(self) -> None:
        """The process ends before it has said everything."""
        self._loop.remove_reader(self._pipe)
        if not self._has_successor:
            self._is_ending = True
            self._process.end(self._loop, self._on_gone)
            return
        self._process.end(self._loop)
        try:
            self._succeed()
        except OSError as error:
            self._is_ending = True
            self._finish(ReaderError(f"no process can be started: {error.strerror}"))

    def _on_gone(self, status: int) -> None:
        if self._is_open:
            self._finish(ReaderError(_ended(status, self._last_words.read())))

    def _give_up(self, time_limit: float) -> None:
        self._finish(ReaderError(f"it was not read in {time_limit:g} s"))

    def _finish(self, what: News | ReaderError) -> None:
        self.close()
        self._on_end(what)


def _ended(status: int, said: str = "") -> str:
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    return f"the process that reads it {how}{': ' if said else ''}{said}"


def in_parts(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of up to `size` items each."""
    part: list[Any] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part
