"""Capabilities (capabilities(7)): what a process may do, given up and raised for a moment.

What a process uses in the ordinary course of things is its *effective* set. What it uses for a
moment only is *permitted*, and raised for that moment. The sets are a thread's, and a thread that
is started later has those of the one that starts it: a process gives up before it has a second one.

A program that root executes gets the whole *bounding* set again. A process that has scripts run
leaves that as it is, since a script that runs as root is to find what root has everywhere: what it
may have is for whoever starts the daemon to say (CapabilityBoundingSet= of the unit). One that runs
none can execute nothing that would give it more.

A daemon that was not started by root has what its user was given, by its file or as *ambient*
capabilities. What it starts is to have those too, so it gives up only using them.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

VERSION_3 = 0x20080522  # linux/capability.h
# linux/prctl.h
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
LAST = 63
"""The kernel has room for no more; the last ones do not exist."""


class Capability(IntEnum):
    """Those that a process of the daemon has a use for, by their numbers in linux/capability.h."""

    CHOWN = 0
    DAC_OVERRIDE = 1
    DAC_READ_SEARCH = 2
    KILL = 5
    NET_BIND_SERVICE = 10
    NET_ADMIN = 12
    NET_RAW = 13
    IPC_LOCK = 14
    SYS_PTRACE = 19
    SYS_ADMIN = 21
    SYS_NICE = 23
    SYS_TIME = 25


@dataclass(frozen=True, slots=True)
class Rights:
    """What one kind of process may do."""

    uses: frozenset[Capability] = frozenset()
    reserve: frozenset[Capability] = frozenset()
    """Raised for a moment."""
    starts_scripts: bool = False
    """What it starts may need what it has not."""


class Sets(NamedTuple):
    """A thread's capabilities, as bits."""

    effective: int
    permitted: int
    inheritable: int


_libc = ctypes.CDLL(None, use_errno=True)
_HEADER = struct.pack("=Ii", VERSION_3, 0)
_DATA = struct.Struct("=6I")
"""Effective, permitted and inheritable: their low halves, then their high ones."""


def mask(capabilities: Iterable[int]) -> int:
    """These as bits."""
    return sum(1 << each for each in set(capabilities))


def own() -> Sets:
    """What this thread has. Raises OSError."""
    data = ctypes.create_string_buffer(_DATA.size)
    _check(_libc.capget(_HEADER, data), "capabilities cannot be read")
    low = _DATA.unpack(data.raw)
    return Sets(*(low[part] | low[part + 3] << 32 for part in range(3)))


def set_own(sets: Sets) -> None:
    """Has this thread have these. Raises OSError, EPERM where they are more than it may have."""
    low = [each & 0xFFFFFFFF for each in sets]
    high = [each >> 32 for each in sets]
    _check(_libc.capset(_HEADER, _DATA.pack(*low, *high)), "capabilities cannot be changed")


def clear_ambient() -> None:
    """Lets no program that this thread executes have a capability for being executed by it."""
    # A kernel without ambient capabilities has none to clear.
    _libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def close_bounds() -> None:
    """Lets no program that this thread executes have any capability, root's neither, if the thread
    may say so (CAP_SETPCAP)."""
    for capability in range(LAST + 1):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def gain_no_more() -> None:
    """Lets no program give this thread rights that it has not (no_new_privs). Raises OSError."""
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs cannot be set")


def keep_only(rights: Rights) -> None:
    """Gives up everything else. To be called before this process has a second thread.

    Raises OSError where the kernel refuses.
    """
    before = own()
    uses = before.permitted & mask(rights.uses)
    if not rights.starts_scripts:
        close_bounds()
        gain_no_more()
    elif os.geteuid() != 0:
        set_own(before._replace(effective=uses))
        return
    clear_ambient()
    set_own(Sets(uses, before.permitted & mask(rights.uses | rights.reserve), 0))


@contextmanager
def raised(*capabilities: Capability) -> Iterator[None]:
    """Lets this thread use meanwhile what it is permitted of these. Raises OSError."""
    before = own()
    effective = before.effective | (before.permitted & mask(capabilities))
    if effective == before.effective:
        yield
        return
    set_own(before._replace(effective=effective))
    try:
        yield
    finally:
        set_own(before)


def _check(failed: int, what: str) -> None:
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
