"""Virtual servers on their way to the process that checks real servers: pickled once, by whoever
reads the configuration, and opened there.

The process that speaks VRRP passes them on, and knows of each its digest: what has not changed is
neither told nor looked at. Thousands of models would take it tens of milliseconds at a reload, and
an advert may be due meanwhile.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import fields, replace
from hashlib import blake2b
from io import BytesIO
from typing import NamedTuple

from fastvrrp.model import Configuration, VirtualServer
from fastvrrp.model.frozen import dataclass

DIGEST_SIZE = 16


class Sealed(NamedTuple):
    """A virtual server; equal ones have equal digests, and as good as no others."""

    digest: bytes
    pickled: bytes


@dataclass(frozen=True, slots=True)
class SealedConfiguration(Configuration):
    """A configuration whose virtual servers are sealed."""

    sealed_servers: tuple[Sealed, ...] = ()
    """In the order of the file; `virtual_servers` is empty."""


class Sealer:
    """Seals virtual servers; one that is still the same object is as it was."""

    def __init__(self) -> None:
        self._buffer = BytesIO()
        self._pickler = pickle.Pickler(self._buffer, pickle.HIGHEST_PROTOCOL)
        self._known: dict[int, tuple[VirtualServer, Sealed]] = {}

    def seal(self, servers: Sequence[VirtualServer]) -> list[Sealed]:
        """All that there are."""
        before = self._known
        # What is kept is known by its place in memory, which is nobody else's while it is kept.
        self._known = {
            id(server): before.get(id(server)) or (server, self._sealed(server))
            for server in servers
        }
        return [self._known[id(server)][1] for server in servers]

    def _sealed(self, server: VirtualServer) -> Sealed:
        self._buffer.seek(0)
        self._buffer.truncate()
        self._pickler.clear_memo()  # each is opened by itself
        self._pickler.dump(server)
        pickled = self._buffer.getvalue()
        return Sealed(blake2b(pickled, digest_size=DIGEST_SIZE).digest(), pickled)


def seal(servers: Sequence[VirtualServer]) -> list[Sealed]:
    """All of them."""
    return Sealer().seal(servers)


def opened(sealed: Sealed) -> VirtualServer:
    """The model again."""
    server = pickle.loads(sealed.pickled)
    assert isinstance(server, VirtualServer)
    return server


def with_servers(configuration: Configuration, servers: tuple[Sealed, ...]) -> Configuration:
    """A configuration with these virtual servers instead of its own."""
    if not servers:
        return replace(configuration, virtual_servers=())
    values = {each.name: getattr(configuration, each.name) for each in fields(Configuration)}
    return SealedConfiguration(**values | {"virtual_servers": ()}, sealed_servers=servers)


def servers_of(configuration: Configuration) -> tuple[Sealed, ...]:
    """The virtual servers of a configuration, which are sealed here where they are not yet."""
    if isinstance(configuration, SealedConfiguration):
        return configuration.sealed_servers
    return tuple(seal(configuration.virtual_servers))


def digests_of(configuration: Configuration) -> bytes:
    """The digests of its virtual servers, one after the other."""
    return b"".join([each.digest for each in servers_of(configuration)])


def digests_in(joined: bytes | bytearray) -> list[bytes]:
    """Digests that stand one after the other."""
    return [
        bytes(joined[start : start + DIGEST_SIZE]) for start in range(0, len(joined), DIGEST_SIZE)
    ]
