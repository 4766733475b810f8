"""The daemon's side of metrics: the process that serves them, as the configuration wants it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from fastvrrp.daemon.export_task import Task
from fastvrrp.model import Configuration, Metrics
from fastvrrp.observe.places import Places
from fastvrrp.track.companion import Companion
from fastvrrp.vrrp.follower import Follower

log = logging.getLogger(__name__)


class Exporting(Follower):
    """Has metrics served while the configuration, or the command line, says where."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        run_elsewhere: Callable[[Callable[[], None], Callable[[], None]], None],
        places: Places,
        listen: str | None,
    ) -> None:
        """`listen` is the command line's, and counts more than the configuration's."""
        self._loop = loop
        self._run_elsewhere = run_elsewhere
        self._places = places
        self._listen = listen
        self._companion: Companion | None = None
        self._serves = Metrics()
        self._wanted = Metrics()

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
            self._run_elsewhere(partial(_wait, before), self._start)

    def stop(self) -> None:
        if self._companion is not None:
            self._companion.close()
            self._companion.wait()
            self._companion = None

    def _start(self) -> None:
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
                self._places,
                self._serves.listen,
                self._serves.has_keepalived_names,
                self._serves.web_configuration,
            )
        )


def _wait(companion: Companion) -> None:
    companion.wait()
