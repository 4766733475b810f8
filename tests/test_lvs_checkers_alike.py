"""What all kinds of checkers have in common: where they connect to and from, and their times.

Everything is read from a configuration, so that what is written is what is done.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from checker_lab import Answering, ask, certified, run, until
from fastvrrp.config import Severity, read
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.lvs.patrol import Patrol, Round
from fastvrrp.model import Checker
from fastvrrp.track.scripts import Scripts
from kernel_namespace import Namespace, add_veth, inside_namespace, ip, needs_root

pytestmark = [
    needs_root,
    pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl"),
]

TARGET = "127.0.9.9"
URL = "url {\n path /\n }"
OWN = {
    "TCP_CHECK": "",
    "HTTP_GET": f"enable_sni\n{URL}",
    "SSL_GET": URL,
    "SMTP_CHECK": "",
    "DNS_CHECK": "",
    "UDP_CHECK": "require_reply",
    "PING_CHECK": "",
}
"""Kinds that connect to something, and what each needs besides; without TLS `enable_sni` is nothing
that hinders."""
PORTS = {kind: 8000 + number for number, kind in enumerate((*OWN, "MISC_CHECK"))}
OVER_UDP = ("DNS_CHECK", "UDP_CHECK")
CONNECT_TIMEOUT = 0.2
CONNECTION = """
    connect_ip 10.0.0.9
    connect_port 4007
    bindto 10.0.0.7
    bind_if eth0
    bind_port 4006
    fwmark 7
"""


def checker_of(kind: str, written: str, folder: Path, port: int = 80) -> Checker:
    """The checker of a configuration."""
    file = folder / "keepalived.conf"
    file.write_text(
        "virtual_server 192.0.2.1 80 {\n lvs_sched rr\n lvs_method NAT\n protocol TCP\n"
        f" real_server {TARGET} {port} {{\n {kind} {{\n{written}\n }}\n }}\n}}\n"
    )
    reading = read(str(file))
    assert all(each.severity is Severity.WARNING for each in reading.complaints)
    (checker,) = reading.configuration.virtual_servers[0].real_servers[0].checkers
    return checker


def nft(script: str) -> str:
    return subprocess.run(
        ["nft", "-f", "-"], input=script, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def link() -> Iterator[None]:
    """This thread is in a namespace whose eth0 has 10.0.0.1 and .7; 10.0.0.9 is at its end."""
    other = Namespace()
    try:
        with inside_namespace():
            ip("link set lo up")
            add_veth("eth0", "eth1")
            ip(f"link set eth1 netns {other.path}")
            ip("address add 10.0.0.1/24 dev eth0")
            ip("address add 10.0.0.7/24 dev eth0")
            with other.entered():
                ip("link set eth1 up")
                ip("address add 10.0.0.9/24 dev eth1")
            yield
    finally:
        other.close()


@pytest.mark.keywords(
    "HTTP_GET/connect_ip connect_port bindto bind_if bind_port fwmark enable_sni",
    "SSL_GET/connect_ip connect_port bindto bind_if bind_port fwmark",
    "TCP_CHECK/connect_ip connect_port bindto bind_if bind_port fwmark",
    "SMTP_CHECK/connect_ip connect_port bindto bind_if bind_port fwmark",
    "host/connect_ip connect_port bindto bind_if bind_port fwmark",
    "DNS_CHECK/connect_ip connect_port bindto bind_if bind_port fwmark",
    "UDP_CHECK/connect_ip connect_port bindto bind_if bind_port fwmark",
    "PING_CHECK/connect_ip connect_port bindto bind_if bind_port fwmark",
)
@pytest.mark.parametrize("kind", [*OWN, "SMTP_CHECK with a host"])
def test_it_goes_where_it_is_written_and_comes_from_there(
    kind: str, link: None, tmp_path: Path
) -> None:
    """Of a ping the ports say nothing."""
    kind, _, is_inside = kind.partition(" with a ")
    written = f"host {{{CONNECTION}}}" if is_inside else OWN[kind] + CONNECTION
    ports = "{0} sport 4006 {0} dport 4007".format("udp" if kind in OVER_UDP else "tcp")
    if kind == "PING_CHECK":
        ports = "icmp type echo-request"
    nft(
        "table inet witness {\n chain out {\n type filter hook output priority 0\n"
        f' oifname "eth0" ip saddr 10.0.0.7 ip daddr 10.0.0.9 {ports} meta mark 7'
        ' counter return comment "wanted"\n'
        ' ip daddr 10.0.0.0/24 counter comment "other"\n }\n}\n'
    )
    checker = checker_of(kind, f"{written}\n connect_timeout 2", tmp_path)
    verdict = run(ask(checker))
    assert verdict.is_good is (kind == "PING_CHECK"), verdict
    listed = nft("list chain inet witness out")
    found = re.findall(r'packets (\d+) .*comment "(\w+)"', listed)
    counted = {name: int(packets) for packets, name in found}
    assert counted["wanted"]
    assert not counted["other"]


class Servers:
    """A server of each kind on TARGET, until `silence`, after which nothing of them is heard."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.script = folder / "script"
        self.status = folder / "status"
        self.status.write_text("0")
        # It takes longer than connect_timeout, which means nothing to it.
        self.script.write_text(
            f"#!/bin/sh\nsleep {2 * CONNECT_TIMEOUT}\nexit $(cat {self.status})\n"
        )
        self.script.chmod(0o755)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for kind, port in PORTS.items():
                if kind in OVER_UDP:
                    loop = asyncio.get_running_loop()
                    transport, _ = await loop.create_datagram_endpoint(
                        lambda: Answering(lambda asked: [asked[:2] + b"\x81\x80"]),
                        local_addr=(TARGET, port),
                    )
                    stack.callback(transport.close)
                elif kind not in ("PING_CHECK", "MISC_CHECK"):
                    tls = certified(self._folder) if kind == "SSL_GET" else None
                    talk = _mail if kind == "SMTP_CHECK" else _web
                    server = await asyncio.start_server(talk, TARGET, port, ssl=tls)
                    stack.callback(server.close)
            yield

    def silence(self) -> None:
        """What is sent to it is lost; the script fails."""
        self.status.write_text("1")
        nft(
            "table inet silence {\n chain in {\n type filter hook input priority 0\n"
            f" ip daddr {TARGET} drop\n }}\n}}\n"
        )

    def end_silence(self) -> None:
        self.status.write_text("0")
        nft("delete table inet silence")


