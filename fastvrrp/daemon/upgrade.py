"""One upgrade, as the parent carries it out, from the files that are there now:

1. a process of the new version looks whether the parent could go on by its code (daemon/renewal);
2. a second vrrpd takes the place of the one that runs (daemon/handover), and wards are renewed;
3. a process of the new version looks once more, and the parent goes on by its code.

Until the second vrrpd has taken over, what it says about wards is kept back, since these still
belong to the other one. What goes wrong until then leaves everything as it was.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from fastvrrp.daemon.child import Child, Stderr
from fastvrrp.daemon.loop import Loop
from fastvrrp.daemon.orders import (
    Answer,
    Beat,
    Begin,
    CloseWard,
    Complained,
    Ended,
    Go,
    Named,
    Read,
    Started,
    StartWard,
    Summed,
    ToParent,
    ToWard,
    unpacked,
)
from fastvrrp.daemon.renewal import Trial

if TYPE_CHECKING:
    from fastvrrp.daemon.renewal import Keep, State, Successor

log = logging.getLogger(__name__)

READ_LIMIT = 900.0
"""Seconds for reading the configuration, as at the start."""
LIMIT = 300.0
"""Seconds for all that comes after that; the one that runs has shorter ones for its part."""
LAST_MOMENTS = 10.0
"""Seconds that one that has failed has for its end."""
MOST_LINES = 1000

OnFailed = Callable[[Sequence[str]], object]
"""Called once where it was not done, with what there is to say to a person."""
Ask = Callable[[str, dict[str, Any], Callable[[Answer], object]], object]


@dataclass(frozen=True)
class Means:
    """What an upgrade needs of the parent."""

    loop: Loop
    begin: Begin
    """What to say to the successor, with its predecessor."""
    read: Read
    """What the one that runs has said."""
    shares_stderr: bool
    ask: Ask
    """Gives an order to the one that runs."""
    promote: Callable[[Child, Sequence[ToParent], Mapping[str, bytes]], object]
    """Has a child be the one that speaks VRRP from now on, takes what it has said to wards, and has
    these begin anew, when they have heard what the other one has for them."""
    plain: Callable[[Keep], State]
    """What the parent leaves to new code."""
    become: Callable[[Successor], object]
    """Has the parent go on by new code: does not return. Raises OSError."""


class Upgrade:
    """From its start to its end."""

    def __init__(self, means: Means, python: str | None, on_failed: OnFailed) -> None:
        """`python` is the interpreter that has the new version; None is ours."""
        self._means = means
        self._on_failed: OnFailed | None = on_failed
        self._kept: list[ToParent] = []
        self._lines: list[str] = []
        self.is_promoted = False
        """The successor speaks VRRP: what fails now leaves the parent alone as it was."""
        self._has_started = False
        self._trial: Trial | None = None
        self._python = python
        self.child = Child(
            means.loop,
            "fastvrrp.daemon.vrrpd_main",
            "VRRP",
            self._on_messages,
            self._on_start,
            self._on_end,
        )
        self.child.folder = None
        self.child.python = python
        self.child.stderr = Stderr.SHARED if means.shares_stderr else Stderr.KEPT

    def start(self) -> None:
        """Begins. Raises OSError."""
        self._try(lambda _: self._start_child())

    def handed_over(self, farewells: Mapping[str, bytes]) -> None:
        """The one that ran says that the successor speaks, and what its wards are to hear."""
        self.is_promoted = True
        self._means.promote(self.child, self._kept, farewells)
        self._kept = []
        self._finish_if_started()

    def fail(self, line: str) -> None:
        """Ends it without success; what runs, runs on."""
        self._lines.append(line)
        if self._trial is not None:
            self._trial.fail(line)
        elif self.is_promoted:
            self._end()
        else:
            self.child.kill()

    def _try(self, go_on: Callable[[Successor], object]) -> None:
        """Goes on when the new version has said that it could. Raises OSError."""
        self._trial = Trial(
            self._means.loop, self._python, self._means.plain, partial(self._on_tried, go_on)
        )
        self._trial.start()

    def _on_tried(
        self, go_on: Callable[[Successor], object], successor: Successor | None, why: str
    ) -> None:
        self._trial = None
        if successor is None:
            if why not in self._lines:
                self._lines.append(f"the new version cannot go on as parent: {why}")
            self._end()
            return
        try:
            go_on(successor)
        except Exception as error:
            self._break_off(error)

    def _start_child(self) -> None:
        self.child.start()

    def _on_start(self) -> None:
        self.child.expect(READ_LIMIT)
        self.child.send(pickle.dumps(self._means.begin))

    def _on_messages(self, messages: Sequence[bytes]) -> None:
        for message in unpacked(messages):
            self.take(message)

    def take(self, message: ToParent) -> None:
        """Hears what the successor says, until it is promoted."""
        match message:
            case Beat():
                pass  # it is counted as a sign of life, and its limits are ours
            case Complained(line):
                if len(self._lines) < MOST_LINES:
                    self._lines.append(line)
            case Read():
                self._on_read(message)
            case StartWard() | ToWard() | CloseWard() | Named() | Summed():
                self._kept.append(message)
            case Started():
                self.started()
            case Ended():
                self.child.expect(LAST_MOMENTS)

    def started(self) -> None:
        """The successor has begun every virtual router."""
        self._has_started = True
        self._finish_if_started()

    def _on_read(self, read: Read) -> None:
        if read.pid_file != self._means.read.pid_file:
            self.fail(
                f"it would use the pid file {read.pid_file}, and what runs has"
                f" {self._means.read.pid_file}: stop the daemon and start it again"
            )
        elif read.namespace != self._means.read.namespace:
            self.fail("net_namespace is another one: stop the daemon and start it again")
        else:
            self.child.expect(LIMIT)
            self._means.ask("handover", {"pid": self.child.pid}, self._on_answer)

    def _on_answer(self, answer: Answer) -> None:
        if answer.is_ok:
            self.child.send(pickle.dumps(Go()))
        else:
            self._lines += answer.lines
            self.child.kill()

    def _on_end(self, pid: int, status: int) -> None:
        if not self._lines:
            self._lines.append(f"the new process {pid} has ended with status {status}")
        self._end()

    def _finish_if_started(self) -> None:
        if not self.is_promoted or not self._has_started or self._trial is not None:
            return
        try:
            self._try(self._means.become)
        except Exception as error:
            self._break_off(error)

    def _break_off(self, error: Exception) -> None:
        self._lines.append(reason_of(error))
        self._end()

    def _end(self) -> None:
        on_failed, self._on_failed = self._on_failed, None
        if on_failed is not None:
            on_failed(self._lines)


def reason_of(error: Exception) -> str:
    """Why an upgrade goes no further, for a person. What nobody has foreseen is logged, with where
    it happened. To be called where it was caught."""
    if isinstance(error, OSError):
        return f"no process can be started: {error.strerror}"
    log.exception("The upgrade has failed")
    return f"something went wrong ({type(error).__name__}: {error}): the log says where"
