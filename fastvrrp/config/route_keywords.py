"""Routes and rules, in the words of `ip route` and `ip rule`, and the blocks that hold them."""

from __future__ import annotations

from fastvrrp.config.arguments import (
    Address,
    Argument,
    Choice,
    Integer,
    Interface,
    Text,
    address_text,
)
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.grammar import VirtualAddressLine
from fastvrrp.config.iproute_names import IprouteName, Realms
from fastvrrp.config.keywords import INNER_BLOCK, Keyword
from fastvrrp.config.options import OptionLine, Options
from fastvrrp.config.route_arguments import (
    HIGHEST,
    Bits,
    Destination,
    IpProtocol,
    KernelTime,
    Labels,
    Locator,
    Mark,
    NumberRange,
    Source,
)
from fastvrrp.config.statement import Statement
from fastvrrp.model import OWN_PROTOCOL

NUMBER = Integer(0, HIGHEST)
BYTE = Integer(0, 255)
SWITCHED = Integer(0, 1)
ADDRESS = Address()
INTERFACE = Interface()
NAME = Text("NAME")
TABLE = IprouteName("rt_tables", "routing table", HIGHEST)
RULE_TABLE = IprouteName("rt_tables", "routing table", HIGHEST, least=1)
PROTOCOL = IprouteName("rt_protos", "routing protocol", 255)
SCOPE = IprouteName("rt_scopes", "scope", 255)
TOS = IprouteName("rt_dsfield", "type of service", 255)
GROUP = IprouteName("group", "group of interfaces", HIGHEST)
REALMS = Realms()
USERS = NumberRange(0, HIGHEST - 1)
"""The highest number is that of no user."""
PORTS = NumberRange(1, 65535)
ENCAPSULATED = {"ip": 4, "ip6": 16}
"""Bytes of addresses after `encap ip` and `encap ip6`."""
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
    "brd",
    "xresolve",
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
ENCAPSULATION: dict[str, Argument | None] = {
    **dict.fromkeys(("encap", "ip", "ip6")),
    "mpls": Labels(),
    "ila": Locator(),
    "id": Integer(0, 2**64 - 1),
    "dst": ADDRESS,
    "ttl": BYTE,
    "tc": BYTE,
    "flags": Bits(16),
}
"""Words after `encap`: one of ip, ip6, mpls and ila, and what ip and ip6 have; `src`, `tos` and
`hoplimit` are words of the route too."""
ROUTE_OPTIONS: dict[str, Argument | None] = {
    **dict.fromkeys(ROUTE_FLAGS),
    **dict.fromkeys(METRICS, NUMBER),
    "hoplimit": BYTE,
    **dict.fromkeys(("quickack", "fastopen_no_cookie"), SWITCHED),
    "rtt": KernelTime(8),
    "rttvar": KernelTime(4),
    "rto_min": KernelTime(1),
    **dict.fromkeys(("via", "gw", "or", "src", "as"), ADDRESS),
    **dict.fromkeys(("dev", "oif", "vrf"), INTERFACE),
    "table": TABLE,
    "protocol": PROTOCOL,
    "scope": SCOPE,
    **dict.fromkeys(("tos", "dsfield"), TOS),
    "realms": REALMS,
    **dict.fromkeys(("metric", "priority", "preference", "expires"), NUMBER),
    "weight": Integer(1, 256),
    **dict.fromkeys(("congctl", "track_group"), NAME),
    "features": Choice({"ecn": 1}),
    **ENCAPSULATION,
    "to": DESTINATION,
    "pref": Choice({"low": 3, "medium": 0, "high": 1}),
    "ttl-propagate": Choice({"enabled": True, "disabled": False}),
    "from": Source(),
}
RULE_ACTIONS = ("unreachable", "blackhole", "prohibit", "nop")
RULE_OPTIONS: dict[str, Argument | None] = {
    **dict.fromkeys(("inet", "inet6", "not", "l3mdev", "no_track")),
    **dict.fromkeys(RULE_ACTIONS),
    **dict.fromkeys(("from", "to"), DESTINATION),
    **dict.fromkeys(("iif", "oif", "dev"), INTERFACE),
    **dict.fromkeys(("table", "lookup"), RULE_TABLE),
    **dict.fromkeys(("tos", "dsfield"), TOS),
    "realms": REALMS,
    "protocol": PROTOCOL,
    **dict.fromkeys(("suppress_ifgroup", "sup_group"), GROUP),
    **dict.fromkeys(("priority", "preference", "order", "goto"), NUMBER),
    **dict.fromkeys(("tunnel-id", "tun_id"), Integer(0, 2**64 - 1)),
    **dict.fromkeys(("suppress_prefixlength", "sup_pl"), Integer(0, 128)),
    **dict.fromkeys(("ip_proto", "ipproto"), IpProtocol()),
    "track_group": NAME,
    "type": Choice({name: name for name in RULE_ACTIONS}),
    "uidrange": USERS,
    **dict.fromkeys(("sport", "dport"), PORTS),
    "fwmark": Mark(),
}
ACTIONS = frozenset({*RULE_ACTIONS, "table", "lookup", "goto", "type", "l3mdev"})
"""What a rule may do, and must do one of."""
PREFERENCES = frozenset({"priority", "preference", "order"})
OLD_WORDS = {"or": "nexthop", "gw": "via"}
MODIFIERS = frozenset({"lock", "inet", "inet6", "to"})


