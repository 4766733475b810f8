"""TCP connections that are being opened by TCP_CHECK: thousands a second, so nothing here is made
that need not be.

One epoll has all of them; the loop has that one, and looks into it a few hundred times a second at
most, so that many answers cost one turn of the loop. Those of one timeout stand in the order in
which they time out, so one timer serves all.
"""

from __future__ import annotations

import asyncio
import errno
import select
from collections.abc import Callable
from socket import SO_ERROR, SOCK_STREAM, SOL_SOCKET, SocketType
from time import monotonic

from fastvrrp.lvs.check import CannotCheckError
from fastvrrp.lvs.checkers.sockets import LOCAL_TROUBLE, Route, describe
from fastvrrp.lvs.checkers.tools import Shared, Tools

REFRACTORY = 0.004
"""Seconds in which no answer is looked at after some were: what comes meanwhile is taken together.
A check takes that much longer at most."""
AT_ONCE = 48
"""Answers that are taken in one turn of the loop."""
COARSE = 0.02
"""Seconds by which a timeout may be late, so that many are dealt with together."""
TIMED_OUT = "timed out"
EVENTS = select.EPOLLOUT | select.EPOLLONESHOT
FAILED = select.EPOLLERR | select.EPOLLHUP

Done = Callable[[str], None]


class Attempt:
    """A connection that is being opened."""

    __slots__ = ("deadline", "done", "socket", "timeout")

    def __init__(self, opened: SocketType, timeout: float, deadline: float, done: Done) -> None:
        self.socket = opened
        self.timeout = timeout
        self.deadline = deadline
        self.done = done


class Connections(Shared):
    """All that are being opened."""

    def __init__(self, tools: Tools) -> None:
        self._loop = loop = tools.loop
        self._epoll = select.epoll()
        self._attempts: dict[int, Attempt] = {}
        """By descriptor."""
        self._lines: dict[float, dict[int, Attempt]] = {}
        """By timeout, in the order of their deadlines."""
        self._alarm: asyncio.TimerHandle | None = None
        self._wakes = 0.0
        """When the alarm rings."""
        self._pause: asyncio.TimerHandle | None = None
        loop.add_reader(self._epoll.fileno(), self._read)

    def open(self, route: Route, timeout: float, done: Done) -> Attempt:
        """Opens a connection and closes it; `done` is called with what went wrong within `timeout`
        seconds, or nothing. Raises CannotCheckError."""
        opened = route.open(SOCK_STREAM)
        failure = opened.connect_ex(route.destination)
        descriptor = opened.fileno()
        attempt = Attempt(opened, timeout, monotonic() + timeout, done)
        if failure not in (0, errno.EINPROGRESS):
            opened.close()
            if failure in LOCAL_TROUBLE:
                error = OSError(failure, "")
                raise CannotCheckError(f"{route.text}: {describe(error)}")
            attempt.timeout = -1.0
            self._loop.call_soon(self._tell, attempt, describe(OSError(failure, "")))
            return attempt
        self._epoll.register(descriptor, EVENTS)
        self._attempts[descriptor] = attempt
        line = self._lines.get(timeout)
        if line is None:
            line = self._lines[timeout] = {}
        line[descriptor] = attempt
        if self._alarm is None or attempt.deadline + COARSE < self._wakes:
            self._set_alarm(attempt.deadline, timeout)
        return attempt

    def cancel(self, attempt: Attempt) -> None:
        """Opens it no more."""
        attempt.done = _nobody
        descriptor = attempt.socket.fileno()
        if descriptor >= 0:
            self._forget(descriptor, attempt)

    def close(self) -> None:
        """Opens none any more."""
        for attempt in list(self._attempts.values()):
            self.cancel(attempt)
        for timer in (self._alarm, self._pause):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _forget(self, descriptor: int, attempt: Attempt) -> None:
        del self._attempts[descriptor]
        del self._lines[attempt.timeout][descriptor]
        attempt.socket.close()

    def _tell(self, attempt: Attempt, failure: str) -> None:
        attempt.done(failure)

    def _read(self) -> None:
        events = self._epoll.poll(0, AT_ONCE)
        for descriptor, event in events:
            attempt = self._attempts.get(descriptor)
            if attempt is None:  # cancelled in this turn
                continue
            failure = ""
            if event & FAILED:
                code = attempt.socket.getsockopt(SOL_SOCKET, SO_ERROR)
                if code:
                    failure = describe(OSError(code, ""))
            self._forget(descriptor, attempt)
            attempt.done(failure)
        if len(events) < AT_ONCE:
            self._loop.remove_reader(self._epoll.fileno())
            self._pause = self._loop.call_later(REFRACTORY, self._listen)

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._epoll.fileno(), self._read)

    def _set_alarm(self, deadline: float, delay: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._wakes = deadline + COARSE
        self._alarm = self._loop.call_later(delay + COARSE, self._end_overdue)

    def _end_overdue(self) -> None:
        self._alarm = None
        now = monotonic()
        earliest: float | None = None
        for line in self._lines.values():
            for descriptor, attempt in list(_overdue(line, now)):
                if self._attempts.get(descriptor) is attempt:
                    self._forget(descriptor, attempt)
                    attempt.done(TIMED_OUT)
            for attempt in line.values():
                if earliest is None or attempt.deadline < earliest:
                    earliest = attempt.deadline
                break
        if earliest is not None:
            self._set_alarm(earliest, max(0.0, earliest - now))


def _overdue(line: dict[int, Attempt], now: float) -> list[tuple[int, Attempt]]:
    found = []
    for descriptor, attempt in line.items():
        if attempt.deadline > now:
            break
        found.append((descriptor, attempt))
    return found


def _nobody(_: str) -> None:
    """Nobody wants to know."""
