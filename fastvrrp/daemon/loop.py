"""The parent's event loop: what it needs of asyncio's, by the same names, and no more.

asyncio would be half of the parent's memory: 6 MB, for a process that sleeps. What is written for
this loop runs in asyncio's and uvloop's too.
"""

from __future__ import annotations

import heapq
import logging
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from types import FrameType
from typing import Any

log = logging.getLogger(__name__)

Callback = Callable[..., object]
WAKE_SIZE = 4096


class Timer:
    """Something that is called later, unless it is cancelled."""

    def __init__(self, callback: Callback, arguments: tuple[Any, ...]) -> None:
        self._callback = callback
        self._arguments = arguments
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def call(self) -> None:
        """Calls it; what goes wrong is logged, and ends nobody."""
        if self.is_cancelled:
            return
        try:
            self._callback(*self._arguments)
        except Exception:
            log.exception("something went wrong in the parent")


class Loop:
    """Calls whoever waits for a descriptor, a time or a signal."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()
        self._soon: deque[Timer] = deque()
        self._signals: dict[int, Timer] = {}
        self._is_running = False
        # A signal's number is written to one end by the interpreter, and wakes the other.
        self._woken, self._waker = socket.socketpair()
        for end in (self._woken, self._waker):
            end.setblocking(False)
        self.add_reader(self._woken.fileno(), self.take_signals)

    def run_forever(self) -> None:
        """Runs until `stop`."""
        self._is_running = True
        while self._is_running:
            for key, events in self._selector.select(self._pause()):
                for event, timer in key.data.items():
                    if events & event:
                        self._soon.append(timer)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                self._soon.append(heapq.heappop(self._timers)[2])
            for _ in range(len(self._soon)):
                self._soon.popleft().call()

    def stop(self) -> None:
        self._is_running = False

    def close(self) -> None:
        for number in list(self._signals):
            self.remove_signal_handler(number)
        self._selector.close()
        self._woken.close()
        self._waker.close()

    def call_soon(self, callback: Callback, *arguments: Any) -> Timer:
        timer = Timer(callback, arguments)
        self._soon.append(timer)
        return timer

    def call_later(self, delay: float, callback: Callback, *arguments: Any) -> Timer:
        """In `delay` seconds."""
        timer = Timer(callback, arguments)
        heapq.heappush(self._timers, (time.monotonic() + delay, next(self._order), timer))
        return timer

    def add_reader(self, descriptor: int, callback: Callback, *arguments: Any) -> None:
        self._watch(descriptor, selectors.EVENT_READ, Timer(callback, arguments))

    def remove_reader(self, descriptor: int) -> bool:
        """Whether there was one."""
        return self._unwatch(descriptor, selectors.EVENT_READ)

    def add_writer(self, descriptor: int, callback: Callback, *arguments: Any) -> None:
        self._watch(descriptor, selectors.EVENT_WRITE, Timer(callback, arguments))

    def remove_writer(self, descriptor: int) -> bool:
        """Whether there was one."""
        return self._unwatch(descriptor, selectors.EVENT_WRITE)

    def add_signal_handler(self, number: int, callback: Callback, *arguments: Any) -> None:
        """From the main thread alone."""
        self._signals[number] = Timer(callback, arguments)
        signal.set_wakeup_fd(self._waker.fileno())
        signal.signal(number, _ignore)

    def remove_signal_handler(self, number: int) -> bool:
        """The signal does again what it does by itself. Whether there was one."""
        if self._signals.pop(number, None) is None:
            return False
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)
        if not self._signals:
            signal.set_wakeup_fd(-1)
        return True

    def take_signals(self) -> None:
        """Calls now who waits for signals that have come."""
        with suppress(BlockingIOError):
            for number in self._woken.recv(WAKE_SIZE):
                if number in self._signals:
                    self._signals[number].call()

    def _pause(self) -> float | None:
        """Seconds until something is to be called; None where only an event can tell."""
        if self._soon:
            return 0.0
        while self._timers and self._timers[0][2].is_cancelled:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _watch(self, descriptor: int, event: int, timer: Timer) -> None:
        known = self._selector.get_map().get(descriptor)
        if known is None:
            self._selector.register(descriptor, event, {event: timer})
        else:
            self._cancel(known.data.get(event))
            self._selector.modify(descriptor, known.events | event, known.data | {event: timer})

    def _unwatch(self, descriptor: int, event: int) -> bool:
        known = self._selector.get_map().get(descriptor)
        if known is None or event not in known.data:
            return False
        # It may be ready, and about to be called.
        self._cancel(known.data.pop(event))
        if known.data:
            self._selector.modify(descriptor, known.events & ~event, known.data)
        else:
            self._selector.unregister(descriptor)
        return True

    def _cancel(self, timer: Timer | None) -> None:
        if timer is not None:
            timer.cancel()


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """The interpreter has written the number already."""
