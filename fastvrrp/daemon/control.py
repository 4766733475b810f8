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

import json
import logging
import os
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastvrrp.daemon.orders import Answer
from fastvrrp.observe.requests import LONGEST_REQUEST, short_path

if TYPE_CHECKING:
    from fastvrrp.daemon.renewal import Keep
    from fastvrrp.track.conversation import EventLoop, Later

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
REST = 1.0
"""Seconds until somebody is let in again where there was no descriptor left."""
CREDENTIALS = struct.Struct("=iII")
"""struct ucred (unix(7)): process, user, group."""

CarryOut = Callable[
    [str, Mapping[str, Any], Callable[[Answer], object], Callable[[str], object]], object
]
"""Has a request of a kind carried out; it calls the first function once, at the end, and the second
one with each line for a person meanwhile."""


class Control:
    """The socket of one daemon, from `open` to `close`."""

    def __init__(
        self,
        loop: EventLoop,
        path: Path,
        carry_out: CarryOut,
        looks: frozenset[str] = frozenset(),
    ) -> None:
        """`looks` are the kinds of requests that change nothing."""
        self.loop = loop
        self.carry_out = carry_out
        self._path = path
        self._looks = looks
        self._listener: socket.socket | None = None
        self._clients: dict[_Client, None] = {}
        """In the order in which they came."""
        self._refused: set[int] = set()
        """Users of whom the log says that they were refused."""
        self._rest: Later | None = None

    @property
    def count(self) -> int:
        """How many clients there are."""
        return len(self._clients)

    def open(self) -> None:
        """Takes requests from now on. Whoever calls holds the daemon's pid file, so what stands at
        the path is nobody's. Raises OSError."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._path.unlink(missing_ok=True)
            with short_path(self._path) as name:
                listener.bind(name)
            # Nobody can connect before it listens, so nobody does with other rights than these.
            self._path.chmod(MODE)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            error.filename = str(self._path)
            raise
        listener.setblocking(False)
        self._listener = listener
        self.loop.add_reader(listener.fileno(), self._accept)

    def plain(self, keep: Keep) -> dict[str, Any]:
        """With what `go_on` goes on in another program, in JSON's types; `keep` has descriptors
        stay open."""
        return {
            "listener": None if self._listener is None else keep(self._listener.fileno()),
            "refused": sorted(self._refused),
            "clients": [client.plain(keep) for client in self._clients],
        }

    def go_on(self, plain: Mapping[str, Any]) -> None:
        """Takes the socket, and all who are there, from another program in this process."""
        listener = plain.get("listener")
        if listener is not None:
            self._listener = socket.socket(fileno=listener)
            self._listener.set_inheritable(False)
            self.loop.add_reader(self._listener.fileno(), self._accept)
        self._refused = set(plain.get("refused", ()))
        for of_client in plain.get("clients", ()):
            connection = socket.socket(fileno=of_client["descriptor"])
            connection.set_inheritable(False)
            client = _Client(self, connection)
            self._clients[client] = None
            client.go_on(of_client)

    def answer_all(self, answer: Answer) -> None:
        """Answers everybody who waits for the end of a request."""
        for client in list(self._clients):
            if client.waits:
                client.answer(answer)

    def close(self) -> None:
        """Takes none any more; what is under way goes on, and nobody hears how it ends."""
        if self._listener is not None:
            self.loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None
            self._path.unlink(missing_ok=True)
        if self._rest is not None:
            self._rest.cancel()
        for client in list(self._clients):
            client.abort()

    def _accept(self) -> None:
        self._rest = None
        assert self._listener is not None
        for _ in range(BACKLOG):
            try:
                connection, _ = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                log.error("The control socket takes nobody: %s", error.strerror)
                self.loop.remove_reader(self._listener.fileno())
                self._rest = self.loop.call_later(REST, self._watch)
                return
            self._admit(_Client(self, connection))

    def _watch(self) -> None:
        if self._listener is not None:
            self.loop.add_reader(self._listener.fileno(), self._accept)

    def _admit(self, client: _Client) -> None:
        """Lets one more in; another one may have to go for it."""
        if len(self._clients) >= MOST_CLIENTS:
            waiting = [each for each in self._clients if each.says_nothing]
            # min takes the first of equals, which has been here longest.
            longest = min(waiting, key=lambda each: each.may_change, default=None)
            if longest is None or longest.may_change > client.may_change:
                client.refuse("there are too many requests at once: ask again later")
                return
            longest.abort()
        self._clients[client] = None
        client.listen()

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


class _Client:
    """One connection: a request and its answer."""

    def __init__(self, control: Control, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._control = control
        self._connection = connection
        self._heard = bytearray()
        self._unsent = bytearray()
        self._clock: Later | None = None
        self._has_asked = False
        self._is_answered = False
        self._is_closed = False
        # As it was when it connected.
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        self.pid, self.user, _ = CREDENTIALS.unpack(data)

    @property
    def may_change(self) -> bool:
        """Whether the process at the other end may ask for more than a look."""
        return self.user in (0, os.geteuid())

    @property
    def says_nothing(self) -> bool:
        """It has not sent a whole request."""
        return not self._has_asked

    @property
    def waits(self) -> bool:
        """It has asked, and was not answered."""
        return self._has_asked and not self._is_answered

    def plain(self, keep: Keep) -> dict[str, Any]:
        """With what `go_on` goes on in another program."""
        return {
            "descriptor": keep(self._connection.fileno()),
            "heard": self._heard.hex(),
            "unsent": self._unsent.hex(),
            "has_asked": self._has_asked,
            "is_answered": self._is_answered,
        }

    def go_on(self, plain: Mapping[str, Any]) -> None:
        """Goes on where another program has stopped."""
        self._heard += bytes.fromhex(plain.get("heard", ""))
        self._unsent += bytes.fromhex(plain.get("unsent", ""))
        self._has_asked = plain.get("has_asked", False)
        self._is_answered = plain.get("is_answered", False)
        if not self._has_asked and not self._is_answered:
            self.listen()
        elif self._unsent:
            self._control.loop.add_writer(self._connection.fileno(), self._flush)
            if self._is_answered:
                self._set_clock(LEAVING_TIME)

    def listen(self) -> None:
        """Waits for a request."""
        self._control.loop.add_reader(self._connection.fileno(), self._hear)
        self._set_clock(REQUEST_TIME)

    def refuse(self, why: str) -> None:
        """Says why there is nothing to be had, and ends the connection when that was read."""
        self._say(why)
        self._end(False)

    def abort(self) -> None:
        """Ends the connection at once."""
        if self._is_closed:
            return
        self._is_closed = True
        self._set_clock(None)
        self._control.loop.remove_reader(self._connection.fileno())
        self._control.loop.remove_writer(self._connection.fileno())
        self._connection.close()
        self._control.forget(self)

    def _hear(self) -> None:
        try:
            data = self._connection.recv(LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if self._has_asked:
            # What comes behind a request is nothing; who has said all may still listen.
            self._control.loop.remove_reader(self._connection.fileno())
            return
        if not data:
            self.abort()
            return
        self._heard += data
        line, newline, _ = self._heard.partition(b"\n")
        if len(line) >= LONGEST_REQUEST:
            self.refuse(f"a request has less than {LONGEST_REQUEST} bytes")
        elif newline:
            self._heard.clear()
            self._take(bytes(line))

    def _take(self, line: bytes) -> None:
        try:
            request = json.loads(line)
            kind, arguments = request["request"], request.get("arguments", {})
            if not isinstance(kind, str) or not isinstance(arguments, dict):
                raise TypeError
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            self.refuse("that is no request")
            return
        if not self._control.may(self, kind):
            self.refuse("only root and the daemon's own user may ask for that")
            return
        self._has_asked = True
        self._set_clock(None)
        try:
            self._control.carry_out(kind, arguments, self.answer, self._say)
        except Exception:
            log.exception("A request (%.64r) could not be carried out", kind)
            self.refuse("it could not be carried out: the log says why")

    def answer(self, answer: Answer) -> None:
        """Tells it how its request has ended."""
        for line in answer.lines:
            self._say(line)
        self._end(answer.is_ok, answer.value)

    def _say(self, line: str) -> None:
        self._write({"line": line})

    def _end(self, is_ok: bool, value: object = None) -> None:
        self._write({"ok": is_ok, "value": value})
        self._is_answered = True
        if self._unsent:
            self._set_clock(LEAVING_TIME)
        else:
            self.abort()

    def _write(self, said: Mapping[str, object]) -> None:
        if self._is_closed:
            return
        self._unsent += json.dumps(said).encode() + b"\n"
        self._flush()
        if len(self._unsent) > MOST_UNREAD:
            self.abort()

    def _flush(self) -> None:
        loop = self._control.loop
        try:
            del self._unsent[: self._connection.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:  # nobody reads it any more
            self.abort()
            return
        if self._unsent:
            loop.add_writer(self._connection.fileno(), self._flush)
            return
        loop.remove_writer(self._connection.fileno())
        if self._is_answered:
            self.abort()

    def _set_clock(self, seconds: float | None) -> None:
        """Ends the connection in so many seconds, or not for now."""
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        if seconds is not None and not self._is_closed:
            self._clock = self._control.loop.call_later(seconds, self.abort)
