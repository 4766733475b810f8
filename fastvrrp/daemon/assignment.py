"""What the process of health checkers is told: its part of a configuration, in parts.

Each part is small enough to be made between two adverts. Begin starts a configuration anew, even in
the middle of another one, and Done has it carried out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fastvrrp.daemon.logs import Destination
from fastvrrp.model import (
    BfdInstance,
    Configuration,
    GlobalDefinitions,
    RealServer,
    TlsClient,
    TrackFile,
    VirtualServer,
    VirtualServerGroup,
)

PART_SERVERS = 16
"""Real servers in one part: to make one takes less than half a millisecond."""
PART_RANGES = 64
"""Lines of a virtual_server_group in one part."""
PART_FILES = 64
"""Of track_file in one part."""


class Begin(NamedTuple):
    """What holds for the whole."""

    definitions: GlobalDefinitions
    tls: TlsClient
    log: Destination
    adopts: bool
    """Another process was here before, and was not to end: what it had in the kernel goes on."""
    notes: Path | None = None
    """File of what is ours in IPVS."""
    releases: bool = True
    """At the end what is in the kernel's IPVS goes, where nobody says anything else."""


class Files(NamedTuple):
    """Some more files and BFD sessions that checkers may name."""

    track_files: tuple[TrackFile, ...]
    bfd_instances: tuple[BfdInstance, ...]


class Group(NamedTuple):
    """A part of a group; parts of one name belong together."""

    group: VirtualServerGroup


class Server(NamedTuple):
    """A virtual server, without its real servers."""

    server: VirtualServer


class RealServers(NamedTuple):
    """Some more real servers of the virtual server that was told last."""

    servers: tuple[RealServer, ...]


class Done(NamedTuple):
    """All was said."""


class Stop(NamedTuple):
    """The daemon stops."""

    releases: bool = True
    """What is in the kernel's IPVS goes."""


Part = Begin | Files | Group | Server | RealServers | Done
Message = Part | Stop


def parts(
    configuration: Configuration,
    log: Destination,
    *,
    adopts: bool,
    notes: Path | None = None,
    releases: bool = True,
) -> Iterator[Part]:
    """A configuration as it is told."""
    definitions = configuration.definitions
    yield Begin(definitions, configuration.tls_client, log, adopts, notes, releases)
    yield Files((), configuration.bfd_instances)
    for start in range(0, len(configuration.track_files), PART_FILES):
        yield Files(configuration.track_files[start : start + PART_FILES], ())
    for group in configuration.virtual_server_groups:
        yield Group(VirtualServerGroup(group.name))
        for start in range(0, len(group.marks), PART_RANGES):
            marks = group.marks[start : start + PART_RANGES]
            yield Group(VirtualServerGroup(group.name, marks=marks))
        for start in range(0, len(group.ranges), PART_RANGES):
            yield Group(VirtualServerGroup(group.name, group.ranges[start : start + PART_RANGES]))
    for server in configuration.virtual_servers:
        yield Server(replace(server, real_servers=()))
        for start in range(0, len(server.real_servers), PART_SERVERS):
            yield RealServers(server.real_servers[start : start + PART_SERVERS])
    yield Done()


class Assignment:
    """A configuration that was told, or is being told."""

    def __init__(self, begin: Begin) -> None:
        self.begin = begin
        self._files: list[TrackFile] = []
        self._sessions: list[BfdInstance] = []
        self._ranges: dict[str, list[VirtualServerGroup]] = {}
        self._servers: list[tuple[VirtualServer, list[RealServer]]] = []

    def take(self, part: Files | Group | Server | RealServers) -> None:
        """One more part."""
        match part:
            case Files(track_files, bfd_instances):
                self._files += track_files
                self._sessions += bfd_instances
            case Group(group):
                self._ranges.setdefault(group.name, []).append(group)
            case Server(server):
                self._servers.append((server, []))
            case RealServers(servers):
                self._servers[-1][1].extend(servers)

    @property
    def configuration(self) -> Configuration:
        """All that was told, put together."""
        return Configuration(
            definitions=self.begin.definitions,
            track_files=tuple(self._files),
            bfd_instances=tuple(self._sessions),
            virtual_server_groups=tuple(
                VirtualServerGroup(
                    name,
                    tuple(chain(*(part.ranges for part in found))),
                    tuple(chain(*(part.marks for part in found))),
                )
                for name, found in self._ranges.items()
            ),
            virtual_servers=tuple(
                replace(server, real_servers=tuple(real)) for server, real in self._servers
            ),
            tls_client=self.begin.tls,
        )
