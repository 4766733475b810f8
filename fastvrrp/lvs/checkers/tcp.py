"""TCP_CHECK: it accepts connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastvrrp.lvs.check import Check, QuickCheck, Verdict
from fastvrrp.lvs.checkers.connections import TIMED_OUT, Attempt, Connections
from fastvrrp.lvs.checkers.sockets import Route
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import SECOND, TcpCheck

GOOD = Verdict(True)


class TcpConnect(QuickCheck):
    """Connects, and closes the connection."""

    __slots__ = ("_attempt", "_connections", "_done", "_route", "_timeout")

    def __init__(self, checker: TcpCheck, connections: Connections) -> None:
        self._route = Route(checker.target)
        self._timeout = checker.timing.connect_timeout / SECOND
        self._connections = connections
        self._attempt: Attempt | None = None
        self._done: Callable[[Verdict], None] | None = None

    def begin(self, done: Callable[[Verdict], None]) -> None:
        self._done = done
        self._attempt = self._connections.open(self._route, self._timeout, self._told)

    def cancel(self) -> None:
        if self._attempt is not None:
            self._connections.cancel(self._attempt)
            self._attempt = None

    def _told(self, failure: str) -> None:
        self._attempt = None
        assert self._done is not None
        if not failure:
            self._done(GOOD)
            return
        how = "timeout" if failure == TIMED_OUT else "failed"
        line = f"TCP connection to {{service}} {how}."
        self._done(Verdict(False, f"TCP connection to {self._route.text}: {failure}", line=line))


def make(checker: TcpCheck, tools: Tools) -> Sequence[Check]:
    return (TcpConnect(checker, tools.the(Connections)),)
