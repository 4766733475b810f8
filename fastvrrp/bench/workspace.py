"""Folders for what a bench writes, and the removal of those that a killed one has left."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "fastvrrp-bench-"


@contextmanager
def workspace() -> Iterator[Path]:
    """A new folder, there until the end of the block. Its name says whose it is."""
    remove_abandoned()
    owner = f"{PREFIX}{os.getpid()}-{_birth(os.getpid())}-"
    with tempfile.TemporaryDirectory(prefix=owner) as folder:
        yield Path(folder)


def remove_abandoned() -> None:
    """Removes the folders of processes that no longer live (SIGKILL leaves them)."""
    for folder in Path(tempfile.gettempdir()).glob(PREFIX + "*-*-*"):
        pid, birth = folder.name.removeprefix(PREFIX).split("-")[:2]
        if pid.isdecimal() and _birth(int(pid)) != birth and folder.stat().st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)


def _birth(pid: int) -> str:
    """When the process was born, in clock ticks since the boot: with its number, whose life it is.
    Empty where it is gone (proc(5))."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return stat.rpartition(")")[2].split()[19]
