"""Sessions of bidirectional forwarding detection (RFC 5880)."""

from __future__ import annotations

from fastvrrp.model.frozen import dataclass
from fastvrrp.model.units import Address, Nanoseconds


@dataclass(frozen=True, slots=True)
class BfdInstance:
    """`bfd_instance`."""

    name: str
    neighbor: Address
    source: Address | None = None
    min_rx: Nanoseconds = 10_000_000
    """Required Min RX Interval (RFC 5880 section 6.8.1)."""
    min_tx: Nanoseconds = 10_000_000
    """Desired Min TX Interval."""
    idle_tx: Nanoseconds = 1_000_000_000
    """Interval while the session is down."""
    multiplier: int = 5
    """Packets missed until the session is down."""
    is_passive: bool = False
    is_multihop: bool = False
    """The neighbour is not on a network of this machine (RFC 5883)."""
    ttl: int = 255
    """TTL or hop limit that is sent; 64 by default for an IPv6 neighbour."""
    max_hops: int = 0
    """Hops that a packet may have come; 255 is any number."""
    weight: int = 0
    is_reversed: bool = False
    tells_vrrp: bool = True
    tells_checkers: bool = True
