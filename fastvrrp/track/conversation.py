"""One end of a socket with messages (`frames`), in an event loop."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from fastvrrp.track.frames import Closed, Frames


class Later(Protocol):
    """What is called later."""

    def cancel(self) -> object: ...


class EventLoop(Protocol):
    """What is asked of an event loop here: the parent's is not asyncio's."""

    def add_reader(self, fd: int, callback: Callable[..., Any], /, *args: Any) -> object: ...

    def remove_reader(self, fd: int, /) -> object: ...

    def add_writer(self, fd: int, callback: Callable[..., Any], /, *args: Any) -> object: ...

    def remove_writer(self, fd: int, /) -> object: ...

    def call_later(self, delay: float, callback: Callable[..., Any], /, *args: Any) -> Later: ...


class Conversation:
    """Hears what comes, and sends what the socket has no room for as soon as it has."""

    def __init__(
        self,
        loop: EventLoop,
        frames: Frames,
        on_messages: Callable[[Sequence[bytes]], object],
        on_closed: Callable[[], object],
    ) -> None:
        """`on_messages` gets what one read has brought; `on_closed` is called once, when the other
        end is gone, and the conversation is closed by then."""
        self._loop = loop
        self.frames = frames
        self._on_messages = on_messages
        self._on_closed = on_closed
        self._is_writing = False
        self._is_open = True
        self._ends_when_sent = False
        loop.add_reader(frames.socket.fileno(), self._on_readable)
        self._watch_writing()

    @property
    def is_open(self) -> bool:
        """Whether the other end is there, and `close` was not called."""
        return self._is_open

    @property
    def is_ending(self) -> bool:
        """Whether `end` was called."""
        return self._ends_when_sent

    def send(self, message: bytes) -> None:
        """Sends it, now or when there is room; nothing after `end` or `close`."""
        if self._is_open and not self._ends_when_sent:
            self.frames.send(message)
            self._watch_writing()

    def end(self) -> None:
        """Lets the other end see the end of the stream when all was sent; what it still says is
        heard."""
        self._ends_when_sent = True
        self._watch_writing()

    def drain(self) -> None:
        """Hears all that the other end has said until it ended."""
        while self._is_open and select.select((self.frames.socket,), (), (), 0)[0]:
            self._on_readable()

    def close(self) -> None:
        """Closes the socket; what was not sent is lost."""
        if self._is_open:
            self.leave()
            self.frames.socket.close()

    def leave(self) -> None:
        """Leaves the loop; the socket is the caller's."""
        if not self._is_open:
            return
        self._is_open = False
        descriptor = self.frames.socket.fileno()
        self._loop.remove_reader(descriptor)
        if self._is_writing:
            self._loop.remove_writer(descriptor)

    def _on_readable(self) -> None:
        try:
            messages = self.frames.receive()
        except Closed:
            self.close()
            self._on_closed()
            return
        if messages:
            self._on_messages(messages)

    def _watch_writing(self) -> None:
        if not self._is_open:
            return
        if self.frames.is_behind != self._is_writing:
            self._is_writing = self.frames.is_behind
            descriptor = self.frames.socket.fileno()
            if self._is_writing:
                self._loop.add_writer(descriptor, self._on_writable)
            else:
                self._loop.remove_writer(descriptor)
        if self._ends_when_sent and not self._is_writing:
            try:
                self.frames.socket.shutdown(socket.SHUT_WR)
            except OSError:  # the other end was faster
                return

    def _on_writable(self) -> None:
        self.frames.flush()
        self._watch_writing()
