"""How cost grows, with the number of virtual routers and with that of interfaces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fastvrrp.bench.case import VRIDS, Case
from fastvrrp.bench.picture import Panel
from fastvrrp.bench.store import Measured

LEAST = 0.1
"""What is drawn for less, on a logarithmic axis: a takeover that is as early as it may be."""
MANY = range(3_900, 4_100)
"""As many virtual routers are spread over few interfaces or many."""
FLOOR = ("sent_cost", "received_cost")


def _by_routers(case: Case) -> float | None:
    return case.routers if case.routers == VRIDS * case.interfaces else None


def _by_interfaces(case: Case) -> float | None:
    return case.interfaces if case.routers in MANY else None


DIMENSIONS: tuple[tuple[str, Callable[[Case], float | None]], ...] = (
    ("virtual routers, 255 an interface", _by_routers),
    ("interfaces, 4,000 virtual routers", _by_interfaces),
)


def panels(measured: Sequence[Measured], key: str) -> list[Panel]:
    """A panel for each dimension in which a metric was measured at two places or more."""
    made = []
    for across, place_of in DIMENSIONS:
        lines: dict[str, list[tuple[float, float]]] = {}
        for each in measured:
            place = place_of(each.case) if is_plain(each.case) else None
            if place is None:
                continue
            for kind, figures in each.figures.items():
                if key in figures.values:
                    lines.setdefault(kind, []).append((place, max(figures.values[key], LEAST)))
            if key in FLOOR and each.floor is not None:
                lines.setdefault("in C", []).append((place, each.floor[FLOOR.index(key)]))
        if any(len(points) > 1 for points in lines.values()):
            made.append(Panel(across, lines))
    return made


def is_plain(case: Case) -> bool:
    """Whether it is VRRPv2 over IPv4 at one second, without VMACs and with phases as they come."""
    return replace(case, routers=1, interfaces=1) == Case(1, 1)
