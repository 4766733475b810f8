"""MISC_CHECK: a command that is run by the process that runs scripts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from fastvrrp.lvs.check import CannotCheckError, Check, QuickCheck, Verdict
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import MiscCheck
from fastvrrp.track.credentials import as_run
from fastvrrp.track.script import Command, Outcome, Trial
from fastvrrp.track.scripts import Scripts

NUMBERS = itertools.count()
LEAST_WEIGHT_STATUS = 2
"""Exit status of weight 0 (`misc_dynamic`)."""


class CommandRun(QuickCheck):
    """Runs a command; its exit status is 0 where the server is well."""

    def __init__(self, checker: MiscCheck, command: Command, scripts: Scripts) -> None:
        self.what = " ".join(checker.command.arguments)
        self._trial = Trial(f"MISC_CHECK {next(NUMBERS)}", command, checker.timeout)
        self._is_dynamic = checker.is_dynamic
        self._scripts = scripts

    def begin(self, done: Callable[[Verdict], None]) -> None:
        self._scripts.try_out(self._trial, lambda outcome: done(self._judge(outcome)))

    def cancel(self) -> None:
        self._scripts.give_up(self._trial.name)

    def _judge(self, outcome: Outcome) -> Verdict:
        status = outcome.status
        if status == 0:
            return Verdict(True)
        if self._is_dynamic and status is not None and status >= LEAST_WEIGHT_STATUS:
            return Verdict(True, weight=status - LEAST_WEIGHT_STATUS)
        return Verdict(False, outcome.reason, line=f"Misc check by [{{what}}] {outcome.reason}.")


class NobodyRuns(QuickCheck):
    """A command that is not run: its user does not exist."""

    def __init__(self, checker: MiscCheck, why: str) -> None:
        self.what = " ".join(checker.command.arguments)
        self._why = why

    def begin(self, done: Callable[[Verdict], None]) -> None:
        raise CannotCheckError(f"{self.what} is not run: {self._why}")

    def cancel(self) -> None:
        """Nothing is under way."""


def make(checker: MiscCheck, tools: Tools) -> Sequence[Check]:
    if tools.scripts is None:
        return (NobodyRuns(checker, "there is nobody to run scripts"),)
    try:
        command = as_run(checker.command, tools.definitions.scripts)
    except KeyError as error:
        return (NobodyRuns(checker, str(error.args[0])),)
    return (CommandRun(checker, command, tools.scripts),)
