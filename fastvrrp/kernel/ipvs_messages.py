"""Messages of IPVS (linux/ip_vs.h, generic netlink), as bytes: services, destinations, sync
daemons, timeouts, statistics.

They are encoded here and not by pyroute2 (0.9), whose `generic.ipvs` has no words for the sync
daemons and the timeouts, reads a mask as an address of IPv4 where IPv6 has a prefix length, and
takes 200 us a message where this takes 5: 2,000 services of 8 servers are 18,000 messages.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from enum import IntEnum
from socket import AF_INET

from fastvrrp.kernel.attributes import attribute, attributes_of, family_of, integer, number, text
from fastvrrp.model import SECOND, Forwarding, ForwardingMethod, Transport
from fastvrrp.model.ipvs import (
    IpvsDestination,
    IpvsDestinationKey,
    IpvsService,
    IpvsServiceKey,
)
from fastvrrp.model.servers import SchedulerFlag, Tunnel, TunnelChecksum

NAME = "IPVS"  # IPVS_GENL_NAME
VERSION = 1  # IPVS_GENL_VERSION


class Command(IntEnum):
    """IPVS_CMD_*."""

    NEW_SERVICE = 1
    SET_SERVICE = 2
    DEL_SERVICE = 3
    GET_SERVICE = 4
    NEW_DEST = 5
    SET_DEST = 6
    DEL_DEST = 7
    GET_DEST = 8
    NEW_DAEMON = 9
    DEL_DAEMON = 10
    GET_DAEMON = 11
    SET_CONFIG = 12
    GET_CONFIG = 13
    GET_INFO = 15
    ZERO = 16
    FLUSH = 17


# IPVS_CMD_ATTR_*
SERVICE, DEST, DAEMON, TIMEOUT_TCP, TIMEOUT_TCP_FIN, TIMEOUT_UDP = range(1, 7)
# IPVS_SVC_ATTR_*
(
    SVC_AF,
    SVC_PROTOCOL,
    SVC_ADDR,
    SVC_PORT,
    SVC_FWMARK,
    SVC_SCHED_NAME,
    SVC_FLAGS,
    SVC_TIMEOUT,
    SVC_NETMASK,
    SVC_STATS,
    SVC_PE_NAME,
    SVC_STATS64,
) = range(1, 13)
# IPVS_DEST_ATTR_*
(
    DEST_ADDR,
    DEST_PORT,
    DEST_FWD_METHOD,
    DEST_WEIGHT,
    DEST_U_THRESH,
    DEST_L_THRESH,
    DEST_ACTIVE_CONNS,
    DEST_INACT_CONNS,
    DEST_PERSIST_CONNS,
    DEST_STATS,
    DEST_ADDR_FAMILY,
    DEST_STATS64,
    DEST_TUN_TYPE,
    DEST_TUN_PORT,
    DEST_TUN_FLAGS,
) = range(1, 16)
# IPVS_DAEMON_ATTR_*
(
    DAEMON_STATE,
    DAEMON_MCAST_IFN,
    DAEMON_SYNC_ID,
    DAEMON_SYNC_MAXLEN,
    DAEMON_MCAST_GROUP,
    DAEMON_MCAST_GROUP6,
    DAEMON_MCAST_PORT,
    DAEMON_MCAST_TTL,
) = range(1, 9)
# IP_VS_SVC_F_*
PERSISTENT = 0x01
ONE_PACKET = 0x04
SCHEDULER_FLAGS = SchedulerFlag.FLAG_1 | SchedulerFlag.FLAG_2 | SchedulerFlag.FLAG_3
"""What a user may say; the kernel sets `HASHED` on every service by itself."""
FORWARDING = 0x07  # IP_VS_CONN_F_FWD_MASK
LONGEST_NAME = 15
"""Bytes of a scheduler's or an engine's name (IP_VS_SCHEDNAME_MAXLEN, IP_VS_PENAME_MAXLEN)."""

HEADER = struct.Struct("=BBH")
"""struct genlmsghdr: command, version, reserved."""
_FLAGS = struct.Struct("=II")
"""struct ip_vs_flags: the flags, and which of them are meant."""
_FOUR_ONES = b"\xff" * 4

# Attributes that stand one behind the other: each a length, a kind and a value, filled up.
_KEY = struct.Struct("=HH HH HxxHH HxxHH 16s HH 2sxx")
"""A service's address: the nest's head, family, protocol, address, port."""
_MARK = struct.Struct("=HH HH HxxHH I")
"""A service's mark: the nest's head, family, mark."""
_OF_DEST_KEY = struct.Struct("=HH HH Hxx HH 16s HH 2sxx")
"""A destination's address: the nest's head, family, address, port."""
_OF_DEST = struct.Struct("=HH I HH I HH I HH I HH Bxxx HH 2sxx HH Hxx")
"""The rest of it: method, weight, thresholds, tunnel."""


def message(command: Command, body: bytes = b"") -> bytes:
    """What follows a netlink header."""
    return HEADER.pack(command, VERSION, 0) + body


def service_key(key: IpvsServiceKey) -> bytes:
    """The nested attribute that names a service."""
    if key.mark:
        return _MARK.pack(_MARK.size, SERVICE, 6, SVC_AF, key.family, 8, SVC_FWMARK, key.mark)
    assert key.protocol is not None
    return _KEY.pack(
        *(_KEY.size, SERVICE, 6, SVC_AF, key.family, 6, SVC_PROTOCOL, key.protocol),
        *(20, SVC_ADDR, key.address, 6, SVC_PORT, key.port.to_bytes(2, "big")),
    )


def service(wanted: IpvsService) -> bytes:
    """The nested attribute that describes a service as a whole."""
    persistent = PERSISTENT if wanted.persistence_timeout else 0
    one_packet = ONE_PACKET if wanted.is_one_packet else 0
    flags = persistent | one_packet | wanted.flags & SCHEDULER_FLAGS
    parts = [
        service_key(wanted.key)[4:],
        text(SVC_SCHED_NAME, wanted.scheduler),
        attribute(SVC_FLAGS, _FLAGS.pack(flags, 0xFFFFFFFF)),
        number(SVC_TIMEOUT, wanted.persistence_timeout // SECOND),
        attribute(SVC_NETMASK, _netmask(wanted)),
    ]
    if wanted.persistence_engine is not None:
        parts.append(text(SVC_PE_NAME, wanted.persistence_engine))
    return attribute(SERVICE, b"".join(parts))


def _netmask(wanted: IpvsService) -> bytes:
    """Of IPv4 a mask; of IPv6 the length of a prefix, in the host's order."""
    if wanted.key.family == AF_INET:
        return wanted.persistence_mask or _FOUR_ONES
    return prefix_length(wanted.persistence_mask).to_bytes(4, sys.byteorder)


