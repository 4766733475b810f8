"""What is asked of the kernel's nftables without libnftables (linux/netfilter/nfnetlink.h,
nf_tables.h): which tables are ours, whether one stands, and word of every change of the ruleset.

That is a few messages; the library is loaded only where there is something to filter.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from fastvrrp.kernel.socket_filter import (
    DROP,
    JUMP_EQUAL,
    LOAD_HALF,
    TAKE,
    Instruction,
    attach,
    half_of_host,
)

NETLINK_NETFILTER = 12
NLM_F_REQUEST = 0x001
NLM_F_DUMP = 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
NFT_MSG_GETTABLE = SUBSYSTEM | 1
NFT_MSG_GETCHAIN = SUBSYSTEM | 4
NFT_MSG_NEWGEN = SUBSYSTEM | 15
NFTA_TABLE_NAME = 1
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME = 1, 3
NFNLGRP_NFTABLES = 7
NFPROTO_INET = 1

HEADER = struct.Struct("=IHHII")
NFGENMSG = struct.Struct("=BBH")
ATTRIBUTE = struct.Struct("=HH")

TRANSACTIONS = (
    Instruction(LOAD_HALF, operand=4),
    Instruction(JUMP_EQUAL, 0, 1, half_of_host(NFT_MSG_NEWGEN)),
    TAKE,
    DROP,
)
"""Leaves other messages in the kernel: there is one for each element of a set, and one of this kind
for the whole of a transaction."""


def tables_with_chains(beginning: str) -> set[str]:
    """Names of tables of the family inet that have a chain whose name begins so; none where the
    kernel has no nftables."""
    start = beginning.encode()
    try:
        with _asked(NFT_MSG_GETCHAIN, NLM_F_DUMP) as asked:
            return {
                found.get(NFTA_CHAIN_TABLE, b"").decode()
                for found in _answers(asked)
                if found.get(NFTA_CHAIN_NAME, b"").startswith(start)
            }
    except OSError:
        return set()


def is_there(table: str) -> bool:
    """Whether a table of the family inet is there. OSError where the kernel does not say."""
    name = table.encode() + b"\0"
    attribute = ATTRIBUTE.pack(ATTRIBUTE.size + len(name), NFTA_TABLE_NAME) + name
    with _asked(NFT_MSG_GETTABLE, 0, attribute + bytes(-len(attribute) % 4)) as asked:
        return any(True for _ in _answers(asked))


class RulesetMonitor:
    """Hears of every transaction on the ruleset, whoever made it. OSError where that cannot be."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
        )
        try:
            attach(self._socket, TRANSACTIONS)
            self._socket.bind((0, 1 << (NFNLGRP_NFTABLES - 1)))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """The descriptor that is readable when there is news."""
        return self._socket.fileno()

    def read(self) -> None:
        """Takes the news away."""
        while True:
            try:
                self._socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def close(self) -> None:
        self._socket.close()


def _asked(kind: int, flags: int, attributes: bytes = b"") -> socket.socket:
    """A socket on which one request was sent."""
    asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    size = HEADER.size + NFGENMSG.size + len(attributes)
    try:
        asked.send(
            HEADER.pack(size, kind, NLM_F_REQUEST | flags, 1, 0)
            + NFGENMSG.pack(NFPROTO_INET, 0, 0)
            + attributes
        )
    except OSError:
        asked.close()
        raise
    return asked


def _answers(asked: socket.socket) -> Iterator[dict[int, bytes]]:
    """Attributes of each answer: of one request without a dump there is one, or none."""
    while True:
        data = asked.recv(1 << 16)
        while len(data) >= HEADER.size:
            size, kind, flags, _, _ = HEADER.unpack_from(data)
            if kind == NLMSG_DONE or size < HEADER.size:
                return
            if kind == NLMSG_ERROR:
                (code,) = struct.unpack_from("=i", data, HEADER.size)
                if code not in (0, -errno.ENOENT):
                    raise OSError(-code, os.strerror(-code))
                return
            yield _attributes(data[HEADER.size + NFGENMSG.size : size])
            if not flags & 0x2:  # NLM_F_MULTI
                return
            data = data[(size + 3) & ~3 :]


def _attributes(data: bytes) -> dict[int, bytes]:
    """Attributes by kind; of texts without the zero at their end."""
    found: dict[int, bytes] = {}
    while len(data) >= ATTRIBUTE.size:
        size, kind = ATTRIBUTE.unpack_from(data)
        if size < ATTRIBUTE.size:
            break
        found[kind] = data[ATTRIBUTE.size : size].rstrip(b"\0")
        data = data[(size + 3) & ~3 :]
    return found
