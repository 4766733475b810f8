"""What servers are called in the log, in FIFOs and in mails: keepalived's way."""

from __future__ import annotations

import socket

from fastvrrp.model import (
    BfdCheck,
    Checker,
    FileCheck,
    HttpCheck,
    MiscCheck,
    RealServer,
    SorryServer,
    VirtualServer,
)


def virtual_name(server: VirtualServer) -> str:
    """`[ADDRESS]:PROTOCOL:PORT`, `FWM MARK` or `[GROUP]:PORT`."""
    if server.group is not None:
        return f"[{server.group}]:{server.port}"
    if server.address is None:
        return f"FWM {server.mark}"
    return f"[{address_text(server.address)}]:{_protocol(server)}:{server.port}"


def real_name(virtual: VirtualServer, server: RealServer | SorryServer) -> str:
    """`[ADDRESS]:PROTOCOL:PORT`, with the protocol of the virtual server."""
    return f"[{address_text(server.address)}]:{_protocol(virtual)}:{server.port}"


def target_name(checker: Checker) -> str:
    """What a checker asks: `[ADDRESS]:PORT` with the paths of its URLs, a program, a file.

    Everybody may read it, so it has no arguments of a program and no queries of URLs, where
    passwords stand."""
    if isinstance(checker, FileCheck | BfdCheck):
        return checker.name
    if isinstance(checker, MiscCheck):
        return checker.command.arguments[0]
    text = f"[{address_text(checker.target.address)}]:{checker.target.port}"
    if isinstance(checker, HttpCheck):
        text += "".join(f" {url.path.partition('?')[0]}" for url in checker.urls)
    return text


def kind_name(checker: Checker) -> str:
    """The keyword of a checker, as it was written."""
    if isinstance(checker, HttpCheck) and checker.is_tls:
        return "SSL_GET"
    return str(checker.keyword)


def address_text(address: bytes) -> str:
    """An address in words."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _protocol(server: VirtualServer) -> str:
    return "none" if server.protocol is None else server.protocol.name.lower()
