"""Sockets of checks: where they come from (`bindto`, `bind_if`, `bind_port`), and their mark.

This is the one place where checks open sockets. None of them ever waits.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from socket import SocketType  # the type under socket.socket, which takes a third of the time

from fastvrrp.lvs.check import CannotCheckError
from fastvrrp.model import CheckTarget

FLAGS = socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
SO_BINDTODEVICE = socket.SO_BINDTODEVICE
LOCAL_TROUBLE = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EADDRNOTAVAIL,
        errno.EADDRINUSE,
        errno.EAFNOSUPPORT,
        errno.ENODEV,
        errno.EPERM,
    }
)
"""Errors of socket(2), bind(2) and setsockopt(2) that say nothing of the target."""


class Route:
    """How one target is reached; made once, used for every check of it."""

    __slots__ = ("_interface", "_mark", "_options", "_source", "family", "target", "text")

    def __init__(self, target: CheckTarget) -> None:
        self.family = socket.AF_INET if len(target.address) == 4 else socket.AF_INET6
        host = socket.inet_ntop(self.family, target.address)
        self.text = f"[{host}]:{target.port}"
        """As keepalived writes it."""
        self.target: tuple[str, int] | tuple[str, int, int, int] = (host, target.port)
        self._interface = target.interface
        self._mark = target.mark
        self._source: tuple[str, int] | None = None
        if target.source_address is not None or target.source_port:
            source = target.source_address or bytes(len(target.address))
            self._source = socket.inet_ntop(self.family, source), target.source_port
        if self.family == socket.AF_INET6:
            self.target = (host, target.port, 0, 0)
        self._options = bool(self._source or self._mark or self._interface)

    def open(self, kind: int, protocol: int = 0) -> SocketType:
        """A socket of a kind (SOCK_*) that does not block. Raises CannotCheckError."""
        made: SocketType | None = None
        try:
            made = SocketType(self.family, kind | FLAGS, protocol)
            if self._options:
                self._set_up(made)
        except OSError as error:
            if made is not None:
                made.close()
            raise CannotCheckError(f"{self.text}: {describe(error)}") from error
        return made

    @property
    def way(self) -> tuple[object, ...]:
        """Equal for targets that one socket serves."""
        return self.family, self._source, self._interface, self._mark

    @property
    def destination(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """What connect(2) takes. An interface that was made anew has another number."""
        if self._interface is None or self.family != socket.AF_INET6:
            return self.target
        try:
            return (*self.target[:2], 0, socket.if_nametoindex(self._interface))
        except OSError as error:
            raise CannotCheckError(f"{self.text}: there is no {self._interface}") from error

    def _set_up(self, made: SocketType) -> None:
        if self._mark:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, self._mark)
        if self._interface is not None:
            made.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, self._interface.encode())
        if self._source is None:
            return
        if self._source[1]:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if self.family == socket.AF_INET6:
            made.bind((*self._source, 0, self.destination[3] if len(self.destination) == 4 else 0))
        else:
            if not self._source[1]:
                made.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            made.bind(self._source)


IP_BIND_ADDRESS_NO_PORT = 24
"""linux/in.h: the port is chosen when the socket is connected, so that one serves many targets."""


def describe(error: OSError) -> str:
    """What an error says."""
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or type(error).__name__
