"""Waits for the process given by its id to end, however it ends, and removes its laboratories.

A fixture's teardown does that in ordinary life. This is for the day it does not run: a test runner
that was killed, or a worker of pytest-xdist whose runner was.
"""

import os
import select
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

from lab.ownership import owner_name, remove


@cache
def hire_janitor(pid: int) -> None:
    """Starts one janitor for the process `pid`; does nothing when it has one already."""
    janitor = subprocess.Popen(
        [sys.executable, "-S", "-m", __name__, str(pid)],
        cwd=Path(__file__).parents[1],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # the terminal's interrupt is not for it
    )
    assert janitor.stdout is not None
    # From this line on it watches; before it, a death of the owner would go unseen.
    assert janitor.stdout.readline() == b"watching\n"
    janitor.stdout.close()


def main(pid: int) -> None:
    owner = os.pidfd_open(pid)
    beginning = owner_name(pid)
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    os.write(sys.stdout.fileno(), b"watching\n")
    os.close(sys.stdout.fileno())
    select.select([owner], [], [])
    remove(beginning)


if __name__ == "__main__":
    main(int(sys.argv[1]))
