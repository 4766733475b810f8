"""SSL_GET: TLS with names, certificates of clients, and servers that are not careful with it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from checker_lab import BRISK, PATIENCE, ask, run, server, target, unused_port
from fastvrrp.config.tls_files import TlsError, context_of
from fastvrrp.lvs.check import CannotCheckError, Verdict
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import (
    MILLISECOND,
    SECOND,
    GlobalDefinitions,
    HttpCheck,
    TlsClient,
    Url,
)

TIMING = replace(BRISK, interval=SECOND, connect_timeout=5 * SECOND)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
pytestmark = needs_openssl


def a_certificate(folder: Path, name: str, password: str = "") -> tuple[str, str]:
    """Paths of a certificate and its key, made now."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    protection = ["-passout", f"pass:{password}"] if password else ["-nodes"]
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "30", "-batch"),
            *("-subj", f"/CN={name}", "-keyout", str(key), "-out", str(certificate)),
            *protection,
        ],
        check=True,
        capture_output=True,
    )
    return str(certificate), str(key)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    a_certificate(folder, "server")
    a_certificate(folder, "client", "secret")
    return folder


def of_server(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(OK)
    await writer.drain()


async def asked(port: int, client: TlsClient, url: Url, **options: object) -> Verdict:
    tools = Tools(asyncio.get_running_loop())
    tools.configure(GlobalDefinitions(), client)
    checker = HttpCheck(target(port), TIMING, True, (url,), **options)  # type: ignore[arg-type]
    return await ask(checker, tools)


@pytest.mark.keywords("real_server/SSL_GET")
def test_a_server_is_asked_over_tls(folder: Path) -> None:
    async def story() -> None:
        async with server(talk, ssl=of_server(folder)) as port:
            digest = hashlib.md5(b"hello").digest()
            assert (await asked(port, TlsClient(), Url(digest=digest))).is_good
            assert not (await asked(port, TlsClient(), Url(digest=bytes(16)))).is_good

    run(story())


@pytest.mark.keywords("SSL_GET/enable_sni", "SSL_GET/sni_name")
@pytest.mark.parametrize(
    ("options", "virtualhost", "name"),
    [
        ({}, "www.example", None),
        ({"sends_sni": True}, "www.example", "www.example"),
        ({"sends_sni": True}, None, None),
        ({"sends_sni": True, "sni_name": "other.example"}, "www.example", "other.example"),
        ({"sni_name": "other.example"}, None, "other.example"),
    ],
)
def test_names_in_tls(
    folder: Path, options: dict[str, object], virtualhost: str | None, name: str | None
) -> None:
    async def story() -> None:
        names: list[str | None] = []
        context = of_server(folder)
        context.sni_callback = lambda _, said, __: names.append(said)
        async with server(talk, ssl=context) as port:
            assert (await asked(port, TlsClient(), Url(virtualhost=virtualhost), **options)).is_good
        assert names == [name]

    run(story())


@pytest.mark.keywords("SSL/certificate", "SSL/key", "SSL/password", "SSL/ca")
def test_the_client_has_a_certificate_where_one_is_wanted(folder: Path) -> None:
    async def story() -> None:
        context = of_server(folder)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "client.pem")
        client = TlsClient(
            str(folder / "client.pem"),
            str(folder / "client.pem"),
            str(folder / "client.key"),
            "secret",
        )
        async with server(talk, ssl=context) as port:
            assert (await asked(port, client, Url())).is_good
            assert not (await asked(port, TlsClient(), Url())).is_good

    run(story())


@pytest.mark.keywords("SSL_GET/tls_compliant", "url/tls_compliant")
@pytest.mark.parametrize("is_compliant", [False, True])
def test_tls_is_ended_as_the_protocol_has_it_where_that_is_wanted(
    folder: Path, is_compliant: bool
) -> None:
    """The server's own eyes: OpenSSL tells an end with close_notify from a cut connection."""

    async def story() -> None:
        context = of_server(folder)

        def serve(opened: socket.socket) -> str:
            raw, _ = opened.accept()
            raw.settimeout(PATIENCE)
            with context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False) as made:
                made.recv(1000)
                made.sendall(OK)
                try:
                    return "ended" if made.recv(1000) == b"" else "more"
                except (ssl.SSLEOFError, ConnectionError):
                    return "cut"

        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.settimeout(PATIENCE)
            served = asyncio.create_task(asyncio.to_thread(serve, listening))
            url = Url(is_tls_compliant=is_compliant)
            assert (await asked(listening.getsockname()[1], TlsClient(), url)).is_good
            assert await served == ("ended" if is_compliant else "cut")

    run(story())


