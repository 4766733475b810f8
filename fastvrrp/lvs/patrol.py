"""Who is checked when: every checker of every real server, in one loop.

Equal checkers (same target, same settings) are one round, however many virtual servers have the
real server: it is checked once, and everybody who watches gets the news.

The next check of a round comes `delay_loop` after the last one has ended, so those that began at
random within `warmup` stay spread, and a slow server is asked less often, never twice at once.
Where thousands are due in one moment (`warmup 0`), they begin in slices, which leave room for what
else the loop has to do. The clock stands still while the machine is suspended; a process that was
stopped all the same spreads what it has missed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from time import monotonic_ns

from fastvrrp.lvs.check import CannotCheckError, Check, QuickCheck, Verdict
from fastvrrp.lvs.checkers import make
from fastvrrp.lvs.checkers.sockets import allow
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.lvs.checkers.words import Finding
from fastvrrp.lvs.naming import target_name
from fastvrrp.lvs.standing import Pause, Standing
from fastvrrp.model import (
    SECOND,
    BfdCheck,
    Checker,
    CheckTiming,
    FileCheck,
    HttpCheck,
    SmtpCheck,
)

log = logging.getLogger(__name__)

COARSE = 4_000_000
"""Nanoseconds between two looks at what is due: what is due meanwhile begins together, late by this
at most."""
SLICE = 24
"""Checks that begin in one turn of the loop."""
STOPPED = 5 * SECOND
"""An alarm that rings so late says that the process, or the machine, was stopped."""
SAID_AGAIN = 60 * SECOND
"""A cause that keeps checks from being made is said again when this has passed."""

OnNews = Callable[[Verdict], None]


class Watch:
    """One user's interest in one checker."""

    __slots__ = ("_on_news", "_round", "is_suspended", "service", "virtual")

    def __init__(self, of: Round, on_news: OnNews, service: str, virtual: str) -> None:
        self._round = of
        self._on_news = on_news
        self.service = service
        self.virtual = virtual
        self.is_suspended = False

    @property
    def round(self) -> Round:
        """The work that is done for it, and for all who watch an equal checker."""
        return self._round

    @property
    def is_good(self) -> bool:
        """Whether the server is well; before it is known False with `alpha`, else True."""
        return self._round.standing.is_good

    @property
    def is_known(self) -> bool:
        """Whether that was found, and not only assumed."""
        return self._round.standing.is_known

    @property
    def weight(self) -> int | None:
        """The weight that a dynamic check asked for last (`Verdict.weight`)."""
        return self._round.latest.weight


class Round:
    """The work for equal checkers."""

    __slots__ = (
        *("changed_at", "checker", "checks", "done", "failed", "latest", "number", "number_shown"),
        *("standing", "task", "watches", "why"),
    )

    def __init__(self, checker: Checker, checks: Sequence[Check]) -> None:
        self.checker = checker
        self.checks = checks
        self.standing = _standing(checker, len(checks))
        self.watches: list[Watch] = []
        self.latest = Verdict(self.standing.is_good)
        """The last one that was told, or that the next who comes would be told."""
        self.number = -1
        """Of its entry in the queue; -1 while it is not in it."""
        self.task: asyncio.Task[None] | QuickCheck | None = None
        """What is on its way."""
        self.done = 0
        """Checks that were made."""
        self.failed = 0
        """Those of them that found it bad."""
        self.changed_at = 0
        """When it became good or bad, in nanoseconds of the monotonic clock; 0 is never."""
        self.why = ""
        """What the last one found that failed, or why it could not be made."""
        self.number_shown = 0
        """For `Showing`."""


