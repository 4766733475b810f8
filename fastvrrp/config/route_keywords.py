"""Routes and rules, in the words of `ip route` and `ip rule`, and the blocks that hold them."""

from __future__ import annotations

from fastvrrp.config.arguments import (
    Address,
    Argument,
    Choice,
    Integer,
    Interface,
    Matching,
    Prefix,
    Text,
)
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.grammar import VirtualAddressLine
from fastvrrp.config.iproute_names import IprouteName, Realms
from fastvrrp.config.keywords import INNER_BLOCK, Keyword, later
from fastvrrp.config.options import OptionLine, Options
from fastvrrp.config.statement import Statement

NUMBER = Integer(0, 2**32 - 1)
ADDRESS = Address()
INTERFACE = Interface()
NAME = Text("NAME")
TABLE = IprouteName("rt_tables", "routing table", 2**32 - 1)
RULE_TABLE = IprouteName("rt_tables", "routing table", 2**32 - 1, least=1)
PROTOCOL = IprouteName("rt_protos", "routing protocol", 255)
SCOPE = IprouteName("rt_scopes", "scope", 255)
TOS = IprouteName("rt_dsfield", "type of service", 255)
GROUP = IprouteName("group", "group of interfaces", 2**32 - 1)
REALMS = Realms()
TIME = Matching("TIME", r"[0-9]+(?:\.[0-9]+)?(?:s|ms|us|ns|msecs|secs)?", "is no time")
RANGE = Matching("NUMBER[-NUMBER]", r"[0-9]+(?:-[0-9]+)?", "is no range of numbers")
MARK = Matching(
    "MARK[/MASK]",
    r"(?:0x[0-9A-Fa-f]+|[0-9]+)(?:/(?:0x[0-9A-Fa-f]+|[0-9]+))?",
    "is no mark",
)


class Destination:
    """ADDRESS[/LENGTH], or a word for every address."""

    shape = "ADDRESS[/LENGTH]|default"

    def read(self, word: str) -> object:
        if word in ("default", "any", "all"):
            return "default"
        return Prefix().read(word)


DESTINATION = Destination()
ROUTE_TYPES = (
    "unicast",
    "local",
    "broadcast",
    "anycast",
    "multicast",
    "throw",
    "unreachable",
    "prohibit",
    "blackhole",
    "nat",
)
METRICS = (
    "mtu",
    "hoplimit",
    "advmss",
    "reordering",
    "window",
    "cwnd",
    "ssthresh",
    "initcwnd",
    "initrwnd",
    "quickack",
    "fastopen_no_cookie",
)
ROUTE_FLAGS = (
    *ROUTE_TYPES,
    "nexthop",
    "onlink",
    "inet",
    "inet6",
    "append",
    "add",
    "prepend",
    "no_track",
)
ROUTE_OPTIONS: dict[str, Argument | None] = {
    **dict.fromkeys(ROUTE_FLAGS),
    **dict.fromkeys(METRICS, NUMBER),
    **dict.fromkeys(("rtt", "rttvar", "rto_min"), TIME),
    **dict.fromkeys(("via", "gw", "or", "src", "as"), ADDRESS),
    **dict.fromkeys(("dev", "oif", "vrf"), INTERFACE),
    "table": TABLE,
    **dict.fromkeys(("protocol", "proto"), PROTOCOL),
    "scope": SCOPE,
    **dict.fromkeys(("tos", "dsfield"), TOS),
    "realms": REALMS,
    **dict.fromkeys(("metric", "priority", "preference", "weight", "expires"), NUMBER),
    **dict.fromkeys(("congctl", "encap", "track_group"), NAME),
    "features": Choice({"ecn": 1}),
    "to": DESTINATION,
    "pref": Choice({"low": 3, "medium": 0, "high": 1}),
    "ttl-propagate": Choice({"enabled": True, "disabled": False}),
    "id": NUMBER,
    "tc": NUMBER,
    "dst": ADDRESS,
    "flags": MARK,
}
RULE_OPTIONS: dict[str, Argument | None] = {
    **dict.fromkeys(("inet", "inet6", "not", "l3mdev", "no_track")),
    **dict.fromkeys(("unreachable", "blackhole", "prohibit", "nop")),
    **dict.fromkeys(("from", "to"), DESTINATION),
    **dict.fromkeys(("iif", "oif", "dev"), INTERFACE),
    **dict.fromkeys(("table", "lookup"), RULE_TABLE),
    **dict.fromkeys(("tos", "dsfield"), TOS),
    "realms": REALMS,
    "protocol": PROTOCOL,
    "suppress_ifgroup": GROUP,
    **dict.fromkeys(("priority", "preference", "order", "goto", "tun_id"), NUMBER),
    **dict.fromkeys(("suppress_prefixlength",), Integer(0, 128)),
    **dict.fromkeys(("ip_proto", "ipproto", "type", "track_group"), NAME),
    **dict.fromkeys(("uidrange", "sport", "dport"), RANGE),
    "fwmark": MARK,
}
OLD_WORDS = {"or": "nexthop", "gw": "via"}
MODIFIERS = frozenset({"lock", "inet", "inet6"})


