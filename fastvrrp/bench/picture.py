"""Plots, as PNG or SVG by the file's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from fastvrrp.bench.case import BACKUP_PRIORITY, Case
from fastvrrp.bench.figures import Figures

SUFFIXES = (".png", ".svg")


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


def draw_growth(
    lines: Mapping[str, Sequence[tuple[str, float]]], title: str, unit: str, file: Path
) -> None:
    """A value by case, one line a daemon; cases stand in the order of the longest line."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for label, points in lines.items():
        axes.plot([case for case, _ in points], [value for _, value in points], "o-", label=label)
    axes.set_yscale("log")
    axes.set_ylabel(unit)
    axes.set_title(title)
    axes.tick_params(axis="x", rotation=30)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file)
