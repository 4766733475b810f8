"""Leaving the terminal, and the file that says where the daemon is."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

PID_LENGTH = 20
"""Bytes of a pid file that are looked at: more than the longest process id has."""
LOOK = 0.005
"""Seconds between two looks whether a pid file is free."""
DIED = 1
"""Exit status of a start whose daemon ended without a word."""


class AlreadyRunning(Exception):
    """Another daemon holds the pid file."""


class Caller:
    """The process that started the daemon from a terminal, and waits to hear how it went."""

    def __init__(self, pipe: int) -> None:
        self._pipe: int | None = pipe

    def tell(self, status: int) -> None:
        """Lets the caller exit with `status` and takes our stderr, which was the caller's until
        now, from it. Only the first call counts."""
        if self._pipe is None:
            return
        _redirect_to_null(2)
        with suppress(BrokenPipeError):  # it did not wait
            os.write(self._pipe, bytes([status]))
        os.close(self._pipe)
        self._pipe = None


def leave_terminal() -> Caller:
    """Goes on in a process of its own session (daemon(7)).

    The caller's process stays until it is told how the start went, and so does stderr: what goes
    wrong until then, be it a traceback, is read by whoever started the daemon. Where the daemon
    ends without a word the caller exits with DIED. Raises OSError where no process can be made.
    """
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        _exit_as_told(reading)
    os.close(reading)
    os.setsid()
    if os.fork():  # a session's leader could get a terminal again
        os._exit(0)
    os.chdir("/")
    _redirect_to_null(0, 1)
    return Caller(writing)


def _exit_as_told(pipe: int) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever waits no longer wants no traceback
    # The daemon begins with them blocked, and was to go on so.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    told = os.read(pipe, 1)
    if not told:
        print("fastvrrp: the daemon ended before it had started", file=sys.stderr)
    os._exit(told[0] if told else DIED)


def _redirect_to_null(*descriptors: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in descriptors:
        os.dup2(null, descriptor)
    os.close(null)


class PidFile:
    """The file with our process id, from `take` to `remove`; also a context manager of both.

    That it is ours says a lock (flock(2)), which the kernel gives back when we die, however we die.
    So what stands in a file without a lock does not matter. A fork shares the lock: take it after.
    """

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        """Who has it now may keep it for `patience` (seconds)."""
        self.path = path
        self._patience = patience
        self._descriptor: int | None = None

    @classmethod
    def of_descriptor(cls, path: Path, descriptor: int) -> Self:
        """One that the program before has taken for this process. Raises OSError."""
        made = cls(path)
        os.set_inheritable(descriptor, False)
        if not made._is_at_path(descriptor):
            raise OSError(errno.ESTALE, "the pid file is not ours any more", str(path))
        made._descriptor = descriptor
        return made

    @property
    def descriptor(self) -> int:
        """Of the file, when it is ours."""
        assert self._descriptor is not None
        return self._descriptor

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()

    def take(self) -> None:
        """Raises AlreadyRunning where another process has taken it, and OSError where the folder is
        missing or not writable."""
        while self._descriptor is None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._lock(descriptor)
                # The one who had it may have removed it after we opened it: then the lock is on a
                # file that nobody else will find.
                if self._is_at_path(descriptor):
                    text = f"{os.getpid()}\n".encode()
                    os.pwrite(descriptor, text, 0)
                    os.ftruncate(descriptor, len(text))
                    self._descriptor = os.dup(descriptor)
            finally:
                os.close(descriptor)

    def remove(self) -> None:
        """Does nothing where it is not ours."""
        if self._descriptor is not None:
            self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None

    def _lock(self, descriptor: int) -> None:
        until = time.monotonic() + self._patience
        while not self._try_lock(descriptor):
            if time.monotonic() < until:
                time.sleep(LOOK)
                continue
            content = os.pread(descriptor, PID_LENGTH, 0).strip()
            # Not a number where the other one has not written it yet.
            who = f"a daemon with pid {int(content)}" if content.isdigit() else "another daemon"
            raise AlreadyRunning(f"{self.path}: {who} is running already") from None

    @staticmethod
    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False


def segment_path(pid_file: Path) -> Path:
    """Where the state segment of the daemon with this pid file is: beside it, with `.state` for
    `.pid`, or after whatever else its name ends in."""
    return pid_file.with_name(pid_file.name.removesuffix(".pid") + ".state")
