"""The trailer of `auth_hmac`, written from its description alone: nothing of fastvrrp is used."""

from __future__ import annotations

import hashlib
import hmac
import struct

IPV4, IPV6 = 20, 40


def message_of(packet: bytes) -> bytes:
    """The VRRP message of an IP packet without options, with its trailer."""
    return packet[IPV4:] if packet[0] >> 4 == 4 else packet[IPV6:]


def source_of(packet: bytes) -> bytes:
    return packet[12:16] if packet[0] >> 4 == 4 else packet[8:24]


def internet_checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def digest(key: bytes, source: bytes, message: bytes) -> bytes:
    """What the last sixteen bytes of `message` must be when `source` sends it."""
    family = 4 if len(source) == 4 else 6
    pseudo_header = bytes((family, message[0] >> 4, message[1], 0)) + source.ljust(16, b"\0")
    body = message[:6] + b"\0\0" + message[8:-16]
    return hmac.new(key, pseudo_header + body + bytes(16), hashlib.sha256).digest()[:16]


def checksum(packet: bytes) -> int:
    """The checksum that the message in `packet` must have."""
    message = message_of(packet)
    data = message[:6] + b"\0\0" + message[8:]
    if message[0] >> 4 == 3:
        addresses = packet[12:20] if packet[0] >> 4 == 4 else packet[8:40]
        data = addresses + struct.pack("!BBH", 0, 112, len(message)) + data
    return internet_checksum(data)


def with_message(packet: bytes, message: bytes, source: bytes | None = None) -> bytes:
    """`packet` with another message, or source, and a right checksum; the IP header's is left."""
    if packet[0] >> 4 == 4:
        source = source or packet[12:16]
        head = packet[:12] + source + packet[16:20]
    else:
        source = source or packet[8:24]
        head = packet[:8] + source + packet[24:40]
    made = head + message
    return head + message[:6] + checksum(made).to_bytes(2, "big") + message[8:]


def signed(packet: bytes, key: bytes, number: int, sequence: int) -> bytes:
    """`packet`, which has room for a trailer or has one, with the right trailer."""
    message = message_of(packet)[:-28] + struct.pack("!BBHQ", 1, number, 0, sequence) + bytes(16)
    message = message[:-16] + digest(key, source_of(packet), message)
    return with_message(packet, message)