def prefix_length(mask: bytes | None) -> int:
    """How many bits of an IPv6 address count."""
    return 128 if mask is None else int.from_bytes(mask, "big").bit_count()


def destination_key(key: IpvsDestinationKey) -> bytes:
    """The nested attribute that names a destination."""
    return _OF_DEST_KEY.pack(
        *(_OF_DEST_KEY.size, DEST, 6, DEST_ADDR_FAMILY, family_of(key.address)),
        *(20, DEST_ADDR, key.address, 6, DEST_PORT, key.port.to_bytes(2, "big")),
    )


def destination(wanted: IpvsDestination) -> bytes:
    """The nested attribute that describes a destination as a whole."""
    way = wanted.forwarding
    key = wanted.key
    return _OF_DEST_KEY.pack(
        *(_OF_DEST_KEY.size + _OF_DEST.size, DEST),
        *(6, DEST_ADDR_FAMILY, family_of(key.address)),
        *(20, DEST_ADDR, key.address, 6, DEST_PORT, key.port.to_bytes(2, "big")),
    ) + _OF_DEST.pack(
        *(8, DEST_FWD_METHOD, way.method, 8, DEST_WEIGHT, wanted.weight),
        *(8, DEST_U_THRESH, wanted.upper_threshold, 8, DEST_L_THRESH, wanted.lower_threshold),
        *(5, DEST_TUN_TYPE, way.tunnel, 6, DEST_TUN_PORT, way.port.to_bytes(2, "big")),
        *(6, DEST_TUN_FLAGS, way.checksum),
    )


