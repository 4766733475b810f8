"""Servers for tests of health checkers, on loopback, and a loop that runs until something is so."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from fastvrrp.lvs.check import Check, Verdict
from fastvrrp.lvs.checkers import make
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import MILLISECOND, SECOND, Checker, CheckTarget, CheckTiming

HERE = bytes((127, 0, 0, 1))
PATIENCE = 20.0
"""Seconds, for a machine that is busy with something else."""
BRISK = CheckTiming(20 * MILLISECOND, 2 * SECOND, 2, 10 * MILLISECOND, 0)
"""Asks again and again."""

T = TypeVar("T")
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(story: Coroutine[Any, Any, T]) -> T:
    """Runs a story, which must not wait for ever."""
    return asyncio.run(asyncio.wait_for(story, 3 * PATIENCE))


async def until(condition: Callable[[], object]) -> None:
    """Waits until something is so."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def server(talk: Talk, **options: Any) -> AsyncIterator[int]:
    """A TCP server on 127.0.0.1; its port."""

    async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the check has heard enough
        finally:
            writer.close()

    listening = await asyncio.start_server(whole, "127.0.0.1", 0, **options)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def certified(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that is made now."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "30", "-batch"),
            *("-nodes", "-subj", "/CN=x", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class Answering(asyncio.DatagramProtocol):
    """Answers datagrams."""

    def __init__(self, answer: Callable[[bytes], list[bytes]]) -> None:
        self.heard: list[bytes] = []
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.heard.append(data)
        assert self._transport is not None
        for each in self._answer(data):
            self._transport.sendto(each, addr)


@asynccontextmanager
async def datagrams(answer: Callable[[bytes], list[bytes]]) -> AsyncIterator[tuple[int, Answering]]:
    """A UDP server on 127.0.0.1; its port, and what it heard."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        lambda: Answering(answer), local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1], protocol
    finally:
        transport.close()


@asynccontextmanager
async def asking(checker: Checker, tools: Tools | None = None) -> AsyncIterator[Check]:
    """The one check of a checker."""
    tools = tools or Tools(asyncio.get_running_loop())
    (check,) = make(checker, tools)
    try:
        yield check
    finally:
        check.close()
        tools.close()


async def ask(checker: Checker, tools: Tools | None = None) -> Verdict:
    """What one check finds."""
    async with asking(checker, tools) as check:
        return await check.check()


def target(port: int, **options: Any) -> CheckTarget:
    return CheckTarget(HERE, port, **options)


def unused_port() -> int:
    """A port at which nobody listens."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
