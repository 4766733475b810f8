"""Virtual servers of IPVS and the real servers behind them."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import TypeAlias

from fastvrrp.model.checkers import Checker
from fastvrrp.model.frozen import dataclass
from fastvrrp.model.scripts import Command
from fastvrrp.model.units import Address, Family, Nanoseconds, SecretText


class Transport(IntEnum):
    """IPPROTO_*."""

    TCP = 6
    UDP = 17
    SCTP = 132


class ForwardingMethod(IntEnum):
    """How packets get to a real server; IP_VS_CONN_F_* of linux/ip_vs.h."""

    NAT = 0
    TUN = 2
    DR = 3


class Tunnel(IntEnum):
    """IP_VS_CONN_F_TUNNEL_TYPE_*."""

    IPIP = 0
    GUE = 1
    GRE = 2


class TunnelChecksum(IntEnum):
    """IP_VS_TUNNEL_ENCAP_FLAG_*."""

    NONE = 0
    CSUM = 1
    REMCSUM = 2


@dataclass(frozen=True, slots=True)
class Forwarding:
    """`lvs_method`; equal ones are one object."""

    method: ForwardingMethod = ForwardingMethod.NAT
    tunnel: Tunnel = Tunnel.IPIP
    port: int = 0
    """Destination port of GUE."""
    checksum: TunnelChecksum = TunnelChecksum.NONE


class SchedulerFlag(IntFlag):
    """IP_VS_SVC_F_SCHED*; `sh-fallback` and `mh-fallback` are the first, `sh-port` and `mh-port`
    the second."""

    NONE = 0
    HASHED = 0x02
    """IP_VS_SVC_F_HASHED."""
    FLAG_1 = 0x08
    FLAG_2 = 0x10
    FLAG_3 = 0x20


@dataclass(frozen=True, slots=True)
class AddressRange:
    """Addresses that share virtual servers, with one port; the last one belongs to it."""

    first: Address
    last: Address
    port: int = 0
    """0 is every port."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A firewall mark that shares virtual servers."""

    mark: int
    family: Family | None = None
    """None is the family of the group's addresses, or of the real servers."""


@dataclass(frozen=True, slots=True)
class VirtualServerGroup:
    """`virtual_server_group`."""

    name: str
    ranges: tuple[AddressRange, ...] = ()
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class RealServer:
    """`real_server`."""

    address: Address
    port: int
    """0 is the port of the packet."""
    weight: int = 1
    forwarding: Forwarding = Forwarding()
    """The virtual server's where none was written."""
    inhibits: bool = False
    """`inhibit_on_failure`, by default the virtual server's: when down it has weight 0, and is not
    removed."""
    upper_threshold: int = 0
    """`uthreshold`: most connections; 0 is any number."""
    lower_threshold: int = 0
    """`lthreshold`: fewest connections until it gets more again."""
    notify_up: Command | None = None
    notify_down: Command | None = None
    sends_mail: bool = True
    """`smtp_alert`, by default `smtp_alert_checker` or else the global `smtp_alert`."""
    snmp_name: str | None = None
    checkers: tuple[Checker, ...] = ()


@dataclass(frozen=True, slots=True)
class SorryServer:
    """`sorry_server`: takes over where there is no quorum."""

    address: Address
    port: int
    forwarding: Forwarding = Forwarding()
    """The virtual server's where none was written."""
    inhibits: bool = False


ServerIdentity: TypeAlias = tuple[
    Address | None, int, int | None, str | None, Transport | None, Family | None
]
"""Address, port, mark, group, protocol and family."""


@dataclass(frozen=True, slots=True)
class VirtualServer:
    """`virtual_server`, by address and port, by mark, or by group: one of the three is given."""

    address: Address | None = None
    port: int = 0
    """0 is every port."""
    mark: int | None = None
    group: str | None = None
    """Name of a group that exists."""
    family: Family | None = None
    """Of the address; of a mark what is written or what its servers tell (`server_families` of the
    configuration); of a group that of its marks that say none, and None where it has no such
    mark."""
    protocol: Transport | None = Transport.UDP
    """None for a mark."""
    scheduler: str = "wlc"
    """Name of an IPVS scheduler."""
    scheduler_flags: SchedulerFlag = SchedulerFlag.NONE
    is_one_packet: bool = False
    """`ops`: each UDP packet is scheduled by itself."""
    forwarding: Forwarding = Forwarding()
    persistence_engine: str | None = None
    persistence_timeout: Nanoseconds = 0
    """0 is no persistence."""
    persistence_mask: Address | None = None
    """`persistence_granularity`: bits of a client's address that count; None is all."""
    is_down_at_first: bool = False
    """`alpha`: there is no quorum until checks have succeeded."""
    runs_scripts_at_end: bool = False
    """`omega`."""
    suspends_without_address: bool = False
    """`ha_suspend`: nothing is checked while the address is not on this machine."""
    quorum: int = 1
    """Weight that is needed; not more than all real servers have."""
    hysteresis: int = 0
    quorum_up: Command | None = None
    quorum_down: Command | None = None
    sends_mail: bool = False
    """`smtp_alert`, by default `smtp_alert_checker` or else the global `smtp_alert`."""
    snmp_name: str | None = None
    sorry_server: SorryServer | None = None
    real_servers: tuple[RealServer, ...] = ()

    @property
    def identity(self) -> ServerIdentity:
        """What must stay for it to go on over a reload; two that have the same are one service."""
        return self.address, self.port, self.mark, self.group, self.protocol, self.family


@dataclass(frozen=True, slots=True)
class TlsClient:
    """`SSL`: how SSL_GET authenticates; files in PEM."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    password: SecretText | None = None
    """Of the key."""