def attributes_in(body: bytes, kind: int) -> dict[int, bytes]:
    """The attributes of the nest of that kind (SERVICE, DEST, DAEMON) in an answer."""
    return attributes_of(attributes_of(body[HEADER.size :]).get(kind, b""))


def service_in(found: dict[int, bytes]) -> IpvsService:
    """The service that the kernel has."""
    family = integer(found.get(SVC_AF))
    flags, _ = _FLAGS.unpack(found.get(SVC_FLAGS, bytes(_FLAGS.size)))
    mark = integer(found.get(SVC_FWMARK))
    if mark:
        key = IpvsServiceKey(family, mark=mark)
    else:
        key = IpvsServiceKey(
            family,
            Transport(integer(found.get(SVC_PROTOCOL))),
            found.get(SVC_ADDR, b"")[: 4 if family == AF_INET else 16],
            int.from_bytes(found.get(SVC_PORT, b""), "big"),
        )
    is_persistent = bool(flags & PERSISTENT)
    timeout = integer(found.get(SVC_TIMEOUT)) * SECOND if is_persistent else 0
    return IpvsService(
        key,
        _text(found.get(SVC_SCHED_NAME)) or "none",
        SchedulerFlag(flags & SCHEDULER_FLAGS),
        bool(flags & ONE_PACKET),
        timeout,
        _mask(family, found.get(SVC_NETMASK, b"")) if timeout else None,
        _text(found.get(SVC_PE_NAME)) or None,
    )


def _mask(family: int, netmask: bytes) -> bytes | None:
    if family == AF_INET:
        return None if netmask == _FOUR_ONES else netmask
    length = integer(netmask)
    if not 0 < length < 128:
        return None
    return (((1 << length) - 1) << (128 - length)).to_bytes(16, "big")


def _text(payload: bytes | None) -> str:
    return (payload or b"").partition(b"\0")[0].decode(errors="replace")


def destination_in(found: dict[int, bytes], family: int) -> IpvsDestination:
    """The destination that the kernel has; `family` is that of its service, for kernels that do
    not say it."""
    family = integer(found.get(DEST_ADDR_FAMILY), family)
    key = IpvsDestinationKey(
        found.get(DEST_ADDR, b"")[: 4 if family == AF_INET else 16],
        int.from_bytes(found.get(DEST_PORT, b""), "big"),
    )
    return IpvsDestination(
        key,
        integer(found.get(DEST_WEIGHT)),
        _forwarding(found),
        integer(found.get(DEST_U_THRESH)),
        integer(found.get(DEST_L_THRESH)),
    )


def _forwarding(found: dict[int, bytes]) -> Forwarding:
    method = integer(found.get(DEST_FWD_METHOD)) & FORWARDING
    if method != ForwardingMethod.TUN:
        # Others there are (local, bypass) the kernel keeps to itself.
        return Forwarding(ForwardingMethod.DR if method == 3 else ForwardingMethod.NAT)
    return Forwarding(
        ForwardingMethod.TUN,
        Tunnel(integer(found.get(DEST_TUN_TYPE))),
        int.from_bytes(found.get(DEST_TUN_PORT, b""), "big"),
        TunnelChecksum(integer(found.get(DEST_TUN_FLAGS))),
    )


@dataclass(frozen=True, slots=True)
class Counters:
    """What went through a service or a destination since it was made or zeroed, and the rates of
    the last seconds."""

    connections: int = 0
    packets_in: int = 0
    packets_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    connection_rate: int = 0
    """In a second, as the following."""
    packet_rate_in: int = 0
    packet_rate_out: int = 0
    byte_rate_in: int = 0
    byte_rate_out: int = 0


@dataclass(frozen=True, slots=True)
class DestinationCounters:
    """The same of a destination, and the connections that it has."""

    counters: Counters
    active: int
    inactive: int
    persistent: int


