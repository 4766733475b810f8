"""Two network namespaces and the cables between them.

The namespaces have no name: they are held by a descriptor each, so the kernel takes them away, with
all that is in them, when this process ends, however it ends. What takes long with thousands of
interfaces is done by one `ip -batch` for all of them.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fastvrrp._rtnetlink import Channel
from fastvrrp.bench.case import Case

CLONE_NEWNET = 0x40000000  # linux/sched.h
IFF_LOWER_UP = 1 << 16  # linux/if.h: it has a carrier
IFF_RUNNING = 1 << 6
SIOCETHTOOL = 0x8946  # linux/sockios.h
ETHTOOL_GLINK = 0x0A  # linux/ethtool.h
REMOVAL_TIMEOUT = 300.0
CARRIER_TIMEOUT = 120.0

libc = ctypes.CDLL(None, use_errno=True)


class NetworkError(Exception):
    """The laboratory's network could not be made or removed; says what the kernel refused."""


class Namespace:
    """A network namespace of its own, there until `close`. Raises PermissionError without root."""

    def __init__(self) -> None:
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if libc.unshare(CLONE_NEWNET) != 0:
                error = ctypes.get_errno()
                raise PermissionError(error, "making a network namespace needs root")
            self._descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            _enter(outside)
        finally:
            os.close(outside)

    @property
    def path(self) -> str:
        """Under this name `ip` knows it."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread opens or starts meanwhile belongs to the namespace."""
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(self._descriptor)
            yield
        finally:
            _enter(outside)
            os.close(outside)

    def close(self) -> None:
        os.close(self._descriptor)


def _enter(descriptor: int) -> None:
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot change the network namespace")


class Network:
    """Side `a` and side `b` of a case's cables. Within `made` they exist."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.a = Namespace()
        self.b = Namespace()
        with self.b.entered():
            self._channel = Channel()
        self.last_ifindex = 0
        """The cables' interfaces on side b have an index up to this, all others a higher one."""

    @classmethod
    @contextmanager
    def made(cls, case: Case) -> Iterator[Network]:
        """Raises NetworkError, or PermissionError without root."""
        network = cls(case)
        try:
            network._lay_cables()
            yield network
        finally:
            network._remove()

    def _lay_cables(self) -> None:
        for side in (self.a, self.b):
            # Addresses are usable at once.
            with side.entered():
                for scope in ("all", "default"):
                    Path(f"/proc/sys/net/ipv6/conf/{scope}/accept_dad").write_text("0")
        self._lay(range(self.case.interfaces))
        self.last_ifindex = max(link.ifindex for link in self._channel.dump_links())

    def lay_spare_cables(self, count: int = 1) -> None:
        """So many more, with the next numbers. The observer sees nothing of them: their interfaces
        on side b have an index above `last_ifindex`."""
        self._lay(range(self.case.interfaces, self.case.interfaces + count))

    def _lay(self, numbers: Sequence[int]) -> None:
        names = [f"eth{number}" for number in numbers]
        batch(self.a, (f"link add {n} type veth peer name {n} netns {self.b.path}" for n in names))
        for host, side in enumerate((self.a, self.b), 1):
            batch(
                side,
                (
                    line
                    for number, name in zip(numbers, names, strict=True)
                    for line in (
                        # Lest thousands of links speak of themselves.
                        f"link set {name} addrgenmode none",
                        f"address add {self.case.own_address(number, host)} dev {name}",
                        f"link set {name} up",
                    )
                ),
            )
        for side in (self.a, self.b):
            with side.entered():
                _notice_carriers(names)
        wait_until(self._has_carrier, CARRIER_TIMEOUT, "a carrier on every interface")

    def _has_carrier(self) -> bool:
        wanted = IFF_LOWER_UP | IFF_RUNNING
        links = [link for link in self._channel.dump_links() if link.name.startswith("eth")]
        return all(link.flags & wanted == wanted for link in links)

    def _remove(self) -> None:
        """Returns when the kernel has removed it: what it does after that disturbs nobody."""
        with ExitStack() as closing:
            closing.callback(self.b.close)
            closing.callback(self._channel.close)
            self.a.close()
            wait_until(
                lambda: not any(link.name.startswith("eth") for link in self._channel.dump_links()),
                REMOVAL_TIMEOUT,
                "the removal of the network",
            )

    def ifindex(self, name: str) -> int:
        """Of an interface on side b. Raises KeyError."""
        return {link.name: link.ifindex for link in self._channel.dump_links()}[name]

    def left_behind(self) -> tuple[int, int]:
        """On side b: virtual addresses, and links that are no cable's."""
        addresses = sum(
            self.case.is_virtual(found.address) for found in self._channel.dump_addresses()
        )
        links = sum(link.ifindex > self.last_ifindex for link in self._channel.dump_links())
        return addresses, links


def _notice_carriers(names: Iterable[str]) -> None:
    """Asks for every link's carrier (ETHTOOL_GLINK), which makes the kernel take note of it at
    once; by itself it takes note of a hundred a second (linkwatch)."""
    answer = struct.pack("II", ETHTOOL_GLINK, 0)
    buffer = ctypes.create_string_buffer(answer, len(answer))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for name in names:
            request = struct.pack("16sP16x", name.encode(), ctypes.addressof(buffer))
            buffer.raw = answer
            fcntl.ioctl(asking, SIOCETHTOOL, request)


def batch(side: Namespace, commands: Iterable[str]) -> None:
    """Has ip(8) carry out commands on one side. Raises NetworkError."""
    with side.entered():
        finished = subprocess.run(
            ["ip", "-batch", "-"],
            input="\n".join(commands),
            capture_output=True,
            text=True,
            check=False,
        )
    if finished.returncode != 0:
        raise NetworkError(f"ip -batch said: {finished.stderr.strip()[:500]}")


def wait_until(
    is_so: Callable[[], bool], timeout: float, what: str, interval: float = 0.02
) -> float:
    """Asks until it is so, and returns how many seconds that took. Raises NetworkError when it is
    not so after `timeout` seconds."""
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > timeout:
            raise NetworkError(f"no {what} within {timeout:g} s")
        time.sleep(interval)
    return time.monotonic() - began
