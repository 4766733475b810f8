"""What changes of state leave to do is done in slices, between ticks of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fastvrrp.vrrp.announcer import Announcer
from fastvrrp.vrrp.transitions import Transitions


class Slices:
    """One slice each time that the loop comes round, as long as anything is left, and one when the
    next announcement is due. Without `transitions` and `announcer` nothing may wake it."""

    transitions: Transitions
    announcer: Announcer

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Callable[[], int]) -> None:
        """`clock` gives nanoseconds."""
        self._loop = loop
        self._clock = clock
        self._is_scheduled = False
        self._alarm: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """There is something to do."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        self._is_scheduled = False
        if self.transitions.work():
            self.wake()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        due = self.announcer.next_due()
        if due is not None:
            delay = max(due - self._clock(), 0) / 1e9
            self._alarm = self._loop.call_later(delay, self.wake)
