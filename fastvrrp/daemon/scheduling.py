"""How a process of the daemon is scheduled, what it may use, and its name for `ps`.

What raises a priority is of the thread that calls it, which is the loop's, and of nothing that it
starts later: no script ever runs with realtime priority.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from time import monotonic

from fastvrrp.model import SECOND, Configuration, Process, Processes
from fastvrrp.vrrp.follower import Follower

log = logging.getLogger(__name__)

PR_SET_NAME = 15  # linux/prctl.h
NAME_SIZE = 15
"""Bytes of a name that the kernel keeps (TASK_COMM_LEN)."""
# sys/mman.h, linux/mman.h
MCL_CURRENT = 1
MCL_FUTURE = 2
MCL_ONFAULT = 4
RLIMIT_RTTIME = 15  # asm-generic/resource.h; Python's module does not name it everywhere
RESET_ON_FORK = os.SCHED_RESET_ON_FORK
BEAT = 0.25
"""Seconds between two looks at the clock, where the priority is to rise by itself."""
FROM_NANOSECONDS = 1000
"""To microseconds, of RLIMIT_RTTIME."""


class Role(StrEnum):
    """Which of keepalived's processes it is; the value is its usual name."""

    PARENT = "keepalived"
    VRRP = "keepalived_vrrp"
    CHECKERS = "keepalived_lvs"


def name_of(processes: Processes, role: Role, fallback: str) -> str:
    """The name that a process is to have; `fallback` where the configuration gives none."""
    own = {
        Role.PARENT: processes.parent_name,
        Role.VRRP: processes.vrrp.name,
        Role.CHECKERS: processes.checker.name,
    }
    return own[role] or (role.value if processes.has_names else fallback)


class Scheduling:
    """How this process is scheduled, by one configuration after the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop, role: Role, name: str | None) -> None:
        """`name` is for `ps` where the configuration says nothing; None is what it is now."""
        self._loop = loop
        self._role = role
        self._name = name or _name()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._processes = Processes()
        self._nice = os.getpriority(os.PRIO_PROCESS, 0)
        self._cpus = os.sched_getaffinity(0)
        self._limit = resource.getrlimit(RLIMIT_RTTIME)
        self._realtime = 0
        """The realtime priority that it has; 0 is none."""
        self._next_beat: asyncio.TimerHandle | None = None
        self._expected = 0.0
        if name is not None:
            self._set_name(name)

    def apply(self, processes: Processes) -> None:
        """Makes it so; what the machine does not allow is said, and left out."""
        before, self._processes = self._processes, processes
        if before == processes:
            return
        self._set_name(name_of(processes, self._role, self._name))
        old, new = self._of(before), self._of(processes)
        if _nice(old) != _nice(new):
            self._try("priority", lambda: self._set_nice(_nice(new) or self._nice))
        if old.cpus != new.cpus:
            self._try("cpu_affinity", lambda: os.sched_setaffinity(0, new.cpus or self._cpus))
        if old.is_locked != new.is_locked:
            self._try("no_swap", lambda: self._lock(new.is_locked))
        if (old.realtime_priority, old.realtime_limit) != (
            new.realtime_priority,
            new.realtime_limit,
        ):
            self._try("rt_priority", lambda: self._set_realtime(new.realtime_priority or 0))
        self._beat_if_wanted()

    def close(self) -> None:
        if self._next_beat is not None:
            self._next_beat.cancel()
            self._next_beat = None

    def _of(self, processes: Processes) -> Process:
        return processes.checker if self._role is Role.CHECKERS else processes.vrrp

    def _try(self, what: str, change: Callable[[], object]) -> None:
        try:
            change()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            prefix = "checker" if self._role is Role.CHECKERS else "vrrp"
            log.warning("%s_%s cannot be set: %s", prefix, what, reason)

    def _set_name(self, name: str) -> None:
        self._libc.prctl(PR_SET_NAME, name.encode()[:NAME_SIZE], 0, 0, 0)

    def _set_nice(self, value: int) -> None:
        os.setpriority(os.PRIO_PROCESS, 0, value)
        if not self._realtime:
            # Children start with no better priority than others.
            os.sched_setscheduler(0, os.SCHED_OTHER | RESET_ON_FORK, os.sched_param(0))

    def _lock(self, is_locked: bool) -> None:
        # What was never used of the state segment must not be filled for that.
        wanted = MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT
        failed = self._libc.mlockall(wanted) if is_locked else self._libc.munlockall()
        if failed:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def _set_realtime(self, priority: int) -> None:
        if priority:
            limit = self._of(self._processes).realtime_limit // FROM_NANOSECONDS
            self._loop.add_signal_handler(signal.SIGXCPU, self._on_limit)
            # As keepalived it is warned at half of what is written. All of it is keepalived's hard
            # limit, at which the kernel kills: before the loop, which may be in the middle of a
            # reload, could hear of the warning.
            resource.setrlimit(RLIMIT_RTTIME, (limit // 2, self._limit[1]))
            os.sched_setscheduler(0, os.SCHED_RR | RESET_ON_FORK, os.sched_param(priority))
        else:
            os.sched_setscheduler(0, os.SCHED_OTHER | RESET_ON_FORK, os.sched_param(0))
            resource.setrlimit(RLIMIT_RTTIME, self._limit)
        self._realtime = priority

    def _on_limit(self) -> None:
        """The kernel warns that the process has run for too long without a pause."""
        log.warning(
            "The process ran for longer than rlimit_rttime without a pause: it goes on without a"
            " limit"
        )
        resource.setrlimit(RLIMIT_RTTIME, self._limit)

    # --- max_auto_priority ------------------------------------------------------------------------

    def _beat_if_wanted(self) -> None:
        self.close()
        if self._processes.automatic_priority > 0:
            self._expected = monotonic() + BEAT
            self._next_beat = self._loop.call_later(BEAT, self._beat)

    def _beat(self) -> None:
        late = monotonic() - self._expected
        if late * SECOND >= self._processes.automatic_priority_delay:
            self._rise(late)
        self._beat_if_wanted()

    def _rise(self, late: float) -> None:
        wanted = max(self._realtime + 1, os.sched_get_priority_min(os.SCHED_RR))
        if wanted <= self._processes.automatic_priority:
            log.info("Woken %.3f s late: realtime priority is %d now", late, wanted)
            self._try("rt_priority", lambda: self._set_realtime(wanted))


class ProcessSettings(Follower):
    """The scheduling of the process that speaks VRRP, by its configuration."""

    def __init__(self, scheduling: Scheduling) -> None:
        self._scheduling = scheduling

    def configure(self, configuration: Configuration) -> None:
        self._scheduling.apply(configuration.definitions.processes)

    def stop(self) -> None:
        self._scheduling.close()


def _nice(process: Process) -> int:
    """What realtime scheduling makes meaningless is left alone, as keepalived does."""
    return 0 if process.realtime_priority else process.priority


def _name() -> str:
    return Path("/proc/thread-self/comm").read_text().rstrip("\n")
