"""The HTTP server of metrics: compression, TLS, users, bounds."""

from __future__ import annotations

import base64
import gzip
import http.client
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import bcrypt
import pytest

from fastvrrp.daemon.export_task import address_of
from fastvrrp.observe.web import MOST_CONNECTIONS, MOST_OF_A_PEER, Server
from fastvrrp.observe.web_config import WebConfig, WebConfigError

BODY = [b"one 1\n", b"", b"two 2\n" * 100_000]


@contextmanager
def serving(config: WebConfig | None = None, *, is_well: bool = True) -> Iterator[tuple[str, int]]:
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(
        listening, config or WebConfig(), lambda: iter(BODY), lambda: (is_well, {"pid": 7})
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield listening.getsockname()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ask(
    address: tuple[str, int],
    path: str = "/metrics",
    tls: ssl.SSLContext | None = None,
    **headers: str,
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = (
        http.client.HTTPConnection(*address, timeout=10)
        if tls is None
        else http.client.HTTPSConnection(*address, timeout=10, context=tls)
    )
    connection.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_scrape_is_compressed_where_that_is_asked_for() -> None:
    with serving() as address:
        response, body = ask(address)
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert response.headers["Content-Encoding"] is None
        assert body == b"".join(BODY)
        for accepted in ("gzip", "deflate, gzip;q=0.5"):
            response, body = ask(address, Accept_Encoding=accepted)
            assert response.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(body) == b"".join(BODY)
        response, body = ask(address, Accept_Encoding="gzip;q=0, identity")
        assert body == b"".join(BODY)


def test_an_old_client_gets_it_in_one_piece() -> None:
    with serving() as address, socket.create_connection(address, 10) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        said = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"Transfer-Encoding" not in head
    assert body == b"".join(BODY)


@pytest.mark.parametrize(("is_well", "status"), [(True, 200), (False, 503)])
def test_health_is_that_of_the_daemon(is_well: bool, status: int) -> None:
    with serving(is_well=is_well) as address:
        response, body = ask(address, "/healthz")
    assert (response.status, body) == (status, b'{"pid": 7}\n')


def test_what_is_not_there_is_said_to_be() -> None:
    with serving() as address:
        assert ask(address, "/other")[0].status == 404
        assert ask(address, "/")[0].status == 200


def test_connections_that_say_nothing_are_bounded_and_refused() -> None:
    with serving() as address:
        sources = [("127.0.0.1", 0), ("127.0.0.2", 0)]
        idle = [
            socket.create_connection(address, 10, sources[number % 2])
            for number in range(MOST_CONNECTIONS)
        ]
        with socket.create_connection(address, 10) as more:
            assert more.recv(1) == b""
        for each in idle:
            each.close()


def test_one_address_leaves_room_for_others() -> None:
    with serving() as address:
        idle = [socket.create_connection(address, 10) for _ in range(MOST_OF_A_PEER)]
        with socket.create_connection(address, 10) as more:
            assert more.recv(1) == b""
        with socket.create_connection(address, 10, ("127.0.0.9", 0)) as other:
            other.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert other.recv(1) == b"H"
        for each in idle:
            each.close()


def test_who_reads_nothing_keeps_no_scrape_waiting() -> None:
    with serving() as address, socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(address)
        stalled.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        assert stalled.recv(1) == b"H"  # it is being answered
        assert ask(address)[1] == b"".join(BODY)


def test_a_request_that_drips_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastvrrp.observe.web.PATIENCE", 1.0)

    def drip(client: socket.socket) -> None:
        said = None
        while said is None:
            client.sendall(b"G")
            with suppress(TimeoutError):
                said = client.recv(1)
        assert said == b"", "it has not been asked for anything"
        raise ConnectionResetError

    with (
        serving() as address,
        socket.create_connection(address, 0.1) as client,
        pytest.raises(ConnectionError),
    ):
        drip(client)


def web_config(folder: Path, text: str) -> WebConfig:
    path = folder / "web.yml"
    path.write_text(text)
    return WebConfig.read(path)


def test_users_have_passwords(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    # htpasswd writes 2y, which is the same.
    users = f"basic_auth_users: {{a: {hashed!r}, b: {hashed.replace('$2b$', '$2y$')!r}}}"
    with serving(web_config(tmp_path, users)) as address:
        assert ask(address)[0].status == 401
        assert ask(address)[0].headers["WWW-Authenticate"].startswith("Basic ")
        for user in ("a", "b", "a"):
            assert ask(address, Authorization=basic(user, "secret"))[0].status == 200
        for said in (
            *(basic("a", "other"), basic("c", "secret"), basic("", ""), "Basic !!", "Bearer x"),
            basic("a", "secret" + "x" * 100),
        ):
            assert ask(address, Authorization=said)[0].status == 401


def certificate(folder: Path, name: str, *options: str) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", f"/CN={name}"),
            *("-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"),
            *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")),
            *options,
        ],
        check=True,
        capture_output=True,
    )


def test_tls_with_files_beside_the_configuration(tmp_path: Path) -> None:
    certificate(tmp_path, "server")
    text = "tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS13}\n"
    text += "http_server_config: {http2: true, headers: {X-Frame-Options: deny}}"
    trusting = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
    with serving(web_config(tmp_path, text)) as address:
        response, body = ask(address, tls=trusting)
        assert body == b"".join(BODY)
        assert response.headers["X-Frame-Options"] == "deny"
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            ask(address)  # without TLS
        trusting.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            ask(address, tls=trusting)


def test_tls_with_certificates_of_clients(tmp_path: Path) -> None:
    for name in ("server", "client", "other"):
        certificate(tmp_path, name)
    authority = (tmp_path / "client.pem").read_text() + (tmp_path / "other.pem").read_text()
    (tmp_path / "ca.pem").write_text(authority)
    pem, key = (tmp_path / "server.pem").read_text(), (tmp_path / "server.key").read_text()
    inline = "".join(f"    {line}\n" for line in pem.splitlines())
    inline_key = "".join(f"    {line}\n" for line in key.splitlines())
    text = f"""
tls_server_config:
  cert: |
{inline}
  key: |
{inline_key}
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans: [client]
  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]
"""

    def client(name: str | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
        if name is not None:
            made.load_cert_chain(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        return made

    with serving(web_config(tmp_path, text)) as address:
        assert ask(address, tls=client("client"))[0].status == 200
        assert ask(address, tls=client("other"))[0].status == 403
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            ask(address, tls=client(None))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tls_server_config: {cert_file: a.pem}", "needs cert_file and key_file"),
        ("tls_server_config: {cert_file: a.pem, key_file: b}", "No such file"),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: SSL3}", "SSL3 is not to be"),
        ("rate_limit: {burst: 3}", "has rate_limit, which fastvrrp cannot do"),
        ("http_server_config: {headers: {X-Other: a}}", "has X-Other, which"),
        ("- a", "is no mapping"),
        ("basic_auth_users: {a: secret}", "password of a is no hash of bcrypt"),
        ("basic_auth_users: {a: [", "while parsing"),
        ("basic_auth_users: [a, b]", "is no mapping of names"),
    ],
)
def test_what_cannot_be_done_is_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(WebConfigError, match=complaint) as refused:
        web_config(tmp_path, text)
    assert str(refused.value).startswith(str(tmp_path / "web.yml"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        (":9165", (socket.AF_INET, ("127.0.0.1", 9165))),
        ("192.0.2.1:1", (socket.AF_INET, ("192.0.2.1", 1))),
        ("[2001:db8::1]:9165", (socket.AF_INET6, ("2001:db8::1", 9165))),
        ("*:9165", (socket.AF_INET6, ("::", 9165))),
    ],
)
def test_no_address_is_loopback(listen: str, expected: object) -> None:
    assert address_of(listen) == expected
