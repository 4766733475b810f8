"""What one sees of a daemon from outside, through the files that it writes.

Nothing here makes the daemon wait, or needs it to be there: a reader keeps what it has mapped when
the daemon ends, and `is_current` says when there is another one to look at.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from select import select
from typing import Any

from fastvrrp._table import Segment
from fastvrrp.model import SECOND
from fastvrrp.observe import catalogue, details, maintenance, server_events, servers
from fastvrrp.observe.catalogue import Entry
from fastvrrp.observe.details import Details
from fastvrrp.observe.files import Files
from fastvrrp.observe.maintenance import Maintenance
from fastvrrp.observe.servers import Servers

TICKS = os.sysconf("SC_CLK_TCK")
START_TIME = 19
"""Of the fields of /proc/PID/stat behind the name: when the process began, in TICKS since the boot
(proc_pid_stat(5))."""
CLOCK_STEP = 100_000_000
"""Nanoseconds by which the time of the day has to jump before times are told by the new one."""


class NotRunning(Exception):
    """There is no daemon to look at; the text says what was looked for, and what to do."""


class View:
    """One daemon, seen through the files at `files`. Raises NotRunning where there is none, and
    OSError or ValueError where its files cannot be read."""

    def __init__(self, files: Files, pid_file: Path | None = None) -> None:
        """`pid_file` is only for what a person is told."""
        self._files = files
        remedy = (
            "start it with 'fastvrrp run', or name its pid file with --pid"
            f"{f' (now it is {pid_file})' if pid_file is not None else ''}"
        )
        try:
            self._file = os.open(files.segment, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotRunning(f"no daemon runs: there is no {files.segment}; {remedy}") from None
        self.segment = Segment(self._file)
        self._writer = _process(self.segment.pid, self.segment.totals()["started_at"])
        self._details_file = _open(files.details)
        self._catalogue_file = _open(files.routers)
        self._servers_file = _open(files.servers)
        self._wall_offset: int | None = None
        if not self.is_alive:
            pid = self.segment.pid
            self.close()
            raise NotRunning(
                f"no daemon runs: the one of {files.segment} (pid {pid}) has ended without"
                f" tidying up; {remedy}"
            )

    def close(self) -> None:
        more = (self._details_file, self._catalogue_file, self._servers_file)
        for descriptor in (self._file, self._writer, *more):
            if descriptor is not None:
                os.close(descriptor)
        self._writer = self._details_file = self._catalogue_file = self._servers_file = None

    @property
    def is_alive(self) -> bool:
        """Whether the process that writes the segment is there."""
        return self._writer is not None and not select([self._writer], (), (), 0)[0]

    @property
    def is_current(self) -> bool:
        """Whether the files at their places are still these, and their daemon runs."""
        try:
            same = os.path.samestat(self._files.segment.stat(), os.fstat(self._file))
        except FileNotFoundError:
            return False
        return same and self.is_alive

    def follow(self) -> bool:
        """Looks at the daemon that there is now, where this one has ended; whether it does."""
        if self.is_current:
            return False
        try:
            other = View(self._files)
        except (NotRunning, OSError, ValueError):
            return False
        self.__dict__, other.__dict__ = other.__dict__, self.__dict__
        other.close()
        return True

    def now(self) -> int:
        """The segment's clock, in nanoseconds."""
        return time.monotonic_ns()

    @property
    def wall_offset(self) -> int:
        """What makes a time of the day of a time in the segment, in nanoseconds. It stays the same
        while the clock only drifts, so that a time that is told twice is the same."""
        now = time.time_ns() - time.monotonic_ns()
        if self._wall_offset is None or abs(now - self._wall_offset) > CLOCK_STEP:
            self._wall_offset = now
        return self._wall_offset

    def details(self) -> Details:
        """What the daemon has told last; empty where it has told nothing yet."""
        if self._details_file is not None:
            with suppress(ValueError):
                return details.read(self._details_file)
        return Details()

    def maintenance(self) -> Maintenance:
        """Who is not to be master for now, and how long; nobody where that cannot be read."""
        with suppress(OSError, ValueError):
            return maintenance.read(self._files.maintenance)
        return Maintenance()

    def catalogue(self, wanted: int | None = None) -> dict[int, Entry]:
        """What the configuration says of the virtual routers, or of one, by index."""
        if self._catalogue_file is None:
            return {}
        return catalogue.read(self._catalogue_file, wanted)

    def servers(self) -> Servers:
        """The virtual servers, as they were shown last; none where nothing was told yet."""
        if self._servers_file is not None:
            with suppress(ValueError):
                return servers.read(self._servers_file)
        return Servers()

    def server_events(self) -> server_events.Reader:
        """What happens to virtual servers; whoever asks closes it."""
        return server_events.Reader(self._files.server_events)

    def routers(self) -> list[dict[str, Any]]:
        """Every virtual router as the segment has it (`Segment.read`), with its `index`."""
        every = map(self.router, range(self.segment.extent))
        return [record for record in every if record is not None]

    def router(self, index: int) -> dict[str, Any] | None:
        """One of them; None where there is none (any more)."""
        record = self.segment.read(index)
        if record is not None:
            record["index"] = index
        return record


def _process(pid: int, started_at: int) -> int | None:
    """A descriptor of the process with that number, which stays that one's (pidfd_open(2)). None
    where there is none, or where it has begun after `started_at` (nanoseconds of the monotonic
    clock), and has got the number of one that has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    with suppress(FileNotFoundError, ProcessLookupError):  # others' processes may be hidden
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        began = int(stat.rpartition(b")")[2].split()[START_TIME]) * (SECOND // TICKS)
        # That is of the clock that goes on while the machine sleeps.
        slept = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
        if began > started_at + slept + SECOND // TICKS:
            os.close(descriptor)
            return None
    return descriptor


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
