"""Makes an answer while nobody else wants the processor.

A scrape of 65,280 virtual routers is half a second of work. A process that is merely nicer than the
daemon keeps its processor for the rest of a time slice, some milliseconds, when an advert is due;
one that is scheduled as idle (SCHED_IDLE, sched(7)) leaves it at once. On a machine that is never
idle such a process would make no answer at all, so the patience for that has an end.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Overdue
from contextlib import suppress

PATIENCE = 1.0
"""Seconds for an idle machine to make an answer."""


class Maker:
    """Makes one answer at a time."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._idle = ThreadPoolExecutor(1, "idle", initializer=_be_idle)

    def make(self, pieces: Iterator[bytes]) -> list[bytes]:
        """All pieces, of which the first ones are made by a thread that gives way to everybody;
        raises what making them raises."""
        made: list[bytes] = []
        is_overdue = threading.Event()

        def give_way() -> None:
            for piece in pieces:
                made.append(piece)
                if is_overdue.is_set():
                    return

        giving_way = self._idle.submit(give_way)
        try:
            giving_way.result(self._patience)
        except Overdue:
            is_overdue.set()
            giving_way.result()
            made.extend(pieces)
        return made

    def close(self) -> None:
        self._idle.shutdown()


def _be_idle() -> None:
    with suppress(OSError):  # a sandbox may forbid it; then it is merely nice
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
