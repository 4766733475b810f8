"""A datagram is sent, and one comes back or none does: UDP_CHECK and DNS_CHECK.

The socket is connected, so that the kernel tells of ICMP errors, and gives what comes from
elsewhere to nobody.
"""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from collections.abc import Callable

from fastvrrp.lvs.check import CannotCheckError, QuickCheck, Verdict
from fastvrrp.lvs.checkers.sockets import LOCAL_TROUBLE, Route, describe
from fastvrrp.model import SECOND, CheckTarget, CheckTiming

LONGEST = 1 << 16
"""Bytes of a datagram."""
AT_ONCE = 8
"""Datagrams that are looked at in one turn of the loop: a server may send thousands."""


class Exchange(QuickCheck):
    """One question and its answer."""

    def __init__(
        self, target: CheckTarget, timing: CheckTiming, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._route = Route(target)
        self._timeout = timing.connect_timeout / SECOND
        self._loop = loop
        self._socket: socket.SocketType | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._done: Callable[[Verdict], None] = lambda _: None

    @abstractmethod
    def question(self) -> bytes:
        """What is sent."""

    @abstractmethod
    def judge(self, answer: bytes) -> Verdict | None:
        """What an answer is worth; None of one that is not for us."""

    @abstractmethod
    def silence(self) -> Verdict:
        """Nothing came in time."""

    @abstractmethod
    def refusal(self, error: OSError) -> Verdict:
        """It could not be sent, or an ICMP error came back."""

    def begin(self, done: Callable[[Verdict], None]) -> None:
        self._done = done
        opened = self._route.open(socket.SOCK_DGRAM)
        try:
            opened.connect(self._route.destination)
            opened.send(self.question())
        except CannotCheckError:
            opened.close()
            raise
        except OSError as error:
            opened.close()
            if error.errno in LOCAL_TROUBLE:
                raise CannotCheckError(f"{self._route.text}: {describe(error)}") from error
            verdict = self.refusal(error)
            self._timer = self._loop.call_later(0, lambda: self._end(verdict))
            return
        self._socket = opened
        self._loop.add_reader(opened.fileno(), self._read)
        self._timer = self._loop.call_later(self._timeout, lambda: self._end(self.silence()))

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def _read(self) -> None:
        assert self._socket is not None
        for _ in range(AT_ONCE):
            try:
                answer = self._socket.recv(LONGEST)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(self.refusal(error))
                return
            verdict = self.judge(answer)
            if verdict is not None:
                self._end(verdict)
                return

    def _end(self, verdict: Verdict) -> None:
        self.cancel()
        self._done(verdict)
