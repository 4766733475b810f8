"""What the command line says of a daemon, beside the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from fastvrrp.daemon.logs import Destination
from fastvrrp.model import Configuration


class Half(Enum):
    """What of a configuration is run."""

    BOTH = "both"
    VRRP = "vrrp"
    """-P: virtual routers alone."""
    CHECKERS = "checkers"
    """-C: virtual servers and their checks alone."""


@dataclass(frozen=True, slots=True)
class Options:
    """One daemon's."""

    log: Destination = field(default_factory=Destination)
    half: Half = Half.BOTH
    releases_ipvs: bool = True
    """False with -I: what is in the kernel's IPVS stays there at the end."""
    releases_addresses: bool = True
    """False with -V of keepalived: masters' addresses, routes and rules stay there at the end."""
    metrics: str | None = None
    """--metrics: where Prometheus asks, instead of what the configuration says."""
    umask: int | None = None
    """-u: holds instead of the configuration's."""
    checkers_pid: Path | None = None
    """Where the process id of the health checkers stands; None is nowhere."""
    dumps_configuration: bool = False
    """It is written into the log at the start."""
    process_name: str | None = None
    """For `ps`, where the configuration says nothing; None leaves the interpreter's."""
    parent_name: str = "fastvrrp"
    """The parent's, where the configuration says nothing."""
    network_namespace: str | None = None
    """In which the daemon was started, by its options."""


def half_of(configuration: Configuration, half: Half) -> Configuration:
    """A configuration without what is not run."""
    if half is Half.BOTH:
        return configuration
    servers = Configuration(
        definitions=configuration.definitions,
        track_files=configuration.track_files,
        bfd_instances=configuration.bfd_instances,
        virtual_server_groups=configuration.virtual_server_groups,
        virtual_servers=configuration.virtual_servers,
        tls_client=configuration.tls_client,
    )
    if half is Half.CHECKERS:
        return servers
    return replace(configuration, virtual_servers=(), virtual_server_groups=())
