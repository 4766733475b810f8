"""Scripts against this machine: who runs them, whether they are there, and who may write them.

keepalived looks at the users of all scripts but those that only notify, and at the files of
`vrrp_script` alone. All of this is a warning: the machine that runs the configuration may be
another. What can be run while `enable_script_security` is off is the violation of security for
which `keepalived -t` exits with 6.
"""

from __future__ import annotations

import pwd
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from fastvrrp.config.accounts import DEFAULT_USER, is_group, is_user
from fastvrrp.config.commands import IN_BLOCKS
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry
from fastvrrp.kernel.programs import open_part, path_of
from fastvrrp.model import Command

CONNECTION = "</dev/tcp/"
"""Begins what keepalived does itself: to try whether a TCP port can be connected to."""


@dataclass(slots=True)
class ScriptChecks:
    """Remembers what runs scripts, and compares it with the machine at the end."""

    complaints: Complaints
    _default: Statement | None = None
    """The line of script_user."""
    _blocks: list[Entry] = field(default_factory=list)
    """Blocks of vrrp_script and MISC_CHECK."""
    _is_secure: bool = False
    _has_default: bool = True

    def take_definitions(self, definitions: Entry) -> None:
        """Remember script_user of one `global_defs`; the last one counts."""
        for entry in definitions.entries:
            if entry.keyword.name == "script_user" and entry.value is not None:
                self._default = entry.statement

    def take_script(self, vrrp_script: Entry) -> None:
        """Remember one `vrrp_script`."""
        self._blocks.append(vrrp_script)

    def take_server(self, virtual_server: Entry) -> None:
        """Remember every MISC_CHECK of one `virtual_server`."""
        self._blocks += [
            checker
            for server in virtual_server.entries
            for checker in server.entries
            if checker.keyword.name == "MISC_CHECK"
        ]

    def check(
        self,
        notifying: Iterable[tuple[Statement, Command]],
        *,
        is_secure: bool,
    ) -> bool:
        """Complain of what cannot run. True where something can, and nothing makes it secure.

        `notifying` are all commands that are in no block of their own; `is_secure` is
        enable_script_security. A vrrp_script counts also where nothing tracks it.
        """
        self._is_secure = is_secure
        if self._default is not None:
            self._has_default = self._is_known(self._default, 1, "script_user")
        running = [
            statement
            for block in self._blocks
            if (statement := self._check_block(block)) is not None
        ]
        running += [
            statement
            for statement, command in notifying
            if self._check_notifying(statement, command)
        ]
        if not running or is_secure:
            return False
        self.complaints.warning(
            min(running, key=Statement.order),
            0,
            "scripts run without enable_script_security; write it in global_defs",
        )
        return True

    def _is_known(self, line: Statement, index: int, of: str, *, is_ours: bool = False) -> bool:
        """Whether the user at word `index` and the group after him are known here."""
        user, *rest = line.words[index : index + 2]
        missing = ""
        if not is_user(user):
            missing = f"user {user}"
        elif rest and rest[0] != ":" and not is_group(rest[0].removeprefix(":")):
            missing = f"group {rest[0]}"
            index += 1
        if missing:
            self.complaints.warning(
                line,
                index,
                f"{missing} of {of} does not exist on this machine; create it or name another",
                is_ours=is_ours,
            )
        return not missing

    def _has_default_user(self, line: Statement, of: str) -> bool:
        """Whether somebody runs a script that names nobody."""
        if self._default is not None or not self._is_secure:
            return self._has_default
        if is_user(DEFAULT_USER):
            return True
        self.complaints.warning(
            line,
            0,
            f"nobody runs {of}: user {DEFAULT_USER} does not exist on this machine;"
            " write script_user in global_defs",
        )
        return False

    def _check_block(self, block: Entry) -> Statement | None:
        """The line of a block's command, where it can be run."""
        last = {entry.keyword.name: entry for entry in block.entries if entry.value is not None}
        script = next((last[name] for name in IN_BLOCKS if name in last), None)
        if script is None or not isinstance(script.value, Command):
            return None
        line = script.statement
        is_tracked = block.keyword.name == "vrrp_script"
        of = f"vrrp_script {block.value}" if is_tracked else block.keyword.name
        user = last.get("user")
        runner: str | None = None
        if user is not None:
            runner = user.statement.words[1]
            if not self._is_known(user.statement, 1, of):
                return None
        elif not self._has_default_user(line, of):
            return None
        elif self._default is not None:
            runner = self._default.words[1]
        program = script.value.arguments[0]
        if is_tracked:
            return line if self._is_sound(line, of, program, runner) else None
        return line if _path_of(program) is not None else None

    def _is_sound(self, line: Statement, of: str, program: str, runner: str | None) -> bool:
        """Whether a tracked script is a file here, and safe from others where root runs it."""
        path = _path_of(program)
        fault = ""
        if path is None:
            fault = "is not on this machine; it is not run"
        elif program.startswith(CONNECTION):
            return True
        elif not path.is_file():
            fault = "is no file; it is not run"
        elif self._is_secure and _is_root(runner) and (part := open_part(path)) is not None:
            fault = (
                f"is not run: root would run it, and others than root may write {part};"
                " change its owner or mode"
            )
        if fault:
            self.complaints.warning(line, 1, f"{program} of {of} {fault}")
        return not fault

    def _check_notifying(self, line: Statement, command: Command) -> bool:
        """Whether a command that stands in a line with its user can be run."""
        of = line.words[0]
        if command.user is None:
            if not self._has_default_user(line, of):
                return False
        elif not self._is_known(line, 2, of, is_ours=True):
            return False
        return _path_of(command.arguments[0]) is not None


def _is_root(user: str | None) -> bool:
    """Whether a user is root, who stands in for one that is nowhere named."""
    if user is None:
        return not is_user(DEFAULT_USER)
    return pwd.getpwnam(user).pw_uid == 0


def _path_of(program: str) -> Path | None:
    """Where a program is, or what stands for one."""
    return Path(program) if program.startswith(CONNECTION) else path_of(program)
