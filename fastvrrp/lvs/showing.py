"""What health checks show to the world: the writer of observe/servers.

A change is a few bytes in a copy of the file's numbers. The file is written in a thread, a moment
after the first change and at most once a second, so a check costs the same however many there are,
and what does not change costs nothing. Readers read when they like.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import TYPE_CHECKING

from fastvrrp.lvs.naming import address_text, kind_name, real_name, target_name, virtual_name
from fastvrrp.lvs.pool import key_of
from fastvrrp.model import (
    IpvsDestinationKey,
    IpvsServiceKey,
    RealServer,
    VirtualServer,
)
from fastvrrp.observe import servers
from fastvrrp.observe.files import open_to_write
from fastvrrp.observe.servers import (
    CHECK,
    COUNTERS,
    REAL,
    UNKNOWN,
    VIRTUAL,
    CheckerWords,
    Layout,
    Mark,
    RealWords,
    VirtualWords,
)

if TYPE_CHECKING:
    from fastvrrp.lvs.balancer import Work
    from fastvrrp.lvs.patrol import Round

log = logging.getLogger(__name__)

MOMENT = 0.1
"""Seconds for changes to come together."""
PERIOD = 1.0
"""Seconds between two writings."""
STEP = 50
"""Virtual servers whose words are encoded at once: the encoder keeps other threads waiting."""


@dataclass(slots=True)
class _Stood:
    """A server as it was shown last."""

    is_well: bool
    changed_at: int


class Place:
    """Where a virtual server is in the numbers."""

    __slots__ = ("model", "number", "quorum", "real", "stood")

    def __init__(self, model: VirtualServer) -> None:
        self.model = model
        """As it was arranged; that of the `Work` may be a newer one, until all is arranged anew."""
        self.number = -1
        self.real = 0
        """Of its first real server."""
        self.quorum: _Stood | None = None
        self.stood: dict[IpvsDestinationKey, _Stood] = {}


class Counted:
    """A virtual server whose connections are to be counted (`counting`)."""

    __slots__ = ("at", "destinations", "services")

    def __init__(
        self,
        at: int,
        services: tuple[IpvsServiceKey, ...],
        destinations: tuple[tuple[int, IpvsDestinationKey], ...],
    ) -> None:
        self.at = at
        """Where its counters are."""
        self.services = services
        self.destinations = destinations
        """Its real servers, and where theirs are."""


class Showing:
    """Writes the file of one process. What is shown begins with `arrange`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, path: Path) -> None:
        """Raises OSError where the file cannot be opened."""
        self._loop = loop
        self._path = path
        # Not another file of that name: who serves metrics has this one open.
        self._file = open_to_write(path)
        self._thread = ThreadPoolExecutor(1, "showing")
        self._layout = Layout(0, 0, 0, 0)
        self._numbers = bytearray()
        self._works: list[Work] = []
        self._rounds: list[Round] = []
        self._places: dict[Work, Place] = {}
        self._counted_at = 0
        self._epoch = 0
        """Of the arrangement: counters that were asked for before another one are of no use."""
        self._to_count: list[Counted] = []
        """Of this arrangement; it is made when it is first asked for."""
        self._words: Mark | None = None
        """What is written of the words; None while they are to be written anew."""
        self._reasons: dict[int, str] = {}
        self._next: asyncio.TimerHandle | None = None
        self._written_at = 0.0
        self._is_writing = False
        self._is_stale = False

    def arrange(self, works: Iterable[Work]) -> None:
        """These are all virtual servers from now on; what was counted of those that stay, stays."""
        kept = self._kept_counters()
        before = self._places
        self._works = list(works)
        self._places = {work: before.get(work) or Place(work.model) for work in self._works}
        rounds: dict[Round, int] = {}
        links: list[int] = []
        count = 0
        for number, work in enumerate(self._works):
            place = self._places[work]
            place.model, place.number, place.real = work.model, number, count
            for real in work.model.real_servers:
                count += 1
                key = key_of(real)
                for checker in real.checkers:
                    of = work.watches[key, checker].round
                    links.append(rounds.setdefault(of, len(rounds)))
        self._rounds = list(rounds)
        self._layout = layout = Layout(len(self._works), count, len(links), len(rounds))
        self._numbers = bytearray(layout.size)
        struct.pack_into(f"<{len(links)}I", self._numbers, layout.link(0), *links)
        self._reasons.clear()
        for number, of in enumerate(self._rounds):
            of.number_shown = number
            self._put_check(number, of)
        for work in self._works:
            self._put(work)
        self._put_kept(kept)
        self._words = None
        self._epoch += 1
        self._to_count = []
        self._write_soon()

    def judged(self, work: Work) -> None:
        """A virtual server, or one of its real servers, is another than it was."""
        self._put(work)
        self._write_soon()

    def checked(self, of: Round) -> None:
        """A check was made."""
        number = of.number_shown
        if number < len(self._rounds) and self._rounds[number] is of:
            self._put_check(number, of)
            self._write_soon()

    def to_count(self) -> tuple[int, list[Counted]]:
        """What IPVS is to be asked, and a number for `counted`."""
        found = self._to_count
        if found:
            return self._epoch, found
        for work in self._works:
            place = self._places[work]
            found.append(
                Counted(
                    self._layout.virtual(place.number) + VIRTUAL.size,
                    tuple(service.key for service in work.services),
                    tuple(
                        (self._layout.real(number) + REAL.size, key_of(real))
                        for number, real in enumerate(place.model.real_servers, place.real)
                    ),
                )
            )
        return self._epoch, found

    def counted(self, epoch: int, found: Mapping[int, bytes]) -> None:
        """What IPVS has counted: COUNTERS, by where they are."""
        if epoch != self._epoch:
            return
        for at, counters in found.items():
            self._numbers[at : at + COUNTERS.size] = counters
        self._counted_at = monotonic_ns()
        self._write_soon()

    def close(self, *, is_emptied: bool) -> None:
        """Nothing is written any more; `is_emptied` where nobody goes on."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._thread.shutdown()
        if is_emptied:
            os.ftruncate(self._file, 0)
        os.close(self._file)

    # --- the numbers ------------------------------------------------------------------------------

    def _put_check(self, number: int, of: Round) -> None:
        standing = of.standing
        state = standing.is_good if standing.is_known else UNKNOWN
        at = self._layout.check(number)
        CHECK.pack_into(self._numbers, at, state, of.done, of.failed, of.changed_at)
        if of.why and self._reasons.get(number) != of.why:
            self._reasons[number] = of.why

    def _put(self, work: Work) -> None:
        place = self._places.get(work)
        if place is None or place.model is not work.model:
            return  # a reload that is being carried out will arrange everything anew
        now = monotonic_ns()
        pool = work.pool
        stood = place.stood
        at = self._layout.real(place.real)
        place.stood = {}
        for key, is_up, weight in pool.standings:
            changed_at = _changed(stood.get(key), is_up, now)
            place.stood[key] = _Stood(is_up, changed_at)
            REAL.pack_into(self._numbers, at, is_up, weight, changed_at)
            at += servers.REAL_SIZE
        changed_at = _changed(place.quorum, pool.has_quorum, now)
        place.quorum = _Stood(pool.has_quorum, changed_at)
        VIRTUAL.pack_into(
            self._numbers,
            self._layout.virtual(place.number),
            *(pool.has_quorum, pool.is_sorry, work.is_suspended, pool.weight, changed_at),
        )

    def _kept_counters(self) -> dict[tuple[Work, IpvsDestinationKey | None], bytes]:
        """What was counted, by virtual server and real server."""
        kept: dict[tuple[Work, IpvsDestinationKey | None], bytes] = {}
        if not self._counted_at:
            return kept
        for work, key, at in self._counters():
            kept[work, key] = bytes(self._numbers[at : at + COUNTERS.size])
        return kept

    def _put_kept(self, kept: Mapping[tuple[Work, IpvsDestinationKey | None], bytes]) -> None:
        if not kept:
            return
        for work, key, at in self._counters():
            counters = kept.get((work, key))
            if counters is not None:
                self._numbers[at : at + COUNTERS.size] = counters

    def _counters(self) -> Iterator[tuple[Work, IpvsDestinationKey | None, int]]:
        """Where the counters of virtual servers (no key) and of real servers are."""
        for work in self._works:
            place = self._places[work]
            yield work, None, self._layout.virtual(place.number) + VIRTUAL.size
            for number, key in enumerate(place.stood, place.real):
                yield work, key, self._layout.real(number) + REAL.size

    # --- the file ---------------------------------------------------------------------------------

    def _write_soon(self) -> None:
        self._is_stale = True
        if self._next is None and not self._is_writing:
            due = self._written_at + PERIOD - monotonic()
            self._next = self._loop.call_later(max(due, MOMENT), self._write)

    def _write(self) -> None:
        self._next = None
        self._is_stale = False
        self._is_writing = True
        models: tuple[VirtualServer, ...] = ()
        if self._words is None:
            models = tuple(self._places[work].model for work in self._works)
        asked = self._thread.submit(
            _written,
            self._file,
            self._layout,
            bytes(self._numbers),
            self._words,
            models,
            dict(self._reasons),
            self._counted_at,
        )
        epoch = self._epoch
        asked.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._wrote, done, epoch)
        )

    def _wrote(self, done: Future[Mark], epoch: int) -> None:
        self._is_writing = False
        self._written_at = monotonic()
        error = done.exception()
        if error is not None:
            log.error("%s: %s", self._path, error)
        elif epoch == self._epoch:
            self._words = done.result()
        if self._is_stale:
            self._write_soon()


def _changed(before: _Stood | None, is_well: bool, now: int) -> int:
    return now if before is None or before.is_well != is_well else before.changed_at


def _written(
    descriptor: int,
    layout: Layout,
    numbers: bytes,
    words: Mark | None,
    models: tuple[VirtualServer, ...],
    reasons: dict[int, str],
    counted_at: int,
) -> Mark:
    """Writes everything, and returns the mark of the words; with None for that they are made of
    `models`."""
    said = json.dumps(reasons, ensure_ascii=False).encode("utf-8", "replace")
    made = b"[" + b",".join(_encoded(models)) + b"]" if words is None else words
    return servers.write(descriptor, layout, numbers, made, said, counted_at)


def _encoded(models: tuple[VirtualServer, ...]) -> Iterator[bytes]:
    for start in range(0, len(models), STEP):
        some = [words_of(model) for model in models[start : start + STEP]]
        yield json.dumps(some, ensure_ascii=False).encode("utf-8", "replace")[1:-1]


def words_of(model: VirtualServer) -> VirtualWords:
    """A virtual server in words."""
    sorry = model.sorry_server
    return VirtualWords(
        virtual_name(model),
        "none" if model.protocol is None else model.protocol.name.lower(),
        "" if model.family is None else "ipv6" if model.family == socket.AF_INET6 else "ipv4",
        None if model.address is None else address_text(model.address),
        model.port,
        model.mark,
        model.group,
        model.scheduler,
        model.forwarding.method.name,
        model.quorum,
        model.hysteresis,
        None if sorry is None else real_name(model, sorry),
        tuple(_real_words(model, real) for real in model.real_servers),
    )


def _real_words(model: VirtualServer, real: RealServer) -> RealWords:
    return RealWords(
        real_name(model, real),
        address_text(real.address),
        real.port,
        real.weight,
        real.forwarding.method.name,
        tuple(CheckerWords(kind_name(each), target_name(each)) for each in real.checkers),
    )
