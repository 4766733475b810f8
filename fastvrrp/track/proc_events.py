"""The kernel's news of processes (linux/cn_proc.h): who was forked, runs another program or ended.

It tells only a process of the machine's own process namespace, by a socket of the machine's own
network namespace. In others the socket is refused, or stays silent.
"""

from __future__ import annotations

import errno
import os
import random
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from ctypes import CDLL, get_errno
from select import select
from typing import NamedTuple

from fastvrrp.kernel.capabilities import Capability, raised

# linux/netlink.h, linux/connector.h, linux/cn_proc.h
NETLINK_CONNECTOR = 11
NLMSG_DONE = 3
CN_IDX_PROC = CN_VAL_PROC = 1
PROC_CN_MCAST_LISTEN = 1
PROC_CN_MCAST_IGNORE = 2
PROC_EVENT_NONE = 0x00000000
PROC_EVENT_FORK = 0x00000001
PROC_EVENT_EXEC = 0x00000002
PROC_EVENT_COMM = 0x00000200
PROC_EVENT_EXIT = 0x80000000

NLMSG = struct.Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence, port."""
CN_MSG = struct.Struct("=IIIIHH")
"""struct cn_msg: index, value, sequence, acknowledgement, length, flags."""
EVENT = struct.Struct("=IIQ")
"""struct proc_event: what, processor, nanoseconds."""
FORK = struct.Struct("=IIII")
"""The parent's thread and process, the child's thread and process."""
TASK = struct.Struct("=II")
"""Thread and process."""
ERROR = struct.Struct("=I")
"""Of an answer: an errno."""
LONGEST = 4096
"""Bytes of a message."""
START = NLMSG.size + CN_MSG.size
BUFFER = 1 << 22
"""Bytes of the receive buffer: some ten thousand events."""
PATIENCE = 1.0
"""Seconds until the kernel has answered the subscription."""
CLONE_NEWNET = 0x40000000  # sched.h
MACHINE = "/proc/1/ns/net"
"""The network namespace of the machine, as far as we can see it."""


class Happening(NamedTuple):
    """One event."""

    what: int
    """PROC_EVENT_FORK, PROC_EVENT_EXEC (or a new name) or PROC_EVENT_EXIT."""
    pid: int
    parent: int = 0
    """Of PROC_EVENT_FORK."""


class Unavailable(Exception):
    """The kernel does not tell us; why, for a person."""


class ProcEvents:
    """The subscription. Raises Unavailable where the kernel does not tell."""

    def __init__(self) -> None:
        try:
            self._socket = _subscribed()
        except ConnectionRefusedError:
            self._socket = _subscribed_in_machine()
        except OSError as error:
            raise Unavailable(error.strerror) from None

    def fileno(self) -> int:
        """The descriptor that is readable when something has happened."""
        return self._socket.fileno()

    def read(self) -> Iterator[Happening]:
        """What has happened. Raises OSError with ENOBUFS where some of it was lost."""
        while True:
            try:
                message = self._socket.recv(LONGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            happening = decode(message)
            if happening is not None:
                yield happening

    def close(self) -> None:
        """Ends the subscription: before Linux 6.6 the kernel would count it for ever."""
        with suppress(OSError):
            _ask(self._socket, PROC_CN_MCAST_IGNORE, 0)
        self._socket.close()


def decode(message: bytes) -> Happening | None:
    """An event of a process; None of a thread, and of what else is told."""
    what, _, _ = EVENT.unpack_from(message, START)
    start = START + EVENT.size
    if what == PROC_EVENT_FORK:
        _, parent, thread, pid = FORK.unpack_from(message, start)
        return Happening(what, pid, parent) if thread == pid else None
    if what in (PROC_EVENT_EXEC, PROC_EVENT_COMM, PROC_EVENT_EXIT):
        thread, pid = TASK.unpack_from(message, start)
        if thread != pid:
            return None
        return Happening(PROC_EVENT_EXEC if what == PROC_EVENT_COMM else what, pid)
    return None


def _subscribed() -> socket.socket:
    """A socket that hears. Raises OSError: ECONNREFUSED in another network namespace."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR)
    try:
        events.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        events.bind((0, CN_IDX_PROC))
        number = random.getrandbits(31)
        _ask(events, PROC_CN_MCAST_LISTEN, number)
        _await_answer(events, number)
    except OSError:
        events.close()
        raise
    return events


def _ask(events: socket.socket, what: int, number: int) -> None:
    body = struct.pack("=I", what)
    message = CN_MSG.pack(CN_IDX_PROC, CN_VAL_PROC, 0, number, len(body), 0) + body
    events.send(NLMSG.pack(NLMSG.size + len(message), NLMSG_DONE, 0, 0, 0) + message)


def _await_answer(events: socket.socket, number: int) -> None:
    """Waits until the kernel has taken the subscription of that number. Raises OSError where it
    does not: in another process namespace it says nothing, though we hear what it tells others."""
    end = time.monotonic() + PATIENCE
    while select([events], [], [], max(0.0, end - time.monotonic()))[0]:
        message = events.recv(LONGEST)
        what, _, _ = EVENT.unpack_from(message, START)
        acknowledged = CN_MSG.unpack_from(message, NLMSG.size)[3]
        if what == PROC_EVENT_NONE and acknowledged == number + 1:
            error = ERROR.unpack_from(message, START + EVENT.size)[0]
            if error:
                raise OSError(error, os.strerror(error))
            return
    raise OSError(errno.EOPNOTSUPP, "no answer: this is not the machine's process namespace")


def _subscribed_in_machine() -> socket.socket:
    """The same from the network namespace of the machine, where this process may enter it; it comes
    back afterwards."""
    libc = CDLL(None, use_errno=True)
    with (
        raised(Capability.SYS_ADMIN, Capability.SYS_PTRACE),
        open("/proc/self/ns/net", "rb") as own,  # noqa: PTH123 - a descriptor is what is wanted
    ):
        try:
            with open(MACHINE, "rb") as machine:  # noqa: PTH123
                if libc.setns(machine.fileno(), CLONE_NEWNET):
                    raise OSError(get_errno(), "setns")
            return _subscribed()
        except OSError as error:
            raise Unavailable(
                f"this network namespace is not the machine's, which cannot be entered:"
                f" {error.strerror}"
            ) from None
        finally:
            if libc.setns(own.fileno(), CLONE_NEWNET):
                raise OSError(get_errno(), "the own network namespace is lost")
