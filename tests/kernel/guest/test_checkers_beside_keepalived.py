"""What servers see of health checks: the same from fastvrrp and from keepalived, to the byte.

Every server answers well and badly by the number of the question, so both histories are the same
until both checkers did differently. Badly is a wrong answer, or none at all until the checker has
had enough. What lies between two questions is told as delay_loop (L) or delay_before_retry (r).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from checker_lab import Talk, certified, server
from fastvrrp.config import read
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.lvs.patrol import Patrol
from fastvrrp.track.scripts import Scripts

pytestmark = [
    pytest.mark.skipif("FASTVRRP_GUEST" not in os.environ, reason="keepalived needs IPVS"),
    pytest.mark.timeout(300),
]

ENOUGH = 12
"""Questions of each kind that are compared."""
BAD = range(4, 8)
"""Questions that are answered badly, from 0."""
BETWEEN = 1.9
"""Seconds; delay_before_retry is less, and delay_loop more."""
TIMES = {False: "delay_loop 3\n warmup 0\n connect_timeout 10"}
TIMES[True] = TIMES[False].replace("10", "1")
"""Of servers that answer wrongly, and of those that do not answer."""
RETRY = "retry 2\n delay_before_retry 0.3"
OF_POOLS = ("Activating", "Adding", "Removing", "Shutting", "Gained", "Lost")
"""How lines begin that are no checker's."""
CHECKERS = {
    "http": f"HTTP_GET {{\n {RETRY}\n url {{\n path /a\n }}\n }}",
    "urls": f"HTTP_GET {{\n {RETRY}\n url {{\n path /a\n }}\n url {{\n path /b\n }}\n }}",
    "fast": f"HTTP_GET {{\n {RETRY}\n http_protocol 1.1\n fast_recovery\n url {{\n path /a\n }}\n"
    " url {\n path /b\n }\n }",
    "smtp": f"SMTP_CHECK {{\n {RETRY}\n }}",
    "name": f"SMTP_CHECK {{\n {RETRY}\n helo_name me.example\n }}",
    "udp": f"UDP_CHECK {{\n {RETRY}\n payload 0102\n require_reply 6f6b\n }}",
    "dns": f"DNS_CHECK {{\n {RETRY}\n name www.example\n type A\n }}",
    "misc": f"MISC_CHECK {{\n {RETRY}\n misc_path SCRIPT\n misc_timeout TIMEOUT\n user root\n }}",
    "silent": f"UDP_CHECK {{\n {RETRY}\n payload 0102\n connect_timeout 1\n }}",
    "tls": f"SSL_GET {{\n {RETRY}\n http_protocol 1.1\n fast_recovery\n virtualhost a.example\n"
    " enable_sni\n url {\n path /a\n }\n url {\n path /b\n }\n }",
}
"""`silent` answers nothing, which is no failure without `require_reply`."""

Seen = dict[str, list[tuple[float, bytes]]]


class Servers:
    """One server of each kind, and what each of them was asked."""

    def __init__(self, folder: Path, is_mute: bool) -> None:
        """With `is_mute` what is bad is no answer."""
        self._folder = folder
        self.is_mute = is_mute
        self.seen: Seen = {kind: [] for kind in CHECKERS}
        self.ports: dict[str, int] = {}
        self.script = folder / "script"
        self.said: list[str] = []
        """What the checker's log had, without dates."""
        self._log = folder / "log"
        self._log.touch()
        bad = "|".join(map(str, BAD))
        self.script.write_text(
            f"#!/bin/sh\nn=$(wc -l <{self._log})\ndate +%s.%N >>{self._log}\n"
            f"case $n in {bad}) {'sleep 60' if is_mute else 'exit 3'};; esac\nexit 0\n"
        )
        self.script.chmod(0o755)

    def ask(self, kind: str, question: bytes) -> bool:
        """Whether this question is answered well."""
        asked = self.seen[kind]
        asked.append((time.monotonic(), re.sub(rb":\d+\r", b":PORT\r", question)))
        return len(asked) - 1 not in BAD

    def count_runs(self) -> None:
        """Takes in when the script ran."""
        runs = self._log.read_text().split()
        self.seen["misc"] = [(float(moment), b"run") for moment in runs]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for kind in ("http", "urls", "fast"):
                self.ports[kind] = await stack.enter_async_context(server(self._http(kind)))
            tls = certified(self._folder)
            self.ports["tls"] = await stack.enter_async_context(server(self._http("tls"), ssl=tls))
            for kind in ("smtp", "name"):
                self.ports[kind] = await stack.enter_async_context(server(self._smtp(kind)))
            for kind in ("udp", "dns", "silent"):
                loop = asyncio.get_running_loop()
                transport, _ = await loop.create_datagram_endpoint(
                    lambda kind=kind: Datagrams(lambda data: self._answer(kind, data)),  # type: ignore[misc]
                    local_addr=("127.0.0.1", 0),
                )
                stack.callback(transport.close)
                self.ports[kind] = transport.get_extra_info("sockname")[1]
            self.ports["misc"] = 9
            yield

    def _http(self, kind: str) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            status = "200" if self.ask(kind, await reader.readuntil(b"\r\n\r\n")) else "500"
            if status == "500" and self.is_mute:
                await reader.read()
            else:
                writer.write(f"HTTP/1.1 {status} Word\r\n\r\nhello".encode())

        return talk

    def _smtp(self, kind: str) -> Talk:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 hi\r\n")
            is_good = self.ask(kind, await reader.readline())
            if not is_good and self.is_mute:
                await reader.read()
                return
            writer.write(b"250 ok\r\n" if is_good else b"550 no\r\n")
            last = await reader.readline()
            moment, first = self.seen[kind][-1]
            self.seen[kind][-1] = moment, first + last
            writer.write(b"221 bye\r\n")

        return talk

    def _answer(self, kind: str, data: bytes) -> bytes:
        is_good = self.ask(kind, data[2:] if kind == "dns" else data)
        if kind == "silent" or (self.is_mute and not is_good):
            return b""
        if kind == "udp":
            return b"ok" if is_good else b"no"
        return data[:2] + (b"\x81\x80" if is_good else b"\x81\x82") + data[4:]


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes], bytes]) -> None:
        self._answer = answer
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert self._transport is not None
        answer = self._answer(data)
        if answer:
            self._transport.sendto(answer, addr)


