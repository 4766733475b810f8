"""UDP_CHECK, DNS_CHECK and PING_CHECK."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker_lab import BRISK, HERE, ask, asking, datagrams, run, target, unused_port
from fastvrrp.lvs.check import CannotCheckError, Verdict
from fastvrrp.lvs.checkers import make
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import (
    MILLISECOND,
    SECOND,
    CheckTarget,
    DnsCheck,
    DnsType,
    PingCheck,
    UdpCheck,
)
from kernel_namespace import Namespace, add_veth, ip, needs_root

SHORT = replace(BRISK, connect_timeout=150 * MILLISECOND)
HEADER = bytes((0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0))


def udp(answers: list[bytes], **options: object) -> tuple[Verdict, list[bytes]]:
    """What a UDP_CHECK finds, and what the server heard."""

    async def story() -> tuple[Verdict, list[bytes]]:
        async with datagrams(lambda _: answers) as (port, server):
            checker = UdpCheck(target(port), SHORT, **options)  # type: ignore[arg-type]
            return await ask(checker), server.heard

    return run(story())


@pytest.mark.keywords("UDP_CHECK/payload")
def test_the_payload_is_sent_and_is_random_otherwise() -> None:
    assert udp([b"x"], payload=b"\x01\x02")[1] == [b"\x01\x02"]
    first, second = (udp([b"x"])[1][0] for _ in range(2))
    assert len(first) == len(second) == 32
    assert first != second


@pytest.mark.keywords(
    "UDP_CHECK/require_reply", "UDP_CHECK/min_reply_length", "UDP_CHECK/max_reply_length"
)
@pytest.mark.parametrize(
    ("answers", "options", "is_good"),
    [
        ([], {}, True),
        ([b"x"], {}, True),
        ([], {"requires_reply": True}, False),
        ([b""], {"requires_reply": True}, False),
        ([b"x"], {"requires_reply": True}, True),
        ([b"\xab\xcd"], {"reply": b"\xab\xc0", "reply_mask": b"\xff\xf0"}, True),
        ([b"\xab\xcd"], {"reply": b"\xab\xcc", "reply_mask": b"\xff\xff"}, False),
        ([b"\xab"], {"reply": b"\xab\xcc", "reply_mask": b"\xff\xff"}, True),
        ([b"\xab\xcd\xef"], {"reply": b"\xab", "reply_mask": b"\xff"}, True),
        ([b"abc"], {"requires_reply": True, "min_reply_length": 4}, False),
        ([b"abcd"], {"requires_reply": True, "min_reply_length": 4}, True),
        ([b"x" * 256], {"requires_reply": True}, False),
        ([b"x" * 255], {"requires_reply": True}, True),
        ([b"x" * 2000], {"requires_reply": True, "max_reply_length": 2000}, True),
    ],
)
def test_replies(answers: list[bytes], options: dict[str, object], is_good: bool) -> None:
    if "reply" in options:
        options = {**options, "requires_reply": True}
    verdict, _ = udp(answers, **options)
    assert verdict.is_good is is_good, verdict


@pytest.mark.keywords("real_server/UDP_CHECK")
def test_a_port_that_is_unreachable_is_a_failure_at_once() -> None:
    timing = replace(BRISK, connect_timeout=60 * SECOND)
    verdict = run(ask(UdpCheck(target(unused_port()), timing)))
    assert not verdict.is_good
    assert verdict.why == "Connection refused"
    assert verdict.line == "UDP connection to {service} failed."


def answering(header: bytes, *, is_other: bool = False) -> Verdict:
    """What a DNS_CHECK makes of an answer with this behind its number."""

    def answer(question: bytes) -> list[bytes]:
        number = bytes((question[0] ^ is_other, question[1]))
        return [number + header]

    async def story() -> Verdict:
        async with datagrams(answer) as (port, _):
            return await ask(DnsCheck(target(port), SHORT))

    return run(story())


@pytest.mark.keywords("real_server/DNS_CHECK")
@pytest.mark.parametrize(
    ("header", "is_good"),
    [
        (HEADER, True),
        (b"\x83\x80" + HEADER[2:], True),  # truncated
        (b"\x81\x82" + HEADER[2:], False),  # SERVFAIL
        (b"\x81\x83" + HEADER[2:], False),  # NXDOMAIN
        (b"\x81\x85" + HEADER[2:], False),  # REFUSED
        (b"\x01\x00" + HEADER[2:], False),  # it is a question
        (HEADER[:2], True),  # keepalived looks no further
        (b"\x81", False),
        (HEADER + bytes(range(40, 80)), True),
    ],
)
def test_answers_of_dns(header: bytes, is_good: bool) -> None:
    verdict = answering(header)
    assert verdict.is_good is is_good
    if header[1:2] == b"\x82":
        assert verdict.line == "DNS_CHECK ({service}) read error occurred. (rcode = 2)"
        assert verdict.why == "SERVFAIL"


def test_an_answer_to_another_question_is_let_be() -> None:
    verdict = answering(HEADER, is_other=True)
    assert verdict.line == "DNS_CHECK ({service}) read timeout from socket"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=600), max_size=5))
def test_whatever_comes_is_a_verdict(answers: list[bytes]) -> None:
    async def story() -> None:
        timing = replace(BRISK, connect_timeout=5 * MILLISECOND)
        async with datagrams(lambda question: [question[:2] + each for each in answers]) as server:
            assert isinstance(await ask(DnsCheck(target(server[0]), timing)), Verdict)
            checker = UdpCheck(target(server[0]), timing, None, True, b"ab", b"\xff\xff")
            assert isinstance(await ask(checker), Verdict)

    run(story())


@pytest.mark.keywords("DNS_CHECK/type", "DNS_CHECK/name")
@pytest.mark.skipif(shutil.which("dnsmasq") is None, reason="needs dnsmasq")
def test_a_server_of_debian_answers_each_type(tmp_path: Path) -> None:
    port = unused_port()
    daemon = subprocess.Popen(
        [
            *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", f"--port={port}"),
            *("--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts"),
            *("--address=/www.example/192.0.2.1", "--local=/example/", "--user=root"),
            *("--mx-host=www.example,mail.example", "--txt-record=www.example,x", "--pid-file="),
        ],
        stderr=subprocess.DEVNULL,
    )
    try:

        async def story() -> None:
            async def is_good(kind: DnsType, name: str) -> bool:
                checker = DnsCheck(target(port), replace(BRISK, connect_timeout=SECOND), kind, name)
                return (await ask(checker)).is_good

            while not await is_good(DnsType.A, "www.example"):
                assert daemon.poll() is None
                await asyncio.sleep(0.05)
            for kind in DnsType:
                assert await is_good(kind, "www.example"), kind
            assert not await is_good(DnsType.A, "nowhere.example")

        run(story())
    finally:
        daemon.terminate()
        daemon.wait()


def ping(address: bytes, **options: object) -> Verdict:
    checker = PingCheck(CheckTarget(address, 80, **options), SHORT)  # type: ignore[arg-type]
    return run(ask(checker))


@needs_root
@pytest.mark.keywords("real_server/PING_CHECK")
@pytest.mark.parametrize("address", [HERE, bytes(15) + b"\x01"])
def test_what_is_there_answers_a_ping(address: bytes) -> None:
    assert ping(address).is_good


@pytest.fixture
def link() -> Iterator[None]:
    """This thread is in a namespace with 198.18.0.1/24, in which nobody else is."""
    namespace = Namespace()
    with namespace.entered():
        ip("link set lo up")
        add_veth("near", "far")
        ip("address add 198.18.0.1/24 dev near")
        yield
    namespace.close()


NOBODY = bytes((198, 18, 0, 9))


@needs_root
def test_what_is_not_there_does_not(link: None) -> None:
    assert ping(NOBODY).line == "ICMP connection to address {service} timeout."
    verdict = ping(bytes((203, 0, 113, 1)))
    assert verdict.line == "send ICMP packet fail"
    assert verdict.why == "Network is unreachable"


@needs_root
def test_many_pings_find_their_own_answers(link: None) -> None:
    async def story() -> None:
        tools = Tools(asyncio.get_running_loop())
        addresses = [NOBODY, *(bytes((127, 0, 3, number)) for number in range(1, 200))]
        timing = replace(SHORT, connect_timeout=2 * SECOND)
        checks = [
            make(PingCheck(CheckTarget(address, 80), timing), tools)[0] for address in addresses
        ]
        verdicts = await asyncio.gather(*(check.check() for check in checks))
        assert [verdict.is_good for verdict in verdicts] == [False, *[True] * 199]
        tools.close()

    run(story())


@needs_root
@pytest.mark.keywords("PING_CHECK/bindto", "PING_CHECK/fwmark", "PING_CHECK/bind_if")
def test_a_ping_leaves_from_where_it_should() -> None:
    assert ping(HERE, source_address=bytes((127, 0, 0, 9)), mark=7, interface="lo").is_good


@needs_root
def test_an_error_comes_at_once() -> None:
    """An unreachable target, told by a message that comes from the raw socket's own view."""
    from fastvrrp.lvs.checkers.ping import Channel
    from fastvrrp.lvs.checkers.sockets import Route

    async def story() -> None:
        route = Route(CheckTarget(HERE, 80))
        channel = Channel(route, asyncio.get_running_loop())
        told: list[str] = []
        # Nobody hears it in this turn of the loop, and the real answer is read in the next one.
        number = channel.send(route, 60, told.append)
        inner = bytes((0x45, 0, 0, 84, 0, 0, 0, 0, 64, 1, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1))
        request = bytes((8, 0, 0, 0)) + channel._identifier.to_bytes(2) + number.to_bytes(2)
        error = bytes((3, 1, 0, 0, 0, 0, 0, 0)) + inner + request
        outer = bytes((0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 127, 0, 0, 2, 127, 0, 0, 1))
        for cut in range(len(error)):
            channel._hear((outer + error)[:cut], "127.0.0.2")
        assert not told
        channel._hear(outer + error, "127.0.0.2")
        assert told == ["unreachable"]
        channel.close()

    run(story())


