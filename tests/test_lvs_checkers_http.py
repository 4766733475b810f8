"""HTTP_GET: what is asked, and what answers are worth, of servers good and bad."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import socket
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checker_lab import BRISK, Talk, ask, run, server, target, until, unused_port
from fastvrrp.lvs.check import CannotCheckError, Verdict
from fastvrrp.lvs.checkers.answer import MOST_HEAD, WINDOW, Answer
from fastvrrp.lvs.checkers.http import request
from fastvrrp.lvs.patrol import Patrol
from fastvrrp.model import (
    MILLISECOND,
    SECOND,
    Expression,
    HttpCheck,
    HttpVersion,
    Url,
)

OK = b"HTTP/1.1 200 OK\r\n"
TIMING = replace(BRISK, interval=SECOND)


def saying(answer: bytes, *, stays: bool = False) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        if stays:
            await reader.read()

    return talk


ANY = Url()


def found(talk: Talk, url: Url = ANY, **options: object) -> Verdict:
    """What a check of one URL finds at a server."""

    async def story() -> Verdict:
        async with server(talk) as port:
            checker = HttpCheck(target(port), TIMING, False, (url,))
            return await ask(replace(checker, **options))  # type: ignore[arg-type]

    return run(story())


@pytest.mark.keywords("HTTP_GET/http_protocol", "url/path")
@pytest.mark.parametrize(
    ("version", "first", "last"),
    [
        (HttpVersion.HTTP_1_0, "HTTP/1.0", ""),
        (HttpVersion.HTTP_1_0_CLOSE, "HTTP/1.0", "Connection: close\r\n"),
        (HttpVersion.HTTP_1_0_KEEP_ALIVE, "HTTP/1.0", "Connection: keep-alive\r\n"),
        (HttpVersion.HTTP_1_1, "HTTP/1.1", "Connection: close\r\n"),
    ],
)
def test_it_is_asked_as_keepalived_asks(version: HttpVersion, first: str, last: str) -> None:
    asked = f"GET /x {first}\r\nUser-Agent: KeepAliveClient\r\n{last}Host: h\r\n\r\n"
    assert request(version, "/x", "h") == asked.encode()


@pytest.mark.keywords("url/virtualhost", "HTTP_GET/virtualhost", "real_server/virtualhost")
def test_the_host_is_the_virtual_one_or_the_address() -> None:
    async def story() -> None:
        heads: list[bytes] = []

        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(OK + b"\r\n")

        async with server(talk) as port:
            checker = HttpCheck(target(port), TIMING, False, (Url(virtualhost="www.example"),))
            assert (await ask(checker)).is_good
            assert (await ask(replace(checker, urls=(Url(),)))).is_good
        assert b"\r\nHost: www.example\r\n" in heads[0]
        assert f"\r\nHost: 127.0.0.1:{port}\r\n".encode() in heads[1]

    run(story())


@pytest.mark.keywords("url/status_code")
@pytest.mark.parametrize(
    ("status", "ranges", "is_good"),
    [
        (200, ((200, 299),), True),
        (302, ((200, 299),), False),
        (302, ((200, 299), (300, 303)), True),
        (404, ((200, 299),), False),
        (503, ((503, 503),), True),
        (200, ((503, 503),), False),
    ],
)
def test_status_codes(status: int, ranges: tuple[tuple[int, int], ...], is_good: bool) -> None:
    answer = f"HTTP/1.1 {status} Word\r\nLocation: /elsewhere\r\n\r\n".encode()
    verdict = found(saying(answer), Url(status=ranges))
    assert verdict.is_good is is_good
    if not is_good:
        assert verdict.line == "HTTP status code error to server {service}."
        assert str(status) in verdict.why


@pytest.mark.keywords("url/digest")
def test_the_digest_is_of_what_comes_behind_the_head() -> None:
    digest = hashlib.md5(b"hello").digest()
    verdict = found(saying(OK + b"\r\nhello"), Url(digest=digest))
    assert verdict.is_good
    assert verdict.line == "MD5 digest success to {service} url({what})"
    verdict = found(saying(OK + b"\r\nhallo"), Url(digest=digest))
    assert not verdict.is_good
    assert verdict.line == "MD5 digest error to server {service}."
    assert hashlib.md5(b"hallo").hexdigest() in verdict.why


def test_the_digest_of_chunks_has_their_frames_as_under_keepalived() -> None:
    chunked = b"5\r\nhello\r\n0\r\n\r\n"
    answer = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked
    url = Url(digest=hashlib.md5(chunked).digest())
    assert found(saying(answer), url, version=HttpVersion.HTTP_1_1).is_good
    assert found(saying(answer, stays=True), url, version=HttpVersion.HTTP_1_1).is_good


def test_what_is_compressed_is_let_be() -> None:
    import gzip

    body = gzip.compress(b"hello", mtime=0)
    answer = OK + b"Content-Encoding: gzip\r\n\r\n" + body
    assert found(saying(answer), Url(digest=hashlib.md5(body).digest())).is_good


@pytest.mark.parametrize(
    ("answer", "is_good", "line"),
    [
        (OK + b"Content-Length: 5\r\n\r\nhello", True, "HTTP status code success"),
        (OK + b"Content-Length: 100\r\n\r\nshort", True, "HTTP status code success"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\n", True, "HTTP status code success"),
        (b"HTTP/1.0 204 No Content\r\n\r\n", True, "HTTP status code success"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nno chunk at all", True, "HTTP status"),
        (b"", False, "Read, no data received from  server"),
        (OK + b"X: y\r\n", False, "Read, no data received from  server"),
        (b"garbage\r\n\r\nmore", False, "HTTP status code error"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", False, "HTTP status code error"),
        (OK + b"Content-Length: -4\r\n\r\n", False, "HTTP status code error"),
        (OK + b"X: " + b"a" * (MOST_HEAD + 1), False, "HTTP status code error"),
        (OK + b"X: y\r\n" * (MOST_HEAD // 4) + b"\r\n", False, "HTTP status code error"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_answers_that_are_as_they_should_be_and_others(
    answer: bytes, is_good: bool, line: str
) -> None:
    verdict = found(saying(answer))
    assert verdict.is_good is is_good, verdict
    assert verdict.line.startswith(line)


def test_an_answer_that_says_its_length_needs_no_end() -> None:
    assert found(saying(OK + b"Content-Length: 5\r\n\r\nhello", stays=True)).is_good


@pytest.mark.keywords("HTTP_GET/connect_timeout")
@pytest.mark.parametrize(
    ("answer", "line"),
    [(b"", "Timeout WEB read server {service}."), (OK + b"\r\n", "Timeout HTTP read server")],
)
def test_silence_is_cut_at_the_timeout(answer: bytes, line: str) -> None:
    timing = replace(TIMING, connect_timeout=100 * MILLISECOND)
    verdict = found(saying(answer, stays=True), timing=timing)
    assert not verdict.is_good
    assert verdict.line.startswith(line)


def test_an_answer_that_drips_for_ever_is_cut() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    timing = replace(TIMING, connect_timeout=200 * MILLISECOND, interval=300 * MILLISECOND)
    verdict = found(talk, timing=timing)
    assert not verdict.is_good
    assert verdict.line == "Timeout HTTP read server {service}."


def test_a_reset_is_a_failure() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import socket
        import struct

        await reader.readuntil(b"\r\n\r\n")
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert isinstance(writer.transport, asyncio.WriteTransport)
        writer.transport.abort()

    verdict = found(talk)
    assert not verdict.is_good
    assert verdict.line == "Read error with server {service}."


def test_nobody_there_is_a_failure() -> None:
    verdict = run(ask(HttpCheck(target(unused_port()), TIMING, False, (Url(),))))
    assert not verdict.is_good
    assert verdict.line == "Connection failed server {service}."


def test_many_megabytes_are_not_kept() -> None:
    body = b"0123456789abcdef" * (1 << 16)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\n")
        for _ in range(20):
            writer.write(body)
            await writer.drain()

    url = Url(digest=hashlib.md5(body * 20).digest(), expression=Expression("zebra"))
    verdict = found(talk, url)
    assert not verdict.is_good
    assert verdict.why == f"/: regex does not match in the first {WINDOW} bytes of it"
    answer = Answer(5, 1000)
    for _ in range(3):
        answer.feed(OK + b"\r\n" if answer.status is None else body)
    assert len(answer.kept) == 1000
    assert answer.is_cut


@pytest.mark.keywords(
    "url/regex",
    "url/regex_no_match",
    "url/regex_options",
    "url/regex_min_offset",
    "url/regex_max_offset",
    "url/regex_stack",
)
@pytest.mark.parametrize(
    ("expression", "is_good"),
    [
        (Expression("w.rld"), True),
        (Expression("w.rlx"), False),
        (Expression("w.rld", must_match=False), False),
        (Expression("w.rlx", must_match=False), True),
        (Expression("WORLD"), False),
        (Expression("WORLD", options=("caseless",)), True),
        (Expression("w o r l d", options=("extended",)), True),
        (Expression("^world", options=("multiline",)), False),
        (Expression("^hello", options=("multiline",)), True),
        (Expression("HTTP/1.1 200"), True),  # as under keepalived: the head counts, too
        (Expression("HTTP", least_offset=5), False),
        (Expression("world", most_offset=20), False),
        (Expression("world", most_offset=25), True),
        (Expression("(a|b|hello)* world", stack=(1024, 65536)), True),
        (Expression("(a+)+$"), False),
    ],
)
def test_expressions(expression: Expression, is_good: bool) -> None:
    answer = OK + b"\r\nhello world"
    assert answer.index(b"world") == 25
    verdict = found(saying(answer), Url(expression=expression))
    assert verdict.is_good is is_good, verdict
    if is_good:
        assert verdict.line == "Regex match success to {service} url({what})"
    else:
        assert verdict.line == "Regex match failed server {service}."


def test_an_expression_that_backtracks_for_ever_ends() -> None:
    answer = OK + b"\r\n" + b"a" * 60 + b"b"
    verdict = found(saying(answer), Url(expression=Expression("^(a+)+$", options=("multiline",))))
    assert not verdict.is_good
    assert "limit" in verdict.why


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.binary(max_size=60), max_size=8),
    st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"]),
)
def test_whatever_a_server_says_is_an_answer_or_none(pieces: list[bytes], start: bytes) -> None:
    answer = Answer(3, 10)
    for piece in [start, *pieces, b"", b""]:
        answer.feed(piece)
    assert answer.is_complete != bool(answer.failure)
    assert len(answer.kept) <= 10


@pytest.mark.keywords(
    "HTTP_GET/url", "HTTP_GET/retry", "HTTP_GET/delay_before_retry", "HTTP_GET/delay_loop"
)
@pytest.mark.parametrize("is_fast", [False, True])
def test_urls_are_asked_as_keepalived_asks_them(
    is_fast: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The order that a server saw of keepalived 2.2.7, from a failure of /b to recovery."""
    caplog.set_level(logging.INFO)
    asked: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode()
        asked.append(path[1:])
        is_bad = path == "/b" and 3 < len(asked) < 11
        writer.write(b"HTTP/1.0 500 No\r\n\r\n" if is_bad else b"HTTP/1.0 200 OK\r\n\r\n")

    async def story() -> None:
        patrol = Patrol(asyncio.get_running_loop())
        news: list[bool] = []
        async with server(talk) as port:
            checker = HttpCheck(
                target(port),
                replace(BRISK, logs_all_failures=True),
                False,
                (Url("/a"), Url("/b"), Url("/c")),
                is_fast_recovering=is_fast,
            )
            patrol.add(checker, lambda verdict: news.append(verdict.is_good), service="[S]:tcp:80")
            await until(lambda: len(news) == 3)
            patrol.close()
        assert news == [True, False, True]

    run(story())
    assert "".join(asked) == "abcabbbbbbbabc"
    error = "HTTP status code error to server [S]:tcp:80."
    said = [line for line in caplog.messages if not line.endswith(("url(/c)", "url(/a)"))]
    assert said == [
        "Remote Web server [S]:tcp:80 succeed on service.",
        *[error] * 3,
        "HTTP_CHECK on service [S]:tcp:80 failed after 2 retries.",
        "HTTP status code success to [S]:tcp:80 url(/b)",
        "HTTP status code success to [S]:tcp:80 url(/b)",
        "Remote Web server [S]:tcp:80 succeed on service.",
    ]


def test_bytes_that_are_no_utf_8_are_asked_for_as_they_are() -> None:
    assert b"GET /caf\xe9 HTTP/1.0" in request(HttpVersion.HTTP_1_0, "/caf\udce9", "a")


def test_no_descriptor_for_the_talk_says_nothing_of_the_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def dup(_: socket.socket) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket.socket, "dup", dup)
    with pytest.raises(CannotCheckError, match="Too many open files"):
        found(saying(b"HTTP/1.0 200 OK\r\n\r\n"))


def test_heads_before_the_answer_are_bounded_together() -> None:
    answer = Answer()
    one = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 1000 + b"\r\n\r\n"
    for _ in range(MOST_HEAD // len(one) + 1):
        answer.feed(one)
    assert "more than" in answer.failure


@pytest.mark.keywords("url/path")
def test_why_one_is_bad_does_not_tell_the_query() -> None:
    """Everybody may read why."""
    verdict = found(saying(b"HTTP/1.1 404 Not Found\r\n\r\n"), Url("/health?token=secret"))
    assert verdict.why == "/health: status 404"
