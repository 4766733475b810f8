"""What Prometheus is told of virtual servers and real servers.

All begin with `fastvrrp_virtual_server_` or `fastvrrp_real_server_`. There may be 16,000 real
servers, so the lines are written here: prometheus-client takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from fastvrrp.observe.servers import (
    CheckerState,
    RealServerState,
    Servers,
    VirtualServerState,
    VirtualWords,
)

VIRTUAL_LABELS = ("virtual_server", "protocol", "family")
"""keepalived's name of it; the protocol, none for a mark; ipv4, ipv6, or nothing for a group: names
of groups and marks may be there twice without these."""
REAL_LABELS = (*VIRTUAL_LABELS, "real_server")
CHECK_LABELS = (*REAL_LABELS, "checker")
CHUNK = 2000
"""Servers whose lines are made at once."""

Number = float | int


class VirtualMetric(NamedTuple):
    """A metric of every virtual server."""

    name: str
    kind: str
    """gauge or counter."""
    says: str
    value: Callable[[VirtualServerState], Number]
    is_of_ipvs: bool = False
    """There are no lines until IPVS was counted."""


class RealMetric(NamedTuple):
    """A metric of every real server of a virtual server."""

    name: str
    kind: str
    says: str
    value: Callable[[RealServerState], Number]
    is_of_ipvs: bool = False


class CheckMetric(NamedTuple):
    """A metric of every kind of checker of a real server."""

    name: str
    kind: str
    says: str
    value: Callable[[list[CheckerState]], Number]
    """Of those of one kind."""


QUORUM_UP = "fastvrrp_virtual_server_quorum_up"
INFO = "fastvrrp_virtual_server_info"
COUNTED = (
    ("connections", "Connections that IPVS has scheduled"),
    ("packets_in", "Packets from clients"),
    ("packets_out", "Packets to clients, where they come by this machine (NAT)"),
    ("bytes_in", "Bytes from clients"),
    ("bytes_out", "Bytes to clients, where they come by this machine (NAT)"),
)
ENDINGS = {
    "connections": "connections_total",
    "packets_in": "incoming_packets_total",
    "packets_out": "outgoing_packets_total",
    "bytes_in": "incoming_bytes_total",
    "bytes_out": "outgoing_bytes_total",
}


def _counter(field: str) -> Callable[[VirtualServerState | RealServerState], Number]:
    def value(state: VirtualServerState | RealServerState) -> Number:
        count: int = getattr(state.counters, field)
        return count

    return value


VIRTUAL_METRICS = (
    VirtualMetric(
        QUORUM_UP,
        "gauge",
        "1 while the real servers that are up weigh enough (quorum and hysteresis).",
        lambda state: state.has_quorum,
    ),
    VirtualMetric(
        "fastvrrp_virtual_server_quorum", "gauge", "Configured quorum.", lambda s: s.words.quorum
    ),
    VirtualMetric(
        "fastvrrp_virtual_server_weight",
        "gauge",
        "Weight of all real servers that are up.",
        lambda state: state.weight,
    ),
    VirtualMetric(
        "fastvrrp_virtual_server_real_servers",
        "gauge",
        "Configured real servers.",
        lambda state: len(state.real_servers),
    ),
    VirtualMetric(
        "fastvrrp_virtual_server_real_servers_up",
        "gauge",
        "Real servers that are up.",
        lambda state: sum(each.is_up for each in state.real_servers),
    ),
    VirtualMetric(
        "fastvrrp_virtual_server_sorry_server_in_use",
        "gauge",
        "1 while the sorry server gets the connections.",
        lambda state: state.is_sorry,
    ),
    VirtualMetric(
        "fastvrrp_virtual_server_suspended",
        "gauge",
        "1 while nothing is checked because the address is not here (ha_suspend).",
        lambda state: state.is_suspended,
    ),
    VirtualMetric(
        "fastvrrp_virtual_server_last_transition_timestamp_seconds",
        "gauge",
        "When the quorum came or went last, in seconds since 1970.",
        lambda state: state.changed_at,
    ),
    *(
        VirtualMetric(
            f"fastvrrp_virtual_server_{ENDINGS[field]}",
            "counter",
            f"{says}, as IPVS counts.",
            _counter(field),
            is_of_ipvs=True,
        )
        for field, says in COUNTED
    ),
)
REAL_METRICS = (
    RealMetric(
        "fastvrrp_real_server_up",
        "gauge",
        "1 where every checker finds it well.",
        lambda state: state.is_up,
    ),
    RealMetric(
        "fastvrrp_real_server_weight",
        "gauge",
        "Weight now: the configured one with what dynamic checkers add.",
        lambda state: state.weight,
    ),
    RealMetric(
        "fastvrrp_real_server_configured_weight",
        "gauge",
        "Configured weight.",
        lambda state: state.words.weight,
    ),
    RealMetric(
        "fastvrrp_real_server_last_transition_timestamp_seconds",
        "gauge",
        "When it went up or down last, in seconds since 1970.",
        lambda state: state.changed_at,
    ),
    RealMetric(
        "fastvrrp_real_server_active_connections",
        "gauge",
        "Connections that are open, as IPVS counts.",
        lambda state: state.counters.active,
        is_of_ipvs=True,
    ),
    RealMetric(
        "fastvrrp_real_server_inactive_connections",
        "gauge",
        "Connections that are ending, or of protocols without any, as IPVS counts.",
        lambda state: state.counters.inactive,
        is_of_ipvs=True,
    ),
    *(
        RealMetric(
            f"fastvrrp_real_server_{ENDINGS[field]}",
            "counter",
            f"{says}, as IPVS counts.",
            _counter(field),
            is_of_ipvs=True,
        )
        for field, says in COUNTED
    ),
)
CHECK_METRICS = (
    CheckMetric(
        "fastvrrp_real_server_checker_up",
        "gauge",
        "1 where checks of this kind find it well, 0 where they do not, -1 where it is not known.",
        lambda states: min(-1 if each.is_good is None else each.is_good for each in states),
    ),
    CheckMetric(
        "fastvrrp_real_server_checks_total",
        "counter",
        "Checks made; equal ones of several virtual servers are made once, and counted for each.",
        lambda states: sum(each.done for each in states),
    ),
    CheckMetric(
        "fastvrrp_real_server_check_failures_total",
        "counter",
        "Checks that failed, also those that a retry made good.",
        lambda states: sum(each.failed for each in states),
    ),
)
TABLES: tuple[tuple[tuple[str, ...], Sequence[VirtualMetric | RealMetric | CheckMetric]], ...] = (
    (VIRTUAL_LABELS, VIRTUAL_METRICS),
    (REAL_LABELS, REAL_METRICS),
    (CHECK_LABELS, CHECK_METRICS),
)
"""All but INFO, with their labels."""
NAMES = (INFO, *(metric.name for _, metrics in TABLES for metric in metrics))
INFO_SAYS = "1, with what is configured: scheduler and forwarding method."


def pages(servers: Servers, wall_offset: int) -> Iterator[bytes]:
    """Every metric, in pieces; nothing without virtual servers. `wall_offset` makes a time of the
    day of a time of the monotonic clock, in nanoseconds."""
    if not servers.virtual_servers or not servers.is_alive:
        return
    pools = [(_labels_of(each.words), each) for each in servers.virtual_servers]
    members = [
        (f'{labels},real_server="{escaped(server.words.name)}"', server)
        for labels, pool in pools
        for server in pool.real_servers
    ]
    yield _header(INFO, "gauge", INFO_SAYS)
    yield from _lines(
        INFO,
        (
            (
                f'{labels},scheduler="{escaped(pool.words.scheduler)}"'
                f',forwarding="{pool.words.forwarding}"',
                1,
            )
            for labels, pool in pools
        ),
    )
    for metric in VIRTUAL_METRICS:
        if servers.counted_at or not metric.is_of_ipvs:
            yield _header(metric.name, metric.kind, metric.says)
            values = ((labels, metric.value(pool)) for labels, pool in pools)
            yield from _lines(metric.name, _timed(metric.name, values, wall_offset))
    for real in REAL_METRICS:
        if servers.counted_at or not real.is_of_ipvs:
            yield _header(real.name, real.kind, real.says)
            values = ((labels, real.value(server)) for labels, server in members)
            yield from _lines(real.name, _timed(real.name, values, wall_offset))
    checkers = [
        (f'{labels},checker="{kind}"', states)
        for labels, server in members
        for kind, states in _by_kind(server)
    ]
    for check in CHECK_METRICS:
        yield _header(check.name, check.kind, check.says)
        yield from _lines(check.name, ((labels, check.value(each)) for labels, each in checkers))


def escaped(text: str) -> str:
    """A value of a label, as it stands between quotation marks."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _labels_of(words: VirtualWords) -> str:
    values = zip(VIRTUAL_LABELS, (words.name, words.protocol, words.family), strict=True)
    return ",".join(f'{label}="{escaped(value)}"' for label, value in values)


def _by_kind(server: RealServerState) -> Iterable[tuple[str, list[CheckerState]]]:
    found: dict[str, list[CheckerState]] = {}
    for each in server.checkers:
        found.setdefault(each.words.kind, []).append(each)
    return found.items()


def _header(name: str, kind: str, says: str) -> bytes:
    return f"# HELP {name} {says}\n# TYPE {name} {kind}\n".encode()


def _timed(
    name: str, values: Iterable[tuple[str, Number]], wall_offset: int
) -> Iterable[tuple[str, Number]]:
    """Times of the day where a metric is one."""
    if not name.endswith("_timestamp_seconds"):
        return values
    return ((labels, (at + wall_offset) // 1_000_000 / 1000) for labels, at in values)


def _lines(name: str, values: Iterable[tuple[str, Number]]) -> Iterator[bytes]:
    lines: list[str] = []
    for labels, value in values:
        lines.append(f"{name}{{{labels}}} {value + 0}\n")
        if len(lines) == CHUNK:
            yield "".join(lines).encode()
            lines.clear()
    yield "".join(lines).encode()
