"""Commands whose user the machine does not know yet, as one that comes from a server does not right
after a boot. They are asked for again, in a thread, since the answer may take long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import NamedTuple

from fastvrrp.model import Command
from fastvrrp.model import Scripts as Settings
from fastvrrp.track.credentials import ask_again

PAUSE = 30.0
"""Seconds between two questions."""


class _Waiting(NamedTuple):
    command: Command
    settings: Settings
    then: Callable[[], None]


class Latecomers:
    """What waits for a user."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pause: float | None = None) -> None:
        self._loop = loop
        self._pause = PAUSE if pause is None else pause
        self._waiting: dict[Hashable, _Waiting] = {}
        self._next: asyncio.TimerHandle | None = None
        self._is_asking = False

    def wait(
        self, key: Hashable, command: Command, settings: Settings, then: Callable[[], None]
    ) -> None:
        """Calls `then` in the loop when the user of a command is known; `key` is for `forget`."""
        self._waiting[key] = _Waiting(command, settings, then)
        self._ask_later()

    def forget(self, key: Hashable) -> None:
        """Waits no more."""
        self._waiting.pop(key, None)

    def close(self) -> None:
        """Waits for nothing any more."""
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _ask_later(self) -> None:
        if self._waiting and self._next is None and not self._is_asking:
            self._next = self._loop.call_later(self._pause, self._start_asking)

    def _start_asking(self) -> None:
        self._next = None
        self._is_asking = True
        # Nobody waits for it: a question may never be answered.
        threading.Thread(
            target=self._ask, args=(dict(self._waiting),), name="accounts", daemon=True
        ).start()

    def _ask(self, waiting: dict[Hashable, _Waiting]) -> None:
        """In the thread."""
        known = [key for key, each in waiting.items() if ask_again(each.command, each.settings)]
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._take, waiting, known)

    def _take(self, asked: dict[Hashable, _Waiting], known: list[Hashable]) -> None:
        self._is_asking = False
        for key in known:
            if self._waiting.get(key) is asked[key]:
                del self._waiting[key]
                asked[key].then()
        self._ask_later()
