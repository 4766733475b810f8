"""Named network namespaces (ip-netns(8)): made, entered, removed."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from fastvrrp.kernel.capabilities import Capability, raised

CLONE_NEWNET = 0x40000000  # linux/sched.h
NAMESPACES = Path("/run/netns")
HERE = "/proc/thread-self/ns/net"
LINK_TIMEOUT = 30.0
"""Seconds until a virtual cable must be up."""


class NetnsError(Exception):
    """A namespace, or something in it, could not be made; says what was asked for and why not."""


def ip(*arguments: str) -> str:
    """Runs ip(8) and returns what it prints. Raises NetnsError where it fails or is missing."""
    try:
        finished = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NetnsError("the command 'ip' is missing: install iproute2") from None
    if finished.returncode != 0:
        raise NetnsError(f"'ip {' '.join(arguments)}' said: {finished.stderr.strip()}")
    return finished.stdout


def status_of(path: Path) -> os.stat_result:
    """Of the namespace at a path, which may be a link to that of another process (proc(5)). Raises
    OSError."""
    with raised(Capability.SYS_PTRACE):
        return path.stat()


class Namespace:
    """A network namespace that is held: it is the same one, and there, until it is closed, whatever
    becomes of its name. Raises OSError where no namespace has the name, or the right is missing."""

    def __init__(self, name: str) -> None:
        self.name = name
        with raised(Capability.SYS_PTRACE):  # for that of another process
            self._there = os.open(NAMESPACES / name, os.O_RDONLY | os.O_CLOEXEC)

    def enter(self) -> None:
        """Has this thread, and those that it starts, be in the namespace. Raises OSError."""
        _enter(self._there, f"cannot enter the network namespace {self.name}")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Makes what this thread opens meanwhile belong to the namespace. Raises OSError."""
        home = os.open(HERE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.enter()
            try:
                yield
            finally:
                _enter(home, "cannot leave the network namespace again")
        finally:
            os.close(home)

    @property
    def inode(self) -> int:
        """What tells it from another namespace, while it is there."""
        return os.fstat(self._there).st_ino

    @property
    def is_entered(self) -> bool:
        """Whether this thread is in it."""
        return os.path.samestat(os.fstat(self._there), Path(HERE).stat())

    def close(self) -> None:
        os.close(self._there)


def _enter(descriptor: int, failing: str) -> None:
    with raised(Capability.SYS_ADMIN):
        failed = _libc().setns(descriptor, CLONE_NEWNET)
        number = ctypes.get_errno()
    if failed:
        raise OSError(number, f"{failing}: {os.strerror(number)}")


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Makes what this thread opens meanwhile belong to a namespace. Raises OSError."""
    namespace = Namespace(name)
    try:
        with namespace.inside():
            yield
    finally:
        namespace.close()


@contextmanager
def cabled_pair(names: tuple[str, str], interface: str) -> Iterator[None]:
    """Two namespaces whose `interface` is one end each of a virtual cable, with the addresses
    192.0.2.1/24 and 192.0.2.2/24 and link-local ones that are usable at once."""
    try:
        for name in names:
            ip("netns", "add", name)
            with inside(name):
                for scope in ("all", "default"):
                    Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")
        ip(
            "-n",
            names[0],
            "link",
            "add",
            interface,
            "type",
            "veth",
            "peer",
            "name",
            interface,
            "netns",
            names[1],
        )
        for number, name in enumerate(names, 1):
            ip("-n", name, "address", "add", f"192.0.2.{number}/24", "dev", interface)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", interface, "up")
        for name in names:
            _wait_until_running(name, interface)
        yield
    finally:
        for name in names:
            if (NAMESPACES / name).exists():
                ip("netns", "del", name)


def _wait_until_running(name: str, interface: str) -> None:
    """The kernel tells that a link is up when it gets round to it (linkwatch: 100 a second)."""
    until = time.monotonic() + LINK_TIMEOUT
    while "LOWER_UP" not in ip("-n", name, "link", "show", "dev", interface, "up"):
        if time.monotonic() > until:
            raise NetnsError(f"{interface} in {name} is not up after {LINK_TIMEOUT:g} s")
        time.sleep(0.02)


def addresses_in(name: str) -> set[str]:
    """Every address of a namespace, as text without a prefix length."""
    lines = ip("-n", name, "-o", "address", "show").splitlines()
    return {line.split()[3].split("/")[0] for line in lines}
