"""What IPVS has in the kernel: services, and the destinations of each.

A virtual server may be many services (a group, ranges of addresses, several families), and a
destination is there only while its real server is to get connections.
"""

from __future__ import annotations

from fastvrrp.model.frozen import dataclass
from fastvrrp.model.servers import Forwarding, SchedulerFlag, Transport
from fastvrrp.model.units import Address, Family, Nanoseconds

DEFAULT_FORWARDING = Forwarding()


@dataclass(frozen=True, slots=True)
class IpvsServiceKey:
    """What tells a service from others: an address, protocol and port, or a firewall mark."""

    family: Family
    protocol: Transport | None = None
    """None for a mark."""
    address: Address = b""
    """Empty for a mark."""
    port: int = 0
    """0 is every port."""
    mark: int = 0


@dataclass(frozen=True, slots=True)
class IpvsService:
    """A service as it is to be, or as the kernel has it."""

    key: IpvsServiceKey
    scheduler: str = "wlc"
    flags: SchedulerFlag = SchedulerFlag.NONE
    is_one_packet: bool = False
    persistence_timeout: Nanoseconds = 0
    """Whole seconds; 0 is no persistence."""
    persistence_mask: Address | None = None
    """Bits of a client's address that count; None is all."""
    persistence_engine: str | None = None


@dataclass(frozen=True, slots=True)
class IpvsDestinationKey:
    """What tells a destination from others of its service; its family is that of its address."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class IpvsDestination:
    """A destination as it is to be, or as the kernel has it."""

    key: IpvsDestinationKey
    weight: int
    """0 gets no new connection."""
    forwarding: Forwarding = DEFAULT_FORWARDING
    upper_threshold: int = 0
    """Most connections; 0 is any number."""
    lower_threshold: int = 0
    """Fewest connections until it gets more again."""