class Route(OptionLine):
    """A route, and what keepalived says of one that it cannot track."""

    def __init__(self) -> None:
        super().__init__(
            ROUTE_OPTIONS,
            {"destination": DESTINATION},
            start=0,
            modifiers=MODIFIERS,
            left_out="the route is left out",
        )

    def read(self, statement: Statement, complaints: Complaints) -> Options | None:
        options = super().read(statement, complaints)
        if options is None:
            return None
        if not _fits_encapsulation(options, statement, complaints):
            return None
        names = [name for name, _ in options.written]
        for old, new in OLD_WORDS.items():
            if old in names:
                complaints.warning(
                    statement,
                    statement.words.index(old),
                    f"{old} in a route is deprecated; write {new}",
                )
        if "as" in names:
            complaints.warning(
                statement, statement.words.index("as"), "as is for routes of MPLS; it is ignored"
            )
        if "no_track" not in names:
            fault = tracking_fault(names)
            if fault:
                complaints.warning(statement, 0, fault)
        _mind_protocol(options, statement, complaints)
        return options


def _fits_encapsulation(options: Options, statement: Statement, complaints: Complaints) -> bool:
    """Whether the addresses after `encap` are of its family; complains where they are not."""
    size = 0
    for name, value in options.written:
        if name == "encap" or name in ENCAPSULATED:
            size = ENCAPSULATED.get(name, 0)
        elif name not in ENCAPSULATION and name not in ("src", "tos", "dsfield", "hoplimit"):
            size = 0
        elif name in ("dst", "src") and size and isinstance(value, bytes) and len(value) != size:
            family = "IPv4" if size == 4 else "IPv6"
            complaints.error(
                statement,
                statement.words.index(name) + 1,
                f"{name} {address_text(value)} is not an {family} address, as encap has it;"
                " the route is left out",
            )
            return False
    return True


def tracking_fault(names: list[str]) -> str:
    """Why a route with options of these names, in order, cannot be tracked, or nothing."""
    whole = names[: names.index("nexthop")] if "nexthop" in names else names
    if not {"dev", "oif"} & set(whole):
        return "a route without an interface is not tracked; write no_track"
    return ""


def _mind_protocol(options: Options, statement: Statement, complaints: Complaints) -> None:
    """Complains of a protocol that the route or rule will not have (`protocol_of`)."""
    written = options.get("protocol")
    if isinstance(written, int) and written != protocol_of(options):
        complaints.warning(
            statement,
            statement.words.index("protocol"),
            f"protocol is ignored: what is tracked has {OWN_PROTOCOL}; write no_track with it",
        )


def protocol_of(options: Options) -> int:
    """Whose a route or rule is: only what is not tracked may be somebody else's."""
    written = options.get("protocol")
    if isinstance(written, int) and options.get("no_track"):
        return written
    return OWN_PROTOCOL


class Rule(OptionLine):
    """A rule, and what keepalived says of one without a preference."""

    def __init__(self) -> None:
        super().__init__(RULE_OPTIONS, start=0, left_out="the rule is left out")

    def read(self, statement: Statement, complaints: Complaints) -> Options | None:
        options = super().read(statement, complaints)
        if options is None:
            return None
        names = {name for name, _ in options.written}
        if not _is_one_action(options, statement, complaints):
            return None
        if not PREFERENCES & names:
            complaints.warning(
                statement, 0, "a rule without a preference is in no certain order; write preference"
            )
        if "track_group" in names and not {"iif", "dev"} & names:
            complaints.warning(statement, 0, "a rule without iif cannot have a track_group")
        _mind_protocol(options, statement, complaints)
        return options


def _is_one_action(options: Options, statement: Statement, complaints: Complaints) -> bool:
    """Whether a rule says once what it does; complains where it does not."""
    actions = [name for name, _ in options.written if name in ACTIONS]
    if not actions:
        complaints.error(
            statement, 0, "the rule does not say what it does; write table; it is left out"
        )
        return False
    if len(actions) > 1:
        complaints.error(
            statement,
            statement.words.index(actions[0]),
            f"a rule does one thing, not {' and '.join(actions)}; it is left out",
        )
        return False
    target = dict(options.written).get("goto")
    if target is None:
        return True
    preferences = [value for name, value in options.written if name in PREFERENCES]
    fault = ""
    if not preferences:
        fault = "a rule with goto needs a preference"
    elif int(str(preferences[-1])) >= int(str(target)):
        fault = f"goto {target} is not behind the rule's own preference of {preferences[-1]}"
    if fault:
        complaints.error(
            statement, statement.words.index("goto") + 1, f"{fault}; the rule is left out"
        )
    return not fault


ROUTE = Route()
RULE = Rule()

STATIC: tuple[Keyword, ...] = (
    Keyword(
        "static_ipaddress",
        INNER_BLOCK,
        "Addresses that stay.",
        items=VirtualAddressLine(is_static=True),
        is_repeatable=True,
        since="1.1.0",
    ),
    Keyword(
        "static_routes",
        INNER_BLOCK,
        "Routes that stay.",
        items=ROUTE,
        is_repeatable=True,
        since="1.0.1",
    ),
    Keyword("static_rules", INNER_BLOCK, "Rules that stay.", items=RULE, is_repeatable=True),
)
VIRTUAL: tuple[Keyword, ...] = (
    Keyword(
        "virtual_routes",
        INNER_BLOCK,
        "Routes that the master has.",
        items=ROUTE,
        is_repeatable=True,
        since="1.0.1",
    ),
    Keyword(
        "virtual_rules", INNER_BLOCK, "Rules that the master has.", items=RULE, is_repeatable=True
    ),
)
