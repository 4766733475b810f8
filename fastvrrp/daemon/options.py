"""What the command line says of a daemon, beside the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

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
    umask: int | None = None
    """-u: holds instead of the configuration's."""
    metrics: str | None = None
    """--metrics: where Prometheus asks, instead of what the configuration says."""


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
