"""What a run has measured, and the middle of several runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Metric:
    """One thing that is measured. Less is better of every one."""

    key: str
    label: str
    unit: str
    digits: int = 1

    def text(self, value: float | None) -> str:
        return "-" if value is None else f"{value:,.{self.digits}f}"


METRICS = (
    Metric("reading", "reading the configuration", "s", 2),
    Metric("started", "start until all are backups", "s", 2),
    Metric("masters", "start until all are masters", "s", 2),
    Metric("sent_cost", "processor time, an advert sent", "us"),
    Metric("received_cost", "processor time, an advert received", "us"),
    Metric("master_load", "processor of the master", "% of a core"),
    Metric("backup_load", "processor of the backup", "% of a core"),
    Metric("master_memory", "memory of the master (PSS)", "MB"),
    Metric("backup_memory", "memory of the backup (PSS)", "MB"),
    Metric("open_files", "open files of the master", "", 0),
    Metric("gap_median", "advert gap, median", "ms"),
    Metric("gap_p99", "advert gap, p99", "ms"),
    Metric("gap_longest", "advert gap, longest", "ms"),
    Metric("false_transitions", "false transitions", "routers", 0),
    Metric("reload_gap", "reload, unchanged: longest gap", "ms", 0),
    Metric("reload_lost", "reload, unchanged: lost", "routers", 0),
    Metric("reload_recovery", "reload, unchanged: all as before", "s", 0),
    Metric("change_gap", "reload, one added and one removed: longest gap of the others", "ms", 0),
    Metric("change_lost", "reload, one added and one removed: others lost", "routers", 0),
    Metric("change_recovery", "reload, one added and one removed: others as before", "s", 0),
    Metric("upgrade_gap", "upgrade: longest gap", "ms", 0),
    Metric("upgrade_lost", "upgrade: lost", "routers", 0),
    Metric("upgrade_recovery", "upgrade: all as before", "s", 0),
    Metric("crash_gap", "VRRP process killed: longest gap", "ms", 0),
    Metric("crash_lost", "VRRP process killed: lost", "routers", 0),
    Metric("crash_recovery", "VRRP process killed: all as before", "s", 0),
    Metric("overshoot_median", "failover overshoot, median", "ms"),
    Metric("overshoot_p99", "failover overshoot, p99", "ms"),
    Metric("overshoot_longest", "failover overshoot, longest", "ms"),
    Metric("not_taken_over", "not taken over", "routers", 0),
    Metric("last_address", "last address after its Master_Down_Interval", "s", 2),
    Metric("stopping", "stop", "s", 2),
    Metric("stop_status", "exit status of the stop", "", 0),
    Metric("left_addresses", "addresses left behind", "", 0),
    Metric("left_links", "links left behind", "", 0),
    Metric("left_processes", "processes left behind", "", 0),
    Metric("unseen", "adverts the observer lost", "", 0),
)
METRIC = {metric.key: metric for metric in METRICS}


@dataclass
class Figures:
    """Of one daemon: of one run, or the medians of several."""

    kind: str
    version: str
    values: dict[str, float] = field(default_factory=dict)
    """By a metric's key. What is not here was not measured."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Why something was not measured, by a metric's key."""
    overshoots: list[float] = field(default_factory=list)
    """Milliseconds past their Master_Down_Interval at which each hundredth of the virtual routers
    was taken over (percentiles 0 to 100); of several runs all of these."""
    failure: str | None = None
    """Why a run ended before its end, with the daemon's log."""
    runs: int = 1

    def reason(self, key: str) -> str:
        return self.reasons.get(key, "not reached")

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "version": self.version,
            "runs": self.runs,
            "figures": {
                metric.key: {
                    "value": self.values.get(metric.key),
                    "unit": metric.unit,
                    **(
                        {}
                        if metric.key in self.values
                        else {"not_measured": self.reason(metric.key)}
                    ),
                }
                for metric in METRICS
            },
            "overshoot_percentiles_ms": sorted(self.overshoots),
            "failure": self.failure,
        }


def median(runs: Sequence[Figures]) -> Figures:
    """The median of each figure over the runs that have it; all their overshoots."""
    middle = Figures(runs[0].kind, runs[0].version, runs=len(runs))
    for metric in METRICS:
        values = [run.values[metric.key] for run in runs if metric.key in run.values]
        if values:
            middle.values[metric.key] = statistics.median(values)
    for run in runs:
        middle.reasons.update(run.reasons)
        middle.overshoots += run.overshoots
        middle.failure = middle.failure or run.failure
    for key in middle.values:
        middle.reasons.pop(key, None)
    return middle
