"""Whose a laboratory is, read from its name, and how all that carries the name is removed.

A laboratory is called fvPID.START.TOKEN after the process that made it: its id, the kernel's tick
of its start (which tells it from a later process with the same id), and a random token. Its network
namespaces and its folder begin with that name. So whoever finds one knows whether it is still in
use, and a laboratory can be removed by somebody who knows nothing of it but the name.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

NAMESPACES = Path("/run/netns")  # ip-netns(8)
FOLDERS = Path(tempfile.gettempdir())
NAME = re.compile(r"fv(?P<pid>\d+)\.(?P<start>\d+)\.[0-9a-f]{6}")


def start_tick(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process (proc(5), field 22 of stat), or None."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(stat.rpartition(")")[2].split()[19])


def owner_name(pid: int) -> str:
    """The part of the name that all laboratories of one process share."""
    return f"fv{pid}.{start_tick(pid)}."


def new_name() -> str:
    return owner_name(os.getpid()) + secrets.token_hex(3)


def is_abandoned(laboratory: re.Match[str]) -> bool:
    return start_tick(int(laboratory["pid"])) != int(laboratory["start"])


def is_inside(pid: int, namespace: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == namespace.stat().st_ino
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def processes_inside(namespace: Path) -> Iterator[int]:
    for entry in Path("/proc").glob("[0-9]*"):
        if int(entry.name) != os.getpid() and is_inside(int(entry.name), namespace):
            yield int(entry.name)


def kill_inside(namespace: Path, patience: float = 20.0) -> None:
    """Kills every process whose network namespace this is, and returns when none is left.

    Raises TimeoutError when some still live after `patience` seconds.
    """
    end = time.monotonic() + patience
    while pids := list(processes_inside(namespace)):
        for pid in pids:
            try:
                process = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
            try:
                # Asked again: from here on the descriptor is this process and no later one.
                if is_inside(pid, namespace):
                    signal.pidfd_send_signal(process, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended meanwhile
            finally:
                os.close(process)
        if time.monotonic() > end:
            raise TimeoutError(f"processes {pids} in {namespace} survive SIGKILL")
        time.sleep(0.005)


def remove(beginning: str) -> None:
    """Removes every namespace and folder whose name begins so, and the processes inside.

    Another process may be removing the same.
    """
    for namespace in NAMESPACES.glob(beginning + "*"):
        kill_inside(namespace)
        deletion = subprocess.run(
            ["ip", "netns", "delete", namespace.name], check=False, capture_output=True, text=True
        )
        if namespace.exists():
            raise OSError(f"{namespace} stays: {deletion.stderr.strip()}")
    for folder in FOLDERS.glob(beginning + "*"):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise OSError(f"{folder} stays")


def remove_abandoned() -> None:
    """Removes what processes left that are no more."""
    names = (path.name for place in (NAMESPACES, FOLDERS) for path in place.glob("fv*"))
    laboratories = {found[0]: found for name in names if (found := NAME.match(name))}
    for name, laboratory in laboratories.items():
        if is_abandoned(laboratory):
            remove(name)