class Patrol:
    """Checks everything that is watched, until it is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, tools: Tools | None = None) -> None:
        """`tools` are closed with it."""
        self._loop = loop
        self.tools = tools or Tools(loop)
        self._rounds: dict[Checker, Round] = {}
        self._due: list[tuple[int, int, Round]] = []
        """When, in nanoseconds of the monotonic clock; a number that tells entries apart."""
        self._numbers = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None
        self._wakes = 0
        """When the alarm rings."""
        self._random = random.Random()
        self.on_checked: Callable[[Round], None] | None = None
        """Called after each check."""
        self._said: dict[str, int] = {}
        """Causes that kept checks from being made, and when that was said."""

    def add(
        self, checker: Checker, on_news: OnNews, *, service: str = "", virtual: str = ""
    ) -> Watch:
        """Watches from now on. `on_news` is called, never from within, with what was found first,
        and then where it is good or bad and was not, or the dynamic weight is another. Who watches
        what was known already is told at once; a checker that is added before its equal is removed
        goes on with what it knows.

        `service` and `virtual` name the real and the virtual server in the log."""
        known = self._rounds.get(checker)
        if known is None:
            known = Round(checker, make(checker, self.tools))
            self._rounds[checker] = known
            allow(len(self._rounds))
        if known.number < 0 and known.task is None:
            self._schedule(known, self._warmup(checker))
        watch = Watch(known, on_news, service or target_name(checker), virtual)
        known.watches.append(watch)
        if known.standing.is_known:
            self._loop.call_soon(self._tell_one, known, watch)
        return watch

    def remove(self, watch: Watch) -> None:
        """Watches no more; nothing is on its way when this returns, and `on_news` is not called."""
        of = watch._round
        of.watches.remove(watch)
        if not of.watches:
            self._stop(of)
            del self._rounds[of.checker]
            for check in of.checks:
                check.close()

    def suspend(self, watch: Watch) -> None:
        """Lets it be: the server stays as it is. It is checked while anybody else watches it."""
        watch.is_suspended = True
        if all(each.is_suspended for each in watch._round.watches):
            self._stop(watch._round)

    def resume(self, watch: Watch) -> None:
        """Watches again: who resumes is told what is known, and the next check comes as the first
        one did."""
        watch.is_suspended = False
        of = watch._round
        if of.standing.is_known:
            self._loop.call_soon(self._tell_one, of, watch)
        if of.number < 0 and of.task is None:
            self._schedule(of, self._warmup(of.checker))

    def close(self) -> None:
        """Ends everything; nobody is told anything any more."""
        for of in self._rounds.values():
            self._stop(of)
            of.watches.clear()
            for check in of.checks:
                check.close()
        self._rounds.clear()
        self._due.clear()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self.tools.close()

    def _warmup(self, checker: Checker) -> int:
        timing = _timing(checker)
        return int(self._random.random() * timing.warmup) if timing is not None else 0

    def _schedule(self, of: Round, delay: int) -> None:
        if not of.checks:
            return
        due = monotonic_ns() + delay
        of.number = number = next(self._numbers)
        heapq.heappush(self._due, (due, number, of))
        if self._alarm is None or due < self._wakes - COARSE:
            self._set_alarm(due, monotonic_ns())

    def _set_alarm(self, due: int, now: int) -> None:
        wakes = max(due, now + COARSE)
        self._wake(wakes, (wakes - now) / SECOND)

    def _wake(self, wakes: int, delay: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._wakes = wakes
        self._alarm = self._loop.call_later(delay, self._begin_due)

    def _begin_due(self) -> None:
        self._alarm = None
        now = monotonic_ns()
        if now - self._wakes > STOPPED:
            self._spread(now)
        due = self._due
        begun = 0
        while due and due[0][0] <= now:
            if begun == SLICE:
                self._wake(now, 0)
                return
            _, number, of = heapq.heappop(due)
            if of.number == number:
                of.number = -1
                self._begin(of)
                begun += 1
        if due:  # the alarm that a check has set which was put off may ring later
            self._set_alarm(due[0][0], monotonic_ns())

    def _spread(self, now: int) -> None:
        """Everything is due at once, and would be from now on, one `delay_loop` after the other:
        each comes at a random part of its own."""
        late = [entry for entry in self._due if entry[0] <= now]
        self._due = [entry for entry in self._due if entry[0] > now]
        heapq.heapify(self._due)
        for _, number, of in late:
            if of.number == number:
                timing = _timing(of.checker)
                interval = timing.interval if timing is not None else 0
                self._schedule(of, int(self._random.random() * interval))

    def _begin(self, of: Round) -> None:
        check = of.checks[of.standing.question]
        if not isinstance(check, QuickCheck):
            of.task = self._loop.create_task(self._ask(of, check))
            return
        try:
            check.begin(lambda verdict: self._take(of, verdict))
        except CannotCheckError as error:
            self._postpone(of, str(error))
        except Exception as error:
            self._blame(of, error)
        else:
            of.task = check

    async def _ask(self, of: Round, check: Check) -> None:
        try:
            verdict = await check.check()
        except CannotCheckError as error:
            self._postpone(of, str(error))
        except Exception as error:
            self._blame(of, error)
        else:
            self._take(of, verdict)

    def _blame(self, of: Round, error: Exception) -> None:
        """A check has an error of its own, which must not keep others from being made."""
        log.exception("a check of %s has an error of its own", target_name(of.checker))
        self._postpone(of, repr(error))

    def _stop(self, of: Round) -> None:
        of.number = -1
        task, of.task = of.task, None
        if task is not None:
            task.cancel()

    def _postpone(self, of: Round, trouble: str) -> None:
        """Nothing was found: as if it was not asked."""
        of.task = None
        of.why = f"a check cannot be made: {trouble}"
        if self.on_checked is not None:
            self.on_checked(of)
        now = monotonic_ns()
        if now - self._said.get(trouble, -SAID_AGAIN) >= SAID_AGAIN:
            if len(self._said) > 1000:
                self._said.clear()
            self._said[trouble] = now
            log.error("a check cannot be made, and is put off: %s", trouble)
        timing = _timing(of.checker)
        self._schedule(of, timing.interval if timing is not None else SECOND)

    def _take(self, of: Round, verdict: Verdict) -> None:
        """A check has found something."""
        of.task = None
        standing = of.standing
        timing = _timing(of.checker)
        before = of.latest
        was_good, tried, asked = standing.is_good, standing.tried, standing.question
        has_changed = standing.take(verdict.is_good)
        of.done += 1
        if not verdict.is_good:
            of.failed += 1
            of.why = verdict.why
        if has_changed:
            of.changed_at = monotonic_ns()
        if self.on_checked is not None:
            self.on_checked(of)
        if timing is None:
            self._begin(of)
        elif standing.pause is Pause.LOOP:
            self._schedule(of, timing.interval)
        else:
            is_retry = standing.pause is Pause.RETRY
            self._schedule(of, timing.delay_before_retry if is_retry else 0)
        if was_good and verdict.is_good and not has_changed and verdict == before:
            return  # as ever
        if has_changed or not (was_good and verdict.is_good):
            logs_all = timing is not None and timing.logs_all_failures
            what = of.checks[asked].what
            finding = Finding(of.checker, verdict, was_good, has_changed, tried, logs_all, what)
            for line in dict.fromkeys(_lines(finding, of.watches)):
                log.info("%s", line)
        has_weight = verdict.is_good and standing.is_known
        if has_changed or (has_weight and verdict.weight != before.weight):
            of.latest = verdict
            for watch in list(of.watches):
                self._tell_one(of, watch)

    def _tell_one(self, of: Round, watch: Watch) -> None:
        if watch not in of.watches or watch.is_suspended:
            return
        try:
            watch._on_news(of.latest)
        except Exception:
            log.exception("what was found of %s could not be told", watch.service)


def _lines(finding: Finding, watches: Iterable[Watch]) -> Iterator[str]:
    for watch in watches:
        yield from finding.lines(watch.service, watch.virtual)


def _standing(checker: Checker, questions: int) -> Standing:
    timing = _timing(checker)
    if timing is None:
        is_down = isinstance(checker, BfdCheck) and checker.is_down_at_first
        return Standing(0, is_good=not is_down)
    return Standing(
        timing.retry,
        questions,
        is_good=not timing.is_down_at_first,
        confirms=isinstance(checker, HttpCheck),
        is_hasty=isinstance(checker, HttpCheck) and checker.is_fast_recovering,
        always_retries=isinstance(checker, SmtpCheck),
    )


def _timing(checker: Checker) -> CheckTiming | None:
    """When it is asked; None for one that tells by itself."""
    if isinstance(checker, FileCheck | BfdCheck):
        return None
    return checker.timing
