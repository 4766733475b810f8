"""A new interpreter that runs a module of this very version for the daemon, and what it said last.

It is never a fork of the daemon, which would copy page by page what the daemon writes meanwhile.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import fastvrrp

CALLERS_PATH = "FASTVRRP_CALLERS_PYTHONPATH"
"""Environment variable of such a process: the PYTHONPATH that the daemon was started with, which is
that of a script."""
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LONGEST_WORDS = 1024
"""Bytes of what was said last."""


class LastWords:
    """What a process writes to stderr: kept in memory, so that nobody has to read it and whoever
    reads the daemon's need not wait for its end. `close` it after `read`."""

    def __init__(self, descriptor: int | None = None) -> None:
        """`descriptor` is that of one that another program had in this process. OSError where the
        kernel has no room."""
        if descriptor is not None:
            os.set_inheritable(descriptor, False)
        self.descriptor = os.memfd_create("said") if descriptor is None else descriptor

    def read(self) -> str:
        """The last line that is not empty, and no more of it than LONGEST_WORDS; "" where nothing
        was said."""
        size = os.fstat(self.descriptor).st_size
        said = os.pread(self.descriptor, LONGEST_WORDS, max(0, size - LONGEST_WORDS))
        lines = said.decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        os.close(self.descriptor)


def start_interpreter(
    module: str,
    *arguments: str,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    last_words: LastWords | None = None,
    pass_fds: Sequence[int] = (),
    cwd: str | None = None,
    umask: int = -1,
    python: str | None = None,
) -> subprocess.Popen[bytes]:
    """Starts `python -m module arguments`, from wherever this version of fastvrrp is. Without
    `last_words` its stderr is the daemon's, and without `umask` that is. It begins with the signals
    blocked that the daemon blocks, and is to unblock them. Raises OSError."""
    return subprocess.Popen(
        [python or sys.executable, "-P", "-m", module, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=None if last_words is None else last_words.descriptor,
        pass_fds=pass_fds,
        cwd=cwd,
        umask=umask,
        env=environment() if python is None else environment_of_another(),
    )


def home() -> str:
    """The folder that has this version of fastvrrp."""
    return str(Path(fastvrrp.__file__).parent.parent)


def environment(of: str | None = None) -> dict[str, str]:
    """In which an interpreter finds this version of fastvrrp, or that in the folder `of`; one that
    was started in it may start others."""
    callers = os.environ.get(CALLERS_PATH, os.environ.get("PYTHONPATH", ""))
    path = os.pathsep.join(filter(None, [of or home(), callers]))
    return os.environ | {"PYTHONPATH": path, CALLERS_PATH: callers}


def environment_of_another() -> dict[str, str]:
    """In which another interpreter finds its own version of fastvrrp."""
    callers = os.environ.get(CALLERS_PATH, os.environ.get("PYTHONPATH", ""))
    others = {key: value for key, value in os.environ.items() if key != CALLERS_PATH}
    return others | {"PYTHONPATH": callers}


def end_with_starter(number: signal.Signals = signal.SIGTERM) -> None:
    """Has the kernel send us a signal when whoever started us ends, however it ends. Whoever hangs
    does not hear of it by a socket. It is forgotten when this process changes its user."""
    import ctypes  # noqa: PLC0415 - not for those that only start others

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
