"""Who runs a command: whom it names itself, or `script_user`; a command that nobody runs is none.

What there is to say of users and groups that this machine does not have, `script_checks` says.
"""

from __future__ import annotations

from fastvrrp.config.accounts import DEFAULT_USER, is_group, is_user
from fastvrrp.config.commands import written_group
from fastvrrp.config.definitions import Defaults
from fastvrrp.model import Command


class ScriptUsers:
    """Gives commands their users; equal commands are one object."""

    def __init__(self, user: str | None, group: str | None, *, is_secure: bool) -> None:
        self._user = user
        self._group = group
        self._known: dict[tuple[str, str | None], bool] = {}
        self._shared: dict[Command, Command] = {}
        if user is not None:
            self._has_default = self._is_known(user, group)
        else:
            self._has_default = not is_secure or is_user(DEFAULT_USER)

    @classmethod
    def of(cls, defaults: Defaults) -> ScriptUsers:
        """With the default that `global_defs` gives."""
        user, group = defaults.script_user()
        return cls(user, group, is_secure=defaults.is_on("enable_script_security"))

    def settled(self, command: Command | None) -> Command | None:
        """A command with its user, who brings a group of its own where it is written; None where
        there is no command, or nobody to run it."""
        if command is None:
            return None
        if command.user is None:
            if not self._has_default:
                return None
            command = Command(command.arguments, self._user, self._group)
        elif not self._is_known(command.user, command.group):
            return None
        return self._shared.setdefault(command, command)

    def run_by(self, command: Command, user: object) -> Command | None:
        """The same where a keyword of its own names user and group (`user NAME [GROUP]`)."""
        if isinstance(user, tuple):
            command = Command(command.arguments, user[0], *written_group(user[1]))
        return self.settled(command)

    def _is_known(self, user: str, group: str | None) -> bool:
        key = (user, group)
        if key not in self._known:
            self._known[key] = is_user(user) and (group is None or is_group(group))
        return self._known[key]
