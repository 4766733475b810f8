"""`umask`: which rights nobody gets to what the daemon and its scripts create."""

from __future__ import annotations

import os

from fastvrrp.model import Configuration
from fastvrrp.track.scripts import Scripts
from fastvrrp.vrrp.follower import Follower


class Umask(Follower):
    """Sets it for the daemon and for the process that runs scripts."""

    def __init__(self, scripts: Scripts, chosen: int | None) -> None:
        """`chosen` is that of the command line, which the configuration does not override."""
        self._scripts = scripts
        self._chosen = chosen

    def configure(self, configuration: Configuration) -> None:
        mask = self._chosen
        if mask is None:
            mask = configuration.definitions.processes.umask
        os.umask(mask)
        self._scripts.mask(mask)
