"""Sockets of rtnetlink for what is rare: requests with the kernel's reasons, and the removals of
routes and rules."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from fastvrrp._rtnetlink import Overrun, count_error, count_overrun
from fastvrrp.kernel.attributes import (
    HEADER,
    Message,
    attributes_of,
    integer,
    messages_of,
    request,
)
from fastvrrp.kernel.routes import RTM_DELROUTE, RTM_GETROUTE, RTMSG
from fastvrrp.kernel.rules import RTM_DELRULE, RTM_GETRULE
from fastvrrp.model import OWN_PROTOCOL

# linux/netlink.h
NETLINK_ROUTE = 0
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP = 1
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10
NLMSGERR_ATTR_MSG = 1
# linux/rtnetlink.h
RTM_GETLINK = 18
IFLA_LINKINFO = 18
IFLA_INFO_DATA = 2
IFLA_VRF_TABLE = 1
RTNLGRP = {"route": (7, 11), "rule": (8, 19)}
"""Of IPv4 and of IPv6."""
# asm-generic/socket.h
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33

_ERROR = struct.Struct("=i")
_IFINFOMSG = struct.Struct("=BxHiII")
_LARGEST = 32768
"""Bytes of the largest message that the kernel makes."""
_CHUNK = 32
"""Requests in one system call: as many answers wait at most."""
_CHUNK_SIZE = 16384
_WATCH_BUFFER = 4 * 1024 * 1024
_DUMP_ATTEMPTS = 16


class Refusal(NamedTuple):
    """A request that the kernel did not carry out."""

    position: int
    errno: int
    reason: str
    """What the errno means, with the kernel's own words where it has some."""


class Requests:
    """A socket for requests, in the network namespace of the thread that makes it. It may be used
    by one thread at a time."""

    def __init__(self) -> None:
        self._socket = _open()
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            with suppress(OSError):  # younger than the oldest kernels: without reasons
                self._socket.setsockopt(SOL_NETLINK, option, 1)
        self.port: int = self._socket.getsockname()[0]
        """What others' notifications of our requests carry."""
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def apply(self, messages: Sequence[bytes]) -> list[Refusal]:
        """Has the kernel carry out requests, which ask for no acknowledgement; returns those that
        it refused. Blocks as long as the kernel does. OSError where it takes none."""
        refusals: list[Refusal] = []
        start = 0
        while start < len(messages):
            end = size = 0
            for end in range(start, min(start + _CHUNK, len(messages))):
                size += len(messages[end])
                if size > _CHUNK_SIZE and end > start:
                    break
            else:
                end += 1
            first = self._sequence + 1
            self._socket.send(b"".join(self._numbered(one) for one in messages[start:end]))
            refusals += self._refusals(first, start)
            start = end
        return refusals

    def _numbered(self, message: bytes) -> bytes:
        self._sequence = (self._sequence + 1) & 0x7FFFFFFF
        length, kind, flags, _, _ = HEADER.unpack_from(message)
        return HEADER.pack(length, kind, flags, self._sequence, 0) + message[HEADER.size :]

    def _refusals(self, first: int, start: int) -> list[Refusal]:
        found: list[Refusal] = []
        while True:
            try:
                data = self._socket.recv(_LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            for message in messages_of(data):
                number = _failure(message)
                if number and message.sequence >= first:
                    count_error()
                    words = [os.strerror(number), _reason(message)]
                    reason = ": ".join(filter(None, words))
                    found.append(Refusal(start + message.sequence - first, number, reason))

    def dump_routes(self, family: int, protocol: int = OWN_PROTOCOL) -> list[bytes]:
        """The routes of a protocol: the body of each message. Others may be among them."""
        return self._dump(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, protocol, 0, 0, 0))

    def dump_rules(self, family: int) -> list[bytes]:
        """Every rule: the body of each message."""
        return self._dump(RTM_GETRULE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))

    def vrf_table(self, ifindex: int) -> int | None:
        """The routing table of a VRF; None where the link is none."""
        message = request(RTM_GETLINK, 0, _IFINFOMSG.pack(0, 0, ifindex, 0, 0))
        self._socket.send(self._numbered(message))
        for answer in messages_of(self._socket.recv(_LARGEST)):
            if _failure(answer):
                return None
            link = attributes_of(answer.body[_IFINFOMSG.size :])
            information = attributes_of(link.get(IFLA_LINKINFO, b""))
            data = attributes_of(information.get(IFLA_INFO_DATA, b""))
            if information.get(1, b"").rstrip(b"\0") == b"vrf" and IFLA_VRF_TABLE in data:
                return integer(data[IFLA_VRF_TABLE])
        return None

    def _dump(self, kind: int, body: bytes) -> list[bytes]:
        for _ in range(_DUMP_ATTEMPTS):
            found = self._dump_once(kind, body)
            if found is not None:
                return found
        raise OSError(errno.EAGAIN, "the kernel's routes change faster than they can be read")

    def _dump_once(self, kind: int, body: bytes) -> list[bytes] | None:
        self._socket.send(self._numbered(request(kind, NLM_F_DUMP, body)))
        found: list[bytes] = []
        was_interrupted = False
        while True:
            for message in messages_of(self._socket.recv(_LARGEST)):
                if message.sequence != self._sequence:
                    continue
                was_interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
                if message.kind == NLMSG_DONE:
                    return None if was_interrupted else found
                if number := _failure(message):
                    raise OSError(number, f"no dump of routes or rules: {os.strerror(number)}")
                found.append(message.body)


