"""The daemon's side of metrics: the process that serves them, as the configuration wants it."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from threading import Thread

from fastvrrp.daemon.export_task import Task
from fastvrrp.model import Configuration, Metrics
from fastvrrp.observe.files import Files
from fastvrrp.track.companion import Companion
from fastvrrp.vrrp.follower import Follower

log = logging.getLogger(__name__)


class Exporting(Follower):
    """Has metrics served while the configuration, or the command line, says where."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        files: Files,
        listen: str | None,
    ) -> None:
        """`listen` is the command line's, and counts more than the configuration's."""
        self._loop = loop
        self._files = files
        self._listen = listen
        self._companion: Companion | None = None
        self._serves = Metrics()
        self._wanted = Metrics()
        self._has_stopped = False

    def configure(self, configuration: Configuration) -> None:
        said = configuration.definitions.metrics
        self._wanted = Metrics(
            self._listen or said.listen, said.has_keepalived_names, said.web_configuration
        )
        # A file that the process may not read any more may have changed: new certificates.
        if self._wanted == self._serves and self._wanted.web_configuration is None:
            return
        before, self._companion = self._companion, None
        if before is None:
            self._start()
        else:
            before.close()
            Thread(target=self._replace, args=(before,), name="exporter's end", daemon=True).start()

    def stop(self) -> None:
        self._has_stopped = True
        if self._companion is not None:
            self._companion.close()
            self._companion.wait()
            self._companion = None

    def _replace(self, before: Companion) -> None:
        """Waits for the end of one that was let go of, in a thread of its own: that may take
        seconds, and the kernel thread has addresses to add."""
        before.wait()
        with suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        if self._has_stopped:
            return
        self._serves = self._wanted
        if self._wanted.listen is None or self._companion is not None:
            return
        self._companion = Companion(
            self._loop,
            "fastvrrp.daemon.exporter",
            "serves metrics",
            lambda address: log.info("Serving metrics on %s", address.decode()),
            self._say,
        )
        self._companion.start()

    def _say(self) -> None:
        assert self._companion is not None
        assert self._serves.listen is not None
        self._companion.send(
            Task(
                self._files,
                self._serves.listen,
                self._serves.has_keepalived_names,
                self._serves.web_configuration,
            )
        )
