"""Plots, as PNG or SVG by the file's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from fastvrrp.bench.case import BACKUP_PRIORITY, Case
from fastvrrp.bench.figures import Figures


def draw_failover(case: Case, measured: Sequence[Figures], file: Path) -> None:
    """How many virtual routers were silent for how long beyond the Master_Down_Interval."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for each in measured:
        ordered = sorted(each.overshoots)
        if ordered:
            shares = [(place + 1) / len(ordered) * 100 for place in range(len(ordered))]
            axes.step(ordered, shares, where="post", label=f"{each.kind} {each.version}")
    axes.set_xscale("symlog", linthresh=1)
    axes.set_ylim(0, 100)
    down = case.master_down_interval(BACKUP_PRIORITY)
    axes.set_xlabel(f"silence after the master's death beyond {down:.3f} s (ms)")
    axes.set_ylabel("virtual routers taken over (%)")
    axes.set_title(f"Failover of {case.name} interfaces")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()
    figure.savefig(file)


@dataclass(frozen=True)
class Panel:
    """One dimension in which the cost grows."""

    across: str
    """What the horizontal axis counts."""
    lines: Mapping[str, Sequence[tuple[float, float]]]
    """Points by the name of their line."""


def draw_growth(panels: Sequence[Panel], title: str, unit: str, file: Path) -> None:
    """Panels side by side, all axes logarithmic, with one vertical axis."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(row, panels, strict=True):
        for label, points in panel.lines.items():
            style = "k--" if label == "in C" else "o-"
            axes.plot(*zip(*sorted(points), strict=True), style, label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(panel.across)
        ticks = sorted({x for points in panel.lines.values() for x, _ in points})
        axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        axes.minorticks_off()
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(alpha=0.3)
    row[0].set_ylabel(unit)
    row[0].legend()
    figure.suptitle(title)
    figure.savefig(file)
