"""Makes an answer while nobody else wants the processor, and in the end all the same.

A scrape of 65,280 virtual routers is half a second of work. A process that is merely nicer than the
daemon keeps its processor for the rest of a time slice, some milliseconds, when an advert is due;
one that is scheduled as idle (SCHED_IDLE, sched(7)) leaves it at once. On a machine that is never
idle such a process would make no answer at all, so there is an end to how long it may stand still.

It is a process for one answer, forked from this one, and no thread: an idle thread may stand still
with the GIL, and nobody else in this process would go on. To make an idle thread an ordinary one
again takes rights that this process does not have; a process can be given up.
"""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from select import select
from typing import NoReturn

PATIENCE = 1.0
"""Seconds that the idle process may stand still, all in all, before its answer is made here."""
LOOK = 0.1
"""Seconds between two looks at how long that was."""
PIECE = 1 << 18
"""Bytes in which an answer is handed on."""
DESCRIPTORS = 256
"""More than this process has open (`web.MOST_CONNECTIONS`, and some files)."""
CPUCLOCK_SCHED = 2  # linux/posix-timers_types.h


class Maker:
    """Makes one answer at a time."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._child: int | None = None
        """The last idle process, as long as it may not have ended."""

    def make(self, pieces: Callable[[], Iterable[bytes]]) -> list[bytes]:
        """An answer, of which `pieces` makes the pieces, in pieces of other lengths; raises what
        making them raises. It may be asked for them twice, and what it changes may be lost."""
        made = self._made_idle(pieces)
        return list(pieces()) if made is None else made

    def _made_idle(self, pieces: Callable[[], Iterable[bytes]]) -> list[bytes] | None:
        """The answer of a process that gives way to everybody; None where there is none."""
        if not self._has_ended():
            return None  # this machine is not idle
        answer = os.memfd_create("answer")
        try:
            child = os.fork()
            if not child:
                _make_and_end(pieces, answer)
            self._child = child
            if not self._waits_for(child):
                os.kill(child, signal.SIGKILL)
                return None
            self._child = None
            _, status = os.waitpid(child, 0)
            return _read(answer) if status == 0 else None
        except BlockingIOError:  # no more processes are allowed
            return None
        finally:
            os.close(answer)

    def _has_ended(self) -> bool:
        """Whether no idle process is there. One that is given up ends when it has a processor."""
        if self._child is not None and os.waitpid(self._child, os.WNOHANG)[0] == self._child:
            self._child = None
        return self._child is None

    def _waits_for(self, child: int) -> bool:
        """Waits for its end, as long as there is patience; whether it has ended."""
        ended = os.pidfd_open(child)
        began = time.monotonic()
        try:
            while not select([ended], (), (), min(LOOK, self._patience))[0]:
                if time.monotonic() - began - _processor_time(child) > self._patience:
                    return False
        finally:
            os.close(ended)
        return True


def _processor_time(pid: int) -> float:
    """Seconds that a process of ours has had a processor (clock_getcpuclockid(3))."""
    return time.clock_gettime(~pid << 3 | CPUCLOCK_SCHED)


def _make_and_end(pieces: Callable[[], Iterable[bytes]], answer: int) -> NoReturn:
    """What the idle process does."""
    status = 1
    try:
        _close_sockets()
        with suppress(OSError):  # a sandbox may forbid it; then it is merely nice
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        with open(answer, "wb", closefd=False) as file:
            for piece in pieces():
                file.write(piece)
        status = 0
    finally:
        os._exit(status)


def _close_sockets() -> None:
    """Connections end when the process that serves them says so, whoever stands still."""
    for descriptor in range(DESCRIPTORS):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                os.close(descriptor)


def _read(answer: int) -> list[bytes]:
    size = os.fstat(answer).st_size
    return [os.pread(answer, PIECE, at) for at in range(0, size, PIECE)]
