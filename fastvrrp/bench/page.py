"""The text of docs/performance.md, from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastvrrp.bench.balancing import CHECKED, verdict
from fastvrrp.bench.balancing import table as balancing_table
from fastvrrp.bench.figures import METRIC, METRICS, Figures
from fastvrrp.bench.flood import flood_rows
from fastvrrp.bench.goals import FLOODED, GOALS, PROFILED, Goal
from fastvrrp.bench.profile import lines as profile_lines
from fastvrrp.bench.reading import table as reading_table
from fastvrrp.bench.store import Measured

EXPLANATION = """\
## What the figures depend on

**Phases.** The overshoot depends on how the routers' adverts are spread over the second, which
follows from when each became master, and so on how busy the machine was then. In cases with *phases
spread* it is the same for every daemon: somebody preferred speaks once as each virtual router, one
after the other over one advert interval, and is not heard again (`fastvrrp/bench/phases.py`,
`bench lab --phases spread`).

**keepalived's overshoot at 16,320** was 0.35 to 1.2 s (p99) from run to run. A takeover takes it 65
to 72 us of processor time (perf: a third of that is adding the address, nearly half sending the
advert and the gratuitous ARP, 3 % its log), so 16,320 of them take 1.06 to 1.2 s where their
Master_Down_Intervals end within one second: just more than there is. What is left over waits, and
how much that is depends on a few percent of speed, on who else uses the machine, and on whether the
phases came in bunches. A machine a little faster would show much less.

