"""What the process that serves metrics is told by the daemon, which imports no more of it."""

from __future__ import annotations

import socket
from typing import NamedTuple

from fastvrrp.observe.places import Places


class Task(NamedTuple):
    """What the process is to do."""

    places: Places
    listen: str
    has_keepalived_names: bool
    web_configuration: str | None


def address_of(listen: str) -> tuple[int, tuple[str, int]]:
    """Family and address of [ADDRESS]:PORT; none is loopback, and * is every address."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if host == "*":
        host = "::"
    host = host or "127.0.0.1"
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port))
