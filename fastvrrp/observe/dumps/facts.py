"""What the dumps tell of: the virtual routers and everything else, as they are at one moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastvrrp.model import Configuration, State, Tracker, VirtualRouter

Record = Mapping[str, Any]
"""What the state segment has of one virtual router (`Segment.read`)."""
Counts = Mapping[str, int]
"""The counters of `counters.COUNTERS`, by their names in JSON."""


@dataclass(frozen=True, slots=True)
class RouterFacts:
    """One virtual router."""

    model: VirtualRouter
    record: Record
    counts: Counts
    group: str | None
    """Its sync group."""
    has_addresses: bool
    """They are in the kernel."""
    drops_packets: bool
    """Packets to its addresses are dropped by nftables."""
    faults: int
    """How many things hold it in FAULT."""
    is_waiting: bool
    """Not everything is known that its state depends on."""
    changed_at: float
    """When its state changed, in seconds since 1970; 0 is never."""
    deadline: float | None
    """When it does something by itself; None is never."""


StateOf = Callable[[Tracker, str], int | None]
"""State of what is tracked, by kind and name: whether it is good, or the number in a file; None
where that is not known yet."""


def unknown(_kind: Tracker, _name: str) -> None:
    """Nothing is known yet."""


class LinkFacts(NamedTuple):
    """One interface."""

    name: str
    number: int
    """Its ifindex."""
    mac: bytes
    mtu: int
    is_up: bool
    is_running: bool
    addresses: tuple[str, ...]
    """In words, of both families."""


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything but the virtual routers."""

    configuration: Configuration
    """Without its virtual routers."""
    groups: tuple[tuple[str, State], ...] = ()
    """Sync groups with their states."""
    state_of: StateOf = unknown
    """How something that is tracked is now."""
    processes: Mapping[str, int] = field(default_factory=dict)
    """How many there were of each tracked process when that last mattered."""
    links: Iterable[LinkFacts] = ()
    users: dict[tuple[int, str], list[tuple[str, int]]] = field(default_factory=dict)
    """Who tracks what, with which weight, by Tracker and name: of those virtual routers that were
    written already."""
