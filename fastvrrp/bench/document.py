"""docs/performance.md: every case measured, the goals judged, with pictures beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from fastvrrp.bench.case import Case
from fastvrrp.bench.checkout import measure_floor
from fastvrrp.bench.compare import compare, to_json
from fastvrrp.bench.figures import METRIC, METRICS, Figures
from fastvrrp.bench.goals import GOALS, PLANS, Goal, Plan
from fastvrrp.bench.lab import Say
from fastvrrp.bench.machine import describe
from fastvrrp.bench.picture import draw_failover, draw_growth
from fastvrrp.bench.reading import CASES as READING_CASES
from fastvrrp.bench.reading import MeasuredCase
from fastvrrp.bench.reading import measure as measure_readings
from fastvrrp.bench.reading import table as reading_table

GROWTH = ("sent_cost", "received_cost", "overshoot_p99", "masters")


@dataclass(frozen=True)
class Measured:
    """A case with its daemons' figures, by kind, and the limit of the machine."""

    plan: Plan
    figures: Mapping[str, Figures]
    floor: tuple[float, float] | None
    """Microseconds of an advert sent and of one received in C; None where it was not measured."""

    @property
    def case(self) -> Case:
        return self.plan.case


def write(file: Path, only: str, say: Say) -> None:
    """Measures the cases with `only` in their name; writes the document after each of them, so that
    who interrupts it keeps what was measured. Pictures and figures.json go into a folder of its
    name beside it. Raises what `compare` raises."""
    machine = describe()
    reading = [case for case in READING_CASES if only in case.name]
    readings = measure_readings(reading, ["fastvrrp", "keepalived"], 1, say)
    done: list[Measured] = []
    if readings:
        write_down(file, machine, done, readings)
    for plan in PLANS:
        if only in plan.case.name:
            done.append(_measure(plan, say))
            write_down(file, machine, done, readings)


def _measure(plan: Plan, say: Say) -> Measured:
    kinds = ["fastvrrp", *(["keepalived"] if plan.beside_keepalived else [])]
    figures = compare(plan.case, kinds, plan.runs, plan.duration, say, crashes=plan.crashes)
    floor = None
    if plan.case.family == 4 and plan.case.interval == 1 and not plan.case.has_vmac:
        say(f"{plan.case.name}: the same packets in C")
        floor = measure_floor(plan.case)
    return Measured(plan, {each.kind: each for each in figures}, floor)


def write_down(
    file: Path,
    machine: dict[str, str],
    done: list[Measured],
    readings: Sequence[MeasuredCase] = (),
) -> None:
    """Writes the document, and its folder of pictures and figures beside it. Raises OSError."""
    folder = file.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    pictures = [f"{folder.name}/{name}" for name in _draw(done, folder)]
    cases = [to_json(each.case, machine, list(each.figures.values())) for each in done]
    cases += [{"machine": machine, "reading": each.to_json()} for each in readings]
    (folder / "figures.json").write_text(json.dumps(cases, indent=2) + "\n")
    file.write_text("\n".join(_lines(machine, done, readings, pictures)))


def _draw(done: list[Measured], folder: Path) -> Iterator[str]:
    """The names of the pictures it makes."""
    for each in done:
        if len(each.figures) > 1:
            name = f"failover-{each.case.name.replace(',', '').replace(' ', '-')}.svg"
            draw_failover(each.case, list(each.figures.values()), folder / name)
            yield name
    grown = [each for each in done if each.floor is not None]
    for key in GROWTH if len(grown) > 1 else ():
        lines = {
            kind: [
                (each.case.name, max(each.figures[kind].values[key], 0.1))
                for each in grown
                if kind in each.figures and key in each.figures[kind].values
            ]
            for kind in ("fastvrrp", "keepalived")
        }
        metric = METRIC[key]
        draw_growth(lines, metric.label, metric.unit, folder / f"growth-{key}.svg")
        yield f"growth-{key}.svg"


def _lines(
    machine: dict[str, str],
    done: list[Measured],
    readings: Sequence[MeasuredCase],
    pictures: list[str],
) -> Iterator[str]:
    yield "# Performance"
    yield ""
    yield "Written by `make bench`; do not edit. Two daemons in two network namespaces, joined by"
    yield "veth pairs: the master (priority 200) is killed, and its backup (100) takes over. How"
    yield "each figure is taken is in `fastvrrp/bench/lab.py`. Overshoot is the time from a dead"
    yield "master's last advert to the backup's first, less the Master_Down_Interval, on the wire."
    yield "On a veth pair the sender also pays for the receiver's interrupt."
    yield ""
    yield f"Measured on {date.today().isoformat()}:"
    yield from (f"- {what.replace('_', ' ')}: {value}" for what, value in machine.items())
    versions = {kind: f.version for each in done for kind, f in each.figures.items()}
    yield from (f"- {kind} {version}" for kind, version in versions.items())
    yield ""
    yield "## Goals"
    yield ""
    yield "| case | figure | goal | fastvrrp | keepalived | |"
    yield "|---|---|---|---|---|---|"
    for goal in GOALS:
        found = [each.figures for each in done if each.case == goal.case]
        yield _judged(goal, found[0] if found else {})
    yield ""
    if readings:
        yield "## Reading configurations"
        yield ""
        yield "Each in a fresh process that only checks the file, as `fastvrrp bench config` does."
        yield ""
        yield from reading_table(readings)
        yield ""
    yield "## All figures"
    for each in done:
        yield from _table(each)
    yield ""
    yield "## Pictures"
    yield ""
    yield from (f"![{Path(picture).stem}]({picture})" for picture in pictures)
    yield ""


def _judged(goal: Goal, figures: Mapping[str, Figures]) -> str:
    metric = METRIC[goal.key]
    figure = f"{metric.label} ({metric.unit or 'count'})"
    if not figures:
        return f"| {goal.case.name} | {figure} | {goal.text()} | | | **not measured** |"
    ours = figures["fastvrrp"]
    theirs = figures["keepalived"].values.get(goal.key) if "keepalived" in figures else None
    measured = goal.measured(figures)
    text = metric.text(ours.values.get(goal.key))
    if measured is None:
        why = ours.reason(goal.key) if goal.key not in ours.values else "nothing to compare with"
        verdict = f"**not met**: {why}"
    else:
        if goal.is_ratio:
            text += f" ({measured:.2f})"
        verdict = "met" if measured <= goal.limit else "**missed**"
    return (
        f"| {goal.case.name} | {figure} | {goal.text()} | {text} | {metric.text(theirs)} |"
        f" {verdict} |"
    )


def _table(each: Measured) -> Iterator[str]:
    kinds = list(each.figures)
    runs = "median of {} runs" if each.plan.runs > 1 else "{} run"
    yield ""
    yield f"### {each.case.name}"
    yield ""
    yield f"{runs.format(each.plan.runs)}, {each.plan.duration:g} s each for processor and adverts."
    for kind, figures in each.figures.items():
        if figures.failure:
            yield f"**{kind} failed**: {figures.failure.splitlines()[0]}"
    yield ""
    yield f"| | unit | {' | '.join(kinds)} | in C |"
    yield f"|---|---|{'---|' * len(kinds)}---|"
    floor = dict(zip(("sent_cost", "received_cost"), each.floor or (), strict=False))
    for metric in METRICS:
        cells = [
            metric.text(f.values[metric.key]) if metric.key in f.values else f.reason(metric.key)
            for f in each.figures.values()
        ]
        in_c = metric.text(floor[metric.key]) if metric.key in floor else ""
        yield f"| {metric.label} | {metric.unit} | {' | '.join(cells)} | {in_c} |"
