"""Routes and rules, as rtnetlink has them: numbers of linux/rtnetlink.h and linux/fib_rules.h."""

from __future__ import annotations

from enum import IntEnum

from fastvrrp.model.addresses import Prefix
from fastvrrp.model.frozen import dataclass
from fastvrrp.model.units import Address, Family, Nanoseconds

MAIN_TABLE = 254
"""RT_TABLE_MAIN."""
OWN_PROTOCOL = 18
"""RTPROT_KEEPALIVED: whose a route or rule is where none is written."""


class RouteType(IntEnum):
    """RTN_*."""

    UNICAST = 1
    LOCAL = 2
    BROADCAST = 3
    ANYCAST = 4
    MULTICAST = 5
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8
    THROW = 9
    NAT = 10
    XRESOLVE = 11


class Placement(IntEnum):
    """Where a route goes among others to the same destination, as `ip route` has it."""

    PREPEND = 1
    ADD = 2
    """Nowhere, if there is another."""
    APPEND = 3


class Metric(IntEnum):
    """RTAX_*."""

    MTU = 2
    WINDOW = 3
    RTT = 4
    RTTVAR = 5
    SSTHRESH = 6
    CWND = 7
    ADVMSS = 8
    REORDERING = 9
    HOPLIMIT = 10
    INITCWND = 11
    FEATURES = 12
    RTO_MIN = 13
    INITRWND = 14
    QUICKACK = 15
    FASTOPEN_NO_COOKIE = 17


class RouterPreference(IntEnum):
    """ICMPV6_ROUTER_PREF_* (RFC 4191 section 2.1)."""

    MEDIUM = 0
    HIGH = 1
    LOW = 3


@dataclass(frozen=True, slots=True)
class RouteMetric:
    """One metric of a route, in the kernel's unit (RTT is in eighths of a millisecond, RTTVAR in
    quarters, RTO_MIN in milliseconds)."""

    metric: Metric
    value: int
    is_locked: bool = False
    """The kernel does not change it."""


@dataclass(frozen=True, slots=True)
class Encapsulation:
    """`encap`: what packets of a route are put into."""

    kind: str
    """`ip`, `ip6`, `mpls` or `ila`."""
    labels: tuple[int, ...] = ()
    """Of MPLS."""
    locator: int | None = None
    """Of ILA: 64 bits."""
    id: int | None = None
    destination: Address | None = None
    source: Address | None = None
    traffic_class: int | None = None
    hop_limit: int | None = None
    flags: int | None = None
    """16 bits."""


@dataclass(frozen=True, slots=True)
class NextHop:
    """One way of a route."""

    gateway: Address | None = None
    """`via`, of either family."""
    interface: str | None = None
    weight: int = 1
    is_on_link: bool = False
    """The gateway is taken to be on the link."""
    realms: int = 0
    """Realm of the source in the upper half, of the destination in the lower."""
    encapsulation: Encapsulation | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A line of `virtual_routes` or `static_routes`."""

    family: Family
    destination: Prefix
    """`default` is the prefix of length 0."""
    source: Prefix | None = None
    """`from`: of IPv6 only."""
    type: RouteType = RouteType.UNICAST
    table: int = MAIN_TABLE
    vrf: str | None = None
    """The VRF whose table it is, instead of `table`."""
    protocol: int = OWN_PROTOCOL
    scope: int | None = None
    """RT_SCOPE_*; None follows from the type."""
    tos: int = 0
    priority: int | None = None
    """`metric`; None is the kernel's choice."""
    preferred_source: Address | None = None
    next_hops: tuple[NextHop, ...] = ()
    """One for an ordinary route, more for a multipath route, none for one that leads nowhere."""
    metrics: tuple[RouteMetric, ...] = ()
    congestion_control: str | None = None
    locks_congestion_control: bool = False
    router_preference: RouterPreference | None = None
    expires: Nanoseconds | None = None
    propagates_ttl: bool | None = None
    placement: Placement = Placement.PREPEND
    is_tracked: bool = True
    """False with `no_track`, and where it cannot be tracked."""
    track_group: str | None = None
    """Of a static route: the group of instances that track it."""


class RuleAction(IntEnum):
    """FR_ACT_*."""

    TO_TABLE = 1
    GOTO = 2
    NOP = 3
    BLACKHOLE = 6
    UNREACHABLE = 7
    PROHIBIT = 8


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of `virtual_rules` or `static_rules`. Ranges are the first and the last number."""

    family: Family
    source: Prefix | None = None
    destination: Prefix | None = None
    action: RuleAction = RuleAction.TO_TABLE
    table: int | None = None
    target: int | None = None
    """`goto`: the preference of the rule that comes next."""
    priority: int | None = None
    """`preference`; a configuration's rules have one in any case."""
    is_inverted: bool = False
    """`not`."""
    tos: int = 0
    mark: int | None = None
    mark_mask: int | None = None
    realms: int = 0
    input_interface: str | None = None
    output_interface: str | None = None
    uses_l3_master: bool = False
    """`l3mdev`: the table is that of the packet's VRF."""
    tunnel_id: int | None = None
    users: tuple[int, int] | None = None
    """`uidrange`."""
    ip_protocol: int | None = None
    """IPPROTO_*."""
    source_ports: tuple[int, int] | None = None
    destination_ports: tuple[int, int] | None = None
    suppressed_prefixlen: int | None = None
    suppressed_group: int | None = None
    protocol: int = OWN_PROTOCOL
    is_tracked: bool = True
    """False with `no_track`, and where it cannot be tracked."""
    track_group: str | None = None
    """Of a static rule: the group of instances that track it."""
