"""Leaving the terminal, and the file that says where the daemon is."""

from __future__ import annotations

import os
from pathlib import Path


class AlreadyRunning(Exception):
    """Another daemon holds the pid file."""


def leave_terminal() -> None:
    """Goes on in a process of its own session (daemon(7)); the caller's process exits with 0."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():  # a session's leader could get a terminal again
        os._exit(0)
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


class PidFile:
    """The file with our process id, from `write` to `remove`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> None:
        """Raises AlreadyRunning where a process that lives has written the file."""
        try:
            pid = int(self.path.read_text())
            os.kill(pid, 0)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return
        except PermissionError:
            pass
        if pid != os.getpid():
            raise AlreadyRunning(f"{self.path}: a daemon with pid {pid} is running already")

    def write(self) -> None:
        """Raises OSError where the folder is missing or not writable."""
        self.path.write_text(f"{os.getpid()}\n")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
