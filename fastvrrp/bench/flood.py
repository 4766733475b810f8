"""Hostile load on one daemon: masters of all, and a flood of adverts that none of them may obey.

The daemon is on side a, the flood comes from side b. All that is sent must be accounted for:
refused by reason in the daemon's counters, dropped by the kernel before the daemon read it, or
dropped on the cable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fastvrrp._packet import REASONS
from fastvrrp._table import Segment
from fastvrrp.bench.case import MASTER_PRIORITY, Case
from fastvrrp.bench.crowd import Speech
from fastvrrp.bench.kinds import Daemon
from fastvrrp.bench.lab import ANNOUNCED_AFTER, START_TIMEOUT
from fastvrrp.bench.load import Load
from fastvrrp.bench.load import run as run_load
from fastvrrp.bench.network import Network
from fastvrrp.bench.processes import Sample, proportional_set, tree
from fastvrrp.bench.recording import Recording
from fastvrrp.bench.workspace import workspace

HOSTILE = ("vrid", "checksum", "ttl")
WARMING = 1.0
"""Seconds of flood before the memory is looked at for the first time."""
SETTLING = 0.5
TOLERANCE = 1 << 20
"""Bytes by which memory may differ; kept packets would be a hundred times that."""


@dataclass
class Flooded:
    """What a flood did to a daemon."""

    kind: str
    version: str
    packets: int
    """Sent in the flood, and before it for warming."""
    packets_a_second: float
    lost: int
    """Virtual routers that fell silent or said farewell."""
    longest_gap: float
    """Milliseconds between two adverts of a virtual router."""
    processor: float
    """Percent of a core, during the flood."""
    memory_before: int
    """Bytes (PSS), after the warming."""
    memory_after: int
    cable_dropped: int
    """Packets that the cables lost, warming included."""
    refused: dict[str, int] = field(default_factory=dict)
    """By reason; empty for a daemon without such counters."""
    dropped: int = 0
    """Packets that the kernel threw away because the daemon had not read those before."""

    @property
    def unaccounted(self) -> int | None:
        """Packets of which nobody knows what became; None for a daemon without counters."""
        if not self.refused:
            return None
        return self.packets - sum(self.refused.values()) - self.dropped - self.cable_dropped

    @property
    def has_grown(self) -> bool:
        return self.memory_after - self.memory_before > TOLERANCE

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Flooded:
        return cls(**{key: value for key, value in found.items() if key != "unaccounted"})

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "unaccounted": self.unaccounted}


def flood(
    case: Case, kind: type[Daemon], rate: float, duration: float, say: Callable[[str], None]
) -> Flooded:
    """Floods one daemon, `rate` packets a second for `duration` seconds. Raises DaemonError,
    NetworkError, CaseError, or PermissionError without root. Nothing is left behind."""
    addresses = {case.family: case.virtual_address(0, 1).partition("/")[0]}
    load = Load(
        kind="hostile",
        routers=case.routers,
        duration=duration,
        speech=Speech(case.version, case.interval, addresses),
        families=(case.family,),
        hostile=HOSTILE,
        rate=rate,
    )
    warming = replace(load, duration=WARMING)
    interfaces = [f"eth{number}" for number in range(case.interfaces)]
    with ExitStack() as stack:
        folder = stack.enter_context(workspace())
        say(f"making {case.interfaces:,} cables")
        network = stack.enter_context(Network.made(case))
        file = folder / "a.conf"
        file.write_text(case.configuration(MASTER_PRIORITY))
        daemon = kind(network.a, "a", folder, file)
        stack.enter_context(daemon.started())
        _await_masters(daemon, network, case, say)
        with network.b.entered():
            first = run_load(warming, interfaces, say)
            time.sleep(SETTLING)
            memory_before = proportional_set(tree(daemon.pid))
            before = Sample.of(daemon.pid)
            result = run_load(load, interfaces, say)
            after = Sample.of(daemon.pid)
            time.sleep(SETTLING)
            cable_dropped = sum(_transmit_drops().get(name, 0) for name in interfaces)
        flooded = Flooded(
            kind.kind,
            kind.version(),
            first["sent"]["packets"] + result["sent"]["packets"],
            result["sent"]["packets_a_second"],
            case.routers - result["answered"]["routers"] + result["answered"]["stopped_routers"],
            result["answered"]["longest_gap_ms"],
            (after.processor - before.processor) / 1e9 / (after.time - before.time) * 100,
            memory_before,
            proportional_set(tree(daemon.pid)),
            cable_dropped,
        )
        segment = daemon.folder / "fastvrrp.state"
        if segment.exists():
            totals = Segment(segment).totals()
            flooded.refused = {
                name: count
                for name, count in zip(REASONS, totals["refused"], strict=False)
                if count
            }
            flooded.dropped = totals["dropped"]
        if daemon.has_ended():
            raise daemon.error("it has ended in the flood")
        return flooded


def _await_masters(
    daemon: Daemon, network: Network, case: Case, say: Callable[[str], None]
) -> None:
    """Waits until the daemon is master of all, and has announced it."""
    with Recording.of(network.b.entered(), network.last_ifindex) as recording:
        recording.look(True)
        speaking: set[int] = set()
        until = time.monotonic() + START_TIMEOUT
        while len(speaking) < case.routers:
            if daemon.has_ended() or time.monotonic() > until:
                raise daemon.error(f"{len(speaking)} of {case.routers} are masters")
            speaking = recording.speakers(0, from_b=False)
            say(f"starting ({len(speaking):,} of {case.routers:,})")
            time.sleep(0.1)
    say("waiting for quiet")
    time.sleep(ANNOUNCED_AFTER)


def _transmit_drops() -> dict[str, int]:
    """By interface of this thread's namespace."""
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    return {
        name.strip(): int(counts.split()[11])
        for name, _, counts in (line.partition(":") for line in lines)
    }


def flood_rows(done: Sequence[Flooded]) -> Iterator[tuple[str, list[str]]]:
    """Label and cells, a cell a daemon, for a table."""
    yield "packets", [f"{each.packets:,}" for each in done]
    yield "packets a second", [f"{each.packets_a_second:,.0f}" for each in done]
    yield "virtual routers lost", [f"{each.lost:,}" for each in done]
    yield "longest advert gap (ms)", [f"{each.longest_gap:,.1f}" for each in done]
    yield "processor (% of a core)", [f"{each.processor:.1f}" for each in done]
    yield "memory before (MB)", [f"{each.memory_before / 1e6:.2f}" for each in done]
    yield "memory after (MB)", [f"{each.memory_after / 1e6:.2f}" for each in done]
    for reason in dict.fromkeys(name for each in done for name in each.refused):
        yield f"refused: {reason}", [_count(each, each.refused.get(reason, 0)) for each in done]
    yield "dropped by the kernel, unread", [_count(each, each.dropped) for each in done]
    yield "dropped on the cable", [f"{each.cable_dropped:,}" for each in done]
    yield "not accounted for", [_count(each, each.unaccounted) for each in done]


def _count(flooded: Flooded, value: int | None) -> str:
    return f"{value:,}" if flooded.refused else "not counted"