def counters_in(found: dict[int, bytes], narrow: int, wide: int) -> Counters:
    """The statistics of a service (SVC_STATS, SVC_STATS64) or a destination (DEST_STATS, ...):
    those of 64 bits, or in kernels before 4.1 those of 32."""
    nested = attributes_of(found.get(wide) or found.get(narrow, b""))
    return Counters(*(integer(nested.get(kind)) for kind in range(1, 11)))


def destination_counters_in(found: dict[int, bytes]) -> DestinationCounters:
    """The statistics of a destination."""
    return DestinationCounters(
        counters_in(found, DEST_STATS, DEST_STATS64),
        integer(found.get(DEST_ACTIVE_CONNS)),
        integer(found.get(DEST_INACT_CONNS)),
        integer(found.get(DEST_PERSIST_CONNS)),
    )


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a connection without packets is kept, in whole seconds; None leaves it."""

    tcp: int | None = None
    tcp_fin: int | None = None
    udp: int | None = None


def timeouts(wanted: Timeouts) -> bytes:
    """The attributes of SET_CONFIG."""
    pairs = (
        (TIMEOUT_TCP, wanted.tcp),
        (TIMEOUT_TCP_FIN, wanted.tcp_fin),
        (TIMEOUT_UDP, wanted.udp),
    )
    return b"".join(number(kind, value) for kind, value in pairs if value is not None)


def timeouts_in(body: bytes) -> Timeouts:
    """What an answer to GET_CONFIG says."""
    found = attributes_of(body[HEADER.size :])
    kinds = (TIMEOUT_TCP, TIMEOUT_TCP_FIN, TIMEOUT_UDP)
    return Timeouts(*(integer(found.get(kind)) for kind in kinds))


class SyncState(IntEnum):
    """IP_VS_STATE_*: which half of the synchronisation."""

    MASTER = 1
    """Sends the connections of this machine."""
    BACKUP = 2
    """Takes those of others."""


@dataclass(frozen=True, slots=True)
class SyncThread:
    """One half of the synchronisation: a thread of the kernel."""

    state: SyncState
    interface: str
    id: int = 0
    max_length: int | None = None
    """Bytes of a packet's payload; None is the kernel's choice."""
    port: int = 8848
    ttl: int = 1
    group: bytes = b"\xe0\x00\x00\x51"


def sync_thread(wanted: SyncThread) -> bytes:
    """The nested attribute of NEW_DAEMON."""
    group = DAEMON_MCAST_GROUP if len(wanted.group) == 4 else DAEMON_MCAST_GROUP6
    parts = [
        number(DAEMON_STATE, wanted.state),
        text(DAEMON_MCAST_IFN, wanted.interface),
        number(DAEMON_SYNC_ID, wanted.id),
        attribute(group, wanted.group),
        number(DAEMON_MCAST_PORT, wanted.port, 2),
        number(DAEMON_MCAST_TTL, wanted.ttl, 1),
    ]
    if wanted.max_length is not None:
        parts.append(number(DAEMON_SYNC_MAXLEN, wanted.max_length, 2))
    return attribute(DAEMON, b"".join(parts))


def sync_state(state: SyncState) -> bytes:
    """The nested attribute of DEL_DAEMON."""
    return attribute(DAEMON, number(DAEMON_STATE, state))


def sync_thread_in(body: bytes) -> SyncThread:
    """What one message of a dump of GET_DAEMON says."""
    found = attributes_in(body, DAEMON)
    return SyncThread(
        SyncState(integer(found.get(DAEMON_STATE))),
        _text(found.get(DAEMON_MCAST_IFN)),
        integer(found.get(DAEMON_SYNC_ID)),
        integer(found.get(DAEMON_SYNC_MAXLEN)) or None,
        integer(found.get(DAEMON_MCAST_PORT)),
        integer(found.get(DAEMON_MCAST_TTL)),
        found.get(DAEMON_MCAST_GROUP6) or found.get(DAEMON_MCAST_GROUP, b""),
    )
