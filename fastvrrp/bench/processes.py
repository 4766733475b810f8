"""A tree of processes as /proc shows it: processor time, memory, open files, and its death."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
GONE = (FileNotFoundError, ProcessLookupError)


def tree(root: int) -> list[int]:
    """The process `root`, if it lives, and all its descendants."""
    children: dict[int, list[int]] = {}
    for entry in PROC.glob("[0-9]*/stat"):
        try:
            stat = entry.read_text()
        except GONE:
            continue
        # proc(5): the second field, in brackets, may itself have brackets and spaces.
        state, parent = stat.rpartition(")")[2].split()[:2]
        if state != "Z":
            children.setdefault(int(parent), []).append(int(entry.parent.name))
            if int(entry.parent.name) == root:
                children.setdefault(0, []).append(root)
    found = [root] if root in children.get(0, ()) else []
    for pid in found:
        found += children.get(pid, [])
    return found


def processor_time(pids: list[int]) -> int:
    """Nanoseconds that the processes' threads have run (/proc/PID/task/TID/schedstat)."""
    total = 0
    for pid in pids:
        for entry in PROC.glob(f"{pid}/task/*/schedstat"):
            try:
                total += int(entry.read_text().split()[0])
            except GONE:
                continue
    return total


def proportional_set(pids: list[int]) -> int:
    """Bytes: each page counts in so many parts as there are processes that share it (PSS)."""
    total = 0
    for pid in pids:
        try:
            rollup = (PROC / str(pid) / "smaps_rollup").read_text()
        except GONE:
            continue
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
    return total


def open_files(pids: list[int]) -> int:
    return sum(len(list((PROC / str(pid) / "fd").iterdir())) for pid in pids)


def packets(pid: int, prefix: str) -> tuple[int, int]:
    """Packets received and sent on the interfaces of a process's network namespace whose name
    begins so, since they were made."""
    received = sent = 0
    for line in (PROC / str(pid) / "net/dev").read_text().splitlines()[2:]:
        name, _, counts = line.partition(":")
        if name.strip().startswith(prefix):
            fields = counts.split()
            received += int(fields[1])
            sent += int(fields[9])
    return received, sent


def kill_tree(root: int) -> int:
    """Kills a process and its descendants as a machine that dies would: every one is stopped
    before the first one dies, so that none can act on the death of another. Returns the time of
    the first stop (ns since 1970)."""
    stopped: set[int] = set()
    began = time.time_ns()
    while more := set(tree(root)) - stopped:
        for pid in more:
            _send(pid, signal.SIGSTOP)
        stopped |= more
    for pid in stopped:
        _send(pid, signal.SIGKILL)
    return began


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it has gone already, which is as good


@dataclass(frozen=True)
class Sample:
    """A process tree at one instant."""

    time: float
    """Seconds of the monotonic clock."""
    processor: int
    """Nanoseconds."""
    received: int
    sent: int
    """Packets on the laboratory's cables."""

    @classmethod
    def of(cls, root: int, prefix: str = "eth") -> Sample:
        received, sent = packets(root, prefix)
        return cls(time.monotonic(), processor_time(tree(root)), received, sent)
