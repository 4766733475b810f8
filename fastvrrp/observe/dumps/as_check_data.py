"""keepalived_check.data: virtual servers, real servers and checkers, a line each, with keepalived's
labels and sections.

Left out is what the model does not keep because it has been applied to each checker, as the delay
loop of a virtual server, and what is keepalived's own, as reference counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from socket import AF_INET, AF_INET6

from fastvrrp.model import (
    SECOND,
    BfdCheck,
    Checker,
    DnsCheck,
    Family,
    FileCheck,
    Forwarding,
    ForwardingMethod,
    HttpCheck,
    MiscCheck,
    RealServer,
    SchedulerFlag,
    SmtpCheck,
    SorryServer,
    Transport,
    Tunnel,
    TunnelChecksum,
    UdpCheck,
    Url,
    VirtualServer,
    VirtualServerGroup,
)
from fastvrrp.observe.dumps.as_data import HEADING, global_lines
from fastvrrp.observe.dumps.facts import Whole
from fastvrrp.observe.dumps.words import command_words

MICROSECOND = 1000
FLAGS = (
    ("Hashed", SchedulerFlag.HASHED),
    ("flag-1", SchedulerFlag.FLAG_1),
    ("flag-2", SchedulerFlag.FLAG_2),
    ("flag-3", SchedulerFlag.FLAG_3),
)
CHECKSUMS = {
    TunnelChecksum.NONE: "no checksum",
    TunnelChecksum.CSUM: "checksum",
    TunnelChecksum.REMCSUM: "remote checksum",
}


@dataclass(frozen=True, slots=True)
class CheckerFacts:
    """A checker of a real server, as it stands."""

    model: Checker
    is_good: bool
    is_known: bool
    tried: int
    """Failures that are being repeated."""


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """A real server, as it stands."""

    model: RealServer
    name: str
    is_up: bool
    weight: int
    is_set: bool
    """IPVS is to have it."""
    checkers: tuple[CheckerFacts, ...]


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """A virtual server, as it stands."""

    model: VirtualServer
    name: str
    family: Family
    sorry_name: str
    has_quorum: bool
    is_suspended: bool
    members: tuple[MemberFacts, ...]


def document(
    whole: Whole, groups: Iterable[VirtualServerGroup], pools: Iterable[PoolFacts]
) -> Iterator[str]:
    """The file, in pieces of one virtual server each; `pools` are gone through twice."""
    every = list(pools)
    yield HEADING + _text(global_lines(whole))
    yield "------< LVS Topology >------\n"
    users = Counter((pool.model.group, pool.model.protocol) for pool in every)
    found = list(groups)
    if found:
        yield " ------< Virtual server group >------\n"
    for group in found:
        yield _text(_group(group, {each: users[group.name, each] for each in Transport}))
    for pool in every:
        yield _text(("------< Virtual server >------", *_pool(pool)))
    yield "------< Health checkers >------\n"
    for pool in every:
        yield _text(_checks(pool))


def _text(lines: Iterable[str]) -> str:
    return "".join(f" {line}\n" for line in lines)


def _on(value: object) -> str:
    return "ON" if value else "OFF"


def _yes(value: object) -> str:
    return "yes" if value else "no"


def _enabled(value: object) -> str:
    return "enabled" if value else "disabled"


def _group(group: VirtualServerGroup, users: dict[Transport, int]) -> Iterator[str]:
    families = {len(span.first) for span in group.ranges}
    families |= {4 if mark.family in (None, AF_INET) else 16 for mark in group.marks}
    has_4, has_6 = _yes(4 in families), _yes(16 in families)
    yield f"Virtual Server Group = {group.name}, IPv4 = {has_4}, IPv6 = {has_6}"
    for span in group.ranges:
        first, last = ip_address(span.first), ip_address(span.last)
        label, addresses = "VIP", f"{first}"
        if first != last:
            label, addresses = "VIP Range", f"{first}-{last}"
        yield f"  {label} = {addresses}, VPORT = {span.port}"
        alive = (f"{users[each]} {each.name.lower()}" for each in Transport)
        yield f"    Alive: {', '.join(alive)}"
        yield "    reloaded = False"
    total = sum(users.values())
    for mark in group.marks:
        yield f"  FWMARK = {mark.mark}"
        is_6 = mark.family == AF_INET6
        yield f"    Alive: {0 if is_6 else total} IPv4, {total if is_6 else 0} IPv6"
        yield "    reloaded = False"


def _pool(pool: PoolFacts) -> Iterator[str]:
    model = pool.model
    if model.group is not None:
        yield f"VS GROUP = {pool.name}"
    elif model.address is None:
        yield f"VS FWMARK = {model.mark}"
    else:
        yield f"VS VIP = {ip_address(model.address)}, VPORT = {model.port}"
    yield from (f"  {line}" for line in _pool_lines(pool))
    for member in pool.members:
        yield "  ------< Real server >------"
        yield from (f"  {line}" for line in _member(pool, member))


def _pool_lines(pool: PoolFacts) -> Iterator[str]:
    model = pool.model
    yield f"Address family = {'inet6' if pool.family == AF_INET6 else 'inet'}"
    yield f"lvs_sched = {model.scheduler}"
    yield from (f"{label} = {_enabled(model.scheduler_flags & flag)}" for label, flag in FLAGS)
    yield f"One packet scheduling = {_enabled(model.is_one_packet)}"
    if model.persistence_timeout:
        yield f"persistence timeout = {model.persistence_timeout // SECOND}"
    if model.persistence_engine is not None:
        yield f"persistence engine = {model.persistence_engine}"
    if model.persistence_mask is not None:
        yield f"persistence granularity = {ip_address(model.persistence_mask)}"
    yield f"protocol = {'none' if model.protocol is None else model.protocol.name}"
    yield f"alpha is {_on(model.is_down_at_first)}"
    yield f"omega is {_on(model.runs_scripts_at_end)}"
    yield f"quorum = {model.quorum}, hysteresis = {model.hysteresis}"
    for label, script in (("up", model.quorum_up), ("down", model.quorum_down)):
        if script is not None:
            yield f"Quorum {label} notify script = {command_words(script)}"
    if model.suspends_without_address:
        yield "Using HA suspend"
    yield f"Using smtp notification = {_yes(model.sends_mail)}"
    yield f"default forwarding method = {_forwarding(model.forwarding)}"
    if model.sorry_server is not None:
        yield from _sorry(model.sorry_server, pool.sorry_name)
    yield "alive = 1"
    yield f"quorum_state_up = {int(pool.has_quorum)}"
    yield "reloaded = 0"


def _sorry(server: SorryServer, name: str) -> Iterator[str]:
    yield f"sorry server = {name}"
    yield f"  forwarding method = {_forwarding(server.forwarding)}"
    yield f"  Inhibit on failure is {_on(server.inhibits)}"


def _forwarding(how: Forwarding) -> str:
    if how.method != ForwardingMethod.TUN:
        return how.method.name
    text = f"TUN, type = {how.tunnel.name}"
    if how.tunnel == Tunnel.GUE:
        text += f", port = {how.port}"
    if how.tunnel != Tunnel.IPIP:
        text += f", {CHECKSUMS[how.checksum]}"
    return text


def _member(pool: PoolFacts, member: MemberFacts) -> Iterator[str]:
    model = member.model
    address = ip_address(model.address)
    yield (
        f"RIP = {address}, RPORT = {model.port}, WEIGHT = {model.weight}"
        f" EFF WEIGHT = {member.weight}"
    )
    yield f"forwarding method = {_forwarding(model.forwarding)}"
    yield f"connection limit range = {model.lower_threshold} -> {model.upper_threshold}"
    yield f"Inhibit on failure is {_on(model.inhibits)}"
    for label, script in (("up", model.notify_up), ("down", model.notify_down)):
        if script is not None:
            yield f"  RS {label} notify script = {command_words(script)}"
    yield f"Using smtp notification = {_yes(model.sends_mail)}"
    yield f"initial weight = {model.weight}"
    yield f"effective weight = {member.weight}"
    yield f"alive = {int(member.is_up)}"
    yield f"num failed checkers = {sum(not each.is_good for each in member.checkers)}"
    yield f"RS set = {int(member.is_set)}"
    yield "reloaded = 0"


def _checks(pool: PoolFacts) -> Iterator[str]:
    for member in pool.members:
        for checker in member.checkers:
            yield f"{pool.name} -> {member.name}"
            yield from (f"  {line}" for line in _check(pool, member, checker))


def _check(pool: PoolFacts, member: MemberFacts, facts: CheckerFacts) -> Iterator[str]:
    model = facts.model
    yield f"Enabled = {_yes(not pool.is_suspended)}"
    yield f"Up = {_yes(facts.is_good)}"
    yield f"Has run = {_yes(facts.is_known)}"
    if isinstance(model, FileCheck | BfdCheck):
        yield f"Keepalive method = {model.keyword}"
        yield f"  {'File' if isinstance(model, FileCheck) else 'BFD'} = {model.name}"
        return
    timing = model.timing
    yield f"Alpha = {_yes(timing.is_down_at_first)}"
    yield f"Delay loop = {timing.interval // MICROSECOND} us"
    yield f"Warmup = {timing.warmup // MICROSECOND} us"
    yield f"Retries = {timing.retry}"
    if timing.retry:
        yield f"Delay before retry = {timing.delay_before_retry // MICROSECOND} us"
    yield f"Log all failures = {_yes(timing.logs_all_failures)}"
    if not isinstance(model, MiscCheck):
        yield "Connection"
        yield f"  Dest = [{ip_address(model.target.address)}]:{model.target.port}"
        yield f"  Timeout = {timing.connect_timeout / SECOND:.6f}"
    yield from _kind(model)


def _kind(model: Checker) -> Iterator[str]:
    match model:
        case HttpCheck():
            keyword = "SSL_GET" if model.is_tls else "HTTP_GET"
            yield f"Keepalive method = {keyword}, http protocol {model.version.value}"
            yield f"Enable SNI {'set' if model.sends_sni else 'unset'}"
            yield f"Fast recovery {'set' if model.is_fast_recovering else 'unset'}"
            for url in model.urls:
                yield from _url(url)
        case MiscCheck():
            yield "Keepalive method = MISC_CHECK"
            yield f"script = {command_words(model.command)}"
            yield f"dynamic = {'YES' if model.is_dynamic else 'NO'}"
        case SmtpCheck():
            yield "Keepalive method = SMTP_CHECK"
            if model.helo_name is not None:
                yield f"helo = {model.helo_name}"
        case DnsCheck():
            yield "Keepalive method = DNS_CHECK"
            yield f"Type = {model.type.name}"
            yield f"Name = {model.name}"
        case UdpCheck():
            yield "Keepalive method = UDP_CHECK"
            yield f"Payload specified = {_yes(model.payload is not None)}"
            yield f"Require reply = {_yes(model.requires_reply)}"
        case _:
            yield f"Keepalive method = {model.keyword}"


def _url(url: Url) -> Iterator[str]:
    yield f"Checked url = {url.path}"
    if url.digest is not None:
        yield f"  digest = {url.digest.hex()}"
    yield "  HTTP Status Code(s)"
    for first, last in url.status:
        yield f"    {first}" if first == last else f"    {first}-{last}"
    if url.virtualhost is not None:
        yield f"  VirtualHost = {url.virtualhost}"
    if url.expression is not None:
        yield f'  Regex = "{url.expression.pattern}"'
