from collections.abc import Sequence
from typing import NamedTuple

from typing_extensions import Buffer

from fastvrrp._packet import REASONS as REASONS

class PacketError(ValueError):
    reason: str
    def __init__(self, reason: str) -> None: ...

class Advert(NamedTuple):
    family: int
    version: int
    vrid: int
    priority: int
    interval: int
    addresses: tuple[bytes, ...]
    source: bytes
    destination: bytes
    ttl: int = ...
    auth_type: int = ...
    auth_data: bytes = ...
    checksum_as_v2: bool = ...
    checksum_for_group: bool = ...
    ah_spi: int | None = ...
    ah_sequence: int | None = ...
    ah_icv: bytes = ...
    trailer: bytes = ...

def decode(
    packet: Buffer,
    family: int = 4,
    source: bytes = ...,
    destination: bytes = ...,
    hop_limit: int = 255,
) -> Advert: ...
def encode(
    *,
    family: int,
    version: int,
    vrid: int,
    priority: int,
    interval: int,
    source: bytes,
    destination: bytes,
    addresses: Sequence[bytes],
    auth_type: int = 0,
    password: bytes = b"",
    ttl: int = 255,
    checksum_as_v2: bool = False,
) -> bytes: ...
def encode_ah(
    *,
    vrid: int,
    priority: int,
    interval: int,
    source: bytes,
    destination: bytes,
    addresses: Sequence[bytes],
    password: bytes,
    sequence: int,
    ttl: int = 255,
) -> bytes: ...
def set_priority(packet: bytes, priority: int) -> bytes: ...
def ah_icv(packet: bytes, password: bytes) -> bytes: ...
def verify_ah(packet: bytes, password: bytes) -> bool: ...
def ethernet(destination: bytes, source: bytes, ethertype: int) -> bytes: ...
def multicast_mac(group: bytes) -> bytes: ...
def garp(mac: bytes, address: bytes) -> bytes: ...
def neighbour_advertisement(mac: bytes, address: bytes, router: bool) -> bytes: ...
