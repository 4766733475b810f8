"""What the command line chooses for the daemon, beside the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from fastvrrp.daemon.logs import Destination


class Only(StrEnum):
    """Which half of a configuration is run."""

    BOTH = ""
    VRRP = "vrrp"
    CHECKERS = "checkers"


@dataclass(frozen=True, slots=True)
class Choices:
    """The defaults are those of `fastvrrp run`."""

    log: Destination = field(default_factory=Destination)
    metrics: str | None = None
    """Where Prometheus asks; None is where the configuration says."""
    only: Only = Only.BOTH
    releases_ipvs: bool = True
    """At the end nothing stays in the kernel's IPVS."""
    releases_addresses: bool = True
    """At the end masters' addresses, routes and rules are taken away."""
    umask: int | None = None
    """Of the files that tell of state; None is the configuration's."""
    checkers_pid: Path | None = None
    """Where the process id of the health checkers stands; None is nowhere."""
    dumps_configuration: bool = False
    """It is written into the log at the start."""
    process_name: str | None = None
    """For `ps`, where the configuration says nothing; None leaves the interpreter's."""
    network_namespace: str | None = None
    """In which the daemon was started, by its options."""
