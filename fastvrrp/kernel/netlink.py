"""Netlink (netlink(7)) for what is rare: requests, many to a system call, and dumps, with the
kernel's reasons."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from fastvrrp._rtnetlink import count_error
from fastvrrp.kernel.attributes import HEADER, Message, attributes_of, messages_of, request

# linux/netlink.h
NETLINK_ROUTE = 0
NETLINK_GENERIC = 16
SOL_NETLINK = 270
NETLINK_CAP_ACK = 10
NETLINK_EXT_ACK = 11
NETLINK_GET_STRICT_CHK = 12
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_DUMP = 0x300
NLM_F_DUMP_INTR = 0x10
NLMSGERR_ATTR_MSG = 1

LARGEST = 32768
"""Bytes of the largest message that the kernel makes."""
_ERROR = struct.Struct("=i")
_CHUNK = 32
"""Requests in one system call: as many answers wait at most."""
_CHUNK_SIZE = 16384
_DUMP_ATTEMPTS = 16


class Refusal(NamedTuple):
    """A request that the kernel did not carry out."""

    position: int
    errno: int
    reason: str
    """What the errno means, with the kernel's own words where it has some."""


class Requests:
    """A socket for requests of one protocol (NETLINK_*), in the network namespace of the thread
    that makes it. It may be used by one thread at a time."""

    def __init__(self, protocol: int) -> None:
        self._socket = open_socket(protocol)
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
                data = self._socket.recv(LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            for message in messages_of(data):
                number = failure_in(message)
                if number and message.sequence >= first:
                    count_error()
                    words = [os.strerror(number), reason_in(message)]
                    reason = ": ".join(filter(None, words))
                    found.append(Refusal(start + message.sequence - first, number, reason))

    def ask(self, kind: int, body: bytes) -> bytes:
        """The body of the one message that answers a question. Raises OSError."""
        self._socket.send(self._numbered(request(kind, 0, body)))
        while True:
            for message in messages_of(self._socket.recv(LARGEST)):
                if message.sequence != self._sequence:
                    continue
                if number := failure_in(message):
                    raise OSError(number, os.strerror(number))
                return message.body

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """The body of each message that the kernel has of a kind. Raises OSError."""
        for _ in range(_DUMP_ATTEMPTS):
            found = self._dump_once(kind, body)
            if found is not None:
                return found
        raise OSError(errno.EAGAIN, "what the kernel has changes faster than it can be read")

    def _dump_once(self, kind: int, body: bytes) -> list[bytes] | None:
        self._socket.send(self._numbered(request(kind, NLM_F_DUMP, body)))
        found: list[bytes] = []
        was_interrupted = False
        while True:
            for message in messages_of(self._socket.recv(LARGEST)):
                if message.sequence != self._sequence:
                    continue
                was_interrupted |= bool(message.flags & NLM_F_DUMP_INTR)
                if message.kind == NLMSG_DONE:
                    return None if was_interrupted else found
                if number := failure_in(message):
                    raise OSError(number, os.strerror(number))
                found.append(message.body)


def open_socket(protocol: int) -> socket.socket:
    """A socket of a netlink protocol, with a port of its own."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    opened.bind((0, 0))
    return opened


def failure_in(message: Message) -> int:
    """The errno that a message tells of; 0 where it tells of none."""
    if message.kind != NLMSG_ERROR or len(message.body) < _ERROR.size:
        return 0
    number: int = -_ERROR.unpack_from(message.body)[0]
    return number


def reason_in(message: Message) -> str:
    """The kernel's words (NETLINK_EXT_ACK): behind the header of what it refuses."""
    words = attributes_of(message.body[_ERROR.size + HEADER.size :]).get(NLMSGERR_ATTR_MSG, b"")
    return words.rstrip(b"\0").decode(errors="replace")
