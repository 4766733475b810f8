"""The scripts of the daemon's own start and end, which it waits for: nothing else runs then."""

from __future__ import annotations

import logging
import os
import select
import signal
from collections.abc import Collection
from contextlib import suppress
from time import monotonic_ns

from fastvrrp.model import Command, Configuration, Nanoseconds
from fastvrrp.model import Scripts as Settings
from fastvrrp.track.credentials import as_run
from fastvrrp.track.obstacles import obstacle
from fastvrrp.track.runner import describe, spawn
from fastvrrp.vrrp.follower import Follower

log = logging.getLogger(__name__)

LOOK = 100
"""Milliseconds between two looks whether somebody wants the daemon to end."""


class DaemonScripts(Follower):
    """`startup_script` and `shutdown_script`."""

    def __init__(self, settings: Settings, ending: Collection[signal.Signals]) -> None:
        """`ending` are the signals that keep the daemon from starting, where they are blocked."""
        self._settings = settings
        self._ending = ending

    def configure(self, configuration: Configuration) -> None:
        self._settings = configuration.definitions.scripts

    def run_startup(self) -> bool:
        """Runs what comes before everything. False where the daemon is to end instead of going
        on."""
        settings = self._settings
        if settings.startup is None:
            return True
        self._run("startup", settings.startup, settings.startup_timeout)
        return not self._is_to_end()

    def run_shutdown(self) -> None:
        """Runs what comes after everything."""
        settings = self._settings
        if settings.shutdown is not None:
            self._run("shutdown", settings.shutdown, settings.shutdown_timeout)

    def _run(self, which: str, command: Command, timeout: Nanoseconds) -> None:
        """What goes wrong with a script is said, and keeps nobody from going on."""
        program = command.arguments[0]
        try:
            prepared = as_run(command, self._settings)
            why_not = obstacle(prepared)
            if why_not is not None:
                log.error("%s script %s is not run: it %s", which, program, why_not)
                return
            log.info("Running %s script %s", which, program)
            pid = spawn(prepared)
        except (KeyError, OSError) as error:
            log.error("%s script %s cannot be run: %s", which, program, error)
            return
        if not self._wait(pid, timeout):
            log.error("%s script %s did not end in time and is killed", which, program)
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        if status:
            log.warning("%s script %s failed: it %s", which, program, describe(status))

    def _wait(self, pid: int, timeout: Nanoseconds) -> bool:
        """Whether a process has ended in time, and before the daemon is to end."""
        end = monotonic_ns() + timeout
        descriptor = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            while not poll.poll(LOOK):
                if monotonic_ns() > end or self._is_to_end():
                    return False
        finally:
            os.close(descriptor)
        return True

    def _is_to_end(self) -> bool:
        return not signal.sigpending().isdisjoint(self._ending)
