"""The process that reads configurations, as whoever has them read has it: started, asked, kept.

One that has read thousands of virtual servers stays, and is asked again at the next reload: a new
one would need longer to begin than to read. Where there are none it ends, and its memory with it.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from fastvrrp.daemon.options import Half
from fastvrrp.track.interpreter import LastWords, start_interpreter

if TYPE_CHECKING:
    import asyncio

START = b"s"
"""Asks for everything; a descriptor comes along: an empty file for all of it."""
RELOAD = b"r"
"""Asks for what is different; two or three descriptors come along: a file of what is known, stderr,
and an empty file for everything, where that is wanted."""
MOST_DESCRIPTORS = 3


class ReaderProcess:
    """It reads one file, when it is asked to."""

    def __init__(
        self, path: str, config_id: str | None, half: Half, last_words: LastWords | None = None
    ) -> None:
        """Without `last_words` its stderr is ours until it is asked for what is different. Raises
        OSError where no process can be made."""
        self._asking, asked = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with asked:
                self._process = start_interpreter(
                    "fastvrrp.daemon.reader",
                    *(path, config_id or "", half.value),
                    stdin=asked.fileno(),
                    stdout=subprocess.PIPE,
                    last_words=last_words,
                )
        except OSError:
            self._asking.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def said(self) -> BinaryIO:
        """What it says."""
        assert self._process.stdout is not None
        return self._process.stdout  # type: ignore[return-value]

    def ask(self, snapshot: int) -> None:
        """For everything; it is written into an empty file, too. Raises OSError where it has
        ended."""
        socket.send_fds(self._asking, [START], [snapshot])

    def ask_again(self, known: bytes, last_words: LastWords, snapshot: int | None) -> None:
        """For what is different from `known`; everything is written into an empty file, where there
        is one. Raises OSError where it has ended."""
        file = os.memfd_create("known")
        try:
            os.write(file, known)
            os.lseek(file, 0, os.SEEK_SET)
            files = [file, last_words.descriptor]
            if snapshot is not None:
                files.append(snapshot)
            socket.send_fds(self._asking, [RELOAD], files)
        finally:
            os.close(file)

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        return self._process.wait()

    def close(self) -> None:
        """Ends it, in the middle of whatever it does, and waits for its end: not in the loop."""
        self._kill()
        self._process.wait()

    def end(
        self, loop: asyncio.AbstractEventLoop, then: Callable[[int], object] = lambda _: None
    ) -> None:
        """Ends it, and waits for nothing: the kernel takes its time for its memory. `then` is
        called in the loop with its exit status, when it has gone."""
        self._kill()
        try:
            going = os.pidfd_open(self._process.pid)
        except OSError:  # there is no descriptor left
            then(self._process.wait())
            return

        def take_leave() -> None:
            loop.remove_reader(going)
            os.close(going)
            then(self._process.wait())

        loop.add_reader(going, take_leave)

    def _kill(self) -> None:
        self._asking.close()
        with suppress(ProcessLookupError):
            self._process.kill()
        self.said.close()
