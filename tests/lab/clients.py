"""Clients of a virtual server: what they ask, who answers them, and what fails."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass
from typing import Self

from lab.network import Router
from lab.waiting import wait_until

SOON = 5.0
"""Seconds that a client waits for a connection and for an answer."""


@dataclass(frozen=True)
class Answer:
    """What one question gave."""

    asked: float
    """When, by time.monotonic."""
    server: str
    """The name of the server that answered, or nothing."""
    failure: str = ""


class Connection:
    """One TCP connection from a router, over which one question follows another."""

    def __init__(self, router: Router, address: str, port: int = 80) -> None:
        self._http = http.client.HTTPConnection(address, port, timeout=SOON)
        router.call(self._http.connect)
        assert self._http.sock is not None
        self.port = self._http.sock.getsockname()[1]

    def ask(self, timeout: float = SOON) -> str:
        """Who answers; raises OSError where nobody does, and never connects anew."""
        if self._http.sock is None:
            raise ConnectionError("the connection was closed")
        self._http.sock.settimeout(timeout)
        self._http.request("GET", "/")
        return self._http.getresponse().read().decode().strip()

    def close(self) -> None:
        self._http.close()


def ask(router: Router, address: str, port: int = 80) -> Answer:
    """Asks once, over a connection of its own."""
    began = time.monotonic()
    try:
        connection = Connection(router, address, port)
        try:
            return Answer(began, connection.ask())
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as reason:
        return Answer(began, "", str(reason) or type(reason).__name__)


class Clients:
    """Somebody who asks again and again from a router, each time over a new connection, from `with`
    to its end."""

    def __init__(self, router: Router, address: str, port: int = 80, pause: float = 0.1) -> None:
        self._target = (router, address, port)
        self._pause = pause
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)
        self.answers: list[Answer] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def since(self, moment: float) -> list[Answer]:
        """The answers to what was asked after a moment of time.monotonic."""
        return [answer for answer in list(self.answers) if answer.asked > moment]

    def wait(self, servers: set[str], timeout: float, *, count: int = 3) -> list[Answer]:
        """Waits until `count` questions for each server, all asked from now on, were answered by
        exactly these; "" stands for no answer. A longer row of others may go before."""
        began = time.monotonic()

        def last() -> list[Answer]:
            return self.since(began)[-count * len(servers) :]

        wait_until(
            lambda: (
                len(last()) == count * len(servers)
                and {answer.server for answer in last()} == servers
            ),
            timeout,
            what=lambda: f"answers from {servers}: {self.since(began)[-20:]}",
        )
        return last()

    def _ask_on(self) -> None:
        while not self._end.wait(self._pause):
            self.answers.append(ask(*self._target))
