"""What servers are called in the log, in FIFOs and in mails: keepalived's way."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TypeAlias

from fastvrrp.model import RealServer, SorryServer, Transport, VirtualServer

Identity: TypeAlias = tuple[bytes | None, int, int | None, str | None, Transport | None, int | None]
"""Address, port, mark, group, protocol and family."""


def identity_of(server: VirtualServer) -> Identity:
    """What must stay for a virtual server to go on over a reload."""
    return (
        server.address,
        server.port,
        server.mark,
        server.group,
        server.protocol,
        server.family,
    )


def virtual_name(server: VirtualServer) -> str:
    """`[ADDRESS]:PROTOCOL:PORT`, `FWM MARK` or `[GROUP]:PORT`."""
    if server.group is not None:
        return f"[{server.group}]:{server.port}"
    if server.address is None:
        return f"FWM {server.mark}"
    return f"[{ip_address(server.address)}]:{_protocol(server)}:{server.port}"


def real_name(virtual: VirtualServer, server: RealServer | SorryServer) -> str:
    """`[ADDRESS]:PROTOCOL:PORT`, with the protocol of the virtual server."""
    return f"[{ip_address(server.address)}]:{_protocol(virtual)}:{server.port}"


def _protocol(server: VirtualServer) -> str:
    return "none" if server.protocol is None else server.protocol.name.lower()
