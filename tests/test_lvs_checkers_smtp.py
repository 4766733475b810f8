"""SMTP_CHECK: its dialogue, with servers good and bad."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from hypothesis import given
from hypothesis import strategies as st

from checker_lab import BRISK, Talk, ask, run, server, target, unused_port
from fastvrrp.lvs.check import Verdict
from fastvrrp.lvs.checkers.smtp import ReplyError, reply_in
from fastvrrp.model import MILLISECOND, SECOND, SmtpCheck

TIMING = replace(BRISK, connect_timeout=150 * MILLISECOND)


def replying(*replies: bytes, said: list[bytes] | None = None) -> Talk:
    """A server that says these, each after it has heard a line, but the first one at once."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in replies:
            writer.write(reply)
            await writer.drain()
            line = await reader.readline()
            if said is not None and line:
                said.append(line)

    return talk


def found(talk: Talk, **options: object) -> tuple[Verdict, str]:
    """What a check finds, and the server's name in its line."""

    async def story() -> tuple[Verdict, str]:
        async with server(talk) as port:
            checker = SmtpCheck(target(port), TIMING, **options)  # type: ignore[arg-type]
            return await ask(checker), f"server [127.0.0.1]:{port}"

    return run(story())


@pytest.mark.keywords("real_server/SMTP_CHECK", "SMTP_CHECK/helo_name")
def test_it_says_helo_and_quit() -> None:
    for name, helo in ((None, b"smtpchecker.keepalived.org"), ("me.example", b"me.example")):
        said: list[bytes] = []
        talk = replying(b"220 hi\r\n", b"250 ok\r\n", b"221 bye\r\n", said=said)
        assert found(talk, helo_name=name)[0].is_good
        assert said == [b"HELO " + helo + b"\r\n", b"QUIT\r\n"]


@pytest.mark.parametrize(
    ("replies", "fault"),
    [
        ([b"220 hi\r\n", b"250 ok\r\n", b"221 bye\r\n"], ""),
        ([b"220-hi\r\n220 there\r\n", b"250-a\r\n250-b\r\n250 c\r\n", b"221 bye\r\n"], ""),
        ([b"220\n", b"250\n", b"221\n"], ""),
        ([b"220 hi\r\n", b"250 ok\r\n", b"500 what?\r\n"], ""),
        ([b"220 hi\r\n", b"250 ok\r\n"], ""),
        ([b"220 hi\r\n", b"250 ok\r\n", b"", b""], "Read timeout from"),
        ([b"554 no\r\n"], "Bad greeting banner from"),
        ([b"220hi\r\n"], "Bad greeting banner from"),
        ([b"hello\r\n"], "Bad greeting banner from"),
        ([b"22"], "Read timeout from"),
        ([b"220 " + b"x" * 70_000], "Bad greeting banner from"),
        ([b"220-x\r\n" * 10_000], "Bad greeting banner from"),
        ([b"", b""], "Read timeout from"),
        ([b"220 hi\r\n", b"550 no\r\n"], "Bad HELO response from"),
        ([b"220 hi\r\n", b"251 ok\r\n"], "Bad HELO response from"),
        ([b"220 hi\r\n", b"", b""], "Read timeout from"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_dialogues(replies: list[bytes], fault: str) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await replying(*replies)(reader, writer)
        if replies[-1] == b"":
            await reader.read()

    verdict, name = found(talk)
    assert verdict.is_good is not bool(fault), verdict
    if fault:
        assert verdict.line == f"SMTP_CHECK {fault} {name}"


@pytest.mark.keywords("SMTP_CHECK/connect_ip", "SMTP_CHECK/connect_port")
def test_nobody_there_is_a_failure() -> None:
    port = unused_port()
    verdict = run(ask(SmtpCheck(target(port), TIMING)))
    assert verdict.line == f"SMTP_CHECK Could not connect to server [127.0.0.1]:{port}"


def test_a_real_server_is_well() -> None:
    controller = Controller(Sink(), hostname="127.0.0.1", port=unused_port())
    controller.start()
    try:
        checker = SmtpCheck(target(controller.port), replace(BRISK, connect_timeout=5 * SECOND))
        assert run(ask(checker)).is_good
    finally:
        controller.stop()


@given(st.binary(max_size=200), st.sampled_from([b"", b"220 ", b"220-a\r\n", b"250 x\n"]))
def test_whatever_comes_is_a_reply_or_none(heard: bytes, start: bytes) -> None:
    try:
        reply = reply_in(start + heard)
    except ReplyError:
        return
    if reply is not None:
        assert 0 <= reply[0] <= 999
        assert (start + heard).endswith(reply[1])


@pytest.mark.keywords("SMTP_CHECK/bindto", "SMTP_CHECK/bind_port")
def test_it_connects_from_where_it_should() -> None:
    async def story() -> None:
        callers: list[object] = []

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            callers.append(writer.get_extra_info("peername"))
            await replying(b"220 hi\r\n", b"250 ok\r\n", b"221 bye\r\n")(reader, writer)

        port = unused_port()
        async with server(talk) as served:
            source = socket.inet_aton("127.0.0.8")
            aim = target(served, source_address=source, source_port=port)
            assert (await ask(SmtpCheck(aim, TIMING))).is_good
        assert callers == [("127.0.0.8", port)]

    run(story())
