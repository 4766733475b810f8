"""Network namespaces for the tests of the kernel's rooms.

They have no names and are held by a descriptor each, so the kernel takes them away, with all that
is in them, when a test ends, and also when it is killed.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CLONE_NEWNET = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")


def ip(command: str) -> str:
    """What `ip COMMAND` prints in the namespace of this thread."""
    return subprocess.run(
        ["ip", *command.split()], check=True, capture_output=True, text=True
    ).stdout


def add_veth(*names: str) -> None:
    """A pair of links that are up and, lest they speak of themselves, have no IPv6 address."""
    ip("link add {} type veth peer name {}".format(*names))
    for name in names:
        ip(f"link set {name} addrgenmode none")
        ip(f"link set {name} up")


class Namespace:
    """A network namespace of its own, held open until `close`."""

    def __init__(self) -> None:
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(libc.unshare(CLONE_NEWNET))
            self._fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            _check(libc.setns(outside, CLONE_NEWNET))
        finally:
            os.close(outside)

    @property
    def path(self) -> str:
        """A name that `ip link set netns` understands."""
        return f"/proc/{os.getpid()}/fd/{self._fd}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the namespace for the length of the block."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(libc.setns(self._fd, CLONE_NEWNET))
            yield
        finally:
            _check(libc.setns(outside, CLONE_NEWNET))
            os.close(outside)

    def close(self) -> None:
        os.close(self._fd)


@contextmanager
def inside_namespace() -> Iterator[Namespace]:
    """A new namespace, with this thread in it."""
    namespace = Namespace()
    try:
        with namespace.entered():
            yield namespace
    finally:
        namespace.close()


def sysctl(path: str) -> str:
    """A value under /proc/sys/net of the namespace of this thread."""
    return Path("/proc/sys/net", path).read_text().strip()


def _check(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
