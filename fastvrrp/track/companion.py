"""A process that works for the daemon: started, heard, and started again when it dies.

It is a new interpreter, never a fork of the daemon. When the daemon dies, in whatever way, its end
of the socket closes, by which the process knows.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from fastvrrp.track.deaths import LONG_LIFE, PAUSES
from fastvrrp.track.frames import Closed, Frames
from fastvrrp.track.interpreter import LastWords, start_interpreter

log = logging.getLogger(__name__)

SLICE = 2_000_000
"""Nanoseconds of what is heard at once."""
LAST_WORDS = 5.0
"""Seconds for what was said before `close`."""
LAST_MOMENTS = 5.0
"""Seconds for its end."""


class Companion:
    """One such process. It lives from the first `start` to `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        module: str,
        what: str,
        on_message: Callable[[bytes], None],
        on_start: Callable[[], None],
        *,
        shares_stderr: bool = False,
    ) -> None:
        """`module` is run with the number of its socket as argument; `what` says for a person what
        it does. `on_start` is called whenever it has been started, to say what it has to know.
        With `shares_stderr` it writes to our stderr, otherwise its last words are in our log."""
        self._shares_stderr = shares_stderr
        self._loop = loop
        self._module = module
        self._what = what
        self._on_message = on_message
        self._on_start = on_start
        self._process: subprocess.Popen[bytes] | None = None
        self._frames: Frames | None = None
        self._began = 0.0
        self._deaths = 0
        self._next_start: asyncio.TimerHandle | None = None
        self._is_writing = False
        self._heard: deque[bytes] = deque()
        self._is_hearing = False
        """The rest of what was heard comes in the next slice."""
        self._last_words: LastWords | None = None
        self._dying: int | None = None
        """Descriptor of a process that was killed and has not ended yet."""

    @property
    def pid(self) -> int | None:
        """None where it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def is_started(self) -> bool:
        """Whether it runs, or will again by itself."""
        return self._process is not None or self._next_start is not None

    def start(self) -> None:
        """Starts it, where it does not run."""
        if self.is_started:
            return
        try:
            self._spawn()
        except OSError as error:
            log.error("the process that %s cannot be started: %s", self._what, error.strerror)
            self._deaths += 1
            self._start_later()
            return
        self._on_start()

    def send(self, message: object) -> None:
        """Says something (pickled), where it runs; otherwise `on_start` will."""
        if self._frames is not None:
            self._frames.send(pickle.dumps(message))
            self._watch_writing()

    def close(self) -> None:
        """Says what waits, and lets go of it: it ends by itself, when its own work is done."""
        if self._next_start is not None:
            self._next_start.cancel()
            self._next_start = None
        if self._dying is not None:
            self._let_die()
            self._last_words_heard()
        if self._frames is None or self._process is None:
            return
        with suppress(OSError):
            self._frames.finish(LAST_WORDS)
        self._heard.clear()
        self._forget()
        self._last_words_heard()

    def wait(self, limit: float = LAST_MOMENTS) -> int:
        """Waits for the end of a process that was let go of; its exit status. One that does not end
        in `limit` seconds is killed: what it waits for may never end either."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _spawn(self) -> None:
        last_words = None if self._shares_stderr else LastWords()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with theirs:
                self._process = start_interpreter(
                    self._module,
                    str(theirs.fileno()),
                    pass_fds=[theirs.fileno()],
                    last_words=last_words,
                    cwd="/",
                )
        except OSError:
            if last_words is not None:
                last_words.close()
            ours.close()
            raise
        self._last_words = last_words
        self._frames = Frames(ours)
        self._began = time.monotonic()
        self._loop.add_reader(ours.fileno(), self._on_readable)

    def _forget(self) -> None:
        assert self._frames is not None
        descriptor = self._frames.socket.fileno()
        self._loop.remove_reader(descriptor)
        if self._is_writing:
            self._loop.remove_writer(descriptor)
            self._is_writing = False
        self._frames.socket.close()
        self._frames = None

    def _last_words_heard(self) -> str:
        if self._last_words is None:
            return ""
        said = self._last_words.read()
        self._last_words.close()
        self._last_words = None
        return said

    def _on_readable(self) -> None:
        assert self._frames is not None
        try:
            messages = self._frames.receive()
        except Closed:
            while self._heard:  # its last, which its successor must not seem to say
                self._on_message(self._heard.popleft())
            self._on_death()
            return
        self._heard.extend(messages)
        if not self._is_hearing:
            self._hear()

    def _hear(self) -> None:
        """Takes what was said, for one slice: it may be thousands of messages at once."""
        self._is_hearing = False
        until = time.monotonic_ns() + SLICE
        while self._heard:
            self._on_message(self._heard.popleft())
            if time.monotonic_ns() >= until and self._heard:
                self._is_hearing = True
                self._loop.call_soon(self._hear)
                return

    def _on_death(self) -> None:
        assert self._process is not None
        self._forget()
        self._process.kill()  # it may have closed its end and hang
        try:
            # The kernel may take tens of milliseconds for thousands of descriptors.
            self._dying = os.pidfd_open(self._process.pid)
        except OSError:
            self._on_end()
        else:
            self._loop.add_reader(self._dying, self._on_end)

    def _let_die(self) -> None:
        if self._dying is not None:
            self._loop.remove_reader(self._dying)
            os.close(self._dying)
            self._dying = None

    def _on_end(self) -> None:
        assert self._process is not None
        self._let_die()
        status = self._process.wait()
        self._process = None
        log.error("the process that %s ended: %s %s", self._what, status, self._last_words_heard())
        if time.monotonic() - self._began >= LONG_LIFE:
            self._deaths = 0
        self._deaths += 1
        self._start_later()

    def _start_later(self) -> None:
        pause = PAUSES[min(self._deaths, len(PAUSES)) - 1]
        self._next_start = self._loop.call_later(pause, self._start_again)

    def _start_again(self) -> None:
        self._next_start = None
        self.start()

    def _watch_writing(self) -> None:
        assert self._frames is not None
        if self._frames.is_behind and not self._is_writing:
            self._is_writing = True
            self._loop.add_writer(self._frames.socket.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        assert self._frames is not None
        self._frames.flush()
        if not self._frames.is_behind:
            self._loop.remove_writer(self._frames.socket.fileno())
            self._is_writing = False
