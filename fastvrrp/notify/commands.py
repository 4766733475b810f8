"""The scripts that tell: who runs each of them is found out before it is needed.

Who a user is may be known to a server elsewhere, which may be slow when a master has just failed.
So users are looked up when a script becomes known, at a start or a reload, and never when it is
run; one that is not known yet is asked for again every now and then. What else keeps a script from
running is then said too, by the process that runs them.
"""

from __future__ import annotations

import logging

from fastvrrp.model import Command
from fastvrrp.model import Scripts as Settings
from fastvrrp.track import script
from fastvrrp.track.credentials import as_run
from fastvrrp.track.script import Credentials
from fastvrrp.track.scripts import Scripts

log = logging.getLogger(__name__)


class Commands:
    """Runs commands of the configuration."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._settings = Settings()
        self._known: dict[Command, script.Command | None] = {}
        """By program and user alone: instances differ in the other arguments. None where there is
        no such user."""

    def configure(self, settings: Settings) -> None:
        """Who runs scripts from now on."""
        self._settings = settings
        known, self._known = self._known, {}
        for command in known:
            self._scripts.latecomers.forget(command)
        for command in known:
            self.know(command)

    def know(self, command: Command) -> None:
        """Prepares for a command; the log says what would keep it from being run."""
        key = _key(command)
        if key in self._known:
            return
        self._known[key] = prepared = self._prepare(key)
        if prepared is not None:
            self._scripts.inspect(prepared)
        else:
            self._scripts.latecomers.wait(key, key, self._settings, lambda: self._has_come(key))

    def _has_come(self, key: Command) -> None:
        """The user of a script is known at last."""
        self._known.pop(key, None)
        self.know(key)

    def prepare(self, command: Command, *more: str) -> script.Command | None:
        """A command with further arguments; None where nobody can run it."""
        self.know(command)
        prepared = self._known[_key(command)]
        if prepared is None:
            return None
        return prepared._replace(arguments=command.arguments + more)

    def run(self, command: Command, *more: str) -> None:
        """Runs a command once, with further arguments."""
        prepared = self.prepare(command, *more)
        if prepared is not None:
            self._scripts.run(prepared)

    def owner(self, user: str | None, group: str | None) -> Credentials | None:
        """Whose a file is that a keyword gives to a user and a group: `script_user`'s where it
        names nobody; None is the daemon's own."""
        prepared = self._prepare(Command(("",), user, group))
        return prepared.credentials if prepared is not None else None

    def _prepare(self, command: Command) -> script.Command | None:
        try:
            return as_run(command, self._settings)
        except KeyError as error:
            log.error("script %s is not run: %s", command.arguments[0], error.args[0])
            return None


def _key(command: Command) -> Command:
    if len(command.arguments) == 1:
        return command
    return Command(
        command.arguments[:1], command.user, command.group, command.has_supplementary_groups
    )
