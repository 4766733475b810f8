"""Scripts: how they are run, and what their results are worth.

Shared by the daemon and the process that runs them for it (`runner`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Credentials(NamedTuple):
    """As whom a script runs."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplementary groups."""


class Command(NamedTuple):
    """What is executed, without a shell."""

    arguments: tuple[str, ...]
    """The program's path and its arguments."""
    credentials: Credentials | None = None
    """None is those of the daemon."""
    is_guarded: bool = False
    """Not executed as root where others than root may write it (`enable_script_security`)."""
    keeps_links: bool = False
    """Executed by the path that is written; otherwise by that with no symbolic link in it."""


class Inspection(NamedTuple):
    """A command that will be run later: what keeps it from that is said now."""

    command: Command


class Resident(NamedTuple):
    """A script that runs as long as the daemon wants it: it reads a FIFO."""

    name: str
    command: Command | None
    """None ends it."""


class Trial(NamedTuple):
    """A command that is run once, and whose end is told; another run of that name is given up."""

    name: str
    command: Command | None
    """None gives it up: it is ended, and nothing is told."""
    timeout: int = 0
    """Nanoseconds after which it is ended."""


class Outcome(NamedTuple):
    """How a trial ended."""

    name: str
    status: int | None
    """Its exit status; None where it did not end by itself, or was not run."""
    reason: str
    """The same for a person, in keepalived's words."""
    kind: str = "trial"


class Check(NamedTuple):
    """A script that is run again and again, and whose exit status counts."""

    name: str
    command: Command
    interval: int = 1_000_000_000
    """Nanoseconds from one start to the next. A run that takes longer is let be."""
    timeout: int = 1_000_000_000
    """Nanoseconds after which a run is killed, and has failed."""
    rise: int = 1
    """Successes in a row until it is good."""
    fall: int = 1
    """Failures in a row until it is bad."""
    starts_bad: bool = False
    """It is bad until it is good (`init_fail`); otherwise its first result decides."""


class Watched(NamedTuple):
    """What the daemon says of a check: how it is run, and what is known of it."""

    check: Check
    is_good: bool | None
    """What it was when another runner, or another configuration, had it; None of a new one."""


class News(NamedTuple):
    """A script has become good or bad."""

    name: str
    is_good: bool
    reason: str
    """How its last run ended, for a person."""


class Remark(NamedTuple):
    """Something else about a script, for the log."""

    name: str
    text: str


@dataclass(slots=True)
class Tally:
    """Counts the results of one script."""

    check: Check
    is_good: bool | None = None
    """None until the first result."""
    is_running: bool = False
    status: int = 0
    """The exit status of its last run that exited."""
    _in_a_row: int = field(default=0, init=False)
    """Results that speak against what it is now."""

    def __post_init__(self) -> None:
        if self.is_good is None and self.check.starts_bad:
            self.is_good = False

    def count(self, succeeded: bool) -> bool:
        """Takes one result; True where the script has become good or bad by it."""
        if succeeded is self.is_good:
            self._in_a_row = 0
            return False
        self._in_a_row += 1
        needed = self.check.rise if succeeded else self.check.fall
        if self.is_good is not None and self._in_a_row < needed:
            return False
        self.is_good = succeeded
        self._in_a_row = 0
        return True
