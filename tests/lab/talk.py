"""A TCP connection to an address of a router, which is there for as long as the address is."""

from __future__ import annotations

import socket
from typing import Self

from lab.network import Router

PORT = 7001
SOON = 10.0
"""Seconds for a word to get to the other end."""


class Talk:
    """The connection; a context manager that ends it."""

    def __init__(self, server: Router, address: str, client: Router) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = server.call(lambda: socket.create_server((address, PORT), family=family))
        with listening:
            self._client = client.call(lambda: socket.create_connection((address, PORT), SOON))
            self._server, _ = listening.accept()
        self._server.settimeout(SOON)
        self._words = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._server.close()

    def goes_on(self) -> None:
        """Says a word in each direction. Raises OSError where the connection is no more."""
        self._words += 1
        for speaker, hearer in ((self._client, self._server), (self._server, self._client)):
            word = f"{self._words}\n".encode()
            speaker.sendall(word)
            assert hearer.recv(64) == word
