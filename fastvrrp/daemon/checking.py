"""The process of health checkers, as the daemon has it: started with the first virtual server, told
of every configuration, started again when it dies, ended at the stop.

Nothing of it is there for a configuration without virtual servers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

from fastvrrp.daemon.options import Half, Options, half_of
from fastvrrp.daemon.sealing import Sealed, digests_in, servers_of
from fastvrrp.model import SECOND, Configuration
from fastvrrp.vrrp.follower import Follower

if TYPE_CHECKING:
    from fastvrrp.daemon.assignment import Part
    from fastvrrp.track.companion import Companion

log = logging.getLogger(__name__)

SLICE = 1_000_000
"""Nanoseconds of telling in one turn of the loop: adverts come first."""

LAST_MOMENTS = 60.0
"""Seconds for the end of the process: it tells of every real server, and thousands of virtual
servers take the kernel seconds."""


class Checking(Follower):
    """The daemon's end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, options: Options, segment: Path) -> None:
        """`segment` is the path of the state segment."""
        self._loop = loop
        self._notes = segment.with_suffix(".ipvs")
        self._log = options.log
        self._releases = options.releases_ipvs
        self._pid_file = options.checkers_pid
        self._configuration = Configuration()
        self._servers: tuple[Sealed, ...] = ()
        self._told: set[bytes] = set()
        """Digests of the virtual servers that the process knows."""
        self._companion: Companion | None = None
        self._parts: Iterator[Part] = iter(())
        self._next_slice: asyncio.Handle | None = None
        self._has_told = False
        """A process was told everything once: the next one goes on where it ended."""

    @property
    def pid(self) -> int | None:
        """The process; None where none runs."""
        return self._companion.pid if self._companion is not None else None

    def configure(self, configuration: Configuration) -> None:
        before = self._configuration.definitions.namespaces.ipvs
        if self._has_told and configuration.definitions.namespaces.ipvs != before:
            log.warning(
                "net_namespace_ipvs cannot be changed by a reload: virtual servers stay in %s until"
                " the daemon is started anew",
                before or "the network namespace that it was started in",
            )
        # What is of virtual routers is not kept from being forgotten.
        self._configuration = half_of(configuration, Half.CHECKERS)
        self._servers = servers_of(configuration)

    def settle(self) -> Iterator[None]:
        """Has the process told what it does not know."""
        if self._companion is not None:
            self._tell()
        elif self._servers:
            self._begin()
        return iter(())

    def stop(self) -> None:
        if self._companion is None:
            return
        if self._next_slice is not None:
            self._next_slice.cancel()
        self._end(self._companion)
        if self._has_told and self._releases and self._notes.exists():
            # It died, and what it left in the kernel is for another one to remove.
            successor = self._begin()
            for part in self._parts:
                self._send(successor, part)
            self._end(successor)
        if self._pid_file is not None:
            self._pid_file.unlink(missing_ok=True)

    def _begin(self) -> Companion:
        from fastvrrp.track.companion import Companion  # noqa: PLC0415 - only where wanted

        self._companion = Companion(
            self._loop,
            "fastvrrp.daemon.checkd",
            "checks real servers",
            lambda _: None,
            self._tell_everything,
            shares_stderr=self._log.console,
        )
        self._companion.start()
        return self._companion

    def _end(self, companion: Companion) -> None:
        from fastvrrp.daemon.assignment import Stop  # noqa: PLC0415 - only where wanted

        companion.send(Stop(self._releases))
        companion.close()
        waits = self._configuration.definitions.processes.child_wait / SECOND
        companion.wait(max(waits, LAST_MOMENTS))

    def _tell_everything(self) -> None:
        """The process is a new one."""
        self._told.clear()
        self._tell()

    def _tell(self) -> None:
        """Begins to tell the configuration, and leaves undone what was being told."""
        from fastvrrp.daemon.assignment import parts  # noqa: PLC0415 - only where wanted

        self._write_pid()
        self._parts = parts(
            self._configuration,
            self._servers,
            self._told,
            self._log,
            adopts=self._has_told,
            notes=self._notes,
        )
        if self._next_slice is None:
            self._next_slice = self._loop.call_soon(self._tell_some)

    def _write_pid(self) -> None:
        if self._pid_file is not None:
            try:
                self._pid_file.write_text(f"{self.pid}\n")
            except OSError as error:
                log.error("%s: %s", self._pid_file, error.strerror)

    def _tell_some(self) -> None:
        assert self._companion is not None
        self._next_slice = None
        until = monotonic_ns() + SLICE
        while monotonic_ns() < until:
            part = next(self._parts, None)
            if part is None:
                self._has_told = True
                return
            self._send(self._companion, part)
        self._next_slice = self._loop.call_soon(self._tell_some)

    def _send(self, companion: Companion, part: Part) -> None:
        from fastvrrp.daemon.assignment import Done, Servers  # noqa: PLC0415 - only where wanted

        companion.send(part)
        if isinstance(part, Servers):
            self._told.update(each.digest for each in part.servers)
        elif isinstance(part, Done):
            self._told = set(digests_in(part.servers))
