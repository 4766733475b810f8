"""How a real server stands with one checker: what its checks have found, and what that makes of it.

This is the table of keepalived 2.2.7, seen by what servers get from it. A checker has one question,
or with several URLs several, one asked after the other.

    it is          a question is answered well         a question is answered badly
    ------------   ---------------------------------   ------------------------------------------
    not known yet  the next one; after the last: good  bad at once
    good           the next one                        the same again, `retry` times; then bad
    bad            the first one (see below)           the same again
    coming back    the next one; after the last: good  bad; the same again

Between two checks lies `delay_loop`, but before a repetition of what is good `delay_before_retry`.
SMTP_CHECK alone repeats a failure in any standing, `retry` times.
One question that is answered well makes a server good that was bad. With URLs the one at fault must
be answered well, and then all of them (so with one URL two answers in a row): "coming back". With
`fast_recovery` nothing lies between two URLs of a server that is not good.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Pause(Enum):
    """What lies between a check and the next one."""

    LOOP = 0
    RETRY = 1
    NONE = 2


@dataclass(slots=True)
class Standing:
    """The standing of one server with one checker."""

    retry: int
    """Failures more until it is bad."""
    questions: int = 1
    is_good: bool = True
    """Before anything is known: False with `alpha`."""
    confirms: bool = False
    """All questions are asked again before it is good: URLs."""
    is_hasty: bool = False
    """`fast_recovery`."""
    always_retries: bool = False
    """Also where it is not good."""
    is_known: bool = False
    """It was found to be good or bad."""
    question: int = 0
    """Which one is asked next, from 0."""
    tried: int = 0
    """Failures in a row that are being repeated."""
    _comes_back: bool = False

    def take(self, is_good: bool) -> bool:
        """Takes the answer to the question that was asked; True where it is good or bad by that,
        and was not, or was not known to be."""
        return self._take_good() if is_good else self._take_bad()

    @property
    def pause(self) -> Pause:
        """What lies between the answer that was taken and the next question."""
        if self.tried:
            return Pause.RETRY
        is_settled = self.is_known and (self.is_good or not self._comes_back)
        if self.is_hasty and not is_settled and (self.question or self._comes_back):
            return Pause.NONE
        return Pause.LOOP

    def _take_good(self) -> bool:
        self.tried = 0
        if self.confirms and self.is_known and not (self.is_good or self._comes_back):
            self._comes_back = True
            self.question = 0
            return False
        self.question = (self.question + 1) % self.questions
        if self.question or (self.is_known and self.is_good):
            return False
        self.is_good = self.is_known = True
        self._comes_back = False
        return True

    def _take_bad(self) -> bool:
        may_retry = self.always_retries or (self.is_known and self.is_good)
        if may_retry and self.tried < self.retry:
            self.tried += 1
            return False
        was_bad = self.is_known and not self.is_good
        self.is_good, self.is_known = False, True
        self.tried = 0
        self._comes_back = False
        return not was_bad
