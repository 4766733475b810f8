"""Commands that are no checks, in the process that runs scripts: they are run once, whatever comes
of it, or stay as long as the daemon wants them (`Resident`).

Why one is not run is said once, until it is found to be sound again.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fastvrrp.track.obstacles import obstacle, own_credentials
from fastvrrp.track.script import Command, Inspection, Life, Moved, Resident

NOT_EXECUTED = (126, 127)
"""Exit statuses of setpriv where it cannot execute the command."""
STARTTIME = 19
"""Where /proc/PID/stat has it, counted from behind the name."""


class Errands:
    """Every command that runs and is no check."""

    def __init__(
        self,
        spawn: Callable[[Command], int],
        say: Callable[[str], None],
        tell: Callable[[Moved], None],
    ) -> None:
        """`spawn` starts a command and returns its process id, or raises OSError; `say` gives the
        daemon's log a line, and `tell` says as which process a resident runs."""
        self._tell = tell
        self._spawn = spawn
        self._say = say
        self._runs: dict[int, Command] = {}
        """By process id."""
        self._residents: dict[str, int] = {}
        """Process ids of those that run, by name."""
        self._refused: dict[str, str] = {}
        """Programs that were not run the last time, and why."""
        self.ends: int | None = None
        """When the residents are told to end, in nanoseconds of the monotonic clock."""

    @property
    def has_residents(self) -> bool:
        """Whether a resident runs."""
        return bool(self._residents)

    def take(self, said: Command | Inspection | Resident) -> None:
        """Does what the daemon says."""
        if isinstance(said, Command):
            self._start(said)
        elif isinstance(said, Inspection):
            self._judge(said.command, obstacle(said.command))
        else:
            self._house(said)

    def ended(self, pid: int, status: str, code: int) -> None:
        """A process has ended: how, for a person, and with which exit status."""
        command = self._runs.pop(pid, None)
        if command is None:
            return
        program = command.arguments[0]
        for name, resident in self._residents.items():
            if resident == pid:
                del self._residents[name]
                self._say(f"{name} script {program} terminated ({status})")
                return
        is_other = command.credentials not in (None, own_credentials())
        if is_other and code in NOT_EXECUTED:
            self._judge(command, f"{status}: may its user run it?")

    def end_residents(self, moment: int) -> None:
        """Tells every resident to end at a moment. Until then it may end by itself: the daemon has
        gone, and it comes to the end of its FIFO."""
        if self._residents:
            self.ends = moment

    def end_overdue(self, now: int) -> None:
        """Does so when the moment has come."""
        if self.ends is not None and self.ends <= now:
            self.ends = None
            for name in list(self._residents):
                self._evict(name)

    def _start(self, command: Command) -> int | None:
        """The process id; None where it cannot be started."""
        why_not = obstacle(command)
        if why_not is None:
            try:
                pid = self._spawn(command)
            except OSError as error:
                why_not = f"cannot be run: {error.strerror}"
            else:
                self._runs[pid] = command
                return pid
        self._judge(command, why_not)
        return None

    def _house(self, resident: Resident) -> None:
        """Runs a resident, instead of the one of that name if that is another."""
        pid = self._residents.get(resident.name)
        if pid is not None:
            if self._runs[pid] == resident.command:
                return
            self._evict(resident.name)
        if resident.before is not None and _life(resident.before.pid) == resident.before:
            _end(resident.before.pid)
        if resident.command is not None:
            pid = self._start(resident.command)
            if pid is not None:
                self._residents[resident.name] = pid
                life = _life(pid)
                if life is not None:
                    self._tell(Moved(resident.name, *life))

    def _evict(self, name: str) -> None:
        _end(self._residents.pop(name))

    def _judge(self, command: Command, why_not: str | None) -> None:
        program = command.arguments[0]
        if why_not is None:
            self._refused.pop(program, None)
        elif self._refused.get(program) != why_not:
            self._refused[program] = why_not
            self._say(f"script {program} is not run: it {why_not}")


def _end(leader: int) -> None:
    """Tells a script, and all that it started, to end."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGTERM)


def _life(pid: int) -> Life | None:
    """Which process has a number now; None where there is none."""
    try:
        # The name, which may have anything in it, ends with the last bracket: proc(5).
        rest = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2]
    except OSError:
        return None
    return Life(pid, int(rest.split()[STARTTIME]))
