"""The packet codec on Python's bytes, for tests and tools.

The daemon never comes here: the engine calls the C of packet.pyx and ah.pyx on its own memory. What
is here only checks arguments, calls that C and makes a Python object of what it says, so that a
test of this is a test of what runs.
"""

from typing import NamedTuple

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from fastvrrp._ah cimport AH_SIZE, ah_icv as write_icv, ah_verify, encode_ah as write_ah
from fastvrrp._packet cimport (
    AUTH_AH, AUTH_NONE, GARP_SIZE, MAX_ADDRESSES, MAX_FRAME, NA_SIZE, OK, PROTO_AH, PROTO_VRRP,
    TRAILER_SIZE, Reason, advert_spec_t, advert_t, decode_ipv4, decode_ipv6,
    encode as write_packet,
    multicast_mac as write_multicast_mac, set_priority as write_priority, write_ethernet,
    write_garp, write_na)
from fastvrrp._packet import REASONS

cdef enum:
    IPV4_HEADER = 20
    ETHERNET = 14


class PacketError(ValueError):
    """A packet was refused. `reason` is its name, one of REASONS."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Advert(NamedTuple):
    """What an advert says. Addresses are in network order."""

    family: int                     # 4 or 6
    version: int                    # 2 or 3
    vrid: int
    priority: int
    interval: int                   # nanoseconds: whole seconds for VRRPv2, hundredths for VRRPv3
    addresses: tuple[bytes, ...]
    source: bytes
    destination: bytes
    ttl: int = 255                  # or hop limit
    auth_type: int = 0              # VRRPv2: none, simple password, AH (RFC 2338 section 5.3.6)
    auth_data: bytes = b""          # VRRPv2: eight bytes; else empty
    checksum_as_v2: bool = False    # VRRPv3 over IPv4: only right without pseudo-header
    checksum_for_group: bool = False    # VRRPv3 over IPv4, unicast: only right as if to the group
    ah_spi: int | None = None       # None without AH
    ah_sequence: int | None = None
    ah_icv: bytes = b""             # twelve bytes; empty without AH
    trailer: bytes = b""            # of `auth_hmac`, unjudged; empty without


def decode(
        const uint8_t[::1] packet not None, family: int = 4, source: bytes = bytes(16),
        destination: bytes = bytes(16), hop_limit: int = 255) -> Advert:
    """Decodes an advert from any buffer of bytes.

    For family 4, `packet` starts at the IP header, and the other arguments are not looked at. For
    family 6 it starts at the VRRP header, and `source`, `destination` (sixteen bytes) and
    `hop_limit` are what the IPv6 header said. Raises PacketError with the reason marked (D) in
    _packet.pxd, and ValueError for arguments that no socket could give. The ICV of AH is
    `verify_ah`'s to judge.
    """
    cdef advert_t advert
    cdef Reason verdict
    cdef size_t size = packet.shape[0]
    cdef const uint8_t *data = NULL
    if size:
        data = &packet[0]
    if family == 4:
        verdict = decode_ipv4(data, size, &advert)
    elif family == 6:
        require_size(source, 16, "source")
        require_size(destination, 16, "destination")
        verdict = decode_ipv6(data, size, source, destination, hop_limit, &advert)
    else:
        raise ValueError(f"family {family} is neither 4 nor 6")
    if verdict != OK:
        raise PacketError(REASONS[<int> verdict])
    cdef int address_size = 4 if family == 4 else 16
    cdef const char *addresses = <const char *> advert.addresses
    return Advert(
        family=family,
        version=advert.version,
        vrid=advert.vrid,
        priority=advert.priority,
        interval=advert.interval,
        addresses=tuple([
            addresses[i * address_size:(i + 1) * address_size]
            for i in range(advert.address_count)
        ]),
        source=(<const char *> advert.source)[:address_size],
        destination=(<const char *> advert.destination)[:address_size],
        ttl=advert.ttl,
        auth_type=advert.auth_type,
        auth_data=(<const char *> advert.auth_data)[:8] if advert.auth_data != NULL else b"",
        checksum_as_v2=bool(advert.checksum_as_v2),
        checksum_for_group=bool(advert.checksum_for_group),
        ah_spi=advert.ah_spi if advert.has_ah else None,
        ah_sequence=advert.ah_sequence if advert.has_ah else None,
        ah_icv=(<const char *> advert.ah_icv)[:12] if advert.has_ah else b"",
        trailer=(<const char *> advert.trailer)[:TRAILER_SIZE] if advert.trailer != NULL else b"",
    )


def encode(
        *, family: int, version: int, vrid: int, priority: int, interval: int,
        source: bytes, destination: bytes, addresses, auth_type: int = AUTH_NONE,
        password: bytes = b"", ttl: int = 255, checksum_as_v2: bool = False) -> bytes:
    """Encodes an advert as an IP packet.

    `addresses` is a sequence of at most 255 packed addresses, `interval` is in nanoseconds and must
    be one that the version can say, `password` has at most eight bytes. Raises ValueError for
    anything that cannot be said; PacketError VERSION for VRRPv2 over IPv6.
    """
    if auth_type == AUTH_AH:
        raise ValueError("AH has a sequence number and a digest: use encode_ah")
    return build(
        family, version, vrid, priority, interval, source, destination, addresses, auth_type,
        password, ttl, checksum_as_v2, 0)


def encode_ah(
        *, vrid: int, priority: int, interval: int, source: bytes, destination: bytes, addresses,
        password: bytes, sequence: int, ttl: int = 255) -> bytes:
    """Encodes a VRRPv2 advert in AH as an IP packet, with its ICV; arguments as for `encode`."""
    if not 0 < sequence < 1 << 32:
        raise ValueError(f"sequence {sequence} is outside 1-4294967295")
    return build(
        4, 2, vrid, priority, interval, source, destination, addresses, AUTH_AH, password, ttl,
        False, sequence)


cdef bytes build(
        int family, int version, int vrid, int priority, int64_t interval, bytes source,
        bytes destination, addresses, int auth_type, bytes password, int ttl, bint checksum_as_v2,
        uint32_t sequence):
    cdef advert_spec_t spec
    cdef uint8_t out[MAX_FRAME]
    cdef size_t size
    cdef size_t address_size
    cdef int64_t unit
    if family != 4 and family != 6:
        raise ValueError(f"family {family} is neither 4 nor 6")
    if version != 3 and (version != 2 or family != 4):
        raise PacketError("VERSION")
    address_size = 4 if family == 4 else 16
    require_size(source, address_size, "source")
    require_size(destination, address_size, "destination")
    for address in addresses:
        require_size(address, address_size, "address")
    require_range(vrid, 1, 255, "vrid")
    require_range(priority, 0, 255, "priority")
    require_range(auth_type, 0, 2 if version == 2 else 0, "auth_type")
    require_range(ttl, 0, 255, "ttl")
    require_range(len(addresses), 0, MAX_ADDRESSES, "number of addresses")
    require_range(len(password), 0, 8, "length of the password")
    unit = 1_000_000_000 if version == 2 else 10_000_000
    if interval % unit or not 1 <= interval // unit <= (255 if version == 2 else 4095):
        raise ValueError(f"VRRPv{version} cannot say an interval of {interval} ns")
    cdef bytes joined = b"".join(addresses)
    cdef bytes padded = password.ljust(8, b"\0")
    spec.family = family
    spec.version = version
    spec.vrid = vrid
    spec.priority = priority
    spec.auth_type = auth_type
    spec.checksum_as_v2 = checksum_as_v2
    spec.checksum_for_group = False
    spec.ttl = ttl
    spec.trailer = 0
    spec.address_count = len(addresses)
    spec.interval = interval
    spec.source = source
    spec.destination = destination
    spec.addresses = joined
    spec.password = padded
    if auth_type == AUTH_AH:
        size = write_ah(&spec, sequence, out)
        write_icv(out, size, password)
    else:
        size = write_packet(&spec, out)
    return (<const char *> out)[:size]


def set_priority(packet: bytes, priority: int) -> bytes:
    """A packet made by `encode`, with another priority.

    Raises ValueError for what `encode` does not make: other protocols, AH, options, short packets.
    """
    require_range(priority, 0, 255, "priority")
    if len(packet) < 28 or (packet[0], packet[9]) != (0x45, PROTO_VRRP) and (
            len(packet) < 48 or (packet[0] >> 4, packet[6]) != (6, PROTO_VRRP)):
        raise ValueError("not a packet made by encode")
    changed = bytearray(packet)
    cdef uint8_t[::1] view = changed
    write_priority(&view[0], len(packet), priority)
    return bytes(changed)


def ah_icv(packet: bytes, password: bytes) -> bytes:
    """The twelve bytes of ICV that an IPv4 packet with AH should carry. Raises ValueError if it has
    no AH."""
    require_ah(packet)
    changed = bytearray(packet)
    cdef uint8_t[::1] view = changed
    write_icv(&view[0], len(packet), password)
    return bytes(changed[IPV4_HEADER + 12:IPV4_HEADER + AH_SIZE])


def verify_ah(packet: bytes, password: bytes) -> bool:
    """Whether the ICV of an IPv4 packet with AH is right, in constant time. Raises ValueError if it
    has no AH."""
    require_ah(packet)
    return bool(ah_verify(packet, len(packet), password))


def ethernet(destination: bytes, source: bytes, ethertype: int) -> bytes:
    """An Ethernet header of fourteen bytes."""
    cdef uint8_t out[ETHERNET]
    require_size(destination, 6, "destination")
    require_size(source, 6, "source")
    require_range(ethertype, 0, 0xFFFF, "ethertype")
    write_ethernet(out, destination, source, <uint16_t> ethertype)
    return (<const char *> out)[:ETHERNET]


def multicast_mac(group: bytes) -> bytes:
    """The MAC of a multicast address of 4 (RFC 1112 section 6.4) or 16 bytes (RFC 2464 section 7).
    """
    cdef uint8_t out[6]
    if len(group) != 4:
        require_size(group, 16, "group")
    write_multicast_mac(4 if len(group) == 4 else 6, group, out)
    return (<const char *> out)[:6]


def garp(mac: bytes, address: bytes) -> bytes:
    """The Ethernet frame of a gratuitous ARP request for `address` (four bytes) at `mac`."""
    cdef uint8_t out[GARP_SIZE]
    require_size(mac, 6, "mac")
    require_size(address, 4, "address")
    write_garp(out, mac, address)
    return (<const char *> out)[:GARP_SIZE]


def neighbour_advertisement(mac: bytes, address: bytes, router: bool) -> bytes:
    """The Ethernet frame of an unsolicited neighbour advertisement for `address` (sixteen bytes) at
    `mac`, to all nodes; `router` is whether the host forwards."""
    cdef uint8_t out[NA_SIZE]
    require_size(mac, 6, "mac")
    require_size(address, 16, "address")
    write_na(out, mac, address, router)
    return (<const char *> out)[:NA_SIZE]


cdef int require_size(bytes value, Py_ssize_t size, str name) except -1:
    if value is None or len(value) != size:
        raise ValueError(f"{name} {value!r} is not {size} bytes long")
    return 0


cdef int require_range(int64_t value, int64_t low, int64_t high, str name) except -1:
    if not low <= value <= high:
        raise ValueError(f"{name} {value} is outside {low}-{high}")
    return 0


cdef int require_ah(bytes packet) except -1:
    cdef int smallest = IPV4_HEADER + AH_SIZE
    if (len(packet) < smallest or packet[0] != 0x45 or packet[9] != PROTO_AH or
            (packet[2] << 8 | packet[3]) < smallest):
        raise ValueError("not an IPv4 packet with AH")
    return 0
