"""What the process of health checkers is told: its part of a configuration, in parts.

Each part is small enough to be made between two adverts. Begin starts a configuration anew, even in
the middle of another one, and Done has it carried out. Of virtual servers only those are told that
the process has not been told before: it keeps what it was told until a Done does not name it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from fastvrrp.daemon.logs import Destination
from fastvrrp.daemon.sealing import Sealed, digests_in, opened
from fastvrrp.model import (
    BfdInstance,
    Configuration,
    GlobalDefinitions,
    TlsClient,
    TrackFile,
    VirtualServer,
    VirtualServerGroup,
)

PART_SIZE = 1 << 16
"""Bytes of sealed virtual servers in one part, or a single one that is longer."""
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
    shown: Path | None = None
    """File of what others may see (observe/servers)."""
    is_counted: bool = False
    """That has what IPVS counts, too: it is for metrics."""
    umask: int = 0o077
    data: Path | None = None
    """Where keepalived_check.data goes."""


class Files(NamedTuple):
    """Some more files and BFD sessions that checkers may name."""

    track_files: tuple[TrackFile, ...]
    bfd_instances: tuple[BfdInstance, ...]


class Group(NamedTuple):
    """A part of a group; parts of one name belong together."""

    group: VirtualServerGroup


class Servers(NamedTuple):
    """Some more virtual servers."""

    servers: tuple[Sealed, ...]


class Done(NamedTuple):
    """All was said."""

    servers: bytes = b""
    """Digests of all virtual servers, one after the other, in the order of the file."""


class Stop(NamedTuple):
    """The daemon stops."""

    releases: bool = True
    """What is in the kernel's IPVS goes."""
    finishes: bool = False
    """What was told before is carried out first."""


class Dump(NamedTuple):
    """keepalived_check.data is to be written."""


Part = Begin | Files | Group | Servers | Done
Message = Part | Stop | Dump


def parts(
    configuration: Configuration,
    servers: Sequence[Sealed],
    known: Container[bytes],
    log: Destination,
    *,
    adopts: bool,
    notes: Path | None = None,
    releases: bool = True,
    shown: Path | None = None,
    is_counted: bool = False,
    umask: int = 0o077,
    data: Path | None = None,
) -> Iterator[Part]:
    """A configuration as it is told, with its virtual servers; `known` are digests of those that
    were told before."""
    definitions, tls = configuration.definitions, configuration.tls_client
    yield Begin(definitions, tls, log, adopts, notes, releases, shown, is_counted, umask, data)
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
    part: list[Sealed] = []
    size = 0
    for server in servers:
        if server.digest in known:
            continue
        if part and size + len(server.pickled) > PART_SIZE:
            yield Servers(tuple(part))
            part, size = [], 0
        part.append(server)
        size += len(server.pickled)
    if part:
        yield Servers(tuple(part))
    yield Done(b"".join([server.digest for server in servers]))


class Assignment:
    """A configuration that was told, or is being told."""

    def __init__(self, begin: Begin, known: dict[bytes, VirtualServer]) -> None:
        """`known` are the virtual servers that were told before, by their digests: those that come
        are added, and those that are wanted no more go at the end."""
        self.begin = begin
        self._known = known
        self._files: list[TrackFile] = []
        self._sessions: list[BfdInstance] = []
        self._ranges: dict[str, list[VirtualServerGroup]] = {}
        self._servers: tuple[VirtualServer, ...] = ()
        self.is_whole = False
        """Done was told, and every virtual server is known. Otherwise a part of it was told to a
        predecessor that has died since, and everything will be told anew."""

    def take(self, part: Files | Group | Servers | Done) -> None:
        """One more part."""
        match part:
            case Files(track_files, bfd_instances):
                self._files += track_files
                self._sessions += bfd_instances
            case Group(group):
                self._ranges.setdefault(group.name, []).append(group)
            case Servers(servers):
                for server in servers:
                    if server.digest not in self._known:
                        self._known[server.digest] = opened(server)
            case Done(servers):
                self._finish(digests_in(servers))

    def _finish(self, digests: list[bytes]) -> None:
        wanted = set(digests)
        self.is_whole = wanted <= self._known.keys()
        if self.is_whole:
            self._servers = tuple([self._known[digest] for digest in digests])
            for digest in self._known.keys() - wanted:
                del self._known[digest]

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
            virtual_servers=self._servers,
            tls_client=self.begin.tls,
        )
