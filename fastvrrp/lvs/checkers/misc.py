"""MISC_CHECK: a command that is run by the process that runs scripts."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from fastvrrp import model
from fastvrrp.lvs.check import CannotCheckError, Check, QuickCheck, Verdict
from fastvrrp.lvs.checkers.tools import Shared, Tools
from fastvrrp.model import MiscCheck
from fastvrrp.track.credentials import as_run
from fastvrrp.track.script import Command, Outcome, Trial
from fastvrrp.track.scripts import Scripts

NUMBERS = itertools.count()
LEAST_WEIGHT_STATUS = 2
"""Exit status of weight 0 (`misc_dynamic`)."""


class Commands(Shared):
    """As whom commands run: who the users are is asked once a configuration."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._known: dict[model.Command, Command | str] = {}
        """Or why one cannot be run."""

    def as_run(self, command: model.Command) -> Command:
        """Raises CannotCheckError where a user does not exist."""
        known = self._known.get(command)
        if known is None:
            try:
                known = as_run(command, self._tools.definitions.scripts)
            except KeyError as error:
                known = f"{command.arguments[0]} is not run: {error.args[0]}"
            self._known[command] = known
        if isinstance(known, str):
            raise CannotCheckError(known)
        return known

    def configured(self) -> None:
        self._known.clear()


class CommandRun(QuickCheck):
    """Runs a command; its exit status is 0 where the server is well."""

    def __init__(self, checker: MiscCheck, commands: Commands, scripts: Scripts | None) -> None:
        self.what = " ".join(checker.command.arguments)
        self._name = f"MISC_CHECK {next(NUMBERS)}"
        self._checker = checker
        self._commands = commands
        self._scripts = scripts

    def begin(self, done: Callable[[Verdict], None]) -> None:
        if self._scripts is None:
            program = self._checker.command.arguments[0]
            raise CannotCheckError(f"{program} is not run: there is nobody to run scripts")
        command = self._commands.as_run(self._checker.command)
        trial = Trial(self._name, command, self._checker.timeout)
        self._scripts.try_out(trial, lambda outcome: done(self._judge(outcome)))

    def cancel(self) -> None:
        if self._scripts is not None:
            self._scripts.give_up(self._name)

    def _judge(self, outcome: Outcome) -> Verdict:
        status = outcome.status
        if status == 0:
            return Verdict(True)
        if self._checker.is_dynamic and status is not None and status >= LEAST_WEIGHT_STATUS:
            return Verdict(True, weight=status - LEAST_WEIGHT_STATUS)
        return Verdict(False, outcome.reason, line="Misc check by [{what}] {why}.")


def make(checker: MiscCheck, tools: Tools) -> Sequence[Check]:
    return (CommandRun(checker, tools.the(Commands), tools.scripts),)
