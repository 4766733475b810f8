"""Addresses, routes, rules and commands as keepalived's dumps write them."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from socket import AF_INET, AF_INET6

from fastvrrp.model import (
    MAIN_TABLE,
    SECOND,
    Command,
    NextHop,
    Placement,
    Prefix,
    Route,
    RouteType,
    Rule,
    RuleAction,
    VirtualAddress,
    VirtualRouter,
)

WIDTH: dict[int, int] = {AF_INET: 32, AF_INET6: 128}
SCOPES = {0: "global", 200: "site", 253: "link", 254: "host", 255: "nowhere"}
"""RT_SCOPE_* of linux/rtnetlink.h, with iproute2's names."""
FLAGS = {0x10: "home", 0x100: "mngtmpaddr", 0x200: "noprefixroute", 0x400: "autojoin"}
"""IFA_F_* of linux/if_addr.h."""
NODAD = 0x02


def address_words(
    model: VirtualRouter, address: VirtualAddress, *, is_set: bool, drops: bool
) -> str:
    """A virtual address; `is_set` where it is in the kernel, `drops` where nftables drops packets
    to it."""
    words = [_with_length(address.address, address.prefixlen, address.family)]
    if address.peer is not None:
        own = ip_address(address.address)
        peer = _with_length(address.peer, address.prefixlen, address.family)
        words = [f"{own} peer {peer}"]
    if address.broadcast is not None:
        words.append(f"brd {ip_address(address.broadcast)}")
    words += ["dev", _device(model, address)]
    words += ["scope", scope_word(address.scope or 0)]
    if address.label is not None:
        words += ["label", address.label]
    if address.family == AF_INET6:
        words += _lifetime(address.preferred_lifetime)
    words += [word for flag, word in FLAGS.items() if address.flags & flag]
    if address.flags & NODAD:
        words.append("-nodad")
    if not address.is_tracked:
        words.append("no_track")
    if is_set:
        words.append("set")
    if drops:
        words.append("nftable_set")
    return " ".join(words)


def plain_address(model: VirtualRouter, address: VirtualAddress) -> str:
    """The same without what depends on the moment."""
    return address_words(model, address, is_set=False, drops=False)


def _device(model: VirtualRouter, address: VirtualAddress) -> str:
    if address.interface is not None and address.interface != model.interface:
        return address.interface
    vmac = model.vmac
    if vmac is not None and vmac.mac:
        return f"{vmac.name}@{model.interface}"
    return model.interface


def _lifetime(preferred: int | None) -> list[str]:
    if preferred is None:
        return ["preferred_lft", "forever"]
    if preferred == 0:
        return ["deprecated"]
    return ["preferred_lft", str(preferred // SECOND)]


def scope_word(scope: int) -> str:
    return SCOPES.get(scope, str(scope))


def _with_length(address: bytes, length: int, family: int) -> str:
    text = str(ip_address(address))
    return text if length == WIDTH[family] else f"{text}/{length}"


def _prefix(prefix: Prefix, family: int) -> str:
    return "default" if not prefix.prefixlen else _with_length(*_both(prefix), family)


def _both(prefix: Prefix) -> tuple[bytes, int]:
    return prefix.address, prefix.prefixlen


def route_words(route: Route) -> str:
    """A route, as `ip route` would almost have it."""
    words = [Placement(route.placement).name.lower()]
    if route.type != RouteType.UNICAST:
        words.append(RouteType(route.type).name.lower())
    words.append(_prefix(route.destination, route.family))
    if route.source is not None:
        words += ["from", _prefix(route.source, route.family)]
    if route.preferred_source is not None:
        words += ["src", str(ip_address(route.preferred_source))]
    hops = route.next_hops
    if len(hops) == 1:
        words += _hop(hops[0])
    if route.table != MAIN_TABLE:
        words += ["table", str(route.table)]
    if route.tos:
        words += ["tos", f"{route.tos:#x}"]
    words += ["proto", str(route.protocol)]
    if route.scope is not None:
        words += ["scope", scope_word(route.scope)]
    if route.priority is not None:
        words += ["metric", str(route.priority)]
    for hop in hops if len(hops) > 1 else ():
        words += ["nexthop", *_hop(hop), "weight", str(hop.weight)]
    if not route.is_tracked:
        words.append("no_track")
    return " ".join(words)


def _hop(hop: NextHop) -> list[str]:
    words = []
    if hop.gateway is not None:
        family = "inet" if len(hop.gateway) == 4 else "inet6"
        words += ["via", family, str(ip_address(hop.gateway))]
    if hop.interface is not None:
        words += ["dev", hop.interface]
    if hop.is_on_link:
        words.append("onlink")
    return words


def rule_words(rule: Rule) -> str:
    """A rule, as `ip rule` would almost have it."""
    return " ".join(_rule(rule))


def _rule(rule: Rule) -> Iterator[str]:
    if rule.is_inverted:
        yield "not"
    if rule.source is not None:
        yield f"from {_prefix(rule.source, rule.family)}"
    if rule.destination is not None:
        yield f"to {_prefix(rule.destination, rule.family)}"
    if rule.priority is not None:
        yield f"priority {rule.priority}"
    yield f"tos {rule.tos:#x}"
    if rule.mark is not None:
        mask = "" if rule.mark_mask is None else f"/{rule.mark_mask:#x}"
        yield f"fwmark {rule.mark:#x}{mask}"
    if rule.input_interface is not None:
        yield f"iif {rule.input_interface}"
    if rule.output_interface is not None:
        yield f"oif {rule.output_interface}"
    yield f"protocol {rule.protocol}"
    if rule.action == RuleAction.TO_TABLE:
        yield "lookup l3mdev" if rule.uses_l3_master else f"lookup {rule.table}"
    elif rule.action == RuleAction.GOTO:
        yield f"goto {rule.target}"
    else:
        yield RuleAction(rule.action).name.lower()
    if not rule.is_tracked:
        yield "no_track"


def command_words(command: Command) -> str:
    """A command with each of its words in quotes."""
    return " ".join(f"'{word}'" for word in command.arguments)
