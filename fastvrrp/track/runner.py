"""The process that runs scripts, so that the process with the virtual routers starts none.

`python -m fastvrrp.track.runner FD`: FD is a socket (SOCK_SEQPACKET) to the daemon. Checks and
commands come in as pickled objects, and News goes out as JSON: a script that stays as it is costs
the daemon nothing. When the other end closes, every check that runs is ended and so is this
process; commands that are no checks (`errands`) go on without it.

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

from fastvrrp.track.errands import Errands
from fastvrrp.track.obstacles import found, own_credentials
from fastvrrp.track.script import (
    Check,
    Command,
    Inspection,
    News,
    Resident,
    Tally,
)

LONGEST_MESSAGE = 1 << 16
"""Bytes of a pickled object: a command's arguments, mostly."""
GRACE = 1_000_000_000
"""Nanoseconds from SIGTERM to SIGKILL."""
SETPRIV = "/usr/bin/setpriv"
DISCARD = [(os.POSIX_SPAWN_OPEN, stream, "/dev/null", os.O_RDWR, 0) for stream in range(3)]


ORDINARY = (signal.SIGCHLD, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE, signal.SIGTERM)
"""Signals that mean something else to us than to a script."""


@dataclass(slots=True)
class Run:
    """A script that runs."""

    name: str
    """Of its check."""
    ends: int | None
    """When it is told to end, in nanoseconds of the monotonic clock; later, when it is killed. None
    is never."""
    was_told: bool = False


class Runner:
    """Runs scripts when they are due."""

    def __init__(self, daemon: socket.socket) -> None:
        self._daemon = daemon
        self._tallies: dict[str, Tally] = {}
        self._runs: dict[int, Run] = {}
        """By process id."""
        self._running: set[str] = set()
        self._due: list[tuple[int, int, Tally]] = []
        """When a check is run next, and a number that tells apart those of one moment."""
        self._numbers = itertools.count()
        self._waiting: list[News | list[str]] = []
        """What the daemon had no room for yet: news, and lines for its log."""
        self._errands = Errands(spawn, lambda line: self._waiting.append([line]))

    def serve(self) -> None:
        """Runs until the daemon closes its end."""
        woken, wakes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(woken, select.POLLIN)
        while True:
            poll.register(self._daemon, select.POLLIN | (select.POLLOUT if self._waiting else 0))
            for descriptor, event in poll.poll(self._milliseconds_left()):
                if descriptor == woken:
                    os.read(woken, 512)
                elif event & ~select.POLLOUT and not self._hear():
                    poll.unregister(self._daemon)
                    self._end_all(poll)
                    return
            self._reap()
            self._end_overdue()
            self._start_due()
            self._tell()

    def _hear(self) -> bool:
        """Takes what the daemon says; False where it is gone."""
        while True:
            try:
                message = self._daemon.recv(LONGEST_MESSAGE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not message:
                return False
            said = pickle.loads(message)
            if isinstance(said, Check):
                self._take(said)
            elif isinstance(said, Command | Inspection | Resident):
                self._errands.take(said)
            else:
                self._tallies.pop(said, None)

    def _take(self, check: Check) -> None:
        known = self._tallies.get(check.name)
        if known is not None and known.check == check:
            return
        tally = self._tallies[check.name] = Tally(check)
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
            if check.name not in self._running:
                self._start(check.command, check.name, check.timeout)

    def _start(self, command: Command, name: str, timeout: int) -> None:
        try:
            pid = spawn(command)
        except OSError as error:
            self._count(name, False, f"cannot be run: {error.strerror}")
            return
        self._runs[pid] = Run(name, time.monotonic_ns() + timeout)
        self._running.add(name)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            run = self._runs.pop(pid, None)
            if run is None:
                self._errands.ended(pid, describe(status), os.waitstatus_to_exitcode(status))
                continue
            self._running.discard(run.name)
            if run.was_told:
                _signal(pid, signal.SIGKILL)  # what it left running
                self._count(run.name, False, "timed out")
            else:
                self._count(run.name, status == 0, describe(status))

    def _end_overdue(self) -> None:
        now = time.monotonic_ns()
        for pid, run in self._runs.items():
            if run.ends is not None and run.ends <= now:
                _signal(pid, signal.SIGKILL if run.was_told else signal.SIGTERM)
                run.was_told = True
                run.ends = now + GRACE

    def _end_all(self, poll: select.poll) -> None:
        """The daemon has gone. Residents have read the end of their FIFO, and get a moment."""
        for pid in self._runs:
            _signal(pid, signal.SIGTERM)
        end = time.monotonic_ns() + GRACE
        while self._errands.has_residents and (left := end - time.monotonic_ns()) > 0:
            for descriptor, _ in poll.poll(left // 1_000_000 + 1):
                os.read(descriptor, 512)
            self._reap()
        self._errands.end_residents()

    def _count(self, name: str, succeeded: bool, reason: str) -> None:
        tally = self._tallies.get(name)
        if tally is not None and tally.count(succeeded):
            self._waiting.append(News(name, succeeded, reason))

    def _tell(self) -> None:
        while self._waiting:
            try:
                self._daemon.send(json.dumps(self._waiting[0]).encode(), socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                return  # the next poll says so
            del self._waiting[0]

    def _milliseconds_left(self) -> int | None:
        """Until something is due; None is for ever."""
        moments = [run.ends for run in self._runs.values() if run.ends is not None]
        if self._due:
            moments.append(self._due[0][0])
        if not moments:
            return None
        # Rounded up: a poll that ends too early would be repeated until the time has come.
        return max(0, -(-(min(moments) - time.monotonic_ns()) // 1_000_000))


def spawn(command: Command) -> int:
    """Starts a command in a session of its own. Raises OSError where that cannot be."""
    arguments = as_user(command)
    return os.posix_spawn(
        arguments[0],
        arguments,
        os.environ,
        file_actions=DISCARD,
        setsid=True,
        setsigmask=(),
        setsigdef=ORDINARY,
    )


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
    """How a process ended (wait(2)), for a person."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exited with status {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"


def _signal(leader: int, number: signal.Signals) -> None:
    """Sends a signal to a script and all it started."""
    with suppress(ProcessLookupError):
        os.killpg(leader, number)


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as daemon:
        daemon.set_inheritable(False)  # no script may speak for us
        # Signals for the daemon's group are for the daemon, which ends us.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        Runner(daemon).serve()


if __name__ == "__main__":
    main()