def configuration(servers: Servers) -> str:
    return "".join(
        f"virtual_server 10.1.0.{number} 80 {{\n lvs_sched rr\n lvs_method NAT\n protocol TCP\n"
        f" {TIMES[servers.is_mute]}\n real_server 127.0.0.1 {servers.ports[kind]} {{\n"
        f" {checker.replace('SCRIPT', str(servers.script))}\n }}\n}}\n".replace(
            "TIMEOUT", "1" if servers.is_mute else "20"
        )
        for number, (kind, checker) in enumerate(CHECKERS.items(), 1)
    )


def enough(servers: Servers) -> bool:
    servers.count_runs()
    return all(len(seen) >= ENOUGH for seen in servers.seen.values())


async def seen_of_keepalived(folder: Path, is_mute: bool) -> Servers:
    servers = Servers(folder, is_mute)
    async with servers.running():
        path = folder / "keepalived.conf"
        path.write_text(configuration(servers))
        with (folder / "log.txt").open("wb") as log:
            daemon = subprocess.Popen(
                [
                    *("keepalived", "-n", "-l", "-C", "-f", str(path)),
                    *("-p", str(folder / "pid"), "-c", str(folder / "cpid")),
                ],
                stdout=log,
                stderr=log,
            )
        try:
            await wait(servers)
        finally:
            daemon.terminate()
            await asyncio.to_thread(daemon.wait)
    lines = (folder / "log.txt").read_text().splitlines()
    servers.said = [line.partition(": ")[2] for line in lines]
    return servers


async def seen_of_fastvrrp(folder: Path, is_mute: bool, said: pytest.LogCaptureFixture) -> Servers:
    servers = Servers(folder, is_mute)
    loop = asyncio.get_running_loop()
    async with servers.running():
        path = folder / "keepalived.conf"
        path.write_text(configuration(servers))
        scripts = Scripts(loop)
        patrol = Patrol(loop, Tools(loop, scripts))
        try:
            for number, virtual in enumerate(read(str(path)).configuration.virtual_servers, 1):
                service = f"[127.0.0.1]:tcp:{virtual.real_servers[0].port}"
                for checker in virtual.real_servers[0].checkers:
                    name = f"[10.1.0.{number}]:tcp:80"
                    patrol.add(checker, lambda _: None, service=service, virtual=name)
            await wait(servers)
        finally:
            patrol.close()
            scripts.close()
    servers.said = list(said.messages)
    return servers


async def wait(servers: Servers) -> None:
    async with asyncio.timeout(100):
        while not enough(servers):
            await asyncio.sleep(0.2)


def story(seen: list[tuple[float, bytes]]) -> list[tuple[str, bytes]]:
    """What was asked, and what lay before it."""
    told = [("", seen[0][1])]
    for (before, _), (moment, question) in pairwise(seen[:ENOUGH]):
        told.append(("L" if moment - before > BETWEEN else "r", question))
    return told


def lines(servers: Servers, kind: str) -> list[str]:
    """What was said of one server, with words in the place of what differs between two runs."""
    port = f":{servers.ports[kind]}"
    own = [line for line in servers.said if port in line.replace(str(servers.script), "")]
    told = [line.replace(port, ":PORT").replace(str(servers.script), "SCRIPT") for line in own]
    return [line for line in told if not line.startswith(OF_POOLS)]


@pytest.mark.keywords(
    "HTTP_GET/retry delay_before_retry delay_loop connect_timeout http_protocol fast_recovery",
    "SSL_GET/retry delay_before_retry delay_loop connect_timeout http_protocol fast_recovery",
    "SSL_GET/virtualhost enable_sni",
    "SMTP_CHECK/retry delay_before_retry delay_loop connect_timeout helo_name",
    "UDP_CHECK/retry delay_before_retry delay_loop connect_timeout payload require_reply",
    "DNS_CHECK/retry delay_before_retry delay_loop connect_timeout name type",
    "MISC_CHECK/retry delay_before_retry delay_loop misc_timeout misc_path user",
)
@pytest.mark.parametrize("is_mute", [False, True])
def test_servers_and_logs_see_the_same(
    is_mute: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    keepalived = asyncio.run(seen_of_keepalived(theirs, is_mute))
    fastvrrp = asyncio.run(seen_of_fastvrrp(ours, is_mute, caplog))
    for kind in CHECKERS:
        seen = fastvrrp.seen[kind], keepalived.seen[kind]
        assert story(seen[0]) == story(seen[1]), (kind, *seen)
        fails = kind != "silent"
        assert any(pause == "r" for pause, _ in story(seen[0])) is fails, kind
        said = lines(fastvrrp, kind), lines(keepalived, kind)
        both = min(map(len, said))
        assert both >= (0 if not fails else 1 if kind == "dns" else 2), (kind, *said)
        assert said[0][:both] == said[1][:both], (kind, *said)
