"""Virtual servers of an earlier reading, by their text: what stands there word for word as before
need not be read again.

A virtual server is remembered where nothing else than its text and `context`, all that is outside
of virtual servers, had a say in it: no script, no file, no group, and nothing to complain of. When
the context has changed, or there is an error anywhere, the whole is read as if nothing was known.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from hashlib import blake2b

from fastvrrp.config.source import Source
from fastvrrp.config.statement import Statement
from fastvrrp.model import (
    Checker,
    DnsCheck,
    HttpCheck,
    PingCheck,
    SmtpCheck,
    TcpCheck,
    UdpCheck,
    VirtualServer,
)

HEAD = "virtual_server"
UNCLEAR = re.compile(r"""["'\\#!$@~]|[^\t\n\r -~]|include""")
"""Text with any of these says what it says only together with something else."""
PLAIN = (TcpCheck, PingCheck, UdpCheck, DnsCheck, SmtpCheck)
"""Checkers that are made of their text alone; HTTP_GET may be one."""


class Head(Statement):
    """The first statement of a virtual server whose text may be remembered."""

    __slots__ = ("text",)

    def __init__(self, words: list[str], source: Source, number: int, text: str) -> None:
        super().__init__(words, True, source, number)
        self.text = text


class Recalled(Statement):
    """A whole virtual server, instead of its statements."""

    __slots__ = ("server",)

    def __init__(
        self, words: list[str], source: Source, number: int, server: VirtualServer
    ) -> None:
        super().__init__(words, False, source, number)
        self.server = server


class Memory:
    """What one reading leaves to the next."""

    def __init__(self) -> None:
        self._known: dict[str, VirtualServer] = {}
        self._context = b""
        self._has_recalled = False
        self._coming: dict[str, VirtualServer] = {}
        self._noted = blake2b()

    @property
    def servers(self) -> list[VirtualServer]:
        """All that are known."""
        return list(self._known.values())

    def begin(self, own_namespaces: Collection[str] = ()) -> None:
        """Another pass over the file begins; `own_namespaces` are of the context."""
        self._has_recalled = False
        self._coming = {}
        names = "\0".join(sorted(own_namespaces))
        self._noted = blake2b(f"{names}\n".encode("utf-8", "surrogateescape"))

    def recall(self, text: str) -> VirtualServer | None:
        """What that text was."""
        found = self._known.get(text)
        if found is not None:
            self._has_recalled = True
            self._coming[text] = found
        return found

    def learn(self, text: str, server: VirtualServer) -> None:
        """A virtual server was read, of which there is nothing to complain."""
        if _is_plain(server):
            self._coming[text] = server

    def is_mistaken(self, *, has_errors: bool) -> bool:
        """Whether what was recalled in this pass may not be so; then nothing is known any more."""
        if not self._has_recalled or (self._noted.digest() == self._context and not has_errors):
            return False
        self._known.clear()
        return True

    def keep(self) -> None:
        """What was read in this pass is known from now on, and nothing else."""
        self._known, self._coming = self._coming, {}
        self._context = self._noted.digest()

    def noting(self, statements: Iterator[Statement]) -> Iterator[Statement]:
        """The same statements; those outside of virtual servers are the context."""
        depth = 0
        for statement in statements:
            if depth:
                if statement.opens:
                    depth += 1
                elif not statement.words:
                    depth -= 1
            elif isinstance(statement, Head):
                depth = 1
            elif not isinstance(statement, Recalled):
                words = "\0".join(statement.words)
                self._noted.update(f"{words}\0{statement.opens}\n".encode("utf-8", "surrogatepass"))
            yield statement


def text_of_block(source: Source, number: int) -> str | None:
    """The text of the block that line `number` opens, as far as its end; None where it is not plain
    enough to be remembered."""
    depth = 1
    opened = closed = 0
    for end in range(number, len(source.lines)):
        line = source.lines[end].rstrip()
        if line.endswith("{"):
            depth += 1
            opened += 1
        elif line.endswith("}"):
            depth -= 1
            closed += 1
            if not depth:
                text = "\n".join(source.lines[number - 1 : end + 1])
                has_more = (text.count("{"), text.count("}")) != (opened + 1, closed)
                return None if has_more or UNCLEAR.search(text) else text
    return None


def _is_plain(server: VirtualServer) -> bool:
    commands = (server.quorum_up, server.quorum_down)
    return not any(commands) and all(
        real.notify_up is None
        and real.notify_down is None
        and all(map(_is_plain_checker, real.checkers))
        for real in server.real_servers
    )


def _is_plain_checker(checker: Checker) -> bool:
    if isinstance(checker, HttpCheck):
        return not checker.is_tls and all(url.expression is None for url in checker.urls)
    return isinstance(checker, PLAIN)
