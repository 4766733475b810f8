"""Regular expressions, matched outside of the process that checks.

PCRE2's limit counts steps, and begins anew wherever a match may start: an expression and an answer
can be written that take it a second, or an hour, and meanwhile nothing else would be checked. So
another process matches (`matcher`), one answer after the other; what takes it longer than LIMIT is
cut by killing it, and has not matched. It is there from the first expression on.
"""

from __future__ import annotations

import asyncio
import pickle
import socket
import subprocess
from collections import deque
from typing import NamedTuple

from fastvrrp.lvs.check import CannotCheckError
from fastvrrp.lvs.checkers.tools import Shared, Tools
from fastvrrp.model import Expression
from fastvrrp.track.frames import Closed, Frames
from fastvrrp.track.interpreter import start_interpreter

LIMIT = 1.0
"""Seconds of one match."""
START_LIMIT = 30.0
"""Seconds until the process must have begun."""


class _Question(NamedTuple):
    message: bytes
    answer: asyncio.Future[str]


class Matching(Shared):
    """The process, and what it is asked."""

    def __init__(self, tools: Tools) -> None:
        self._loop = tools.loop
        self._questions: deque[_Question] = deque()
        """The first one is with the process."""
        self._process: subprocess.Popen[bytes] | None = None
        self._frames: Frames | None = None
        self._is_ready = False
        self._deadline: asyncio.TimerHandle | None = None

    async def mismatch(self, expression: Expression, kept: bytes) -> str:
        """What is wrong with a body (`expression.mismatch`). Raises CannotCheckError."""
        answer: asyncio.Future[str] = self._loop.create_future()
        self._questions.append(_Question(pickle.dumps((expression, kept)), answer))
        if len(self._questions) == 1:
            self._ask()
        return await answer

    def close(self) -> None:
        self._end_process()
        while self._questions:
            self._questions.popleft().answer.cancel()

    def _ask(self) -> None:
        """Asks the first question that somebody still wants to be answered."""
        while self._questions and self._questions[0].answer.done():
            self._questions.popleft()
        if not self._questions:
            return
        if self._frames is None:
            try:
                self._start()
            except OSError as error:
                self._fail(f"no process that matches regular expressions: {error.strerror}")
        elif self._is_ready:
            self._frames.send(self._questions[0].message)
            self._watch_writing()
            self._set_deadline(LIMIT)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            try:
                self._process = start_interpreter(
                    "fastvrrp.lvs.checkers.matcher", str(number), pass_fds=[number]
                )
            except OSError:
                ours.close()
                raise
        self._frames = Frames(ours)
        self._loop.add_reader(ours.fileno(), self._on_readable)
        self._set_deadline(START_LIMIT)

    def _set_deadline(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self._loop.call_later(seconds, self._cut)

    def _cut(self) -> None:
        was_ready = self._is_ready
        self._end_process()
        if was_ready:
            self._answer(f"regex cannot be matched: it takes longer than {LIMIT:g} s")
        else:
            self._fail("the process that matches regular expressions does not begin")

    def _on_readable(self) -> None:
        assert self._frames is not None
        try:
            messages = self._frames.receive()
        except Closed:
            self._end_process()
            self._fail("the process that matches regular expressions has ended")
            return
        for message in messages:
            if self._is_ready:
                self._answer(message.decode())
            else:
                self._is_ready = True
                self._ask()

    def _answer(self, fault: str) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        answer = self._questions.popleft().answer
        if not answer.done():
            answer.set_result(fault)
        self._ask()

    def _fail(self, why: str) -> None:
        """Nothing is known of the first one; the next one has another process."""
        answer = self._questions.popleft().answer
        if not answer.done():
            answer.set_exception(CannotCheckError(why))
        self._loop.call_soon(self._ask)

    def _watch_writing(self) -> None:
        assert self._frames is not None
        if self._frames.is_behind:
            self._loop.add_writer(self._frames.socket.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        assert self._frames is not None
        self._frames.flush()
        if not self._frames.is_behind:
            self._loop.remove_writer(self._frames.socket.fileno())

    def _end_process(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        if self._frames is not None:
            number = self._frames.socket.fileno()
            self._loop.remove_reader(number)
            self._loop.remove_writer(number)
            self._frames.socket.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()  # it has no more to do than to die
        self._frames = self._process = None
        self._is_ready = False
