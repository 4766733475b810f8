"""What issues 4, 5 and 7 ask for: which cases are measured, and which figure is not exceeded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fastvrrp.bench.case import Case
from fastvrrp.bench.figures import METRIC, Figures


@dataclass(frozen=True)
class Plan:
    """How a case is measured for the document."""

    case: Case
    runs: int = 1
    duration: float = 5.0
    beside_keepalived: bool = True
    disturbances: tuple[str, ...] = ()
    """Names of DISTURBANCES, each lived through once."""
    disturbs_keepalived: bool = True


SMALL = Case(255, 1)
MEDIUM = Case(1_020, 4)
DENSE = Case(4_080, 16)
DENSE_SPREAD = replace(DENSE, has_spread_phases=True)
REFUSING = replace(DENSE, refuses=True)
"""To be compared with DENSE: `no_accept` costs a failover nothing."""
SCRIPTED = replace(MEDIUM, scripts=1_000)
WIDE = Case(4_000, 4_000)
VMACS = Case(4_080, 16, has_vmac=True)
LARGE = Case(16_320, 64)
HUGE = Case(65_280, 256)
FAST = Case(255, 1, version=3, interval=0.01)

FLOODED = Case(1_020, 8)
FLOOD_RATE = 50_000
FLOOD_SECONDS = 10.0
PROFILED = LARGE
SCRAPED = HUGE
SCRAPE_SECONDS = 10.0
SOAKED = DENSE
SOAK_SECONDS = 600.0

PLANS = (
    Plan(SMALL),
    Plan(MEDIUM),
    Plan(DENSE, runs=2, disturbances=("change", "upgrade", "crash")),
    Plan(DENSE_SPREAD),
    Plan(REFUSING, runs=3, beside_keepalived=False),
    Plan(SCRIPTED, beside_keepalived=False),
    Plan(Case(4_000, 250)),
    Plan(Case(4_000, 1_000)),
    Plan(WIDE),
    Plan(VMACS),
    # keepalived loses them all, for minutes.
    Plan(LARGE, disturbances=("change", "crash"), disturbs_keepalived=False),
    # keepalived reads it for minutes.
    Plan(HUGE, beside_keepalived=False, disturbances=("change",)),
    Plan(FAST, duration=60.0, beside_keepalived=False),
)


@dataclass(frozen=True)
class Goal:
    """A figure of fastvrrp in a case, at most `limit`; of keepalived's if `is_ratio`, of
    fastvrrp's in the case `beside` where there is one."""

    case: Case
    key: str
    limit: float
    is_ratio: bool = False
    beside: Case | None = None

    def text(self) -> str:
        metric = METRIC[self.key]
        if self.is_ratio:
            return f"at most {self.limit:g} of keepalived's"
        if self.beside:
            return f"at most {self.limit:g} of that of {self.beside.name}"
        return f"at most {self.limit:,g} {metric.unit}".rstrip()

    @property
    def is_relative(self) -> bool:
        return self.is_ratio or self.beside is not None

    def measured(
        self, figures: Mapping[str, Figures], others: Mapping[str, Figures] | None = None
    ) -> float | None:
        """In the terms of the limit; None where one of the figures it needs is missing. `others`
        are those of the case `beside`."""
        ours = figures["fastvrrp"].values.get(self.key)
        if not self.is_relative or ours is None:
            return ours
        kind, known = ("fastvrrp", others or {}) if self.beside else ("keepalived", figures)
        theirs = known[kind].values.get(self.key) if kind in known else None
        return ours / theirs if theirs else None


GOALS = (
    Goal(DENSE, "sent_cost", 0.25, is_ratio=True),
    Goal(DENSE, "received_cost", 0.35, is_ratio=True),
    Goal(DENSE, "gap_p99", 1_002),
    Goal(DENSE, "upgrade_lost", 0),
    Goal(DENSE, "upgrade_gap", 1_500),
    Goal(DENSE, "crash_lost", 0),
    Goal(DENSE, "crash_gap", 1_500),
    Goal(DENSE_SPREAD, "gap_p99", 1_002),
    Goal(WIDE, "sent_cost", 0.10, is_ratio=True),
    Goal(WIDE, "overshoot_p99", 100),
    Goal(WIDE, "last_address", 1.6),
    Goal(REFUSING, "last_address", 1.2, beside=DENSE),
    Goal(SCRIPTED, "gap_p99", 1.002, beside=MEDIUM),
    Goal(SCRIPTED, "false_transitions", 0),
    Goal(VMACS, "sent_cost", 0.06, is_ratio=True),
    Goal(VMACS, "open_files", 199),
    Goal(VMACS, "stopping", 5),
    Goal(VMACS, "stop_status", 0),
    Goal(VMACS, "left_addresses", 0),
    Goal(VMACS, "left_links", 0),
    Goal(LARGE, "overshoot_p99", 30),
    Goal(LARGE, "reload_lost", 0),
    Goal(LARGE, "reload_gap", 1_200),
    Goal(LARGE, "change_lost", 0),
    Goal(LARGE, "change_gap", 1_200),
    Goal(LARGE, "crash_lost", 0),
    Goal(HUGE, "masters", 15),
    Goal(HUGE, "master_load", 35),
    Goal(HUGE, "overshoot_p99", 300),
    Goal(HUGE, "master_memory", 160),
    Goal(HUGE, "reload_lost", 0),
    Goal(HUGE, "reload_gap", 1_200),
    Goal(HUGE, "change_lost", 0),
    Goal(HUGE, "change_gap", 1_200),
    Goal(SMALL, "master_memory", 70),
    Goal(FAST, "false_transitions", 0),
)
