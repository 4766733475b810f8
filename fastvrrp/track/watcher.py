"""The process that watches other processes, so that the process with the virtual routers does not.

`python -m fastvrrp.track.watcher FD`: FD is a socket to the daemon (`frames`). What is tracked
comes in as a pickled tuple of TrackProcess, and what has come to count as enough, or not, goes out
as JSON: [name, whether it is enough, how many there are]. A process that nobody tracks costs an
event of the kernel, or where there are none a look at /proc every second.
"""

from __future__ import annotations

import errno
import json
import pickle
import select
import signal
import socket
import sys
import time

from fastvrrp.kernel.capabilities import Capability, Rights, keep_only
from fastvrrp.model import TrackProcess
from fastvrrp.track.census import Census, Quorum
from fastvrrp.track.frames import Closed, Frames
from fastvrrp.track.proc_events import (
    PROC_EVENT_EXEC,
    PROC_EVENT_FORK,
    ProcEvents,
    Unavailable,
)

POLL_INTERVAL = 1_000_000_000
"""Nanoseconds from one look at all processes to the next."""
RIGHTS = Rights(
    frozenset(
        {
            Capability.NET_ADMIN,  # events of processes
            Capability.SYS_PTRACE,  # other users' processes, where /proc hides them (hidepid)
        }
    ),
    frozenset({Capability.SYS_ADMIN}),  # the machine's network namespace
)


class Watcher:
    """Hears of processes and tells of those that are tracked."""

    def __init__(self, daemon: socket.socket) -> None:
        self._daemon = Frames(daemon)
        self._census = Census((), self._tell)
        self._events: ProcEvents | None = None
        self._next_look: int | None = None
        """When all are looked at, where there are no events."""
        self._poll = select.poll()

    def serve(self) -> None:
        """Runs until the daemon closes its end."""
        daemon = self._daemon.socket.fileno()
        while True:
            writing = select.POLLOUT if self._daemon.is_behind else 0
            self._poll.register(daemon, select.POLLIN | writing)
            for descriptor, _ in self._poll.poll(self._milliseconds_left()):
                if descriptor != daemon:
                    self._hear_events()
                    continue
                self._daemon.flush()
                try:
                    for message in self._daemon.receive():
                        self._take(pickle.loads(message))
                except Closed:
                    return
            now = time.monotonic_ns()
            self._census.pass_time(now)
            if self._next_look is not None and self._next_look <= now:
                self._next_look = now + POLL_INTERVAL
                self._census.compare_all(now)

    def _take(self, wanted: tuple[TrackProcess, ...]) -> None:
        """Watches these from now on. What happens while they are counted is told twice, or not
        missed."""
        if wanted and self._events is None and self._next_look is None:
            try:
                self._events = ProcEvents()
                self._poll.register(self._events, select.POLLIN)
            except Unavailable as reason:
                self._daemon.send(json.dumps(str(reason)).encode())
                self._next_look = time.monotonic_ns() + POLL_INTERVAL
        elif not wanted:
            if self._events is not None:
                self._poll.unregister(self._events)
                self._events.close()
            self._events = self._next_look = None
        self._census = Census(wanted, self._tell)

    def _hear_events(self) -> None:
        if self._events is None:
            return
        now = time.monotonic_ns()
        try:
            for happening in self._events.read():
                if happening.what == PROC_EVENT_FORK:
                    self._census.forked(happening.parent, happening.pid, now)
                elif happening.what == PROC_EVENT_EXEC:
                    self._census.changed(happening.pid, now)
                else:
                    self._census.exited(happening.pid, now)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._census.count_all()  # some events were lost

    def _tell(self, quorum: Quorum) -> None:
        said = [quorum.wanted.name, quorum.is_reached, quorum.count]
        self._daemon.send(json.dumps(said).encode())

    def _milliseconds_left(self) -> int | None:
        """Until something is due; None is for ever."""
        moments = [each for each in (self._next_look, self._census.next_due()) if each is not None]
        if not moments:
            return None
        return max(0, -(-(min(moments) - time.monotonic_ns()) // 1_000_000))


def main() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever started us may block signals
    keep_only(RIGHTS)
    with socket.socket(fileno=int(sys.argv[1])) as daemon:
        # Signals for the daemon's group are for the daemon, which ends us.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        Watcher(daemon).serve()


if __name__ == "__main__":
    main()
