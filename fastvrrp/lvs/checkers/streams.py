"""Connections over which a check talks: HTTP_GET, SSL_GET, SMTP_CHECK."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from fastvrrp.lvs.check import CannotCheckError
from fastvrrp.lvs.checkers.sockets import LOCAL_TROUBLE, Route, describe
from fastvrrp.model import SECOND, CheckTiming

BUFFER = 1 << 16
"""Bytes of an answer that wait to be looked at; the kernel holds the server up meanwhile."""

T = TypeVar("T")


class NoConnectionError(Exception):
    """The server did not take the connection, or TLS did not come about; says why."""


class QuietError(Exception):
    """The server said nothing for too long."""


class Patience:
    """How long a talk may take: each step `connect_timeout`, and all of it that or `delay_loop`, by
    which time it would be asked again."""

    def __init__(self, timing: CheckTiming) -> None:
        self.step = timing.connect_timeout / SECOND
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + max(timing.connect_timeout, timing.interval) / SECOND

    async def of(self, step: Coroutine[Any, Any, T]) -> T:
        """Does one step. Raises QuietError where it takes too long."""
        limit = min(self.step, self._end - self._loop.time())
        try:
            async with asyncio.timeout(limit):
                return await step
        except TimeoutError as error:
            raise QuietError("timed out") from error


class Stream:
    """A connection that was made."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, patience: Patience
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._patience = patience

    async def write(self, data: bytes) -> None:
        """Raises QuietError where the server takes nothing, OSError where it has closed."""
        self._writer.write(data)
        await self._patience.of(self._writer.drain())

    async def read(self) -> bytes:
        """What comes next; nothing at the end. Raises QuietError, OSError."""
        return await self._patience.of(self._reader.read(BUFFER))

    async def end_tls(self) -> None:
        """Ends TLS as the protocol has it, with its close_notify, if the server goes along."""
        self._writer.close()
        with suppress(QuietError, OSError):
            await self._patience.of(self._writer.wait_closed())


@asynccontextmanager
async def connected(
    route: Route,
    timing: CheckTiming,
    context: ssl.SSLContext | None = None,
    name: str | None = None,
) -> AsyncIterator[Stream]:
    """Connects, with TLS where there is a context; `name` is said by SNI. However it is left, it is
    closed at once. Raises CannotCheckError and NoConnectionError."""
    patience = Patience(timing)
    with socket.socket(fileno=route.open(socket.SOCK_STREAM).detach()) as opened:
        await _connect(route, opened, patience)
        reader = asyncio.StreamReader(limit=BUFFER)
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            own = opened.dup()
        except OSError as error:  # no descriptor is left, which says nothing of the server
            raise CannotCheckError(f"{route.text}: {describe(error)}") from error
        transport = await _start(own, protocol, patience, context, name)
    try:
        loop = asyncio.get_running_loop()
        yield Stream(reader, asyncio.StreamWriter(transport, protocol, reader, loop), patience)
    finally:
        transport.abort()


async def _connect(route: Route, opened: socket.socket, patience: Patience) -> None:
    loop = asyncio.get_running_loop()
    try:
        await patience.of(_as_coroutine(loop, opened, route))
    except QuietError as error:
        raise NoConnectionError("timed out") from error
    except OSError as error:
        if error.errno in LOCAL_TROUBLE:
            raise CannotCheckError(f"{route.text}: {describe(error)}") from error
        raise NoConnectionError(describe(error)) from error


async def _as_coroutine(
    loop: asyncio.AbstractEventLoop, opened: socket.socket, route: Route
) -> None:
    await loop.sock_connect(opened, route.destination)


async def _start(
    opened: socket.socket,
    protocol: asyncio.StreamReaderProtocol,
    patience: Patience,
    context: ssl.SSLContext | None,
    name: str | None,
) -> asyncio.Transport:
    """The transport of a socket, which is its own from now on."""
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {}
    if context is not None:
        options = {
            "ssl": context,
            "server_hostname": name or "",
            "ssl_handshake_timeout": patience.step + 1,  # it is cut before
        }
    try:
        transport, _ = await patience.of(
            loop.create_connection(lambda: protocol, sock=opened, **options)
        )
    except BaseException as error:
        opened.close()
        if isinstance(error, QuietError):
            raise NoConnectionError("TLS: timed out") from error
        if isinstance(error, ssl.SSLError):
            raise NoConnectionError(f"TLS: {error.reason or error}") from error
        if isinstance(error, OSError):
            raise NoConnectionError(f"TLS: {describe(error)}") from error
        raise
    return transport