@pytest.mark.keywords("UDP_CHECK/bindto", "UDP_CHECK/bind_port")
def test_a_datagram_leaves_from_where_it_should() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        port = unused_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.setblocking(False)
            aim = target(
                server.getsockname()[1], source_address=bytes((127, 0, 0, 7)), source_port=port
            )
            async with asking(UdpCheck(aim, SHORT, b"hi")) as check:
                waiting = asyncio.create_task(check.check())
                data, sender = await loop.sock_recvfrom(server, 100)
                assert (data, sender) == (b"hi", ("127.0.0.7", port))
                await loop.sock_sendto(server, b"x", sender)
                assert (await waiting).is_good

    run(story())


def test_an_address_that_is_not_ours_says_nothing_of_the_server() -> None:
    aim = target(unused_port(), source_address=bytes((192, 0, 2, 9)))
    with pytest.raises(CannotCheckError, match="Cannot assign requested address"):
        run(ask(UdpCheck(aim, SHORT)))


@needs_root
def test_an_interface_that_was_made_anew_is_pinged_over(link: None) -> None:
    """The socket is bound to the number of the one that was there."""

    async def story() -> list[bool | None]:
        checker = PingCheck(CheckTarget(bytes((198, 18, 9, 1)), 80, interface="again"), SHORT)
        heard: list[bool | None] = []
        async with asking(checker) as check:
            for is_there in (True, False, True):
                if is_there:
                    add_veth("again", "beyond")
                    ip("address add 198.18.9.2/24 dev again")
                else:
                    ip("link del again")
                for _ in range(2):
                    try:
                        heard.append((await check.check()).is_good)
                    except CannotCheckError:
                        heard.append(None)
        return heard

    assert run(story()) == [False, False, None, None, False, False], "it is asked where it can be"
