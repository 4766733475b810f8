"""The adverts on a cable, with the kernel's time stamps: an observer that takes no part.

It sees what a packet socket sees, so both what its own machine sends and what it receives.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from fastvrrp.kernel.netns import inside

SO_TIMESTAMPNS = 35  # asm-generic/socket.h
ETH_P_ALL = 3  # linux/if_ether.h
PROTO_VRRP = 112


@dataclass
class Span:
    """When a virtual router's adverts began and when the last one was, in seconds."""

    first: float
    last: float


@dataclass
class Wire:
    """What was heard on one interface, since `watch` was first called."""

    socket: socket.socket
    sent: dict[int, Span] = field(default_factory=dict)
    """Adverts that this machine sent, by VRID."""
    received: dict[int, Span] = field(default_factory=dict)
    resigned: set[int] = field(default_factory=set)
    """VRIDs for which anybody sent priority 0."""

    @classmethod
    @contextmanager
    def on(cls, namespace: str, interface: str) -> Iterator[Self]:
        """Listens on an interface of a named network namespace. Raises OSError."""
        with inside(namespace):
            listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            listener.bind((interface, ETH_P_ALL))
        with listener:
            listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            listener.setblocking(False)
            yield cls(listener)

    def watch(self, done: Callable[[], bool], timeout: float) -> bool:
        """Takes note of adverts until `done()` holds (True), or for `timeout` seconds (False)."""
        until = time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            while not done():
                left = until - time.monotonic()
                if left <= 0:
                    return False
                if selector.select(left):
                    self._take()
        return True

    def _take(self) -> None:
        frame, control, _, address = self.socket.recvmsg(2048, 64)
        vrrp = _vrrp_part(frame)
        if vrrp is None:
            return
        vrid, priority = vrrp[1], vrrp[2]
        if priority == 0:
            self.resigned.add(vrid)
            return
        seconds, nanoseconds = struct.unpack("qq", control[0][2][:16])
        at = seconds + nanoseconds / 1e9
        spans = self.sent if address[2] == socket.PACKET_OUTGOING else self.received
        spans.setdefault(vrid, Span(at, at)).last = at


def _vrrp_part(frame: bytes) -> bytes | None:
    """The VRRP message in an Ethernet frame, if there is one."""
    if frame[12:14] == b"\x08\x00" and frame[23] == PROTO_VRRP:
        return frame[14 + (frame[14] & 15) * 4 :]
    if frame[12:14] == b"\x86\xdd" and frame[20] == PROTO_VRRP:
        return frame[54:]
    return None
