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
from fastvrrp.model import SECOND, Configuration
from fastvrrp.observe.files import Files
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
        self._shown = Files.of_segment(segment).servers
        self._shown.touch(0o644)  # whoever serves metrics opens it once
        self._has_metrics = options.metrics is not None
        self._log = options.log
        self._releases = options.releases_ipvs
        self._pid_file = options.checkers_pid
        self._configuration = Configuration()
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

    def settle(self) -> Iterator[None]:
        """Has the process told what is different now; it hears everything and finds out itself."""
        if self._companion is not None:
            self._tell()
        elif self._configuration.virtual_servers:
            self._begin()
        return iter(())

    def stop(self) -> None:
        if self._companion is None:
            self._shown.unlink(missing_ok=True)
            return
        if self._next_slice is not None:
            self._next_slice.cancel()
        self._end(self._companion)
        if self._has_told and self._releases and self._notes.exists():
            # It died, and what it left in the kernel is for another one to remove.
            successor = self._begin()
            for part in self._parts:
                successor.send(part)
            self._end(successor)
        self._shown.unlink(missing_ok=True)
        if self._pid_file is not None:
            self._pid_file.unlink(missing_ok=True)

    def _begin(self) -> Companion:
        from fastvrrp.track.companion import Companion  # noqa: PLC0415 - only where wanted

        self._companion = Companion(
            self._loop,
            "fastvrrp.daemon.checkd",
            "checks real servers",
            lambda _: None,
            self._tell,
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

    def _tell(self) -> None:
        """Begins to tell the configuration, and leaves undone what was being told."""
        from fastvrrp.daemon.assignment import parts  # noqa: PLC0415 - only where wanted

        self._write_pid()
        definitions = self._configuration.definitions
        self._parts = parts(
            self._configuration,
            self._log,
            adopts=self._has_told,
            notes=self._notes,
            shown=self._shown,
            is_counted=self._has_metrics or definitions.metrics.listen is not None,
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
            self._companion.send(part)
        self._next_slice = self._loop.call_soon(self._tell_some)
