"""The daemon's side of metrics: the process that serves them, as the configuration wants it."""

from __future__ import annotations

import logging

from fastvrrp.daemon.export_task import Task
from fastvrrp.daemon.parent import Parent
from fastvrrp.daemon.ward import Ward
from fastvrrp.model import Configuration, Metrics
from fastvrrp.observe.files import Files
from fastvrrp.vrrp.follower import Follower

log = logging.getLogger(__name__)

LAST_MOMENTS = 5.0
"""Seconds for the end of the process."""


class Exporting(Follower):
    """Has metrics served while the configuration, or the command line, says where."""

    def __init__(self, parent: Parent, files: Files, listen: str | None) -> None:
        """`listen` is the command line's, and counts more than the configuration's."""
        self._parent = parent
        self._files = files
        self._listen = listen
        self._serves = Metrics()
        self._wanted = Metrics()
        # One that runs already has a predecessor's segment open: it is started anew.
        self._ward = Ward(
            parent,
            "exporter",
            "fastvrrp.daemon.exporter",
            "Metrics",
            lambda address: log.info("Serving metrics on %s", address.decode()),
            self._say,
            self._start,
        )

    def configure(self, configuration: Configuration) -> None:
        said = configuration.definitions.metrics
        self._wanted = Metrics(
            self._listen or said.listen, said.has_keepalived_names, said.web_configuration
        )
        if self._ward.is_wanted:
            # A file that the process may not read any more may have changed: new certificates. And
            # one that a predecessor had is not to be told anything where nothing is served.
            if (
                self._wanted != self._serves
                or self._wanted.web_configuration is not None
                or self._wanted.listen is None
            ):
                self._ward.close(LAST_MOMENTS)
        elif not self._ward.is_closing:
            self._start()

    def stop(self) -> None:
        if self._ward.is_wanted and not self._parent.keeps_wards:
            self._wanted = Metrics()
            self._ward.close(LAST_MOMENTS)
            self._ward.wait()

    def _start(self) -> None:
        self._serves = self._wanted
        if self._wanted.listen is not None:
            self._ward.start()

    def _say(self) -> None:
        assert self._serves.listen is not None
        self._ward.send(
            Task(
                self._files,
                self._serves.listen,
                self._serves.has_keepalived_names,
                self._serves.web_configuration,
            )
        )
