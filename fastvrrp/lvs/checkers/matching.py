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
PAUSE = 10.0
"""Seconds for which an expression that was cut has not matched, whatever is asked: to try it again
with each server would keep all others waiting."""


class _Question(NamedTuple):
    expression: Expression
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
        self._cut_until: dict[Expression, float] = {}
        """Those that were cut, and when each may be tried again."""

    async def mismatch(self, expression: Expression, kept: bytes) -> str:
        """What is wrong with a body (`expression.mismatch`). Raises CannotCheckError."""
        if self._was_cut(expression):
            return _takes_too_long()
        answer: asyncio.Future[str] = self._loop.create_future()
        message = pickle.dumps((expression, kept))
        self._questions.append(_Question(expression, message, answer))
        if len(self._questions) == 1:
            self._ask()
        return await answer

    def close(self) -> None:
        self._end_process()
        while self._questions:
            self._questions.popleft().answer.cancel()

    def _ask(self) -> None:
        """Asks the first question that somebody still wants to be answered."""
        question = self._first()
        if question is None:
            if self._is_ready:
                self._drop_deadline()
            return
        if self._frames is None:
            try:
                self._start()
            except OSError as error:
                self._fail(f"no process that matches regular expressions: {error.strerror}")
        elif self._is_ready:
            self._frames.send(question.message)
            self._watch_writing()
            self._set_deadline(LIMIT)

    def _first(self) -> _Question | None:
        """The first question for the process, when those before it were answered without."""
        while self._questions:
            question = self._questions[0]
            if not question.answer.done() and self._was_cut(question.expression):
                question.answer.set_result(_takes_too_long())
            if not question.answer.done():
                return question
            self._questions.popleft()
        return None

    def _was_cut(self, expression: Expression) -> bool:
        return self._cut_until.get(expression, 0.0) > self._loop.time()

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
        self._drop_deadline()
        self._deadline = self._loop.call_later(seconds, self._cut)

    def _drop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut(self) -> None:
        before = self._deadline
        self._on_readable()  # where the loop is late the answer may be there
        if self._deadline is not before or self._frames is None:
            return
        was_ready = self._is_ready
        self._end_process()
        if was_ready:
            now = self._loop.time()
            self._cut_until = {each: end for each, end in self._cut_until.items() if end > now}
            self._cut_until[self._questions[0].expression] = now + PAUSE
            self._answer(_takes_too_long())
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
        self._drop_deadline()
        if self._questions:
            answer = self._questions.popleft().answer
            if not answer.done():
                answer.set_result(fault)
        self._ask()

    def _fail(self, why: str) -> None:
        """Nothing is known of the first one; the next one has another process."""
        if self._questions:
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
        self._drop_deadline()
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


def _takes_too_long() -> str:
    return f"regex cannot be matched: it takes longer than {LIMIT:g} s"