def test_who_speaks_no_tls_is_a_failure(folder: Path) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 hello\r\n")
        await reader.read()

    async def story() -> None:
        async with server(plain) as port:
            verdict = await asked(port, TlsClient(), Url())
            assert not verdict.is_good
            assert "TLS" in verdict.why
            assert verdict.line == "Connection failed server {service}."

    run(story())


def test_a_handshake_that_hangs_is_cut(folder: Path) -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)
        await asyncio.sleep(PATIENCE)

    async def story() -> None:
        async with server(silent) as port:
            timing = replace(TIMING, connect_timeout=200 * MILLISECOND)
            checker = HttpCheck(target(port), timing, True, (Url(),))
            verdict = await ask(checker)
            assert not verdict.is_good
            assert verdict.line == "Timeout connecting server {service}."

    run(story())


@pytest.mark.parametrize(
    ("client", "fault"),
    [
        (TlsClient(ca="/nowhere"), "ca /nowhere cannot be read: No such file or directory"),
        (TlsClient(ca="BAD"), "is no certificate"),
        (TlsClient(certificate="BAD"), "is no certificate"),
        (TlsClient(certificate="server.pem"), "has no key with it; write key"),
        (TlsClient(certificate="server.pem", key="BAD"), "is no key"),
        (TlsClient(certificate="server.pem", key="client.key"), "is no key, or password"),
        (TlsClient(certificate="client.pem", key="server.key"), "is not that of certificate"),
        (
            TlsClient(certificate="client.pem", key="client.key", password="wrong"),
            "is no key, or password is not its own",
        ),
    ],
)
def test_certificates_that_are_none(folder: Path, client: TlsClient, fault: str) -> None:
    (folder / "BAD").write_text("-----BEGIN CERTIFICATE-----\nnothing\n")

    def placed(path: str | None) -> str | None:
        return path if path is None or path.startswith("/") else str(folder / path)

    client = replace(
        client,
        ca=placed(client.ca),
        certificate=placed(client.certificate),
        key=placed(client.key),
    )
    with pytest.raises(TlsError, match=fault):
        context_of(client)
    with pytest.raises(CannotCheckError, match="SSL: "):
        run(asked(unused_port(), client, Url()))


@pytest.fixture(scope="module")
def nginx(folder: Path) -> Iterator[tuple[int, int]]:
    """Debian's nginx; its ports for HTTP and HTTPS."""
    if shutil.which("nginx") is None:
        pytest.skip("needs nginx")
    plain, secure = unused_port(), unused_port()
    (folder / "page").write_text("hello")
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"""
        daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
        events {{ }}
        http {{
            access_log off; gzip on; gzip_min_length 1;
            client_body_temp_path {folder}/1; proxy_temp_path {folder}/2;
            fastcgi_temp_path {folder}/3; uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
            server {{
                listen 127.0.0.1:{plain};
                listen 127.0.0.1:{secure} ssl;
                ssl_certificate {folder}/server.pem; ssl_certificate_key {folder}/server.key;
                root {folder};
                location /moved {{ return 302 /page; }}
                location /gone {{ return 410; }}
            }}
        }}
        """
    )
    (folder / "page").chmod(0o644)
    for part in (folder, *folder.parents):
        if str(part).startswith("/tmp/"):
            part.chmod(0o755)
    daemon = subprocess.Popen(["nginx", "-c", str(configuration)], stderr=subprocess.DEVNULL)

    async def starts() -> None:
        while True:
            assert daemon.poll() is None
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", plain)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return

    try:
        run(starts())
        yield plain, secure
    finally:
        daemon.terminate()
        daemon.wait()


@pytest.mark.keywords("real_server/HTTP_GET", "real_server/SSL_GET")
@pytest.mark.parametrize("is_tls", [False, True])
def test_nginx_is_checked(nginx: tuple[int, int], is_tls: bool) -> None:
    digest = hashlib.md5(b"hello").digest()
    urls = [
        (Url("/page", digest), True),
        (Url("/page", bytes(16)), False),
        (Url("/nowhere"), False),
        (Url("/nowhere", status=((404, 404),)), True),
        (Url("/moved"), False),
        (Url("/moved", status=((300, 399),)), True),
        (Url("/gone", status=((410, 410),)), True),
    ]

    async def story() -> None:
        for url, is_good in urls:
            checker = HttpCheck(target(nginx[is_tls]), TIMING, is_tls, (url,))
            assert (await ask(checker)).is_good is is_good, url

    run(story())