async def _web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # TCP_CHECK asks for nothing
    writer.close()


async def _mail(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        for code in (220, 250, 221):
            writer.write(f"{code} ok\r\n".encode())
            await reader.readline()
    except ConnectionError:
        pass  # it was cut
    writer.close()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with inside_namespace():
        ip("link set lo up")
        yield Servers(tmp_path)


def on_target(
    kind: str, servers: Servers, folder: Path, times: Mapping[str, float | str]
) -> Checker:
    """A checker of that kind of the servers, with these times."""
    own = (
        f"misc_path {servers.script}\n misc_timeout 20\n user root"
        if kind == "MISC_CHECK"
        else OWN[kind]
    )
    lines = [own, *(f"{name} {value}" for name, value in times.items())]
    return checker_of(kind, "\n".join(lines), folder, PORTS[kind])


class Story:
    """One checker from its first check to its failure, and what was seen of it."""

    def __init__(
        self, kind: str, servers: Servers, folder: Path, times: Mapping[str, float | str]
    ) -> None:
        self._servers = servers
        self._checker = on_target(kind, servers, folder, times)
        self.ends: list[tuple[float, bool]] = []
        """When each check ended, and whether it found the server well."""
        self.was_good_at_first = True

    async def play(self, at_silence: Callable[[], None]) -> None:
        """Silence comes when it was found well three times, the last time too: a busy machine may
        find it bad in between. `at_silence` is called then."""
        loop = asyncio.get_running_loop()
        scripts = Scripts(loop)
        patrol = Patrol(loop, Tools(loop, scripts))
        patrol.on_checked = self._checked
        try:
            async with self._servers.running():
                watch = patrol.add(self._checker, lambda _: None)
                self.was_good_at_first = watch.is_good
                await until(lambda: self._was_good() and watch.is_good)
                self._servers.silence()
                at_silence()
                await until(lambda: not watch.is_good)
        finally:
            patrol.close()
            scripts.close()
            self._servers.end_silence()

    def _was_good(self) -> bool:
        found = [is_good for _, is_good in self.ends]
        return sum(found) >= 3 and found[-1]

    def _checked(self, of: Round) -> None:
        failed = sum(not is_good for _, is_good in self.ends)
        self.ends.append((time.monotonic(), of.failed == failed))

    @property
    def gaps(self) -> list[tuple[bool, float]]:
        """Seconds from one end to the next; True behind one that found it well."""
        return [(is_good, after - before) for (before, is_good), (after, _) in pairwise(self.ends)]


@pytest.mark.keywords(
    "HTTP_GET/alpha connect_timeout delay_before_retry delay_loop retry log_all_failures",
    "SSL_GET/alpha connect_timeout delay_before_retry delay_loop retry log_all_failures",
    "TCP_CHECK/alpha connect_timeout delay_before_retry delay_loop retry log_all_failures",
    "SMTP_CHECK/alpha connect_timeout delay_before_retry delay_loop retry log_all_failures",
    "DNS_CHECK/alpha connect_timeout delay_before_retry delay_loop retry log_all_failures",
    "UDP_CHECK/alpha connect_timeout delay_before_retry delay_loop retry log_all_failures",
    "PING_CHECK/alpha connect_timeout delay_before_retry delay_loop retry log_all_failures",
    "MISC_CHECK/alpha connect_timeout delay_before_retry delay_loop retry log_all_failures",
)
@pytest.mark.parametrize("kind", PORTS)
def test_times_and_retries_are_those_that_are_written(
    kind: str, servers: Servers, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each pause is at least as long as it is written, whichever is the longer one."""
    caplog.set_level(logging.INFO)
    said = []
    for is_told, loop, before_retry in ((False, 0.4, 0.05), (True, 0.05, 0.4)):
        times: dict[str, float | str] = {
            "delay_loop": loop,
            "delay_before_retry": before_retry,
            "retry": 2,
            "warmup": 0,
            "connect_timeout": CONNECT_TIMEOUT,
            "alpha": "on",
            "log_all_failures": "on" if is_told else "off",
        }
        story = Story(kind, servers, tmp_path, times)
        run(story.play(caplog.clear))
        assert not story.was_good_at_first
        assert min(seconds for was_good, seconds in story.gaps if was_good) >= loop
        retries = story.gaps[-2:]
        assert min(seconds for _, seconds in retries) >= before_retry + CONNECT_TIMEOUT
        assert [is_good for _, is_good in story.ends[-4:]] == [True, False, False, False]
        said.append(len(caplog.messages))
    assert said[1] - said[0] >= 2, "every failure is in the log"


@pytest.mark.keywords(
    *("HTTP_GET/warmup", "SSL_GET/warmup", "TCP_CHECK/warmup", "SMTP_CHECK/warmup"),
    *("DNS_CHECK/warmup", "UDP_CHECK/warmup", "PING_CHECK/warmup", "MISC_CHECK/warmup"),
)
@pytest.mark.parametrize("kind", PORTS)
def test_the_first_check_comes_within_the_warmup(
    kind: str, servers: Servers, tmp_path: Path
) -> None:
    """And not some time within `delay_loop`, which is longer than anybody waits."""
    checker = on_target(kind, servers, tmp_path, {"delay_loop": 10_000, "warmup": 0})

    async def story() -> None:
        loop = asyncio.get_running_loop()
        scripts = Scripts(loop)
        patrol = Patrol(loop, Tools(loop, scripts))
        try:
            async with servers.running():
                watch = patrol.add(checker, lambda _: None)
                await until(lambda: watch.is_known)
                assert watch.is_good
        finally:
            patrol.close()
            scripts.close()

    run(story())
