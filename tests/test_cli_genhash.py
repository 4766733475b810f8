"""`fastvrrp genhash`, beside keepalived's."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS = {
    "length": OK + b"Content-Length: 5\r\n\r\nhello",
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "status": b"HTTP/1.1 404 Not Found\r\n\r\nnothing here",
    "short": OK + b"Content-Length: 50\r\n\r\nhello",
    "empty": OK + b"\r\n",
    "long": OK + b"\r\n" + bytes(range(256)) * 5000,
}
OURS = (sys.executable, "-m", "fastvrrp", "genhash")
THEIRS = ("genhash",)
needs_keepalived = pytest.mark.skipif(shutil.which("genhash") is None, reason="needs keepalived")


@contextmanager
def serving(
    answer: bytes, context: ssl.SSLContext | None = None
) -> Iterator[tuple[int, list[bytes]]]:
    """Answers what comes, until the end; its port, and what it was asked."""
    asked: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                made, _ = listening.accept()
            except OSError:
                return
            made.settimeout(20)
            with made if context is None else context.wrap_socket(made, server_side=True) as stream:
                heard = b""
                while b"\r\n\r\n" not in heard:
                    heard += stream.recv(1000)
                asked.append(heard)
                stream.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listening.getsockname()[1], asked
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def printed(program: tuple[str, ...], port: int, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*program, "-s", "127.0.0.1", "-p", str(port), "-u", "/x", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@needs_keepalived
@pytest.mark.parametrize("name", ANSWERS)
def test_the_digest_is_keepalived_s(name: str) -> None:
    with serving(ANSWERS[name]) as (port, asked):
        ours, theirs = printed(OURS, port), printed(THEIRS, port)
    assert (ours.stdout, ours.returncode) == (theirs.stdout, 0)
    assert asked[0] == asked[1]


@needs_keepalived
@pytest.mark.parametrize(
    "options", [("-V", "www.example"), ("-P", "1.1"), ("-P", "1.0c"), ("-t", "3")]
)
def test_it_is_asked_as_keepalived_s_asks(options: tuple[str, ...]) -> None:
    with serving(ANSWERS["length"]) as (port, asked):
        ours, theirs = printed(OURS, port, *options), printed(THEIRS, port, *options)
    assert ours.stdout == theirs.stdout
    assert asked[0] == asked[1]


@needs_keepalived
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_it_asks_over_tls_and_names_the_host(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-batch"),
            *("-subj", "/CN=a", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    options = ("-S", "-I", "-V", "www.example")
    with serving(ANSWERS["length"], context) as (port, asked):
        ours, theirs = printed(OURS, port, *options), printed(THEIRS, port, *options)
    assert ours.stdout == theirs.stdout != ""
    assert asked[0] == asked[1]
    assert names == ["www.example"] * 2


def test_the_answer_is_shown_where_that_is_wanted() -> None:
    with serving(ANSWERS["length"]) as (port, _):
        lines = printed(OURS, port, "-v").stdout.splitlines()
    assert any("HTTP/1.1 200 OK." in line for line in lines)
    assert "0000  68 65 6c 6c 6f          -                           hello" in lines
    assert lines[-1] == "5d41402abc4b2a76b9719d911017c592"


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n"])
def test_no_answer_is_an_error(answer: bytes) -> None:
    with serving(answer) as (port, _):
        outcome = printed(OURS, port)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("fastvrrp: 127.0.0.1: it ")


def test_nobody_there_is_an_error() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        outcome = printed(OURS, probe.getsockname()[1])
    assert outcome.returncode == 1
    assert outcome.stderr == (
        "fastvrrp: 127.0.0.1 does not take a connection: Connection refused\n"
    )
