"""Sockets of rtnetlink for what is rare: requests with the kernel's reasons, and the removals of
routes and rules."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress

from fastvrrp._rtnetlink import Overrun, count_overrun
from fastvrrp.kernel import netlink
from fastvrrp.kernel.attributes import HEADER, Message, attributes_of, integer, messages_of
from fastvrrp.kernel.netlink import LARGEST, NETLINK_ROUTE, SOL_NETLINK, open_socket
from fastvrrp.kernel.routes import RTM_DELROUTE, RTM_GETROUTE, RTMSG
from fastvrrp.kernel.rules import RTM_DELRULE, RTM_GETRULE
from fastvrrp.kernel.socket_filter import (
    DROP,
    JUMP_EQUAL,
    LOAD_BYTE,
    LOAD_HALF,
    TAKE,
    Instruction,
    attach,
    half_of_host,
)
from fastvrrp.model import OWN_PROTOCOL

NETLINK_ADD_MEMBERSHIP = 1  # linux/netlink.h
# linux/rtnetlink.h
RTM_GETLINK = 18
IFLA_LINKINFO = 18
IFLA_INFO_DATA = 2
IFLA_VRF_TABLE = 1
RTNLGRP = {"route": (7, 11), "rule": (8, 19)}
"""Of IPv4 and of IPv6."""
# asm-generic/socket.h
SO_RCVBUFFORCE = 33

_IFINFOMSG = struct.Struct("=BxHiII")
_WATCH_BUFFER = 4 * 1024 * 1024
_PROTOCOL_AT = HEADER.size + 5
"""Where a message of a route has rtm_protocol."""
_REMOVALS = (
    Instruction(LOAD_HALF, operand=4),
    Instruction(JUMP_EQUAL, 3, 0, half_of_host(RTM_DELRULE)),
    Instruction(JUMP_EQUAL, 0, 3, half_of_host(RTM_DELROUTE)),
    Instruction(LOAD_BYTE, operand=_PROTOCOL_AT),
    Instruction(JUMP_EQUAL, 0, 1, OWN_PROTOCOL),
    TAKE,
    DROP,
)
"""Lets through the removals of rules, and of routes of our protocol."""


class Requests(netlink.Requests):
    """A socket for requests of rtnetlink."""

    def __init__(self) -> None:
        super().__init__(NETLINK_ROUTE)

    def dump_routes(self, family: int, protocol: int = OWN_PROTOCOL) -> list[bytes]:
        """The routes of a protocol: the body of each message. Others may be among them."""
        return self.dump(RTM_GETROUTE, RTMSG.pack(family, 0, 0, 0, 0, protocol, 0, 0, 0))

    def dump_rules(self, family: int) -> list[bytes]:
        """Every rule: the body of each message."""
        return self.dump(RTM_GETRULE, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0))

    def vrf_table(self, ifindex: int) -> int | None:
        """The routing table of a VRF; None where the link is none."""
        try:
            answer = self.ask(RTM_GETLINK, _IFINFOMSG.pack(0, 0, ifindex, 0, 0))
        except OSError:
            return None
        link = attributes_of(answer[_IFINFOMSG.size :])
        information = attributes_of(link.get(IFLA_LINKINFO, b""))
        data = attributes_of(information.get(IFLA_INFO_DATA, b""))
        if information.get(1, b"").rstrip(b"\0") == b"vrf" and IFLA_VRF_TABLE in data:
            return integer(data[IFLA_VRF_TABLE])
        return None


class Watch:
    """Hears of routes (of our protocol) and rules that are removed, whoever does it."""

    def __init__(self, receive_buffer: int = _WATCH_BUFFER) -> None:
        self._socket = open_socket(NETLINK_ROUTE)
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, receive_buffer)
        # A router may learn thousands of routes a second from others, which are not ours.
        attach(self._socket, _REMOVALS)
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
                data = self._socket.recv(LARGEST, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    count_overrun()
                    raise Overrun("the kernel dropped notifications of routes") from None
                raise
            found += messages_of(data)
        return found
