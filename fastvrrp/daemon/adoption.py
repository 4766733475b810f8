"""What a vrrpd that died has left for the next one, and whether it can be trusted.

The state segment says who was master, and since when and until when; the details, beside it, how
everything was that is tracked. Both are left alone until the successor has taken over what is in
them, and puts its own in their place: a successor that dies before that leaves them to the next
one. What its own process makes fail again and again must not be taken over for ever: each attempt
is noted in the segment first, and after ATTEMPTS in a short time the daemon begins anew.
"""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastvrrp._table import Segment, count_attempt, this_boot, this_network
from fastvrrp.daemon.launch import PARENT
from fastvrrp.daemon.leftovers import Notes
from fastvrrp.daemon.readiness import is_readable
from fastvrrp.kernel.netns import NAMESPACES, status_of
from fastvrrp.model import SECOND
from fastvrrp.observe import details
from fastvrrp.observe.details import TrackerState
from fastvrrp.observe.files import Files
from fastvrrp.vrrp.adoption import Predecessor

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""After so many in RECENTLY nothing is taken over."""
RECENTLY = 60 * SECOND
LONGEST_END = 60.0
"""Seconds; 500 namespaces take some 15."""
LAST_MOMENTS = 2.0
"""Seconds that a process which was killed has until the kernel has closed all that it had open."""
VRRPD = "fastvrrp.daemon.vrrpd_main"
"""As the parent starts it."""
PF_EXITING = 0x4
"""Of the flags of a process (linux/sched.h)."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What there is to take over."""

    predecessor: Predecessor
    trackers: tuple[TrackerState, ...] = ()
    """How everything was that is tracked."""


def find(segment: Path) -> Inheritance | None:
    """What a daemon that died has left in its segment, and beside it; None where there is nothing,
    or nothing that is good for us, which the log says then."""
    remove_drafts(segment)
    try:
        left = Segment(segment)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s: %s. Nothing is taken over from it", segment, error)
        return None
    if left.boot != this_boot():
        return None  # it is of another life of this machine
    objection = _objection(left)
    if objection is not None:
        log.warning("Nothing is taken over from the process %d: %s", left.pid, objection)
        return None
    try:
        count_attempt(segment, time.monotonic_ns())
    except OSError as error:
        log.warning("Nothing is taken over: %s: %s", segment, error.strerror)
        return None
    return inherit(left, segment)


def inherit(left: Segment, path: Path) -> Inheritance:
    """What a writer that has died, or stands still, has left in its segment and beside it."""
    notes = Notes(path)
    known = {name: notes.inode(name) for name in notes.names()}

    def is_there(name: str | None) -> bool:
        return name not in known or known[name] == _inode(name)

    return Inheritance(Predecessor(left, is_there), _trackers(path))


def _objection(left: Segment) -> str | None:
    """Why what was left is not taken over."""
    if left.network != this_network():
        return "it was in another network namespace"
    if left.pid != os.getpid() and _lives(left.pid):
        return "it lives"
    now = time.monotonic_ns()
    recent = [at for at in left.attempts if 0 <= now - at < RECENTLY]
    if len(recent) >= ATTEMPTS:
        return (
            f"{len(recent)} others have died of it in {RECENTLY // SECOND} seconds. The daemon"
            " begins anew"
        )
    return None


def _lives(pid: int) -> bool:
    """Whether a process does anything still. One that was killed is there until all that it had
    open is closed."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = status.rpartition(")")[2].split()
    return fields[0] not in "ZX" and not int(fields[6]) & PF_EXITING


def wait_for_end(segment: Path) -> None:
    """Waits until a process has ended, whose segment this is, that was killed, or whose parent was:
    the kernel closes thousands of sockets one after the other, it removes thousands of addresses,
    and until then it holds its network namespaces."""
    try:
        pid = Segment(segment).pid
        process = os.pidfd_open(pid)
    except (OSError, ValueError):
        return
    try:
        if not _lives(pid):
            log.info("Waiting for the end of process %d, which was killed", pid)
        elif _is_left_alone(pid):
            log.info("Waiting for the end of process %d, whose parent was killed", pid)
        else:
            return
        is_readable(process, LONGEST_END)
    finally:
        os.close(process)


def patience(segment: Path) -> float:
    """How long, in seconds, somebody dead may hold what one may hold at a time: nobody is waited
    for where no segment was left."""
    return LAST_MOMENTS if segment.exists() else 0.0


def _is_left_alone(pid: int) -> bool:
    """Whether a process is a vrrpd without a parent: it is about to end."""
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return VRRPD in _command(pid) and PARENT not in _command(parent)
    except (FileNotFoundError, ProcessLookupError):
        return False


def _command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")


def _trackers(segment: Path) -> tuple[TrackerState, ...]:
    try:
        descriptor = os.open(Files.of_segment(segment).details, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        return tuple(details.read(descriptor, attempts=1).trackers)
    except (ValueError, TypeError):
        log.warning("The states of what is tracked are not known: their file is damaged")
        return ()
    finally:
        os.close(descriptor)


def _inode(name: str | None) -> int | None:
    try:
        return None if name is None else status_of(NAMESPACES / name).st_ino
    except OSError:
        return None


def remove_drafts(segment: Path) -> None:
    """Removes segments, and what is beside them, that were never finished."""
    files = Files.of_segment(segment)
    for whole in (files.segment, files.details, files.routers):
        for path in whole.parent.glob(f"{whole.name}.*"):
            pid = path.suffix[1:]
            if pid.isdigit() and not _lives(int(pid)):
                with suppress(OSError):
                    path.unlink()
