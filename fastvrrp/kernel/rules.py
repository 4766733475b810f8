"""Rules of policy routing as the kernel takes them, tells of them and is asked to forget them
(linux/fib_rules.h)."""

from __future__ import annotations

import struct
from collections.abc import Hashable
from socket import AF_INET

from fastvrrp.kernel.attributes import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    attribute,
    attributes_of,
    number,
    request,
    text,
)
from fastvrrp.kernel.routes import prefix_text
from fastvrrp.model import Rule, RuleAction

# linux/rtnetlink.h
RTM_NEWRULE = 32
RTM_DELRULE = 33
RTM_GETRULE = 34
# linux/fib_rules.h
HEADER = struct.Struct("=BBBBBBBBI")
"""struct fib_rule_hdr: family, dst_len, src_len, tos, table, two reserved, action, flags."""
FIB_RULE_INVERT = 2
FRA_DST = 1
FRA_SRC = 2
FRA_IIFNAME = 3
FRA_GOTO = 4
FRA_PRIORITY = 6
FRA_FWMARK = 10
FRA_FLOW = 11
FRA_TUN_ID = 12
FRA_SUPPRESS_IFGROUP = 13
FRA_SUPPRESS_PREFIXLEN = 14
FRA_TABLE = 15
FRA_FWMASK = 16
FRA_OIFNAME = 17
FRA_L3MDEV = 19
FRA_UID_RANGE = 20
FRA_PROTOCOL = 21
FRA_IP_PROTO = 22
FRA_SPORT_RANGE = 23
FRA_DPORT_RANGE = 24
RT_TABLE_UNSPEC = 0

_IDENTIFYING = (
    *(FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_GOTO, FRA_FWMARK, FRA_FLOW, FRA_TUN_ID),
    *(FRA_SUPPRESS_IFGROUP, FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_FWMASK, FRA_OIFNAME),
    *(FRA_L3MDEV, FRA_UID_RANGE, FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE, FRA_PRIORITY),
)
_ALL = b"\xff\xff\xff\xff"
_NONE = bytes(4)


def encode(rule: Rule, add: bool) -> bytes:
    """A request to add a rule, refused with EEXIST where there is the same, or to remove it."""
    kind, flags = (RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL) if add else (RTM_DELRULE, 0)
    return request(kind, flags, _body(rule))


def _body(rule: Rule) -> bytes:
    table = rule.table or RT_TABLE_UNSPEC
    parts = [
        HEADER.pack(
            rule.family,
            rule.destination.prefixlen if rule.destination else 0,
            rule.source.prefixlen if rule.source else 0,
            rule.tos,
            table if table < 256 else RT_TABLE_UNSPEC,
            0,
            0,
            rule.action,
            FIB_RULE_INVERT if rule.is_inverted else 0,
        ),
        number(FRA_PROTOCOL, rule.protocol, 1),
    ]
    if rule.destination is not None:
        parts.append(attribute(FRA_DST, rule.destination.address))
    if rule.source is not None:
        parts.append(attribute(FRA_SRC, rule.source.address))
    for kind, value in (
        (FRA_PRIORITY, rule.priority),
        (FRA_FWMARK, rule.mark),
        (FRA_FWMASK, rule.mark_mask),
        (FRA_FLOW, rule.realms or None),
        (FRA_TABLE, rule.table),
        (FRA_GOTO, rule.target),
        (FRA_SUPPRESS_PREFIXLEN, rule.suppressed_prefixlen),
        (FRA_SUPPRESS_IFGROUP, rule.suppressed_group),
    ):
        if value is not None:
            parts.append(number(kind, value))
    for kind, name in (
        (FRA_IIFNAME, rule.input_interface),
        (FRA_OIFNAME, rule.output_interface),
    ):
        if name is not None:
            parts.append(text(kind, name))
    if rule.uses_l3_master:
        parts.append(number(FRA_L3MDEV, 1, 1))
    if rule.tunnel_id is not None:
        parts.append(attribute(FRA_TUN_ID, struct.pack(">Q", rule.tunnel_id)))
    if rule.ip_protocol is not None:
        parts.append(number(FRA_IP_PROTO, rule.ip_protocol, 1))
    if rule.users is not None:
        parts.append(attribute(FRA_UID_RANGE, struct.pack("=II", *rule.users)))
    for kind, ports in (
        (FRA_SPORT_RANGE, rule.source_ports),
        (FRA_DPORT_RANGE, rule.destination_ports),
    ):
        if ports is not None:
            parts.append(attribute(kind, struct.pack("=HH", *ports)))
    return b"".join(parts)


def interfaces_of(rule: Rule) -> set[str]:
    """The interfaces that a rule names; it can be without them."""
    return {name for name in (rule.input_interface, rule.output_interface) if name is not None}


def key_of(rule: Rule) -> Hashable:
    """What tells a rule from others; the kernel's own words give the same (`key_in`)."""
    return key_in(_body(rule))


def key_in(body: bytes) -> Hashable:
    """`key_of` of the rule in a message of the kernel, who writes out what was left out."""
    if len(body) < HEADER.size:
        return None
    family, to_length, from_length, tos, table, _, _, action, flags = HEADER.unpack_from(body)
    found = {
        kind: payload
        for kind, payload in attributes_of(body[HEADER.size :]).items()
        if kind in _IDENTIFYING
    }
    if found.get(FRA_SUPPRESS_PREFIXLEN) == _ALL:
        del found[FRA_SUPPRESS_PREFIXLEN]
    if found.get(FRA_SUPPRESS_IFGROUP) == _ALL:
        del found[FRA_SUPPRESS_IFGROUP]
    if found.get(FRA_FWMARK) == _NONE and found.get(FRA_FWMASK, _NONE) == _NONE:
        del found[FRA_FWMARK]
    if FRA_FWMARK in found:
        found.setdefault(FRA_FWMASK, _ALL)
    elif found.get(FRA_FWMASK) == _NONE:
        del found[FRA_FWMASK]
    if found.get(FRA_TABLE, _NONE) == _NONE:
        found.pop(FRA_TABLE, None)
        if table:
            found[FRA_TABLE] = struct.pack("=I", table)
    return (
        *(family, to_length, from_length, tos, action, flags & FIB_RULE_INVERT),
        frozenset(found.items()),
    )


def protocol_in(body: bytes) -> int:
    """Whose the rule in a message of the kernel is."""
    return int.from_bytes(attributes_of(body[HEADER.size :]).get(FRA_PROTOCOL, b"\0"), "little")


def describe(rule: Rule) -> str:
    """A rule in the words of `ip rule`."""
    words = [] if rule.priority is None else [f"{rule.priority}:"]
    words += ["not"] if rule.is_inverted else []
    words += ["from", prefix_text(rule.source) if rule.source else "all"]
    words += ["to", prefix_text(rule.destination)] if rule.destination else []
    words += ["iif", rule.input_interface] if rule.input_interface else []
    words += ["oif", rule.output_interface] if rule.output_interface else []
    if rule.mark is not None:
        mask = "" if rule.mark_mask is None else f"/{rule.mark_mask:#x}"
        words.append(f"fwmark {rule.mark:#x}{mask}")
    if rule.uses_l3_master:
        words.append("lookup [l3mdev-table]")
    elif rule.action == RuleAction.TO_TABLE:
        words += ["lookup", str(rule.table)]
    elif rule.action == RuleAction.GOTO:
        words += ["goto", str(rule.target)]
    else:
        words.append(rule.action.name.lower())
    return ("" if rule.family == AF_INET else "-6 ") + " ".join(words)
