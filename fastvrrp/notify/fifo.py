"""One FIFO that is told of changes, whether anybody reads it or not.

It is opened for reading too, so that it can be written while nobody reads; what was written waits
in the kernel for whoever opens it. When that is full, lines wait here, and when that is full too
they are dropped: whoever reads too late gets the oldest. The daemon never waits.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import stat
from collections import deque
from contextlib import suppress

log = logging.getLogger(__name__)

ROOM = 1 << 20
"""Bytes that wait here: 30,000 lines."""
TOGETHER = 1 << 16
"""Bytes of one write: what an empty FIFO takes."""
PATIENCE = 100
"""Milliseconds that a reader gets at the end for each piece that still waits."""
MODE = 0o644
"""Less what `umask` takes away, by default all but the owner's own rights."""


class Fifo:
    """A FIFO from `Fifo(...)`, which opens it, to `close`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, path: str, owner: tuple[int, int] | None
    ) -> None:
        """Makes the FIFO and gives it to `owner` (user and group), if it is not there; one that is
        there stays whose it is. Raises OSError where it cannot be made or opened, or is something
        else."""
        self.path = path
        self._loop = loop
        self._waiting: deque[bytes] = deque()
        self._size = 0
        """Bytes in `_waiting`."""
        self._dropped = 0
        """Lines since the FIFO was full."""
        self._is_ours = _make(path)
        links = os.O_NOFOLLOW if self._is_ours else 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | links)
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISFIFO(status.st_mode):
                raise FileExistsError(errno.EEXIST, "it is there, and is no FIFO", path)
            self._identity = status.st_dev, status.st_ino
            if self._is_ours and owner is not None:
                os.fchown(self._descriptor, *owner)
        except OSError:
            os.close(self._descriptor)
            raise

    def write(self, line: bytes) -> None:
        """Writes a line, now or when there is room, or drops it."""
        if not self._waiting:
            with suppress(BlockingIOError):
                line = line[os.write(self._descriptor, line) :]
            if not line:
                return
            self._loop.add_writer(self._descriptor, self._flush)
        elif self._size + len(line) > ROOM:
            if not self._dropped:
                log.warning("%s is full and nobody reads it: what follows is dropped", self.path)
            self._dropped += 1
            return
        self._waiting.append(line)
        self._size += len(line)

    def finish(self) -> None:
        """Gives a reader what waits, as long as it goes on reading: the daemon ends."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        while self._waiting and poll.poll(PATIENCE):
            self._flush()

    def close(self) -> None:
        """Lets go of it at once, and removes it if we made it."""
        if self._waiting:
            self._loop.remove_writer(self._descriptor)
            unread = b"".join(self._waiting).count(b"\n")
            log.warning("%s: %d lines were not read", self.path, unread)
        self._say_dropped()
        os.close(self._descriptor)
        if self._is_ours:
            with suppress(FileNotFoundError):
                status = os.stat(self.path, follow_symlinks=False)  # noqa: PTH116
                if (status.st_dev, status.st_ino) == self._identity:
                    os.unlink(self.path)  # noqa: PTH108 - as text, as it was given

    def _flush(self) -> None:
        """Writes as much of what waits as there is room for."""
        while self._waiting:
            together: list[bytes] = []
            size = 0
            while self._waiting and size < TOGETHER:
                size += len(self._waiting[0])
                together.append(self._waiting.popleft())
            text = b"".join(together)
            written = 0
            with suppress(BlockingIOError):
                written = os.write(self._descriptor, text)
            self._size -= written
            if written < size:
                self._waiting.appendleft(text[written:])
                return
        self._loop.remove_writer(self._descriptor)
        self._say_dropped()

    def _say_dropped(self) -> None:
        if self._dropped:
            log.warning("%s: %d lines were dropped", self.path, self._dropped)
            self._dropped = 0


def _make(path: str) -> bool:
    """Whether we made the FIFO."""
    try:
        os.mkfifo(path, MODE)
    except FileExistsError:
        return False
    return True
