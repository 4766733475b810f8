"""What every health checker is: something that can be asked whether a real server is well."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check has found."""

    is_good: bool
    why: str = ""
    """What was wrong, or what was found, for a person; a part of a log line."""
    weight: int | None = None
    """The weight that a dynamic MISC_CHECK asks for, and what a FILE_CHECK adds to the server's;
    None where it asks for none."""
    line: str = ""
    """The log line of this one check, in keepalived's words; `{service}` stands for the server,
    `{what}` for what was asked, and `{why}` for `why`. Other braces must be doubled."""


class CannotCheckError(Exception):
    """It is this machine that keeps a check from being made, and nothing is known of the target:
    there is no descriptor left, no such interface, no right to set a mark."""


class Check(ABC):
    """A checker of one target; it keeps no count of what it found before."""

    what: str = ""
    """What is asked, where the log says it: a URL, a command, a file."""

    @abstractmethod
    async def check(self) -> Verdict:
        """Asks once. What the target does wrong, or does not do in time, is a Verdict and no error;
        cancelling it leaves nothing open. Raises CannotCheckError."""

    def close(self) -> None:
        """Nobody will ask again."""
        return


class QuickCheck(Check):
    """A check that needs no task of the loop: it is begun, and says by a call what it has found.

    One check of an object is on its way at a time.
    """

    @abstractmethod
    def begin(self, done: Callable[[Verdict], None]) -> None:
        """Asks once; `done` is called later, never from within. Raises CannotCheckError."""

    @abstractmethod
    def cancel(self) -> None:
        """`done` is not called any more; nothing is left open."""

    async def check(self) -> Verdict:
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self.begin(answer.set_result)
        try:
            return await answer
        finally:
            if not answer.done() or answer.cancelled():
                self.cancel()
