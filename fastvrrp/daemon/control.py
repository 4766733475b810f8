"""The control socket: where commands tell a running daemon what to do (docs/control.md).

A Unix stream socket beside the state segment. Who may connect is said by its owner and mode (the
daemon's user alone), and who may change something by the kernel's word on who is at the other end
(SO_PEERCRED): root and the daemon's own user; others may only look.

Whatever comes in is bounded: a request is one line of so many bytes, within so many seconds, there
are so many clients at once, and an answer that nobody reads is given up. When there are too many
clients the one goes that has been there longest without saying anything, one who may only look
before one who may do more: so those who say nothing keep nobody out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, cast

from fastvrrp.daemon.orders import Answer
from fastvrrp.observe.requests import LONGEST_REQUEST, short_path

log = logging.getLogger(__name__)

MODE = 0o600
MOST_CLIENTS = 64
REQUEST_TIME = 5.0
"""Seconds in which a request has to come."""
MOST_UNREAD = 1 << 20
"""Bytes of an answer that may wait for its reader."""
LEAVING_TIME = 10.0
"""Seconds in which the end of an answer has to be read."""
BACKLOG = 128
CREDENTIALS = struct.Struct("=iII")
"""struct ucred (unix(7)): process, user, group."""

NOBODY = -1
"""No process and no user."""

CarryOut = Callable[[str, Mapping[str, Any], Callable[[str], None]], Awaitable[Answer]]
"""Has a request of a kind carried out; what it calls meanwhile is told to who has asked."""


class Control:
    """The socket of one daemon, from `open` to `close`, in the running loop."""

    def __init__(
        self,
        path: Path,
        carry_out: CarryOut,
        looks: frozenset[str] = frozenset(),
    ) -> None:
        """`looks` are the kinds of requests that change nothing."""
        self._path = path
        self._carry_out = carry_out
        self._looks = looks
        self._server: asyncio.Server | None = None
        self._clients: dict[_Client, None] = {}
        """In the order in which they came."""
        self._refused: set[int] = set()
        """Users of whom the log says that they were refused."""

    async def open(self) -> None:
        """Takes requests from now on. Whoever calls holds the daemon's pid file, so what stands at
        the path is nobody's. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._path.unlink(missing_ok=True)
            with short_path(self._path) as name:
                listener.bind(name)
            # Nobody can connect before it listens, so nobody does with other rights than these.
            self._path.chmod(MODE)
            listener.setblocking(False)
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(
                lambda: _Client(self), sock=listener, backlog=BACKLOG
            )
        except OSError as error:
            listener.close()
            error.filename = error.filename or str(self._path)
            raise

    def close(self) -> None:
        """Takes none any more; what is under way goes on, and nobody hears how it ends."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self._path.unlink(missing_ok=True)
        for client in list(self._clients):
            client.give_up()

    def admit(self, client: _Client) -> bool:
        """Whether there is room for one more; another one may have to go for it."""
        if len(self._clients) >= MOST_CLIENTS:
            waiting = [each for each in self._clients if each.says_nothing]
            # min takes the first of equals, which has been here longest.
            longest = min(waiting, key=lambda each: each.may_change, default=None)
            if longest is None or longest.may_change > client.may_change:
                return False
            longest.abort()
            self.forget(longest)
        self._clients[client] = None
        return True

    def forget(self, client: _Client) -> None:
        """It has gone."""
        self._clients.pop(client, None)

    def may(self, client: _Client, kind: str) -> bool:
        """Whether somebody may ask for that; the log says who has asked for a change."""
        if kind in self._looks:
            return True
        if client.may_change:
            log.info("A process of user %d (pid %d) asks: %.64r", client.user, client.pid, kind)
        elif client.user not in self._refused:
            self._refused.add(client.user)
            log.warning("User %d asks (%.64r), and may only look", client.user, kind)
        return client.may_change

    def carry_out(
        self, kind: str, arguments: Mapping[str, Any], say: Callable[[str], None]
    ) -> Awaitable[Answer]:
        """Has it carried out."""
        return self._carry_out(kind, arguments, say)


class _Client(asyncio.Protocol):
    """One connection: a request and its answer."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._transport: asyncio.Transport | None = None
        self._heard = bytearray()
        self._clock: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.pid = self.user = NOBODY

    @property
    def may_change(self) -> bool:
        """Whether the process at the other end may ask for more than a look."""
        return self.user in (0, os.geteuid())

    @property
    def says_nothing(self) -> bool:
        """It has not sent a whole request."""
        return self._task is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.pid, self.user = _process(transport.get_extra_info("socket"))
        if self._control.admit(self):
            self._clock = self._loop.call_later(REQUEST_TIME, self.abort)
        else:
            self._end(False, "there are too many requests at once: ask again later")

    def data_received(self, data: bytes) -> None:
        if self._task is not None or self._transport is None:
            return
        self._heard += data
        line, newline, _ = self._heard.partition(b"\n")
        if len(line) >= LONGEST_REQUEST:
            self._end(False, f"a request has less than {LONGEST_REQUEST} bytes")
        elif newline:
            self._take(bytes(line))

    def eof_received(self) -> bool:
        return self._task is not None  # who has asked may still listen

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._control.forget(self)
        self._stop_clock()

    def abort(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._stop_clock()

    def give_up(self) -> None:
        """The same, also for one whose request is being carried out."""
        self.abort()
        if self._task is not None:
            self._task.cancel()

    def _take(self, line: bytes) -> None:
        self._heard.clear()
        try:
            request = json.loads(line)
            kind, arguments = request["request"], request.get("arguments", {})
            if not isinstance(kind, str) or not isinstance(arguments, dict):
                raise TypeError
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self._end(False, "that is no request")
            return
        if not self._control.may(self, kind):
            self._end(False, "only root and the daemon's own user may ask for that")
            return
        self._stop_clock()
        self._task = self._loop.create_task(self._answer(kind, arguments))

    async def _answer(self, kind: str, arguments: Mapping[str, Any]) -> None:
        try:
            answer = await self._control.carry_out(kind, arguments, self._say)
        except Exception:
            log.exception("A request (%.64r) could not be carried out", kind)
            self._end(False, "it could not be carried out: the log says why")
            return
        for line in answer.lines:
            self._say(line)
        self._end(answer.is_ok, value=answer.value)

    def _say(self, line: str) -> None:
        self._write({"line": line})

    def _end(self, is_ok: bool, line: str = "", value: object = None) -> None:
        if line:
            self._say(line)
        self._write({"ok": is_ok, "value": value})
        if self._transport is not None:
            self._transport.close()  # when all was written
            self._stop_clock()
            self._clock = self._loop.call_later(LEAVING_TIME, self.abort)

    def _write(self, said: Mapping[str, object]) -> None:
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size() > MOST_UNREAD:
            self.abort()
            return
        self._transport.write(json.dumps(said).encode() + b"\n")

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def _process(connection: socket.socket) -> tuple[int, int]:
    """The process at the other end, and its user, as they were when it connected."""
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    pid, user, _ = CREDENTIALS.unpack(data)
    return pid, user
