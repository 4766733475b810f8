"""The process that runs scripts, so that the process with the virtual routers starts none.

`python -m fastvrrp.track.runner FD`: FD is a socket to the daemon (`frames`). Checks and commands
come in as pickled objects, and News goes out as JSON: a script that stays as it is costs the daemon
nothing. When the other end closes, every check that runs is ended and so is this process; commands
that are no checks (`errands`) go on without it.

A script is the leader of a session of its own, and what it left running ends with it when it takes
too long. Its output goes nowhere.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import pickle
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from fastvrrp.kernel.capabilities import Capability, Rights, keep_only
from fastvrrp.track.errands import Errands
from fastvrrp.track.frames import Closed, Frames
from fastvrrp.track.interpreter import CALLERS_PATH
from fastvrrp.track.obstacles import found, obstacle, own_credentials
from fastvrrp.track.script import (
    Command,
    Inspection,
    Mask,
    Moved,
    News,
    Outcome,
    Remark,
    Resident,
    Tally,
    Trial,
    Watched,
)
from fastvrrp.track.trials import Trials

TIMED_OUT = "timed_out"
"""Reason of a failure."""
GRACE = 1_000_000_000
"""Nanoseconds from SIGTERM to SIGKILL."""
SETPRIV = "/usr/bin/setpriv"
DISCARD = [(os.POSIX_SPAWN_OPEN, stream, "/dev/null", os.O_RDWR, 0) for stream in range(3)]


ORDINARY = (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)
"""Signals that mean something else to us than to a script."""


RIGHTS = Rights(
    frozenset(
        {
            Capability.KILL,  # scripts of other users that take too long
            Capability.DAC_OVERRIDE,  # scripts in folders that other users have closed
        }
    ),
    starts_scripts=True,  # setpriv gets CAP_SETUID and CAP_SETGID again, being executed by root
)
LONGEST_POLL = (1 << 31) - 1
"""Milliseconds; poll(2) takes an int."""


@dataclass(slots=True)
class Run:
    """A check that runs."""

    tally: Tally
    ends: int
    """When it is told to end, in nanoseconds of the monotonic clock; later, when it is killed."""
    was_told: bool = False
    has_company: bool = False
    """It was due again meanwhile, and that was said."""


class Runner:
    """Runs scripts when they are due."""

    def __init__(self, daemon: socket.socket) -> None:
        self._daemon = Frames(daemon)
        self._tallies: dict[str, Tally] = {}
        self._runs: dict[int, Run] = {}
        """By process id."""
        self._due: list[tuple[int, int, Tally]] = []
        """When a check is run next, and a number that tells apart those of one moment."""
        self._numbers = itertools.count()
        self._is_ending = False
        self._errands = Errands(
            spawn, lambda line: self._daemon.send(json.dumps([line]).encode()), self._tell
        )
        self._trials = Trials(spawn, self._tell_end)

    def serve(self) -> None:
        """Runs until the daemon closes its end, and no check and no resident runs any more."""
        woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        daemon = self._daemon.socket.fileno()
        while self._is_busy:
            if not self._is_ending:
                writing = select.POLLOUT if self._daemon.is_behind else 0
                poll.register(daemon, select.POLLIN | writing)
            for descriptor, _ in poll.poll(self._milliseconds_left()):
                if descriptor == woken:
                    os.read(woken, 512)
                    continue
                self._daemon.flush()
                if not self._hear():
                    poll.unregister(daemon)
                    self._end_checks()
            self._reap()
            self._end_overdue()
            self._start_due()

    @property
    def _is_busy(self) -> bool:
        if not self._is_ending:
            return True
        return bool(self._runs or self._trials) or self._errands.has_residents

    def _hear(self) -> bool:
        """Takes what the daemon says; False where it is gone."""
        try:
            for message in self._daemon.receive():
                said = pickle.loads(message)
                if isinstance(said, Watched):
                    self._take(said)
                elif isinstance(said, Trial):
                    self._trials.take(said, time.monotonic_ns())
                elif isinstance(said, Command | Inspection | Resident):
                    self._errands.take(said)
                elif isinstance(said, Mask):
                    os.umask(said.mask)
                else:
                    self._tallies.pop(said, None)
        except Closed:
            return False
        return True

    def _take(self, watched: Watched) -> None:
        tally = Tally(watched.check, watched.is_good)
        self._tallies[watched.check.name] = tally
        self._schedule(tally, time.monotonic_ns())

    def _schedule(self, tally: Tally, moment: int) -> None:
        heapq.heappush(self._due, (moment, next(self._numbers), tally))

    def _start_due(self) -> None:
        now = time.monotonic_ns()
        while self._due and self._due[0][0] <= now:
            due, _, tally = heapq.heappop(self._due)
            check = tally.check
            if self._tallies.get(check.name) is not tally:
                continue
            following = due + check.interval
            self._schedule(tally, following if following > now else now + check.interval)
            if tally.is_running:
                self._say_it_runs(tally)
            else:
                self._start(tally)

    def _say_it_runs(self, tally: Tally) -> None:
        for run in self._runs.values():
            if run.tally is tally and not run.has_company:
                run.has_company = True
                self._remark(tally, "is already running, expect idle - skipping run")

    def _start(self, tally: Tally) -> None:
        command = tally.check.command
        why_not = obstacle(command) if command.is_guarded else None
        if why_not is not None:
            self._count(tally, False, f"is not run: it {why_not}")
            return
        try:
            pid = spawn(command)
        except OSError as error:
            self._count(tally, False, f"cannot be run: {error.strerror}")
            return
        self._runs[pid] = Run(tally, time.monotonic_ns() + tally.check.timeout)
        tally.is_running = True

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            run = self._runs.pop(pid, None)
            if run is None and self._trials.ended(pid, status, describe(status)):
                continue
            if run is None:
                self._errands.ended(pid, describe(status), os.waitstatus_to_exitcode(status))
                continue
            run.tally.is_running = False
            if run.was_told:
                _signal(pid, signal.SIGKILL)  # what it left running
            else:
                self._take_status(run.tally, status)

    def _take_status(self, tally: Tally, status: int) -> None:
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) != tally.status:
            tally.status = os.WEXITSTATUS(status)
            self._remark(tally, f"now returning {tally.status}")
        self._count(tally, status == 0, describe(status))

    def _end_overdue(self) -> None:
        now = time.monotonic_ns()
        for pid, run in self._runs.items():
            if run.ends <= now:
                _signal(pid, signal.SIGKILL if run.was_told else signal.SIGTERM)
                # It has failed now: it may take its time to end.
                if not run.was_told:
                    self._count(run.tally, False, TIMED_OUT)
                run.was_told = True
                run.ends = now + GRACE
        self._errands.end_overdue(now)
        self._trials.end_overdue(now)

    def _end_checks(self) -> None:
        """Nobody wants to know their results any more."""
        self._is_ending = True
        self._tallies.clear()
        self._due.clear()
        self._trials.end_all(time.monotonic_ns())
        self._errands.end_residents(time.monotonic_ns() + GRACE)
        for pid, run in self._runs.items():
            _signal(pid, signal.SIGTERM)
            run.was_told = True
            run.ends = time.monotonic_ns() + GRACE

    def _count(self, tally: Tally, succeeded: bool, reason: str) -> None:
        if self._tallies.get(tally.check.name) is tally and tally.count(succeeded):
            self._tell(News(tally.check.name, succeeded, reason))

    def _remark(self, tally: Tally, text: str) -> None:
        if self._tallies.get(tally.check.name) is tally:
            self._tell(Remark(tally.check.name, text))

    def _tell(self, what: News | Remark | Moved) -> None:
        self._daemon.send(json.dumps(what).encode())

    def _tell_end(self, outcome: Outcome) -> None:
        self._daemon.send(json.dumps(outcome._asdict()).encode())

    def _milliseconds_left(self) -> int | None:
        """Until something is due; None is for ever."""
        moments = [run.ends for run in self._runs.values()]
        if self._errands.ends is not None:
            moments.append(self._errands.ends)
        if self._trials.ends is not None:
            moments.append(self._trials.ends)
        if self._due:
            moments.append(self._due[0][0])
        if not moments:
            return None
        # Rounded up: a poll that ends too early would be repeated until the time has come.
        left = -(-(min(moments) - time.monotonic_ns()) // 1_000_000)
        return min(max(0, left), LONGEST_POLL)


def spawn(command: Command) -> int:
    """Starts a command in a session of its own; its process id. Raises OSError where that cannot
    be."""
    arguments = as_user(command)
    return os.posix_spawn(
        arguments[0],
        arguments,
        environment(),
        file_actions=DISCARD,
        setsid=True,
        setsigmask=(),
        setsigdef=ORDINARY,
    )


def environment() -> dict[str, str]:
    """What a script has: the daemon's environment, without what we were started with."""
    ours = dict(os.environ)
    path = ours.pop(CALLERS_PATH, None)
    if path is not None:
        ours.pop("PYTHONPATH", None)
    return ours | ({"PYTHONPATH": path} if path else {})


def as_user(command: Command) -> list[str]:
    """The arguments with which a command runs as whom it should."""
    credentials = command.credentials
    program = found(command)
    arguments = [str(program) if program else command.arguments[0], *command.arguments[1:]]
    if credentials is None or credentials == own_credentials():
        return arguments
    groups = ",".join(map(str, credentials.groups))
    return [
        SETPRIV,
        f"--reuid={credentials.uid}",
        f"--regid={credentials.gid}",
        f"--groups={groups}" if groups else "--clear-groups",
        "--",
        *arguments,
    ]


def describe(status: int) -> str:
    """How a process ended (wait(2)), in keepalived's words."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with status {code}"
    return f"due to signal {-code}"


def _signal(leader: int, number: signal.Signals) -> None:
    """Sends a signal to a script and all it started."""
    # It may have become another user's (set-user-ID).
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def main() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever started us may block signals
    keep_only(RIGHTS)
    with socket.socket(fileno=int(sys.argv[1])) as daemon:
        daemon.set_inheritable(False)  # no script may speak for us
        # Signals for the daemon's group are for the daemon, which ends us.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        Runner(daemon).serve()


if __name__ == "__main__":
    main()
