"""The HTTP server of /metrics and /healthz. It runs in a process of its own (daemon/exporter.py).

A thread a connection, and a bounded number of those; whoever says nothing is let go after a while.
One scrape is made at a time.
"""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import socket
import socketserver
import ssl
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from fastvrrp.observe.exposition import CONTENT_TYPE
from fastvrrp.observe.making import Maker
from fastvrrp.observe.web_config import WebConfig

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 32
"""At a time; one more is closed at once."""
MOST_OF_A_PEER = 24
"""Of those, from one address."""
PATIENCE = 10.0
"""Seconds for a whole request to come, with TLS before it; for each piece of an answer to go; and
for one scrape to wait for another."""
LONGEST_SCRAPE = 30.0
"""Seconds in which an answer must have gone."""
PIECE = 1 << 20
"""Bytes of an answer that are expanded at once, for who takes no gzip."""
LEVEL = 1
"""Of gzip: a scrape of 65,280 virtual routers shrinks from 140 MB to 8 in a third of a second."""
GZIP_WINDOW = 31
"""zlib's number for 32 KiB with gzip's header."""
INDEX = b"<html><title>fastvrrp</title><a href='/metrics'>metrics</a></html>\n"


class Server(socketserver.ThreadingMixIn, socketserver.BaseServer):
    """Serves on a socket that is bound and listens already.

    `pages` makes the text of a scrape; `health` says whether the daemon is well, and what of it.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        listening: socket.socket,
        config: WebConfig,
        pages: Callable[[], Iterator[bytes]],
        health: Callable[[], tuple[bool, dict[str, Any]]],
    ) -> None:
        super().__init__(listening.getsockname(), _Handler)
        self.socket = listening
        self.config = config
        self.pages = pages
        self.health = health
        self.scraping = threading.Lock()
        self.maker = Maker()
        self._counting = threading.Lock()
        self._peers: Counter[str] = Counter()
        """How many connections an address has."""
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def fileno(self) -> int:
        return self.socket.fileno()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = self.socket.accept()
        connection.settimeout(PATIENCE)
        return connection, peer

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._counting:
            if self._peers[client_address[0]] >= MOST_OF_A_PEER:
                return False
            if not self._room.acquire(blocking=False):
                return False
            self._peers[client_address[0]] += 1
        return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            if self.config.tls is not None:
                with deadline(request):
                    request = self.config.tls.wrap_socket(request, server_side=True)
            super().process_request_thread(request, client_address)
        except OSError as error:  # ssl.SSLError too: a client that wants no TLS, or has gone
            log.debug("%s: %s", client_address, error)
            self.close_request(request)
        finally:
            self._room.release()
            with self._counting:
                self._peers[client_address[0]] -= 1
                self._peers += Counter()  # forgets those who have none

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("%s: the request failed", client_address, exc_info=True)

    def close_request(self, request: Any) -> None:
        request.close()

    def server_close(self) -> None:
        self.socket.close()


@contextmanager
def deadline(connection: socket.socket) -> Iterator[threading.Timer]:
    """Ends the connection where this is not left, or cancelled, within PATIENCE: a client may say
    a byte now and then for ever."""
    descriptor = os.dup(connection.fileno())  # TLS takes the connection's own
    both = socket.socket(fileno=descriptor)

    def end() -> None:
        with suppress(OSError):  # it has ended by itself
            both.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(PATIENCE, end)
    timer.daemon = True
    timer.start()
    try:
        yield timer
    finally:
        timer.cancel()
        both.close()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE

    def handle_one_request(self) -> None:
        with deadline(self.connection) as self._deadline:
            super().handle_one_request()

    def do_GET(self) -> None:
        self._deadline.cancel()  # the request is whole
        if not self._is_admitted():
            return
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._scrape()
        elif path == "/healthz":
            is_well, what = self.server.health()
            status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
            self._say(status, json.dumps(what).encode() + b"\n", "application/json")
        elif path == "/":
            self._say(HTTPStatus.OK, INDEX, "text/html")
        else:
            self._say(HTTPStatus.NOT_FOUND, b"there are /metrics and /healthz\n", "text/plain")

    def version_string(self) -> str:
        return "fastvrrp"

    def log_message(self, format: str, *args: object) -> None:
        log.debug("%s " + format, self.address_string(), *args)

    def _is_admitted(self) -> bool:
        config = self.server.config
        if isinstance(self.connection, ssl.SSLSocket) and not config.admits_certificate(
            self.connection.getpeercert()
        ):
            self._say(HTTPStatus.FORBIDDEN, b"this certificate is not allowed\n", "text/plain")
            return False
        if config.users is None:
            return True
        if "Authorization" in self.headers and config.users.admits(*_credentials(self.headers)):
            return True
        self.send_response(HTTPStatus.UNAUTHORIZED)
        self.send_header("WWW-Authenticate", 'Basic realm="fastvrrp"')
        self._end_headers(b"", "text/plain")
        return False

    def _say(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self._end_headers(body, kind)

    def _end_headers(self, body: bytes, kind: str) -> None:
        self._common_headers(kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _common_headers(self, kind: str) -> None:
        for name, value in self.server.config.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)

    def _scrape(self) -> None:
        """Whoever takes the answer slowly keeps nobody waiting: it is kept until then."""
        if not self.server.scraping.acquire(timeout=PATIENCE):
            text = b"others are being answered; ask again\n"
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, text, "text/plain")
            return
        try:
            packed = self.server.maker.make(lambda: _compressed(self.server.pages()))
        finally:
            self.server.scraping.release()
        self._stream(packed)

    def _stream(self, packed: Iterable[bytes]) -> None:
        """Sends pieces, which are compressed, as the client wants them."""
        self.send_response(HTTPStatus.OK)
        self._common_headers(CONTENT_TYPE)
        if _takes_gzip(self.headers.get("Accept-Encoding", "")):
            self.send_header("Content-Encoding", "gzip")
            pages = packed
        else:
            pages = _expanded(packed)
        is_chunked = self.request_version >= "HTTP/1.1"
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.close_connection = True
        self.end_headers()
        until = time.monotonic() + LONGEST_SCRAPE
        for page in pages:
            if time.monotonic() > until:
                raise TimeoutError("the client reads too slowly")
            if page:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(page), page) if is_chunked else page)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")


def _compressed(pages: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(LEVEL, wbits=GZIP_WINDOW)
    for page in pages:
        yield packer.compress(page)
    yield packer.flush()


def _expanded(packed: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=GZIP_WINDOW)
    for piece in packed:
        rest = piece
        while rest:
            yield unpacker.decompress(rest, PIECE)
            rest = unpacker.unconsumed_tail
    yield unpacker.flush()


def _takes_gzip(accepted: str) -> bool:
    """Whether a header Accept-Encoding admits gzip (RFC 9110 section 12.5.3)."""
    for each in accepted.lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() in ("gzip", "*"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


def _credentials(headers: Any) -> tuple[str, str]:
    """User and password of a request; empty where it has none."""
    scheme, _, text = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password
