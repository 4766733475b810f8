"""Who runs a command: whom it names itself, or `script_user`."""

from __future__ import annotations

from fastvrrp.model import Command


class ScriptUsers:
    """Gives commands their users; equal commands are one object."""

    def __init__(self, user: str | None, group: str | None) -> None:
        self._user = user
        self._group = group
        self._shared: dict[Command, Command] = {}

    def settled(self, command: Command | None) -> Command | None:
        """A command with its user, where there is a command."""
        return None if command is None else self.command(command)

    def command(self, command: Command) -> Command:
        """A command with its user; a user that is written brings a group of its own."""
        if command.user is None:
            command = Command(command.arguments, self._user, self._group)
        return self._shared.setdefault(command, command)

    def run_by(self, command: Command, user: object) -> Command:
        """The same where a keyword of its own names user and group (`user NAME [GROUP]`)."""
        if isinstance(user, tuple):
            command = Command(command.arguments, user[0], user[1])
        return self.command(command)