class Watch:
    """Hears of routes (of our protocol) and rules that are removed, whoever does it."""

    def __init__(self, receive_buffer: int = _WATCH_BUFFER) -> None:
        self._socket = _open()
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer)
        # A router may learn thousands of routes a second from others, which are not ours.
        _attach_filter(self._socket)
        for groups in RTNLGRP.values():
            for group in groups:
                self._socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)

    def close(self) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self, limit: int) -> list[Message]:
        """What was told, at most `limit` messages. Raises Overrun where some were dropped."""
        found: list[Message] = []
        while len(found) < limit:
            try:
                data = self._socket.recv(_LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    count_overrun()
                    raise Overrun("the kernel dropped notifications of routes") from None
                raise
            found += messages_of(data)
        return found


def _open() -> socket.socket:
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE)
    opened.bind((0, 0))
    return opened


def _failure(message: Message) -> int:
    """The errno that a message tells of; 0 where it tells of none."""
    if message.kind != NLMSG_ERROR or len(message.body) < _ERROR.size:
        return 0
    number: int = -_ERROR.unpack_from(message.body)[0]
    return number


def _reason(message: Message) -> str:
    """The kernel's words (NETLINK_EXT_ACK): behind the header of what it refuses."""
    words = attributes_of(message.body[_ERROR.size + HEADER.size :]).get(NLMSGERR_ATTR_MSG, b"")
    return words.rstrip(b"\0").decode(errors="replace")


class _Instruction(ctypes.Structure):
    """struct sock_filter (linux/filter.h)."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def _attach_filter(watched: socket.socket) -> None:
    """Lets through the removals of rules, and of routes of our protocol."""
    load_half, load_byte, is_equal, give = 0x28, 0x30, 0x15, 0x06

    def half(kind: int) -> int:
        # The filter reads a half-word in network order, which a netlink header is not in.
        value: int = struct.unpack(">H", struct.pack("=H", kind))[0]
        return value

    instructions = (
        (load_half, 0, 0, 4),
        (is_equal, 3, 0, half(RTM_DELRULE)),
        (is_equal, 0, 3, half(RTM_DELROUTE)),
        (load_byte, 0, 0, HEADER.size + 5),
        (is_equal, 0, 1, OWN_PROTOCOL),
        (give, 0, 0, 0xFFFFFFFF),
        (give, 0, 0, 0),
    )
    array = (_Instruction * len(instructions))(*(_Instruction(*one) for one in instructions))
    program = _Program(len(instructions), array)
    watched.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, bytes(program))
