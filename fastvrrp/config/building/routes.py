"""Routes and rules from their options.

Up to the first `nexthop` options are those of the route; its own gateway and interface are its
first next hop. What follows `encap` belongs to that as far as it can.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TypeVar

from fastvrrp.config.arguments import family_of
from fastvrrp.config.options import Options
from fastvrrp.config.route_keywords import (
    METRICS,
    MODIFIERS,
    ROUTE_OPTIONS,
    ROUTE_TYPES,
    protocol_of,
    tracking_fault,
)
from fastvrrp.model import (
    MAIN_TABLE,
    SECOND,
    Encapsulation,
    Metric,
    NextHop,
    Placement,
    Prefix,
    Route,
    RouteMetric,
    RouterPreference,
    RouteType,
    Rule,
    RuleAction,
)

AF_INET = int(socket.AF_INET)
AF_INET6 = int(socket.AF_INET6)
LOCAL_TABLE = 255
"""RT_TABLE_LOCAL, where `ip route` puts what is of these types."""
LOCAL_TYPES = frozenset({RouteType.LOCAL, RouteType.BROADCAST, RouteType.ANYCAST, RouteType.NAT})
OLD_TYPES = {"brd": "broadcast"}
IN_ENCAPSULATION = {
    "id": "id",
    "dst": "destination",
    "src": "source",
    "tos": "traffic_class",
    "dsfield": "traffic_class",
    "tc": "traffic_class",
    "hoplimit": "hop_limit",
    "ttl": "hop_limit",
    "flags": "flags",
}
"""Options of `encap ip` and `encap ip6`, and the fields that they fill."""
IN_NEXT_HOP = {
    "via": "gateway",
    "gw": "gateway",
    "dev": "interface",
    "oif": "interface",
    "weight": "weight",
    "onlink": "is_on_link",
    "realms": "realms",
}
TIMES = ("rtt", "rttvar", "rto_min")
"""Metrics that are times."""
RULE_ACTIONS = {
    "goto": RuleAction.GOTO,
    "nop": RuleAction.NOP,
    "blackhole": RuleAction.BLACKHOLE,
    "unreachable": RuleAction.UNREACHABLE,
    "prohibit": RuleAction.PROHIBIT,
}
HIGHEST_PREFERENCE = 16384
"""Of the first rule that has none."""
Value = TypeVar("Value")


def route(options: Options) -> Route:
    """One line of `virtual_routes` or `static_routes`."""
    values = _RouteOptions(options)
    last = values.last
    next_hops = values.next_hops()
    source = _typed(bytes, last.get("src"))
    origin = last.get("from")
    hints = [source, *(hop.gateway for hop in next_hops)]
    if isinstance(origin, tuple):
        hints.append(origin[0])
    destination, family = _destination(
        last.get("to", last.get("destination")), "inet6" in last, hints
    )
    kind = RouteType.UNICAST
    for name in ROUTE_TYPES:
        if name in last:
            kind = RouteType[OLD_TYPES.get(name, name).upper()]
    table = _number(last, "table")
    if table is None:
        table = LOCAL_TABLE if kind in LOCAL_TYPES else MAIN_TABLE
    placement = Placement.PREPEND
    for place in (Placement.ADD, Placement.APPEND):
        if place.name.lower() in last:
            placement = place
    expires = _number(last, "expires")
    preference = _number(last, "pref")
    return Route(
        family,
        destination,
        Prefix(*origin) if isinstance(origin, tuple) else None,
        kind,
        table,
        _typed(str, last.get("vrf")),
        protocol_of(options),
        _number(last, "scope"),
        _number(last, "tos", "dsfield") or 0,
        _number(last, "metric", "priority", "preference"),
        source,
        next_hops,
        values.metrics(),
        _typed(str, last.get("congctl")),
        "congctl" in values.locked,
        None if preference is None else RouterPreference(preference),
        None if expires is None else expires * SECOND,
        _typed(bool, last.get("ttl-propagate")),
        placement,
        "no_track" not in last and not tracking_fault([name for name, _ in options.written]),
        _typed(str, last.get("track_group")),
    )


class _RouteOptions:
    """Options of a route, those of its next hops and encapsulations apart."""

    def __init__(self, options: Options) -> None:
        self.last: dict[str, object] = {}
        self.locked: set[str] = set()
        self._shares_interface = False
        self._hops: list[dict[str, object]] = [{}]
        encapsulation: dict[str, object] | None = None
        for name, value in options.written:
            hop = self._hops[-1]
            if name == "nexthop":
                self._hops.append({})
                encapsulation = None
            elif name == "encap":
                encapsulation = {}
            elif encapsulation is not None and name in ("ip", "ip6", "mpls", "ila"):
                encapsulation |= {"kind": name, "target": value}
                hop["encapsulation"] = encapsulation
            elif encapsulation is not None and name in IN_ENCAPSULATION:
                encapsulation[IN_ENCAPSULATION[name]] = value
            elif name in IN_NEXT_HOP:
                hop[IN_NEXT_HOP[name]] = value
                encapsulation = None
            elif name == "or":
                self._hops.append({"gateway": value})
                self._shares_interface = True
            elif name == "lock":
                self.locked.add(str(value))
            elif not (name in MODIFIERS and isinstance(value, str) and value in ROUTE_OPTIONS):
                self.last.pop(name, None)  # it stands behind the others now
                self.last[name] = value
                encapsulation = None

    def next_hops(self) -> tuple[NextHop, ...]:
        """Every next hop; by the old word `or` gateways share the interface written after them."""
        built: list[NextHop] = []
        for hop in self._hops:
            if not hop:
                continue
            encapsulation = hop.get("encapsulation")
            interface = hop.get("interface", self._hops[-1].get("interface"))
            built.append(
                NextHop(
                    _typed(bytes, hop.get("gateway")),
                    _typed(str, interface if self._shares_interface else hop.get("interface")),
                    _typed(int, hop.get("weight")) or 1,
                    hop.get("is_on_link") is True,
                    _typed(int, hop.get("realms")) or 0,
                    _encapsulation(encapsulation) if isinstance(encapsulation, dict) else None,
                )
            )
        return tuple(built)

    def metrics(self) -> tuple[RouteMetric, ...]:
        """Every metric, in the order of their numbers."""
        found: list[RouteMetric] = []
        for name in (*METRICS, *TIMES, "features"):
            value = self.last.get(name)
            if isinstance(value, int):
                found.append(RouteMetric(Metric[name.upper()], value, name in self.locked))
        return tuple(sorted(found, key=lambda metric: metric.metric))


def _encapsulation(values: dict[str, object]) -> Encapsulation:
    kind, target = str(values["kind"]), values["target"]
    return Encapsulation(
        kind,
        target if kind == "mpls" and isinstance(target, tuple) else (),
        target if kind == "ila" and isinstance(target, int) else None,
        _typed(int, values.get("id")),
        _typed(bytes, values.get("destination")),
        _typed(bytes, values.get("source")),
        _typed(int, values.get("traffic_class")),
        _typed(int, values.get("hop_limit")),
        _typed(int, values.get("flags")),
    )


def _destination(written: object, is_ipv6: bool, hints: list[bytes | None]) -> tuple[Prefix, int]:
    """Destination and family of a route; what is not written is every address."""
    if isinstance(written, tuple):
        return Prefix(*written), family_of(written[0])
    if not is_ipv6:
        is_ipv6 = written == "default6" or any(len(hint or b"") == 16 for hint in hints)
    return Prefix(bytes(16 if is_ipv6 else 4), 0), AF_INET6 if is_ipv6 else AF_INET


class RuleBuilder:
    """Builds the rules of a configuration, in the order of the file: one without a preference gets
    the next lower of its family, as from keepalived, so that they stand in a certain order."""

    def __init__(self) -> None:
        self._next = {AF_INET: HIGHEST_PREFERENCE, AF_INET6: HIGHEST_PREFERENCE}

    def build(self, options: Options) -> Rule:
        """One line of `virtual_rules` or `static_rules`."""
        built = _rule(options)
        if built.priority is not None:
            return built
        self._next[built.family] -= 1
        return replace(built, priority=self._next[built.family] + 1)


def _rule(options: Options) -> Rule:
    last: dict[str, object] = {}
    for name, value in options.written:
        last.pop(name, None)  # it stands behind the others now
        last[name] = value
    source = _prefix(last.get("from"))
    destination = _prefix(last.get("to"))
    known = source or destination
    family = AF_INET
    if known is not None:
        family = family_of(known.address)
    elif "inet6" in last or "default6" in (last.get("from"), last.get("to")):
        family = AF_INET6
    action = RuleAction.TO_TABLE
    for word in (*last, last.get("type")):
        action = RULE_ACTIONS.get(str(word), action)
    marked = last.get("fwmark")
    mark, mask = marked if isinstance(marked, tuple) else (None, None)
    return Rule(
        family,
        source,
        destination,
        action,
        _number(last, "table", "lookup"),
        _number(last, "goto"),
        _number(last, "priority", "preference", "order"),
        "not" in last,
        _number(last, "tos", "dsfield") or 0,
        mark,
        mask,
        _number(last, "realms") or 0,
        _typed(str, last.get("iif", last.get("dev"))),
        _typed(str, last.get("oif")),
        "l3mdev" in last,
        _number(last, "tunnel-id", "tun_id"),
        _range(last.get("uidrange")),
        _number(last, "ip_proto", "ipproto"),
        _range(last.get("sport")),
        _range(last.get("dport")),
        _number(last, "suppress_prefixlength", "sup_pl"),
        _number(last, "suppress_ifgroup", "sup_group"),
        protocol_of(options),
        "no_track" not in last,
        _typed(str, last.get("track_group")),
    )


def _prefix(written: object) -> Prefix | None:
    """A prefix; every address is none."""
    return Prefix(*written) if isinstance(written, tuple) else None


def _range(written: object) -> tuple[int, int] | None:
    return written if isinstance(written, tuple) else None


def _number(values: dict[str, object], *names: str) -> int | None:
    """The number that was written last in any of some spellings."""
    for name in reversed(values):
        value = values[name]
        if name in names and isinstance(value, int):
            return value
    return None


def _typed(kind: type[Value], value: object) -> Value | None:
    """A value of a kind, or None."""
    return value if isinstance(value, kind) else None
