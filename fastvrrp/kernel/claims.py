"""Who else claims an address: ARP and neighbour advertisements, heard and asked for.

An ARP packet whose sender has one of our addresses, or a neighbour advertisement for one, from a
MAC that is not ours, is a conflict (RFC 5227 section 2.4, RFC 4862 section 5.4). To hear it takes a
socket to which the kernel offers every such packet of the namespace. So a filter in the kernel
takes only those of addresses that may be virtual: of no more than BLOCKS blocks of addresses, each
with the same leading bits; what comes through is looked up by whoever reads it.

A probe is an ARP request or neighbour solicitation without a sender's address, which changes no
host's cache, and which a host that has the address answers.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, AF_PACKET
from typing import NamedTuple

from fastvrrp.kernel.socket_filter import (
    DROP,
    JUMP_EQUAL,
    LOAD_WORD,
    SHIFT_RIGHT,
    TAKE,
    Instruction,
    attach,
)

ETH_P_ARP = 0x0806  # linux/if_ether.h
ETH_P_IPV6 = 0x86DD
PACKET_OUTGOING = 4  # linux/if_packet.h
ICMPV6_FILTER = 1  # linux/icmpv6.h
NEIGHBOUR_SOLICITATION = 135  # RFC 4861 section 4.3
NEIGHBOUR_ADVERTISEMENT = 136  # RFC 4861 section 4.4
TARGET_LINK_LAYER_ADDRESS = 2  # RFC 4861 section 4.6.1
ETHERNET = 14
ARP_SIZE = 28  # RFC 826 over Ethernet and IPv4
BROADCAST = b"\xff" * 6
QUEUE = 64 << 10
"""Bytes of each socket's receive buffer: what overflows in a flood is one claim many times."""
AT_ONCE = 32
"""Packets of one `receive`, so that a flood does not keep the loop."""
BLOCKS = 32
STEP = 512
"""Addresses between two yields."""


class Claim(NamedTuple):
    """Somebody says that an address is his."""

    interface: str
    """Where it was heard."""
    family: int
    address: bytes
    mac: bytes


class Blocks(NamedTuple):
    """Blocks of addresses: those whose last 32 bits, shifted right by `shift`, are in `heads`."""

    shift: int
    heads: tuple[int, ...]


def blocks_of(addresses: Iterable[tuple[int, bytes]]) -> Iterator[dict[int, Blocks] | None]:
    """The smallest blocks, no more than BLOCKS of a family, that have all addresses, which come
    with their family; yields None between two steps, and the blocks by family at last."""
    shifts: dict[int, int] = {}
    heads: dict[int, set[int]] = {}
    for count, (family, address) in enumerate(addresses, 1):
        known = heads.setdefault(family, set())
        known.add(int.from_bytes(address[-4:], "big") >> shifts.setdefault(family, 0))
        while len(known) > BLOCKS:
            shifts[family] += 1
            known = heads[family] = {head >> 1 for head in known}
        if count % STEP == 0:
            yield None
    yield {family: Blocks(shifts[family], tuple(sorted(heads[family]))) for family in heads}


def program(blocks: Blocks, position: int) -> list[Instruction]:
    """A filter that takes packets whose word at `position` is in one of the blocks."""
    count = len(blocks.heads)
    return [
        Instruction(LOAD_WORD, operand=position),
        Instruction(SHIFT_RIGHT, operand=blocks.shift),
        *(Instruction(JUMP_EQUAL, count - i, 0, head) for i, head in enumerate(blocks.heads)),
        DROP,
        TAKE,
    ]


