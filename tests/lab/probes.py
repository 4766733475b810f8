"""What a host gets from an address: asked as any program would ask, from a router's namespace."""

import os
import socket
import struct

from lab.network import Router

PORT = 9  # discard: nobody listens, and whoever takes the packet says so
PATIENCE = 0.4
"""Seconds without a word that are no answer."""
ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
"""Type of an echo request and of its reply (RFC 792, RFC 4443)."""


def answers(
    asker: Router, address: str, interface: str = "eth0", patience: float = 0.4
) -> set[str]:
    """How an address answers: "udp" (its port is said to be closed), "tcp" (likewise), "icmp" (it
    sends an echo back), "neighbour" (its hardware address is told). `interface` is the asker's, and
    counts where the address is link-local."""
    asker.run(["ip", "neighbour", "flush", "all"])
    found = asker.call(lambda: _ask(address, interface))
    neighbours = asker.show("neighbour", "show", address)
    if any("lladdr" in neighbour for neighbour in neighbours):
        found.add("neighbour")
    return found


def _ask(address: str, interface: str) -> set[str]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    scope = socket.if_nametoindex(interface) if address.startswith("fe80") else 0
    target = (address, PORT, 0, scope) if family == socket.AF_INET6 else (address, PORT)
    found: set[str] = set()
    for name, kind in (("udp", socket.SOCK_DGRAM), ("tcp", socket.SOCK_STREAM)):
        with socket.socket(family, kind) as asking:
            asking.settimeout(PATIENCE)
            try:
                asking.connect(target)
                asking.send(b"?")
                asking.recv(1)
            except ConnectionRefusedError:
                found.add(name)
            except TimeoutError:
                pass
    if _echoes(family, target):
        found.add("icmp")
    return found


def _echoes(family: socket.AddressFamily, target: tuple[object, ...]) -> bool:
    request, reply = ECHO[family]
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    token = os.urandom(8)
    message = struct.pack("!BBHHH", request, 0, 0, 1, 1) + token
    if family == socket.AF_INET:  # the kernel makes that of IPv6
        message = message[:2] + _checksum(message) + message[4:]
    with socket.socket(family, socket.SOCK_RAW, protocol) as asking:
        asking.settimeout(PATIENCE)
        asking.sendto(message, (target[0], 0, *target[2:]))
        try:
            while True:
                heard = asking.recv(1500)
                heard = heard[20:] if family == socket.AF_INET else heard
                if heard[0] == reply and heard[8:] == token:
                    return True
        except TimeoutError:
            return False


def _checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