class Route(OptionLine):
    """A route, and what keepalived says of one that it cannot track."""

    def __init__(self) -> None:
        super().__init__(ROUTE_OPTIONS, {"destination": DESTINATION}, start=0, modifiers=MODIFIERS)

    def read(self, statement: Statement, complaints: Complaints) -> Options | None:
        options = super().read(statement, complaints)
        if options is None:
            return None
        names = [name for name, _ in options.written]
        for old, new in OLD_WORDS.items():
            if old in names:
                complaints.warning(
                    statement,
                    statement.words.index(old),
                    f"{old} in a route is deprecated; write {new}",
                )
        if "no_track" not in names:
            fault = tracking_fault(names)
            if fault:
                complaints.warning(statement, 0, fault)
        return options


def tracking_fault(names: list[str]) -> str:
    """Why a route with options of these names, in order, cannot be tracked, or nothing."""
    whole = names[: names.index("nexthop")] if "nexthop" in names else names
    if not {"dev", "oif"} & set(whole):
        return "a route without an interface is not tracked; write no_track"
    if {"protocol", "proto"} & set(names):
        return "a route of another protocol is not tracked; write no_track with it"
    return ""


class Rule(OptionLine):
    """A rule, and what keepalived says of one without a preference."""

    def __init__(self) -> None:
        super().__init__(RULE_OPTIONS, start=0)

    def read(self, statement: Statement, complaints: Complaints) -> Options | None:
        options = super().read(statement, complaints)
        if options is None:
            return None
        names = {name for name, _ in options.written}
        if not {"priority", "preference", "order"} & names:
            complaints.warning(
                statement, 0, "a rule without a preference is in no certain order; write preference"
            )
        if "track_group" in names and not {"iif", "dev"} & names:
            complaints.warning(statement, 0, "a rule without iif cannot have a track_group")
        if "protocol" in names and "no_track" not in names:
            complaints.warning(
                statement, 0, "a rule of another protocol is not tracked; write no_track with it"
            )
        return options


ROUTE = Route()
RULE = Rule()

STATIC: tuple[Keyword, ...] = (
    later(
        "static_ipaddress",
        INNER_BLOCK,
        "Addresses that stay.",
        items=VirtualAddressLine(is_static=True),
        is_repeatable=True,
    ),
    later("static_routes", INNER_BLOCK, "Routes that stay.", items=ROUTE, is_repeatable=True),
    later("static_rules", INNER_BLOCK, "Rules that stay.", items=RULE, is_repeatable=True),
)
VIRTUAL: tuple[Keyword, ...] = (
    later(
        "virtual_routes",
        INNER_BLOCK,
        "Routes that the master has.",
        items=ROUTE,
        is_repeatable=True,
    ),
    later(
        "virtual_rules", INNER_BLOCK, "Rules that the master has.", items=RULE, is_repeatable=True
    ),
)
