"""What a daemon writes to a FIFO, line by line."""

from __future__ import annotations

import os
from pathlib import Path


class Fifo:
    """A FIFO that is there before its writer, and is read without ever waiting."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path, 0o600)
        # For writing too: where nobody else writes, a reader alone would always see an end.
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._text = ""

    def lines(self) -> list[str]:
        """All lines until now."""
        while True:
            try:
                self._text += os.read(self._fd, 65536).decode()
            except BlockingIOError:
                return self._text.splitlines()

    def close(self) -> None:
        os.close(self._fd)