class ClaimSocket:
    """Hears claims of one family in this network namespace, and probes.

    Raises OSError where the right to open it is missing.
    """

    def __init__(self, family: int, blocks: Blocks) -> None:
        self.family = family
        if family == AF_INET:
            self._socket = socket.socket(
                AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ARP)
            )
            self._prober = self._socket
        else:
            self._socket = socket.socket(
                AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6
            )
            blocked = bytearray(b"\xff" * 32)
            blocked[NEIGHBOUR_ADVERTISEMENT // 8] &= ~(1 << NEIGHBOUR_ADVERTISEMENT % 8)
            self._socket.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, bytes(blocked))
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            self._prober = socket.socket(AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE)
        self.take(blocks)

    def take(self, blocks: Blocks) -> None:
        """Takes claims of the addresses of these blocks from now on."""
        # The sender's address of an ARP packet, or the end of a neighbour advertisement's target.
        position = ETHERNET + 14 if self.family == AF_INET else 8 + 12
        attach(self._socket, program(blocks, position))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()
        self._prober.close()

    def receive(self) -> Iterator[Claim]:
        """What was heard, up to AT_ONCE claims."""
        for _ in range(AT_ONCE):
            try:
                claim = self._receive_arp() if self.family == AF_INET else self._receive_na()
            except BlockingIOError:
                return
            except OSError:
                continue  # the interface has gone down meanwhile, which its own message says
            if claim is not None:
                yield claim

    def probe(self, interface: str, mac: bytes, address: bytes) -> None:
        """Asks who has an address, from `mac`. Raises OSError where the interface cannot send."""
        if self.family == AF_INET:
            self._prober.sendto(_arp_probe(mac, address), (interface, ETH_P_ARP))
        else:
            self._prober.sendto(_solicitation(mac, address), (interface, ETH_P_IPV6))

    def _receive_arp(self) -> Claim | None:
        packet, (interface, _, kind, _, _) = self._socket.recvfrom(ETHERNET + ARP_SIZE)
        arp = packet[ETHERNET:]
        # Ethernet, IPv4, a request or a reply: RFC 826.
        if kind == PACKET_OUTGOING or len(arp) < ARP_SIZE or arp[:6] != b"\0\1\x08\0\x06\x04":
            return None
        return Claim(interface, AF_INET, arp[14:18], arp[8:14])

    def _receive_na(self) -> Claim | None:
        packet, ancillary, _, _ = self._socket.recvmsg(1500, 128)
        ifindex = hops = 0
        for level, kind, data in ancillary:
            if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                ifindex = struct.unpack("=16xI", data[:20])[0]
            elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT:
                hops = struct.unpack("=i", data[:4])[0]
        # RFC 4861 section 7.1.2: from this link alone.
        if hops != 255 or len(packet) < 24 or packet[0] != NEIGHBOUR_ADVERTISEMENT:
            return None
        mac = _link_layer_address(packet[24:])
        if mac is None:
            return None
        return Claim(socket.if_indextoname(ifindex), AF_INET6, packet[8:24], mac)


def _link_layer_address(options: bytes) -> bytes | None:
    """The target link-layer address among the options of a neighbour advertisement."""
    while len(options) >= 8 and options[1]:
        if options[0] == TARGET_LINK_LAYER_ADDRESS:
            return options[2:8]
        options = options[options[1] * 8 :]
    return None


def _arp_probe(mac: bytes, address: bytes) -> bytes:
    """RFC 5227 section 2.1.1: the sender's address is all zero."""
    return b"".join(
        (
            *(BROADCAST, mac, struct.pack("!H", ETH_P_ARP)),
            struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1),
            *(mac, bytes(4), bytes(6), address),
        )
    )


def _solicitation(mac: bytes, address: bytes) -> bytes:
    """RFC 4862 section 5.4.2: from the unspecified address to the solicited-node group."""
    group = IPv6Address("ff02::1:ff00:0").packed[:13] + address[13:]
    body = struct.pack("!BBHI", NEIGHBOUR_SOLICITATION, 0, 0, 0) + address
    words = bytes(16) + group + struct.pack("!II", len(body), socket.IPPROTO_ICMPV6) + body
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xFFFF) + body[4:]
    header = struct.pack("!IHBB", 6 << 28, len(body), socket.IPPROTO_ICMPV6, 255)
    ethernet = b"\x33\x33" + group[12:] + mac + struct.pack("!H", ETH_P_IPV6)
    return ethernet + header + bytes(16) + group + body
