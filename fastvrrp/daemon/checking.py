"""The process of health checkers, as vrrpd has it: started with the first virtual server, told of
every configuration, ended at the stop.

It is a ward of the parent, and goes on when vrrpd dies: the next vrrpd tells it everything, and
what is as it was stays. Nothing of it is there for a configuration without virtual servers.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

from fastvrrp.daemon.options import Half, Options, half_of
from fastvrrp.daemon.sealing import Sealed, digests_in, servers_of
from fastvrrp.model import SECOND, Configuration
from fastvrrp.observe.files import Files
from fastvrrp.vrrp.follower import Follower

if TYPE_CHECKING:
    from fastvrrp.daemon.assignment import Part
    from fastvrrp.daemon.parent import Parent
    from fastvrrp.daemon.ward import Ward

log = logging.getLogger(__name__)

SLICE = 1_000_000
"""Nanoseconds of telling in one turn of the loop: adverts come first."""

LAST_MOMENTS = 60.0
"""Seconds for the end of the process: it tells of every real server, and thousands of virtual
servers take the kernel seconds."""


NAME = "checkd"


class Checking(Follower):
    """Vrrpd's end."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: Options, segment: Path, parent: Parent
    ) -> None:
        """`segment` is the path of the state segment."""
        self._loop = loop
        self._parent = parent
        self._notes = segment.with_suffix(".ipvs")
        files = Files.of_segment(segment)
        self._shown, self._events = files.servers, files.server_events
        self._shown.touch(0o644)  # whoever serves metrics opens it once
        self._has_metrics = options.metrics is not None
        self._umask = options.umask
        self._network_namespace = options.network_namespace
        self._log = options.log
        self._releases = options.releases_ipvs
        self._pid_file = options.checkers_pid
        self._configuration = Configuration()
        self._servers: tuple[Sealed, ...] = ()
        self._told: set[bytes] = set()
        """Digests of the virtual servers that the process knows."""
        self._ward: Ward | None = None
        self._parts: Iterator[Part] = iter(())
        self._next_slice: asyncio.Handle | None = None
        self._has_told = False
        """A process was told everything once."""
        self._is_resting = False
        """The process ends because it has nothing to do."""
        self._has_retried = False
        """One was started again because its predecessor had left something in the kernel."""

    def configure(self, configuration: Configuration) -> None:
        # What is of virtual routers is not kept from being forgotten.
        self._configuration = half_of(configuration, Half.CHECKERS)
        self._servers = servers_of(configuration)
        if self._servers:
            self._has_retried = False

    def settle(self) -> Iterator[None]:
        """Has the process told what it does not know."""
        if self._ward is None:
            if self._servers or NAME in self._parent.running_wards:
                self._begin()
        elif self._ward.is_wanted:
            self._tell()
        elif not self._ward.is_closing and self._servers:
            self._ward.start()
        return iter(())

    def dump(self) -> None:
        """Has keepalived_check.data written, where there are virtual servers."""
        from fastvrrp.daemon.assignment import Dump  # noqa: PLC0415 - only where wanted

        if self._ward is not None and self._ward.is_wanted:
            self._ward.send(Dump())

    def farewells(self) -> dict[str, bytes]:
        """What the process is to be told before it ends, so that it leaves what it has in the
        kernel to a successor."""
        if self._ward is None or not self._ward.is_wanted:
            return {}
        from fastvrrp.daemon.assignment import Stop  # noqa: PLC0415 - only where wanted

        return {NAME: pickle.dumps(Stop(releases=False))}

    def stop(self) -> None:
        if self._next_slice is not None:
            self._next_slice.cancel()
        if self._parent.keeps_wards:
            return
        self._is_resting = False
        if self._ward is not None and self._ward.is_closing:
            self._ward.wait()
            self._remove_left(self._ward)
        elif self._ward is not None and self._ward.is_wanted:
            self._end_ward(self._ward)
        self._shown.unlink(missing_ok=True)
        self._events.unlink(missing_ok=True)
        if self._pid_file is not None:
            self._pid_file.unlink(missing_ok=True)

    def _end_ward(self, ward: Ward) -> None:
        """Has it end, and what it had in the kernel removed."""
        self._end(ward)
        if self._has_told or self._parent.is_restart:
            self._remove_left(ward)

    def _remove_left(self, ward: Ward) -> None:
        """Where it died, what it left in the kernel is for another one to remove."""
        if self._has_left:
            self._has_told = True
            ward.start()
            self._told.clear()
            for part in self._all_parts():
                self._send(ward, part)
            self._end(ward)

    @property
    def _has_left(self) -> bool:
        """One has ended without removing what it was to remove."""
        return self._releases and self._notes.exists()

    def _begin(self) -> None:
        from fastvrrp.daemon.ward import Ward  # noqa: PLC0415 - only where wanted

        self._ward = Ward(
            self._parent,
            NAME,
            "fastvrrp.daemon.checkd",
            "Healthcheck",
            lambda _: None,
            self._tell_everything,
            self._on_end,
            shares_stderr=self._log.console,
        )
        self._ward.start()

    def _rest(self, ward: Ward) -> None:
        """Lets the process end, since there is nothing left for it to do."""
        from fastvrrp.daemon.assignment import Stop  # noqa: PLC0415 - only where wanted

        self._has_told = False
        self._is_resting = True
        ward.send(Stop(finishes=True))
        ward.close(LAST_MOMENTS)

    def _on_end(self) -> None:
        """Has one started again that had nothing left to do, where that has changed meanwhile; and
        once where it had died before it was told so, and could remove nothing."""
        if self._pid_file is not None:
            self._pid_file.unlink(missing_ok=True)
        was_resting, self._is_resting = self._is_resting, False
        has_left = was_resting and self._has_left
        retries = has_left and not self._has_retried
        if was_resting and self._ward is not None and (self._servers or retries):
            self._has_retried = not self._servers
            self._has_told = has_left  # who is told now adopts that
            self._ward.start()

    def _end(self, ward: Ward) -> None:
        from fastvrrp.daemon.assignment import Stop  # noqa: PLC0415 - only where wanted

        ward.send(Stop(self._releases))
        waits = self._configuration.definitions.processes.child_wait / SECOND
        ward.close(max(waits, LAST_MOMENTS))
        ward.wait()

    def _tell_everything(self) -> None:
        """The process is a new one."""
        self._told.clear()
        self._tell()

    def _tell(self) -> None:
        """Begins to tell the configuration, and leaves undone what was being told."""
        self._write_pid()
        self._parts = self._all_parts()
        if self._next_slice is None:
            self._next_slice = self._loop.call_soon(self._tell_some)

    def _all_parts(self) -> Iterator[Part]:
        from fastvrrp.daemon.assignment import parts  # noqa: PLC0415 - only where wanted

        adopts = self._has_told or self._parent.is_restart
        from fastvrrp.observe.dumps.files import Dump, place_of  # noqa: PLC0415 - only where wanted

        definitions = self._configuration.definitions
        umask = self._umask if self._umask is not None else definitions.processes.umask
        return parts(
            self._configuration,
            self._servers,
            self._told,
            self._log,
            adopts=adopts,
            notes=self._notes,
            releases=self._releases,
            shown=self._shown,
            is_counted=self._has_metrics or definitions.metrics.listen is not None,
            umask=umask,
            data=place_of(Dump.CHECKERS, definitions, self._network_namespace),
        )

    def _write_pid(self) -> None:
        if self._pid_file is not None and self._ward is not None and self._ward.pid is not None:
            try:
                self._pid_file.write_text(f"{self._ward.pid}\n")
            except OSError as error:
                log.error("%s: %s", self._pid_file, error.strerror)

    def _tell_some(self) -> None:
        assert self._ward is not None
        self._next_slice = None
        until = monotonic_ns() + SLICE
        while monotonic_ns() < until:
            part = next(self._parts, None)
            if part is None:
                self._has_told = True
                if not self._servers and self._ward.pid is not None:
                    self._rest(self._ward)
                return
            self._send(self._ward, part)
        self._next_slice = self._loop.call_soon(self._tell_some)

    def _send(self, ward: Ward, part: Part) -> None:
        from fastvrrp.daemon.assignment import Done, Servers  # noqa: PLC0415 - only where wanted

        ward.send(part)
        if isinstance(part, Servers):
            self._told.update(each.digest for each in part.servers)
        elif isinstance(part, Done):
            self._told = set(digests_in(part.servers))
