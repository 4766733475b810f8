"""Modules of the kernel: which are there, and loading one that is not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

MODPROBE = Path("/proc/sys/kernel/modprobe")
"""Has the program that the kernel itself loads modules with."""


LIMIT = 20.0
"""Seconds for loading; all else that is asked of the kernel waits for it."""


def is_loaded(name: str) -> bool:
    """Whether a module is loaded, or is a part of the kernel that shows itself as one."""
    return Path("/sys/module", name).is_dir()


def are_listed() -> bool:
    """Whether this machine has a list of its kernel's modules; a container may have none."""
    return Path("/lib/modules", os.uname().release).is_dir()


def is_available(name: str) -> bool:
    """Whether a module is loaded or could be; nothing is changed for that."""
    if is_loaded(name):
        return True
    try:
        asked = subprocess.run(
            [_program(), "-n", "-q", name], capture_output=True, check=False, env={}, timeout=LIMIT
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def load(name: str) -> str | None:
    """Has a module loaded; None, or why it could not be, for a person. Blocks while it loads."""
    program = _program()
    try:
        finished = subprocess.run(
            [program, "-q", name],
            capture_output=True,
            text=True,
            check=False,
            env={},
            timeout=LIMIT,
        )
    except OSError as error:
        return f"{program}: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{program} did not end in {LIMIT:.0f} s and was killed"
    if finished.returncode == 0:
        return None
    return finished.stderr.strip() or f"{program} does not find it for Linux {os.uname().release}"


def _program() -> str:
    try:
        named = MODPROBE.read_text().strip()
    except OSError:
        named = ""
    return named or "/sbin/modprobe"
