"""Routes as the kernel takes them, tells of them and is asked to forget them (rtnetlink(7))."""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Iterator
from ipaddress import ip_address
from socket import AF_INET

from fastvrrp.kernel.attributes import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    attribute,
    attributes_of,
    family_of,
    integer,
    number,
    request,
    text,
)
from fastvrrp.model import SECOND, Encapsulation, NextHop, Placement, Prefix, Route, RouteType

# linux/rtnetlink.h
RTM_NEWROUTE = 24
RTM_DELROUTE = 25
RTM_GETROUTE = 26
RTMSG = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags."""
_RTNEXTHOP = struct.Struct("=HBBi")
"""struct rtnexthop: length, flags, hops (the weight less one), ifindex."""
RTA_DST = 1
RTA_SRC = 2
RTA_OIF = 4
RTA_GATEWAY = 5
RTA_PRIORITY = 6
RTA_PREFSRC = 7
RTA_METRICS = 8
RTA_MULTIPATH = 9
RTA_FLOW = 11
RTA_TABLE = 15
RTA_VIA = 18
RTA_PREF = 20
RTA_ENCAP_TYPE = 21
RTA_ENCAP = 22
RTA_EXPIRES = 23
RTA_TTL_PROPAGATE = 26
RTAX_LOCK = 1
RTAX_CC_ALGO = 16
RTNH_F_ONLINK = 4
RT_SCOPE_UNIVERSE = 0
RT_SCOPE_LINK = 253
RT_SCOPE_HOST = 254
RT_TABLE_UNSPEC = 0

# linux/lwtunnel.h, linux/mpls_iptunnel.h, linux/ila.h
_ENCAPSULATIONS = {"mpls": 1, "ip": 2, "ila": 3, "ip6": 4}
_TUNNEL_ID = 1
_TUNNEL_DST = 2
_TUNNEL_SRC = 3
_TUNNEL_TTL = 4
_TUNNEL_TOS = 5
_TUNNEL_FLAGS = 6
_MPLS_DST = 1
_ILA_LOCATOR = 1

IPV6_DEFAULT_PRIORITY = 1024
"""IP6_RT_PRIO_USER: what the kernel takes for none."""
_SCOPES = {
    RouteType.LOCAL: RT_SCOPE_HOST,
    RouteType.NAT: RT_SCOPE_HOST,
    RouteType.BROADCAST: RT_SCOPE_LINK,
    RouteType.ANYCAST: RT_SCOPE_LINK,
}
"""What `ip route` gives to types of IPv4 routes that the kernel would not take otherwise."""
_PLACEMENTS = {
    Placement.PREPEND: NLM_F_CREATE,
    Placement.ADD: NLM_F_CREATE | NLM_F_EXCL,
    Placement.APPEND: NLM_F_CREATE | NLM_F_APPEND,
}

_COMPARED = (0, 1, 3, 5, 6, 7)
"""Of struct rtmsg: family, dst_len, tos, protocol, scope and type."""
_IDENTIFYING = (RTA_TABLE, RTA_DST, RTA_PRIORITY, RTA_PREFSRC, RTA_OIF, RTA_GATEWAY, RTA_VIA)
_OPTIONAL = (RTA_PRIORITY, RTA_PREFSRC)

FindIndex = Callable[[str], int]
"""The ifindex of an interface, or the table of a VRF. Raises LookupError, with a text for a person,
where there is none."""


def encode(
    route: Route,
    add: bool,
    ifindex_of: FindIndex,
    table_of: FindIndex,
    *,
    replace: bool = False,
) -> bytes:
    """A request to add or remove a route; with `replace` it takes the place of the one that has the
    same destination, type of service and metric.

    Raises LookupError where an interface or a VRF is missing.
    """
    hops = hops_of(route)
    single = hops[0] if len(hops) == 1 else None
    table = _table(route, table_of)
    body = RTMSG.pack(
        route.family,
        route.destination.prefixlen,
        route.source.prefixlen if route.source else 0,
        route.tos,
        table if table < 256 else RT_TABLE_UNSPEC,
        route.protocol,
        scope_of(route),
        route.type,
        RTNH_F_ONLINK if single is not None and single.is_on_link else 0,
    )
    parts = [body, number(RTA_TABLE, table)]
    if route.destination.prefixlen:
        parts.append(attribute(RTA_DST, route.destination.address))
    if route.source is not None:
        parts.append(attribute(RTA_SRC, route.source.address))
    if route.priority is not None:
        parts.append(number(RTA_PRIORITY, route.priority))
    if route.preferred_source is not None:
        parts.append(attribute(RTA_PREFSRC, route.preferred_source))
    parts += _metrics(route)
    if route.router_preference is not None:
        parts.append(number(RTA_PREF, route.router_preference, 1))
    if route.expires is not None:
        parts.append(number(RTA_EXPIRES, route.expires // SECOND))
    if route.propagates_ttl is not None:
        parts.append(number(RTA_TTL_PROPAGATE, route.propagates_ttl, 1))
    if single is not None:
        parts += _single(single, route.family, ifindex_of)
    elif hops:
        flow = next((hop.realms for hop in route.next_hops if _is_empty(hop)), 0)
        parts += [number(RTA_FLOW, flow)] if flow else []
        encoded = b"".join(_one_of_many(hop, route.family, ifindex_of) for hop in hops)
        parts.append(attribute(RTA_MULTIPATH, encoded))
    kind, flags = (RTM_NEWROUTE, _PLACEMENTS[route.placement]) if add else (RTM_DELROUTE, 0)
    if add and replace:
        flags = NLM_F_CREATE | NLM_F_REPLACE
    return request(kind, flags, b"".join(parts))


def hops_of(route: Route) -> tuple[NextHop, ...]:
    """The ways of a route; a realm that was written for all of them is none of them."""
    if len(route.next_hops) < 2:
        return route.next_hops
    return tuple(hop for hop in route.next_hops if not _is_empty(hop))


def _is_empty(hop: NextHop) -> bool:
    return hop.gateway is None and hop.interface is None and hop.encapsulation is None


def interface_of(route: Route) -> str | None:
    """The interface that a route is tracked by: the one written for the route as a whole."""
    return route.next_hops[0].interface if route.next_hops else None


def interfaces_of(route: Route) -> set[str]:
    """Every interface, VRFs too, without which the route cannot be."""
    names = {hop.interface for hop in route.next_hops if hop.interface is not None}
    return names | {route.vrf} if route.vrf is not None else names


def scope_of(route: Route) -> int:
    """RT_SCOPE_*. Where none is written it is that of all, also of a route without a gateway, as
    from keepalived and unlike from `ip route`."""
    if route.scope is not None:
        return route.scope
    return _SCOPES.get(route.type, RT_SCOPE_UNIVERSE)


def _table(route: Route, table_of: FindIndex) -> int:
    return route.table if route.vrf is None else table_of(route.vrf)


def _metrics(route: Route) -> Iterator[bytes]:
    parts = [number(metric.metric, metric.value) for metric in route.metrics]
    locked = sum(1 << metric.metric for metric in route.metrics if metric.is_locked)
    if route.congestion_control is not None:
        parts.append(text(RTAX_CC_ALGO, route.congestion_control))
        locked |= route.locks_congestion_control << RTAX_CC_ALGO
    if locked:
        parts.insert(0, number(RTAX_LOCK, locked))
    if parts:
        yield attribute(RTA_METRICS, b"".join(parts))


def _single(hop: NextHop, family: int, ifindex_of: FindIndex) -> Iterator[bytes]:
    if hop.interface is not None:
        yield number(RTA_OIF, ifindex_of(hop.interface))
    yield from _way(hop, family)


def _one_of_many(hop: NextHop, family: int, ifindex_of: FindIndex) -> bytes:
    parts = b"".join(_way(hop, family))
    ifindex = 0 if hop.interface is None else ifindex_of(hop.interface)
    flags = RTNH_F_ONLINK if hop.is_on_link else 0
    return _RTNEXTHOP.pack(_RTNEXTHOP.size + len(parts), flags, hop.weight - 1, ifindex) + parts


def _way(hop: NextHop, family: int) -> Iterator[bytes]:
    if hop.gateway is not None:
        version = family_of(hop.gateway)
        if version == family:
            yield attribute(RTA_GATEWAY, hop.gateway)
        else:
            yield attribute(RTA_VIA, struct.pack("=H", version) + hop.gateway)
    if hop.realms:
        yield number(RTA_FLOW, hop.realms)
    if hop.encapsulation is not None:
        yield number(RTA_ENCAP_TYPE, _ENCAPSULATIONS[hop.encapsulation.kind], 2)
        yield attribute(RTA_ENCAP, b"".join(_encapsulation(hop.encapsulation)))


def _encapsulation(tunnel: Encapsulation) -> Iterator[bytes]:
    if tunnel.kind == "mpls":
        last = len(tunnel.labels) - 1
        stack = (label << 12 | (i == last) << 8 for i, label in enumerate(tunnel.labels))
        yield attribute(_MPLS_DST, b"".join(struct.pack(">I", entry) for entry in stack))
        return
    if tunnel.kind == "ila":
        yield attribute(_ILA_LOCATOR, struct.pack(">Q", tunnel.locator or 0))
        return
    if tunnel.id is not None:
        yield attribute(_TUNNEL_ID, struct.pack(">Q", tunnel.id))
    if tunnel.destination is not None:
        yield attribute(_TUNNEL_DST, tunnel.destination)
    if tunnel.source is not None:
        yield attribute(_TUNNEL_SRC, tunnel.source)
    if tunnel.hop_limit is not None:
        yield number(_TUNNEL_TTL, tunnel.hop_limit, 1)
    if tunnel.traffic_class is not None:
        yield number(_TUNNEL_TOS, tunnel.traffic_class, 1)
    if tunnel.flags is not None:
        yield attribute(_TUNNEL_FLAGS, struct.pack(">H", tunnel.flags))


def key_of(route: Route, ifindex_of: FindIndex, table_of: FindIndex) -> Hashable:
    """What tells a route with one way, or none, from others; the kernel's own words give the same
    (`key_in`). Raises LookupError where an interface or a VRF is missing."""
    hop = route.next_hops[0] if route.next_hops else NextHop()
    ifindex = 0 if hop.interface is None else ifindex_of(hop.interface)
    return (
        route.family,
        _table(route, table_of),
        _masked(route.destination),
        _masked(route.source) if route.source else None,
        route.tos if route.family == AF_INET else 0,
        route.priority or (0 if route.family == AF_INET else IPV6_DEFAULT_PRIORITY),
        int(route.type),
        route.protocol,
        ifindex,
        hop.gateway,
    )


def key_in(body: bytes) -> Hashable:
    """`key_of` of the route in a message of the kernel; None where it has many ways."""
    if len(body) < RTMSG.size:
        return None
    family, length, source_length, tos, table, protocol, _, kind, _ = RTMSG.unpack_from(body)
    found = attributes_of(body[RTMSG.size :])
    if RTA_MULTIPATH in found:
        return None
    size = 4 if family == AF_INET else 16
    gateway = found.get(RTA_GATEWAY)
    if gateway is None and RTA_VIA in found:
        gateway = found[RTA_VIA][2:]
    return (
        family,
        integer(found.get(RTA_TABLE), table),
        _masked(Prefix(found.get(RTA_DST, bytes(size)), length)),
        _masked(Prefix(found[RTA_SRC], source_length)) if RTA_SRC in found else None,
        tos if family == AF_INET else 0,
        integer(found.get(RTA_PRIORITY)),
        kind,
        protocol,
        integer(found.get(RTA_OIF)),
        gateway,
    )


def covers(asked: bytes, there: bytes) -> bool:
    """Whether a request to remove a route of IPv4 would remove that one: what it leaves out may be
    anything. Both are bodies of messages."""
    of_asked, of_there = RTMSG.unpack_from(asked), RTMSG.unpack_from(there)
    if any(of_asked[at] != of_there[at] for at in _COMPARED):
        return False
    wanted, found = attributes_of(asked[RTMSG.size :]), attributes_of(there[RTMSG.size :])
    if any(wanted[kind] != found.get(kind) for kind in _IDENTIFYING if integer(wanted.get(kind))):
        return False
    if RTA_FLOW in wanted and found.get(RTA_FLOW, wanted[RTA_FLOW]) != wanted[RTA_FLOW]:
        return False
    if RTA_MULTIPATH in wanted:
        ways, others = _ways(wanted[RTA_MULTIPATH]), _ways(found.get(RTA_MULTIPATH, b""))
        if len(ways) != len(others) or not all(map(_is_way, ways, others)):
            return False
    metrics = _metrics_in(found)
    return all(metrics.get(kind) == value for kind, value in _metrics_in(wanted).items())


def is_just(asked: bytes, there: bytes) -> bool:
    """Whether a route of IPv4 is the one of a request, and has nothing that the request leaves out
    but what the kernel finds out by itself."""
    if not covers(asked, there):
        return False
    wanted, found = attributes_of(asked[RTMSG.size :]), attributes_of(there[RTMSG.size :])
    return (
        all(integer(wanted.get(kind)) == integer(found.get(kind)) for kind in _OPTIONAL)
        and (RTA_MULTIPATH in wanted) == (RTA_MULTIPATH in found)
        and _metrics_in(wanted).keys() == _metrics_in(found).keys()
    )


def again_last(body: bytes) -> bytes:
    """A request to add the route of IPv4 in a message of the kernel, behind others of its place."""
    header = list(RTMSG.unpack_from(body))
    header[-1] &= RTNH_F_ONLINK  # the state of its link is not to be written
    flags = NLM_F_CREATE | NLM_F_APPEND
    return request(RTM_NEWROUTE, flags, RTMSG.pack(*header) + body[RTMSG.size :])


def _metrics_in(found: dict[int, bytes]) -> dict[int, bytes]:
    metrics = attributes_of(found.get(RTA_METRICS, b""))
    metrics.pop(RTAX_LOCK, None)
    return {kind: value.rstrip(b"\0") for kind, value in metrics.items()}


def _ways(payload: bytes) -> list[tuple[int, int, bytes | None]]:
    """Of each way the hops, the ifindex and the gateway."""
    found: list[tuple[int, int, bytes | None]] = []
    offset = 0
    while offset + _RTNEXTHOP.size <= len(payload):
        length, _, hops, ifindex = _RTNEXTHOP.unpack_from(payload, offset)
        if length < _RTNEXTHOP.size:
            break
        inner = attributes_of(payload[offset + _RTNEXTHOP.size : offset + length])
        found.append((hops, ifindex, inner.get(RTA_GATEWAY, inner.get(RTA_VIA))))
        offset += (length + 3) & ~3
    return found


def _is_way(wanted: tuple[int, int, bytes | None], found: tuple[int, int, bytes | None]) -> bool:
    (hops, ifindex, gateway), (others, index, way) = wanted, found
    return hops == others and ifindex in (0, index) and gateway in (None, way)


def place_of(route: Route) -> Hashable:
    """What a route is replaced by: two routes of one place cannot both be first."""
    return (
        route.family,
        route.vrf,
        route.table,
        _masked(route.destination),
        route.source,
        route.tos,
        route.priority,
        route.type,
    )


def near_of(route: Route) -> Hashable:
    """Where routes lead that the kernel may take for each other."""
    return (route.family, route.vrf, route.table, _masked(route.destination))


def _masked(prefix: Prefix) -> tuple[bytes, int]:
    size = len(prefix.address)
    kept = int.from_bytes(prefix.address, "big") >> (size * 8 - prefix.prefixlen)
    return (kept << (size * 8 - prefix.prefixlen)).to_bytes(size, "big"), prefix.prefixlen


def describe(route: Route) -> str:
    """A route in the words of `ip route`."""
    words = [] if route.type == RouteType.UNICAST else [route.type.name.lower()]
    words.append(prefix_text(route.destination))
    words += ["from", prefix_text(route.source)] if route.source else []
    words += [f"tos {route.tos:#04x}"] if route.tos else []
    hops = hops_of(route)
    for hop in hops:
        words += ["nexthop"] if len(hops) > 1 else []
        words += ["via", str(ip_address(hop.gateway))] if hop.gateway else []
        words += ["dev", hop.interface] if hop.interface else []
        words += ["weight", str(hop.weight)] if len(hops) > 1 else []
    words += ["vrf", route.vrf] if route.vrf else []
    words += ["table", str(route.table)] if route.vrf is None and route.table != 254 else []
    words += ["src", str(ip_address(route.preferred_source))] if route.preferred_source else []
    words += ["metric", str(route.priority)] if route.priority is not None else []
    return " ".join(words)


def prefix_text(prefix: Prefix) -> str:
    """A prefix in the words of ip(8)."""
    if prefix.prefixlen == 0:
        return "default"
    address = ip_address(prefix.address)
    return (
        str(address)
        if prefix.prefixlen == address.max_prefixlen
        else (f"{address}/{prefix.prefixlen}")
    )
