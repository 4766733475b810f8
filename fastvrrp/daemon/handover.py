"""One vrrpd takes the place of another that runs, so that nothing is lost by an upgrade.

    new                                     old (the one that runs)
     | everything slow that touches nothing   | lives as ever
     | connects  ------------------------->   |
     |   <------------------------  hello     | with its claims of network namespaces (SCM_RIGHTS)
     | hold  ----------------------------->   | ends what is under way in the kernel; from now on it
     |   <-------------------------  held     | sends adverts, and does nothing else
     | opens its sockets, takes over what is  |
     | in the kernel, has every virtual       |
     | router look around                     |
     | take  ----------------------------->   | sends nothing any more
     |   <-----------------------  frozen     |
     | goes on as the state segment says      |
     | taken  ---------------------------->   | ends, and removes nothing
     | sends the adverts that are due         |

Whatever goes wrong before `taken`, the old one goes on as if nothing had been. It kills a new one
that does not say `taken` in time, before it goes on: there are never two. The new one sends nothing
before `taken`, and ends without touching anything where it cannot say so.

While the old one holds, nobody is heard: an election that would come just then comes so much later.
What arrives meanwhile waits in the sockets of the new one, which are open before.

The two may be of different versions, so what they say is JSON. What each says first is the layout
of its state segment: a new one that cannot read the old one's gives up.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from fastvrrp.daemon.orders import Reply
from fastvrrp.daemon.readiness import is_readable
from fastvrrp.daemon.rights import receive

log = logging.getLogger(__name__)

CONNECTING = 60.0
"""Seconds that a new one has for its first word after it was announced."""
QUIET = 5.0
"""Seconds that the old one has to end what is under way in the kernel."""
HOLD, HOLD_EACH = 5.0, 500e-6
"""Seconds that the old one holds at most, and how much more for each virtual router."""
FREEZE, FREEZE_EACH = 0.3, 30e-6
"""The same for being frozen. The shortest patience of a backup is three intervals."""
TICK = 1
"""Milliseconds between two looks for adverts that are due, while it holds."""
LOOK = 0.02
"""Seconds between two looks whether what is under way in the kernel has ended."""
DEATH = 5.0
"""Seconds that a process which was killed may take to die."""
MOST_RIGHTS = 200
"""Descriptors in one message; the kernel takes 253 (SCM_MAX_FD)."""
MESSAGE = 65_536
"""Bytes."""
CREDENTIALS = struct.Struct("=iII")
"""struct ucred (unix(7))."""


class HandoverError(Exception):
    """The other one cannot or does not want to; says why, for a person."""


class TooLateError(HandoverError):
    """It lives, and has not said in time what was expected."""


class _End:
    """One end of the connection, with messages that are whole."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection

    def say(self, word: str, rights: tuple[socket.socket, ...] = (), **more: Any) -> None:
        """Raises HandoverError where nobody is there."""
        message = json.dumps({"say": word, **more}).encode()
        try:
            if rights:
                socket.send_fds(self.socket, [message], [each.fileno() for each in rights])
            else:
                self.socket.send(message)
        except OSError as error:
            raise HandoverError(f"the other process has gone: {error.strerror}") from None

    def hear(self, seconds: float) -> tuple[dict[str, Any], list[int]]:
        """The next message, and descriptors that came with it. Raises HandoverError."""
        if not is_readable(self.socket.fileno(), seconds):
            raise TooLateError(f"the other process has said nothing for {seconds:g} s")
        try:
            data, rights = receive(self.socket, MESSAGE, MOST_RIGHTS)
        except OSError as error:
            raise HandoverError(f"the other process has gone: {error.strerror}") from None
        if not data:
            raise HandoverError("the other process has gone")
        try:
            message = json.loads(data)
            if not isinstance(message["say"], str):
                raise TypeError
        except (ValueError, KeyError, TypeError):
            raise HandoverError("the other process has said what nobody understands") from None
        return message, rights

    def expect(self, word: str, seconds: float) -> tuple[dict[str, Any], list[int]]:
        """The next message, which is this one. Raises HandoverError."""
        message, rights = self.hear(seconds)
        if message["say"] == "refused":
            raise HandoverError(str(message.get("why")))
        if message["say"] != word:
            raise HandoverError(f"the other process has said {message['say']!r}, not {word!r}")
        return message, rights


