"""How many virtual routers are in which state, as one line that changes with them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from fastvrrp._engine import Note
from fastvrrp.model import State
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance

PAUSE = 1.0
"""Seconds from one line to the next, at least: thousands may change in one moment."""
SHOWN = (State.MASTER, State.BACKUP, State.FAULT)


class Summary(Follower):
    """Counts, and tells. An instance that is removed has left its state before."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tell: Callable[[str], None]) -> None:
        """`tell` is called with a new line."""
        self._loop = loop
        self._tell = tell
        self._counts: Counter[int] = Counter()
        self._next: asyncio.TimerHandle | None = None

    def take(self, instance: Instance, note: Note) -> None:
        self._counts[note.before] -= 1
        self._counts[note.after] += 1
        if self._next is None:
            self._next = self._loop.call_later(PAUSE, self._tell_now)

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _tell_now(self) -> None:
        self._next = None
        self._tell(words(self._counts))


def words(counts: Counter[int]) -> str:
    """So many in each state, by its number; those that have not begun are not spoken of."""
    return "virtual routers: " + ", ".join(f"{counts[state]} {state.name}" for state in SHOWN)
