"""Multicast memberships, on sockets that are kept only for them.

A socket's memberships are walked for every packet the socket is offered, so the socket that
receives has none (see ext/sockets.pyx). Those that have them are UDP sockets that are never bound
and are never offered anything.
"""

from __future__ import annotations

import errno
import socket
import sys
from dataclasses import dataclass

PER_SOCKET = 20
"""What the default of net.ipv4.igmp_max_memberships allows a socket."""


@dataclass(slots=True, eq=False)
class _Member:
    socket: socket.socket
    load: int = 0


@dataclass(slots=True)
class _Holder:
    member: _Member
    wanted: int = 1


class Memberships:
    """Memberships of the network namespace in which they are joined. Groups are packed."""

    def __init__(self) -> None:
        self._holders: dict[tuple[bytes, int], _Holder] = {}
        self._members: list[_Member] = []
        self._with_room: dict[int, list[_Member]] = {socket.AF_INET: [], socket.AF_INET6: []}

    def join(self, group: bytes, ifindex: int) -> None:
        """Joins a group on an interface. Every join wants a `leave`. Raises OSError."""
        holder = self._holders.get((group, ifindex))
        if holder is not None:
            holder.wanted += 1
            return
        with_room = self._with_room[_family(group)]
        if not with_room:
            member = _Member(socket.socket(_family(group), socket.SOCK_DGRAM))
            self._members.append(member)
            with_room.append(member)
        member = with_room[-1]
        _change(member.socket, group, ifindex, join=True)
        self._holders[group, ifindex] = _Holder(member)
        member.load += 1
        if member.load == PER_SOCKET:
            with_room.pop()

    def leave(self, group: bytes, ifindex: int) -> None:
        """Takes back one `join`. An interface that is gone took its memberships with it."""
        holder = self._holders[group, ifindex]
        holder.wanted -= 1
        if holder.wanted:
            return
        del self._holders[group, ifindex]
        member = holder.member
        try:
            _change(member.socket, group, ifindex, join=False)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.ENODEV):
                raise
        if member.load == PER_SOCKET:
            self._with_room[_family(group)].append(member)
        member.load -= 1

    def close(self) -> None:
        """Leaves every group."""
        for member in self._members:
            member.socket.close()
        self._holders.clear()


def _family(group: bytes) -> int:
    return socket.AF_INET if len(group) == 4 else socket.AF_INET6


def _change(member: socket.socket, group: bytes, ifindex: int, *, join: bool) -> None:
    index = ifindex.to_bytes(4, sys.byteorder)
    if len(group) == 4:
        option = socket.IP_ADD_MEMBERSHIP if join else socket.IP_DROP_MEMBERSHIP
        member.setsockopt(socket.IPPROTO_IP, option, group + bytes(4) + index)  # struct ip_mreqn
    else:
        option = socket.IPV6_JOIN_GROUP if join else socket.IPV6_LEAVE_GROUP
        member.setsockopt(socket.IPPROTO_IPV6, option, group + index)  # struct ipv6_mreq
