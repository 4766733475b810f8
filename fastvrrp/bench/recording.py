"""The adverts on the laboratory's cables: the observer's process, and what it has seen.

The observer is a process of its own, so that its processor time is nobody else's. It is on side b
and sees both directions: what b sends as it leaves, what a sends as it arrives.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise

from fastvrrp._observer import HEADER_SIZE, RECORD_SIZE, Observer

PACKET_OUTGOING = 4  # linux/if_packet.h
ROOM = 1 << 30
"""Bytes for records, 67 million of them; what is not used is not taken."""

_DIRECTION_SHIFT = 8
_PRIORITY_MASK = 0xFF
_ROUTER_SHIFT = 16
"""A record's second half without priority and direction is the virtual router: see
ext/observer.pyx."""


class Recording:
    """What the observer has seen. A virtual router is a number that stands for (interface, family,
    VRID); times are nanoseconds since 1970, as the kernel stamped them."""

    def __init__(self, memory: mmap.mmap, process: subprocess.Popen[bytes]) -> None:
        self._numbers = memoryview(memory).cast("q")
        self._process = process

    @classmethod
    @contextmanager
    def of(
        cls,
        entered: AbstractContextManager[None],
        last_ifindex: int,
        *,
        announcements: bool = False,
        outgoing: bool = True,
    ) -> Iterator[Recording]:
        """An observer that does not look yet, in the namespace `entered`, of its interfaces with
        an index up to `last_ifindex`. What else it sees: ext/observer.pyx."""
        descriptor = os.memfd_create("fastvrrp-bench")
        try:
            os.truncate(descriptor, HEADER_SIZE + ROOM)
            memory = mmap.mmap(descriptor, 0)
            with entered:
                process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", __name__, str(descriptor), str(last_ifindex)),
                        *(str(int(announcements)), str(int(outgoing))),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    pass_fds=(descriptor,),
                    start_new_session=True,  # a terminal's interrupt is not for it
                )
        finally:
            os.close(descriptor)
        recording = cls(memory, process)
        try:
            yield recording
        finally:
            recording.close()
            memory.close()

    def close(self) -> None:
        """The observer ends when nobody holds the other end of its input."""
        self._numbers.release()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def look(self, is_looking: bool) -> None:
        """Lets the observer look or look away; from then on it costs nobody anything. Raises
        OSError where it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"1" if is_looking else b"0")
        self._process.stdin.flush()
        if self._process.stdout.read(1) != b".":
            raise OSError("the observer has ended; its message is above")

    @property
    def count(self) -> int:
        """How many records there are: a place to begin reading from later."""
        return self._numbers[0]

    @property
    def lost(self) -> int:
        """Adverts that passed and could not be recorded."""
        return self._numbers[1]

    def columns(self, start: int, end: int) -> tuple[list[int], list[int]]:
        """Of the records `start` to `end` - 1 the times, and their second halves."""
        first = HEADER_SIZE // 8
        size = RECORD_SIZE // 8
        part = self._numbers[first + start * size : first + end * size]
        return part[::2].tolist(), part[1::2].tolist()

    def speakers(self, start: int, *, from_b: bool, resigning: bool = False) -> set[int]:
        """The virtual routers for which a side has sent an advert since record `start`; of
        priority 0, if `resigning`, and of any other otherwise."""
        _, keys = self.columns(start, self.count)
        return {
            key >> _ROUTER_SHIFT
            for key in keys
            if ((key >> _DIRECTION_SHIFT & 0xFF) == PACKET_OUTGOING) is from_b
            and (key & _PRIORITY_MASK == 0) is resigning
        }

    def times(self, start: int, end: int, *, from_b: bool) -> dict[int, list[int]]:
        """When a side has sent adverts of a priority other than 0, by virtual router."""
        found: dict[int, list[int]] = {}
        for time, key in zip(*self.columns(start, end), strict=True):
            if (
                (key >> _DIRECTION_SHIFT & 0xFF) == PACKET_OUTGOING
            ) is from_b and key & _PRIORITY_MASK:
                found.setdefault(key >> _ROUTER_SHIFT, []).append(time)
        return found


def gaps(times: dict[int, list[int]]) -> list[int]:
    """Nanoseconds between each two adverts of the same virtual router, sorted."""
    return sorted(later - earlier for each in times.values() for earlier, later in pairwise(each))


def percentile(ordered: list[int], part: float) -> int | None:
    """The value that `part` (0 to 1) of a sorted list does not exceed; None of an empty one."""
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def main(descriptor: int, last_ifindex: int, announcements: int, outgoing: int) -> None:
    """The observer's process: 1 on its input lets it look, 0 lets it look away, the end of its
    input ends it. It answers a full stop when it has done so."""
    observer = Observer(descriptor)
    while True:
        observer.run(0)
        order = os.read(0, 1)
        if not order:
            return
        if order == b"1":
            observer.start(last_ifindex, bool(announcements), bool(outgoing))
        else:
            observer.stop()
        os.write(1, b".")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
