"""What is asked of the kernel's nftables without libnftables (linux/netfilter/nfnetlink.h,
nf_tables.h): which tables are ours, whether one stands, and word of every change of the ruleset.

That is a few messages; the library is loaded only where there is something to filter.
"""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import closing

from fastvrrp.kernel.attributes import attributes_of, text
from fastvrrp.kernel.netlink import Requests
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
SUBSYSTEM = 10 << 8  # NFNL_SUBSYS_NFTABLES
NFT_MSG_GETTABLE = SUBSYSTEM | 1
NFT_MSG_GETCHAIN = SUBSYSTEM | 4
NFT_MSG_NEWGEN = SUBSYSTEM | 15
NFTA_TABLE_NAME = 1
NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME = 1, 3
NFNLGRP_NFTABLES = 7
NFPROTO_INET = 1
NFGENMSG = struct.Struct("=BBH")
INET = NFGENMSG.pack(NFPROTO_INET, 0, 0)

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
    try:
        with closing(Requests(NETLINK_NETFILTER)) as requests:
            chains = requests.dump(NFT_MSG_GETCHAIN, INET)
    except OSError:
        return set()
    found = [attributes_of(chain[NFGENMSG.size :]) for chain in chains]
    return {
        _text(chain, NFTA_CHAIN_TABLE)
        for chain in found
        if _text(chain, NFTA_CHAIN_NAME).startswith(beginning)
    }


def is_there(table: str) -> bool:
    """Whether a table of the family inet is there. OSError where the kernel does not say."""
    with closing(Requests(NETLINK_NETFILTER)) as requests:
        try:
            requests.ask(NFT_MSG_GETTABLE, INET + text(NFTA_TABLE_NAME, table))
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
    return True


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


def _text(attributes: dict[int, bytes], kind: int) -> str:
    return attributes.get(kind, b"").rstrip(b"\0").decode()