**The observer** looks away while processor time is measured. At a failover it takes a few percent
of what a takeover costs. Both daemons log into a file, keepalived not to syslog as well (`-G`).
"""


@dataclass(frozen=True)
class Extra:
    """What is measured beside the cases."""

    on: str
    """The day; empty where it was not measured."""
    machine: Mapping[str, str]
    results: tuple[Any, ...]
    failures: tuple[str, ...]


def page(
    measured: Sequence[Measured],
    readings: Extra,
    balanced: Extra,
    flooded: Extra,
    scraped: Extra,
    soaked: Extra,
    profiled: Extra,
    pictures: Sequence[str],
) -> Iterator[str]:
    """The lines of the document; `readings` has MeasuredCase, `balanced` Balanced, `flooded`
    Flooded, `scraped` Scraped, `soaked` Soaked, `profiled` Profile."""
    yield "# Performance"
    yield ""
    yield "Written by `make bench`; do not edit. Two daemons in two network namespaces, joined by"
    yield "veth pairs: the master (priority 200) is killed, and its backup (100) takes over. How"
    yield "each figure is taken is in `fastvrrp/bench/lab.py`. Overshoot is the time from a dead"
    yield "master's last advert to the backup's first, less the Master_Down_Interval, on the wire."
    yield "On a veth pair the sender also pays for the receiver's interrupt."
    yield ""
    yield from _machines(measured)
    versions = {kind: f.version for each in measured for kind, f in each.figures.items()}
    yield from (f"- {kind} {version}" for kind, version in versions.items())
    yield ""
    yield "## Goals"
    yield ""
    yield "| case | figure | goal | fastvrrp | keepalived | |"
    yield "|---|---|---|---|---|---|"
    by_case = {each.case: each.figures for each in measured}
    for goal in GOALS:
        others = by_case.get(goal.beside, {}) if goal.beside else {}
        yield _judged(goal, by_case.get(goal.case, {}), others)
    yield ""
    yield EXPLANATION
    yield "## Reading a configuration"
    yield ""
    yield "`fastvrrp bench config`: a process that only checks the file, beside `keepalived -t`."
    yield from _extra_lines(readings)
    yield ""
    yield from reading_table(readings.results)
    yield ""
    yield "## Load balancing"
    yield from _balancing_lines(balanced)
    yield ""
    yield "## Hostile load"
    yield from _flood_lines(flooded)
    yield ""
    yield "## Scrapes"
    yield ""
    yield "`fastvrrp bench scrapes`: a scrape every second may take 2 s at most, and may not"
    yield "move the p99 of the gaps between adverts by 1 ms."
    yield from _table_lines(scraped)
    yield ""
    yield "## A long time"
    yield from _soak_lines(soaked)
    yield ""
    yield "## What an advert's microseconds are spent on"
    yield ""
    yield f"{PROFILED.name} interfaces, `fastvrrp bench profile`: where perf saw the processor."
    yield from _extra_lines(profiled)
    yield from profile_lines(profiled.results)
    yield ""
    yield "## All figures"
    for each in measured:
        yield from _table(each)
    yield ""
    yield "## Pictures"
    yield ""
    yield from (f"![{Path(picture).stem}]({picture})" for picture in pictures)
    yield ""


def _machines(measured: Sequence[Measured]) -> Iterator[str]:
    """Each machine once, with its days; how busy it was stands with each case."""
    days: dict[tuple[tuple[str, str], ...], set[str]] = {}
    for each in measured:
        lasting = tuple(item for item in each.machine.items() if item[0] != "load_average")
        days.setdefault(lasting, set()).add(each.on)
    for machine, found in days.items():
        yield f"Measured on {', '.join(sorted(found))}:"
        yield ""
        yield from (f"- {what.replace('_', ' ')}: {value}" for what, value in machine)


def _extra_lines(extra: Extra) -> Iterator[str]:
    yield ""
    if not extra.on:
        yield "**Not measured.**"
        return
    yield f"{extra.on}, load average {extra.machine.get('load_average', 'unknown')} before."
    for failure in extra.failures:
        yield ""
        yield f"**Failed**: {failure.splitlines()[0]}"


def _balancing_lines(balanced: Extra) -> Iterator[str]:
    yield ""
    yield "`fastvrrp bench balancing`: TCP_CHECK over loopback, and how long the kernel's IPVS"
    yield "takes to have a whole table. keepalived does nothing in a kernel without IPVS, so it is"
    yield "measured in user-mode Linux, where everything is slower: only the ratios mean something."
    yield from _extra_lines(balanced)
    yield ""
    yield f"{CHECKED.name}: {verdict(balanced.results)}."
    yield ""
    yield from balancing_table(balanced.results)


def _flood_lines(flooded: Extra) -> Iterator[str]:
    yield ""
    yield f"One daemon is master of {FLOODED.name} interfaces; the other side sends adverts for"
    yield "unknown VRIDs, with bad checksums and with a TTL of 254 (`fastvrrp bench flood`). No"
    yield "virtual router may be lost, every packet must be accounted for, and memory must not"
    yield "grow. keepalived 2.2.7 sends no advert while the flood lasts, although it reads every"
    yield "packet (its log has a line for each) and leaves most of a core unused."
    yield from _extra_lines(flooded)
    if not flooded.results:
        return
    yield ""
    yield f"| | {' | '.join(each.kind for each in flooded.results)} |"
    yield f"|---|{'---|' * len(flooded.results)}"
    for label, cells in flood_rows(flooded.results):
        yield f"| {label} | {' | '.join(cells)} |"


def _soak_lines(soaked: Extra) -> Iterator[str]:
    yield ""
    yield "`fastvrrp bench soak`: a master and its backup are asked for metrics, reloaded, and a"
    yield "script and a link of a few virtual routers on cables of their own fail now and then. No"
    yield "other virtual router may change, and memory (PSS) may not grow by more than 2 %."
    yield from _table_lines(soaked)


def _table_lines(extra: Extra) -> Iterator[str]:
    """What has rows and faults, as Soaked and Scraped have."""
    yield from _extra_lines(extra)
    for each in extra.results:
        yield ""
        yield "| | |"
        yield "|---|---|"
        yield from (f"| {label} | {text} |" for label, text in each.rows())
        yield ""
        yield "; ".join(f"**missed**: {fault}" for fault in each.faults()) or "All as it has to be."


def _judged(goal: Goal, figures: Mapping[str, Figures], others: Mapping[str, Figures]) -> str:
    metric = METRIC[goal.key]
    figure = f"{metric.label} ({metric.unit or 'count'})"
    if not figures:
        return f"| {goal.case.name} | {figure} | {goal.text()} | | | **not measured** |"
    ours = figures["fastvrrp"]
    theirs = figures["keepalived"].values.get(goal.key) if "keepalived" in figures else None
    measured = goal.measured(figures, others)
    text = metric.text(ours.values.get(goal.key))
    if measured is None:
        why = ours.reason(goal.key) if goal.key not in ours.values else "nothing to compare with"
        verdict = f"**not met**: {why}"
    else:
        if goal.is_relative:
            text += f" ({measured:.2f})"
        verdict = "met" if measured <= goal.limit else "**missed**"
    return (
        f"| {goal.case.name} | {figure} | {goal.text()} | {text} | {metric.text(theirs)} |"
        f" {verdict} |"
    )


def _table(each: Measured) -> Iterator[str]:
    kinds = list(each.runs)
    longest = max(len(done) for done in each.runs.values())
    runs = f"median of {longest} runs" if longest > 1 else "1 run"
    yield ""
    yield f"### {each.case.name}"
    yield ""
    yield (
        f"{runs}, {each.duration:g} s each for processor and adverts; {each.on}, load average"
        f" {each.machine.get('load_average', 'unknown')} before."
    )
    figures_of = each.figures
    for kind, figures in figures_of.items():
        if figures.failure:
            yield ""
            yield f"**{kind} failed**: {figures.failure.splitlines()[0]}"
    yield ""
    yield f"| | unit | {' | '.join(kinds)} | in C |"
    yield f"|---|---|{'---|' * len(kinds)}---|"
    floor = dict(zip(("sent_cost", "received_cost"), each.floor or (), strict=False))
    for metric in METRICS:
        cells = [
            metric.text(f.values[metric.key]) if metric.key in f.values else f.reason(metric.key)
            for f in figures_of.values()
        ]
        in_c = metric.text(floor[metric.key]) if metric.key in floor else ""
        yield f"| {metric.label} | {metric.unit} | {' | '.join(cells)} | {in_c} |"
