"""Virtual servers and real servers as commands show them: plain values, by name.

Times are seconds since 1970; None is never, or not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from fastvrrp.observe.servers import (
    CheckerState,
    RealServerState,
    Servers,
    VirtualServerState,
)

Facts = dict[str, Any]


def summary(pools: Iterable[VirtualServerState]) -> dict[str, int]:
    """How many there are, and of how many something is not as configured."""
    found = list(pools)
    servers = [server for pool in found for server in pool.real_servers]
    return {
        "virtual_servers": len(found),
        "below_quorum": sum(not pool.has_quorum for pool in found),
        "sorry_server_in_use": sum(pool.is_sorry for pool in found),
        "suspended": sum(pool.is_suspended for pool in found),
        "real_servers": len(servers),
        "real_servers_down": sum(not server.is_up for server in servers),
    }


def facts_of(pool: VirtualServerState, servers: Servers, wall_offset: int) -> Facts:
    """Everything about one virtual server."""
    words = pool.words
    return {
        "name": words.name,
        "protocol": words.protocol,
        "family": words.family or None,
        "address": words.address,
        "port": words.port,
        "mark": words.mark,
        "group": words.group,
        "scheduler": words.scheduler,
        "forwarding": words.forwarding,
        "has_quorum": pool.has_quorum,
        "since": _time(pool.changed_at, wall_offset),
        "quorum": words.quorum,
        "hysteresis": words.hysteresis,
        "weight": pool.weight,
        "sorry_server": words.sorry_server,
        "sorry_server_in_use": pool.is_sorry,
        "suspended": pool.is_suspended,
        "troubles": list(troubles_of(pool)),
        "counters": _counters(pool, servers),
        "real_servers": [_real(each, servers, wall_offset) for each in pool.real_servers],
    }


def troubles_of(pool: VirtualServerState) -> Iterator[str]:
    """What is not as configured, for a person; of real servers see `down_of`."""
    words = pool.words
    if not pool.has_quorum:
        yield f"below quorum: the servers that are up weigh {pool.weight}, quorum {words.quorum}"
    if pool.is_sorry:
        yield f"sorry server {words.sorry_server} serves"


def why_down(server: RealServerState) -> str:
    """What keeps a real server down, for a person."""
    bad = [each for each in server.checkers if each.is_good is False]
    if not bad:
        return "not checked yet"
    return "; ".join(f"{each.words.kind}: {each.why or 'it failed'}" for each in bad)


def names_of(name: str) -> Iterator[str]:
    """What a person may call a virtual server of keepalived's name: `[ADDRESS]:PROTOCOL:PORT` is
    ADDRESS:PORT and ADDRESS too, `FWM MARK` is MARK, `[GROUP]:PORT` is GROUP."""
    yield name
    head, is_bracketed, tail = name.rpartition("]:")
    if is_bracketed:
        inside = head.removeprefix("[")
        protocol, _, port = tail.rpartition(":")
        if protocol:
            yield f"[{inside}]:{port}" if ":" in inside else f"{inside}:{port}"
        yield inside
    elif name.startswith("FWM "):
        yield name.removeprefix("FWM ")


def is_called(name: str, pattern: str) -> bool:
    """Whether a virtual server of that name is called so, or as a shell would match it."""
    return any(each == pattern or fnmatchcase(each, pattern) for each in names_of(name))


def matching(servers: Servers, pattern: str | None) -> list[VirtualServerState]:
    """Those that are called so, or whose name matches it as a shell would; all where there is no
    pattern."""
    if pattern is None:
        return list(servers.virtual_servers)
    return [pool for pool in servers.virtual_servers if is_called(pool.words.name, pattern)]


def _real(server: RealServerState, servers: Servers, wall_offset: int) -> Facts:
    words = server.words
    return {
        "name": words.name,
        "address": words.address,
        "port": words.port,
        "up": server.is_up,
        "since": _time(server.changed_at, wall_offset),
        "weight": server.weight,
        "configured_weight": words.weight,
        "forwarding": words.forwarding,
        "why_down": None if server.is_up else why_down(server),
        "counters": _counters(server, servers),
        "checkers": [_checker(each, wall_offset) for each in server.checkers],
    }


def _checker(checker: CheckerState, wall_offset: int) -> Facts:
    return {
        "kind": checker.words.kind,
        "asks": checker.words.what,
        "good": checker.is_good,
        "since": _time(checker.changed_at, wall_offset),
        "done": checker.done,
        "failed": checker.failed,
        "last_failure": checker.why or None,
    }


def _counters(state: VirtualServerState | RealServerState, servers: Servers) -> Facts | None:
    """What IPVS has counted; None where it was not asked, as without metrics."""
    if not servers.counted_at:
        return None
    counters = state.counters._asdict()
    if isinstance(state, VirtualServerState):
        del counters["active"], counters["inactive"]
    return counters


def _time(at: int, wall_offset: int) -> float | None:
    return round((at + wall_offset) / 1e9, 3) if at else None