def _name_of(pid: int) -> str:
    """Where a process waits for who is to take its place: an abstract name of its network
    namespace."""
    return f"\0fastvrrp-handover-{pid}"


class Giving:
    """The old one's end."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        layout: int,
        why_not: Callable[[], str | None],
        is_idle: Callable[[], bool],
        claims: Callable[[], Mapping[str | None, socket.socket]],
        count: Callable[[], int],
    ) -> None:
        """`why_not` says what speaks against a handover now, `is_idle` whether nothing is under way
        in the kernel; `claims` are those of network namespaces, by name; `count` is how many
        virtual routers there are."""
        self._loop = loop
        self._layout = layout
        self._why_not = why_not
        self._is_idle = is_idle
        self._claims = claims
        self._count = count
        self.send_due: Callable[[], object] = lambda: None
        """Sends the adverts that are due."""
        self.on_hold: Callable[[float], object] = lambda _: None
        """Called before it holds, with the seconds that this may take."""
        self.go_on: Callable[[], object] = lambda: None
        """Called when it goes on after all: what is in the kernel may have been touched."""
        self.speak_once_more: Callable[[], object] = lambda: None
        """Sends an advert of every master."""
        self.end: Callable[[int | None], object] = lambda _: None
        """Called when it was given away, with the process that has taken over, or None where one is
        still to come. Does not return."""
        self._listener: socket.socket | None = None
        self._limit: asyncio.TimerHandle | None = None
        self._expected = 0
        self._end: _End | None = None
        self._pidfd = -1

    def carry_out(self, arguments: Mapping[str, Any], reply: Reply) -> None:
        """The order `handover`: process `pid` wants to take over, and will connect."""
        why_not = self._why_not()
        if why_not is None and self._end:
            why_not = "another handover is under way"
        if why_not is not None:
            reply(False, (why_not,))
            return
        self._stop_listening()  # to one that has not come, and will not
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listener.bind(_name_of(os.getpid()))
            listener.listen(1)
        except OSError as error:
            listener.close()
            reply(False, (f"a handover cannot be awaited: {error.strerror}",))
            return
        self._listener = listener
        self._expected = int(arguments["pid"])
        self._loop.add_reader(listener.fileno(), self._accept)
        self._limit = self._loop.call_later(CONNECTING, self._close)
        reply(True)

    def leave(self, arguments: Mapping[str, Any], reply: Reply) -> None:
        """The order `leave`: nobody takes over now, but the next daemon will soon. It has as long
        as backups are patient, from adverts on that leave at once."""
        if self._end:
            reply(False, ("a handover is under way",))
            return
        self._stop_listening()
        self._leave_when_idle(time.monotonic() + QUIET)

    def _leave_when_idle(self, until: float) -> None:
        if not self._is_idle() and time.monotonic() < until:
            self._loop.call_later(LOOK, self._leave_when_idle, until)
            return
        self.speak_once_more()
        self.end(None)

    def _accept(self) -> None:
        assert self._listener is not None
        connection, _ = self._listener.accept()
        data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
        if CREDENTIALS.unpack(data)[0] != self._expected:
            connection.close()  # anybody of this namespace may try
            return
        self._stop_listening()
        try:
            self._pidfd = os.pidfd_open(self._expected)
        except OSError as error:
            connection.close()
            self._give_up(error)
            return
        self._end = _End(connection)
        try:
            self._greet()
        except Exception as error:
            self._give_up(error)
            return
        self._loop.add_reader(connection.fileno(), self._on_word)

    def _greet(self) -> None:
        """Says who we are, with the claims, in as many messages as these take."""
        assert self._end is not None
        claims = list(self._claims().items())
        for first in range(0, max(len(claims), 1), MOST_RIGHTS):
            part = claims[first : first + MOST_RIGHTS]
            self._end.say(
                "hello",
                tuple(claim for _, claim in part),
                layout=self._layout,
                names=[name for name, _ in part],
                more=first + MOST_RIGHTS < len(claims),
            )

    def _on_word(self) -> None:
        assert self._end is not None
        try:
            self._end.expect("hold", 0)
        except Exception as error:
            self._give_up(error)
            return
        self._loop.remove_reader(self._end.socket.fileno())
        why_not = self._why_not()
        if why_not is not None:
            self._refuse(why_not)
            return
        self._hold_when_idle(time.monotonic() + QUIET)

    def _hold_when_idle(self, until: float) -> None:
        if self._end is None:
            return
        if self._is_idle():
            self._hold()
        elif time.monotonic() < until:
            self._loop.call_later(LOOK, self._hold_when_idle, until)
        else:
            self._refuse("the kernel is busy with addresses or links: try again later")

    def _refuse(self, why: str) -> None:
        assert self._end is not None
        with suppress(HandoverError):
            self._end.say("refused", why=why)
        self._give_up(HandoverError(why))

    def _hold(self) -> None:
        """Keeps the loop until it is over. All that comes meanwhile waits where it comes from."""
        assert self._end is not None
        count = self._count()
        freeze = FREEZE + count * FREEZE_EACH
        limit = HOLD + count * HOLD_EACH
        self.on_hold(limit + freeze + DEATH)
        log.info("Process %d is about to take over: only adverts are sent", self._expected)
        try:
            self._send_adverts_until_taken(limit)
            self._end.say("frozen")
            self._end.expect("taken", freeze)
        except Exception as error:
            # One that has gone without `taken` will not speak; one that is there might.
            if isinstance(error, TooLateError) or not isinstance(error, HandoverError):
                self._kill()
            self._give_up(error)
            self.go_on()
            return
        self.end(self._expected)

    def _send_adverts_until_taken(self, limit: float) -> None:
        assert self._end is not None
        watch = select.poll()
        watch.register(self._end.socket, select.POLLIN)
        until = time.monotonic() + limit
        self._end.say("held")
        while not watch.poll(TICK):
            self.send_due()
            if time.monotonic() > until:
                raise TooLateError(f"it has not taken over in {limit:.1f} s")
        self._end.expect("take", 0)
        self.send_due()

    def _kill(self) -> None:
        """Nobody else may speak when we do."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        is_readable(self._pidfd, DEATH)

    def _give_up(self, why: Exception) -> None:
        # What nobody has foreseen is told with where it happened.
        unforeseen = None if isinstance(why, HandoverError) else why
        log.warning("Process %d does not take over: %s", self._expected, why, exc_info=unforeseen)
        self._close()

    def _stop_listening(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
        if self._listener is not None:
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def _close(self) -> None:
        self._stop_listening()
        if self._end is not None:
            self._loop.remove_reader(self._end.socket.fileno())
            self._end.socket.close()
            self._end = None
        if self._pidfd != -1:
            os.close(self._pidfd)
            self._pidfd = -1

    def close(self) -> None:
        """The daemon ends, and hands nothing over."""
        self._close()


class Taking:
    """The new one's end, towards process `pid`."""

    def __init__(self, pid: int, layout: int) -> None:
        """Raises HandoverError."""
        self.is_over = False
        """It has taken over, and is the one that speaks."""
        self.claims: dict[str | None, socket.socket] = {}
        """Of network namespaces, by name; None is the daemon's own."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._end = _End(connection)
        try:
            connection.connect(_name_of(pid))
        except OSError as error:
            connection.close()
            raise HandoverError(f"process {pid} does not wait for us: {error.strerror}") from None
        has_more = True
        while has_more:
            message, rights = self._end.expect("hello", CONNECTING)
            claims = [socket.socket(fileno=each) for each in rights]
            if message["layout"] != layout:
                raise HandoverError(
                    f"the state segment of the version that runs has layout {message['layout']},"
                    f" and this one reads layout {layout}"
                )
            self.claims.update(zip(message["names"], claims, strict=True))
            has_more = bool(message["more"])

    def hold(self) -> None:
        """Returns when the old one does nothing but send adverts. Raises HandoverError."""
        self._end.say("hold")
        self._end.expect("held", 2 * QUIET)

    def take(self) -> None:
        """Returns when the old one does nothing at all. Raises HandoverError."""
        self._end.say("take")
        self._end.expect("frozen", QUIET)

    def commit(self) -> None:
        """We speak from now on. Raises HandoverError."""
        self._end.say("taken")
        self.is_over = True
        self._end.socket.close()
