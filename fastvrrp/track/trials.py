"""Commands that are run once for their exit status, in the process that runs scripts: who wants it
says when, and hears of every end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from fastvrrp.track.obstacles import obstacle
from fastvrrp.track.script import Command, Outcome, Trial

GRACE = 1_000_000_000
"""Nanoseconds from SIGTERM to SIGKILL."""


@dataclass(slots=True)
class Run:
    """A trial that runs."""

    name: str | None
    """None where nobody wants to know its end any more."""
    ends: int
    """When it is told to end, in nanoseconds of the monotonic clock; later, when it is killed."""
    was_told: bool = False


class Trials:
    """Every trial that runs."""

    def __init__(self, spawn: Callable[[Command], int], tell: Callable[[Outcome], None]) -> None:
        """`spawn` starts a command and returns its process id, or raises OSError."""
        self._spawn = spawn
        self._tell = tell
        self._runs: dict[int, Run] = {}
        """By process id."""
        self._names: dict[str, int] = {}

    def __bool__(self) -> bool:
        """Whether one runs."""
        return bool(self._runs)

    @property
    def ends(self) -> int | None:
        """When the next one is to be ended."""
        return min((run.ends for run in self._runs.values()), default=None)

    def take(self, trial: Trial, now: int) -> None:
        """Runs one, or gives one up."""
        self._give_up(trial.name, now)
        if trial.command is None:
            return
        why_not = obstacle(trial.command) if trial.command.is_guarded else None
        if why_not is None:
            try:
                pid = self._spawn(trial.command)
            except OSError as error:
                why_not = f"cannot be run: {error.strerror}"
            else:
                self._runs[pid] = Run(trial.name, now + trial.timeout)
                self._names[trial.name] = pid
                return
        self._tell(Outcome(trial.name, None, f"failed ({why_not})"))

    def ended(self, pid: int, status: int, how: str) -> bool:
        """Whether the process that has ended was a trial; `status` is that of wait(2), `how` the
        same in words."""
        run = self._runs.pop(pid, None)
        if run is None:
            return False
        if run.was_told:
            _signal(pid, signal.SIGKILL)  # what it left running
        if run.name is not None:
            del self._names[run.name]
            code = os.waitstatus_to_exitcode(status)
            good = "succeeded" if code == 0 else f"failed ({how})"
            self._tell(Outcome(run.name, code if code >= 0 else None, good))
        return True

    def end_overdue(self, now: int) -> None:
        """Ends what has run for too long. It has failed then: it may take its time to end."""
        for pid, run in self._runs.items():
            if run.ends > now:
                continue
            _signal(pid, signal.SIGKILL if run.was_told else signal.SIGTERM)
            if run.name is not None:
                self._tell(Outcome(run.name, None, "timed out"))
                del self._names[run.name]
                run.name = None
            run.was_told = True
            run.ends = now + GRACE

    def end_all(self, now: int) -> None:
        """Nobody wants to know any more."""
        for name in list(self._names):
            self._give_up(name, now)

    def _give_up(self, name: str, now: int) -> None:
        pid = self._names.pop(name, None)
        if pid is None:
            return
        run = self._runs[pid]
        run.name = None
        run.was_told = True
        run.ends = now + GRACE
        _signal(pid, signal.SIGTERM)


def _signal(leader: int, number: signal.Signals) -> None:
    """Sends a signal to a script and all it started."""
    with suppress(ProcessLookupError, PermissionError):  # it may have become another user's
        os.killpg(leader, number)
