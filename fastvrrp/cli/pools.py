"""Virtual servers and real servers, as `status`, `show` and `events` print them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fastvrrp.cli.looking import ago

if TYPE_CHECKING:
    from fastvrrp.observe.server_events import Event
    from fastvrrp.observe.servers import Servers, VirtualServerState

    Facts = dict[str, Any]

COLUMNS = ("VIRTUAL SERVER", "QUORUM", "SINCE", "WEIGHT", "SERVERS", "SCHEDULER", "METHOD")
MOST_DOWN = 40
"""Real servers that are down which are named."""


def heading(servers: Servers, pools: Sequence[VirtualServerState]) -> Iterator[str]:
    """How many there are; nothing where the daemon has none."""
    from fastvrrp.observe.server_facts import summary

    if not servers.virtual_servers:
        return
    counts = summary(pools)
    text = _count(counts["virtual_servers"], "virtual server")
    if counts["below_quorum"]:
        text += f", {counts['below_quorum']} below quorum"
    if counts["suspended"]:
        text += f", {counts['suspended']} suspended"
    text += f"; {_count(counts['real_servers'], 'real server')}"
    if counts["real_servers_down"]:
        text += f", {counts['real_servers_down']} down"
    yield text
    if not servers.is_alive:
        yield "Health checks do not run at the moment: of servers the last that was known is shown."


def troubles(pools: Sequence[VirtualServerState], wall_offset: int) -> Iterator[tuple[str, str]]:
    """Names of what is not as configured, and what that is."""
    from fastvrrp.observe.server_facts import troubles_of, why_down

    down = []
    for pool in pools:
        found = list(troubles_of(pool))
        if found:
            yield pool.words.name, "; ".join(found)
        down += [(pool, server) for server in pool.real_servers if not server.is_up]
    for pool, server in down[:MOST_DOWN]:
        since = ago((server.changed_at + wall_offset) / 1e9)
        what = f"down for {since}, of {pool.words.name}: {why_down(server)}"
        yield server.words.name, what
    if len(down) > MOST_DOWN:
        yield "...", f"{len(down) - MOST_DOWN} more real servers are down"


def rows(pools: Sequence[VirtualServerState], wall_offset: int) -> Iterator[tuple[str, ...]]:
    """A row for each, under the heads of their columns."""
    yield COLUMNS
    for pool in pools:
        words = pool.words
        up = sum(each.is_up for each in pool.real_servers)
        yield (
            words.name,
            "suspended" if pool.is_suspended else "up" if pool.has_quorum else "DOWN",
            ago((pool.changed_at + wall_offset) / 1e9),
            f"{pool.weight} of {sum(each.words.weight for each in pool.real_servers)}",
            f"{up} of {len(pool.real_servers)}",
            words.scheduler,
            words.forwarding,
        )


def lines(facts: Facts) -> Iterator[str]:
    """Everything about one virtual server, as text."""
    yield f"{facts['name']}: virtual server, {facts['scheduler']}, {facts['forwarding']}"
    for title, body in (
        ("State", _state(facts)),
        ("Counters", _counters(facts["counters"])),
    ):
        found = list(body)
        if found:
            yield from ("", title)
            yield from (f"  {line}" for line in found)
    for server in facts["real_servers"]:
        yield ""
        yield f"Real server {server['name']}"
        yield from (f"  {line}" for line in _server(server))


def event_facts(event: Event) -> Facts:
    """An event as JSON has it, without its time."""
    from fastvrrp.observe.server_events import Kind

    facts: Facts = {"name": event.virtual_server, "event": event.kind.name}
    match event.kind:
        case Kind.QUORUM_GAINED | Kind.QUORUM_LOST:
            facts["weight"], facts["quorum"] = event.numbers
        case Kind.SORRY_SERVER_IN | Kind.SORRY_SERVER_OUT:
            facts["sorry_server"] = event.server
        case Kind.WEIGHT:
            facts["real_server"] = event.server
            facts["before"], facts["after"] = event.numbers
        case _:
            facts["real_server"] = event.server
            facts["why"] = event.why or None
    return facts


def event_text(facts: Facts) -> str | None:
    """The same for a person; None where it is none of a virtual server."""
    match facts["event"]:
        case "QUORUM_GAINED" | "QUORUM_LOST" as event:
            verb = "gained" if event == "QUORUM_GAINED" else "lost"
            weights = f"the servers that are up weigh {facts['weight']}, quorum {facts['quorum']}"
            return f"quorum {verb}: {weights}"
        case "SORRY_SERVER_IN" | "SORRY_SERVER_OUT" as event:
            verb = "serves" if event == "SORRY_SERVER_IN" else "is not needed any more"
            return f"sorry server {facts['sorry_server']} {verb}"
        case "WEIGHT":
            return (
                f"real server {facts['real_server']}: weight {facts['before']} -> {facts['after']}"
            )
        case "REAL_SERVER_UP" | "REAL_SERVER_DOWN" as event:
            state = "up" if event == "REAL_SERVER_UP" else "down"
            why = f": {facts['why']}" if facts["why"] else ""
            return f"real server {facts['real_server']} is {state}{why}"
    return None


def _state(facts: Facts) -> Iterator[str]:
    since = f" for {ago(facts['since'])}" if facts["since"] else ""
    hysteresis = f", hysteresis {facts['hysteresis']}" if facts["hysteresis"] else ""
    has = "has its quorum" if facts["has_quorum"] else "is below its quorum"
    yield (
        f"{has}{since}: the servers that are up weigh {facts['weight']},"
        f" quorum {facts['quorum']}{hysteresis}"
    )
    if facts["sorry_server"] is not None:
        verb = "serves" if facts["sorry_server_in_use"] else "waits"
        yield f"sorry server {facts['sorry_server']} {verb}"
    if facts["suspended"]:
        yield "not checked: its address is not on this machine (ha_suspend)"


def _server(server: Facts) -> Iterator[str]:
    since = f" for {ago(server['since'])}" if server["since"] else ""
    why = "" if server["up"] else f", because of {server['why_down']}"
    yield f"{'up' if server['up'] else 'down'}{since}{why}"
    yield (
        f"weight {server['weight']}, {server['configured_weight']} configured;"
        f" {server['forwarding']}"
    )
    yield from _counters(server["counters"])
    for checker in server["checkers"]:
        state = {True: "good", False: "bad", None: "not known yet"}[checker["good"]]
        since = f" for {ago(checker['since'])}" if checker["since"] else ""
        yield f"{checker['kind']} {checker['asks']}: {state}{since}"
        failure = f"; the last failure: {checker['last_failure']}" if checker["failed"] else ""
        if checker["last_failure"] and not checker["failed"]:
            failure = f"; {checker['last_failure']}"
        yield f"  {_count(checker['done'], 'check')}, {checker['failed']} failed{failure}"


def _counters(counters: Facts | None) -> Iterator[str]:
    if counters is None:
        return
    text = _count(counters["connections"], "connection")
    if "active" in counters:
        text += f" ({counters['active']} active, {counters['inactive']} inactive)"
    yield (
        f"{text}, {counters['packets_in']} packets and {counters['bytes_in']} bytes in,"
        f" {counters['packets_out']} and {counters['bytes_out']} out"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number != 1 else ''}"
