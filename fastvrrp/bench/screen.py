"""What a person sees meanwhile, and the table at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from fastvrrp.bench.case import Case
from fastvrrp.bench.figures import METRICS, Figures
from fastvrrp.bench.lab import Say
from fastvrrp.bench.reading import METRICS as READING_METRICS
from fastvrrp.bench.reading import MeasuredCase, ratio_text

console = Console(highlight=False)


@contextmanager
def progress() -> Iterator[Say]:
    """A line with what is going on; on a terminal one line, otherwise one for each stage."""
    if not console.is_terminal:
        last = ""

        def tell(text: str) -> None:
            nonlocal last
            stage = text.partition(" (")[0]
            if stage != last:
                last = stage
                console.print(stage)

        yield tell
        return
    with console.status("") as status:
        yield status.update


def show(case: Case, machine: dict[str, str], measured: Sequence[Figures]) -> None:
    """The table; with two daemons, how many times the second one's figure the first one's is."""
    title = f"{case.name} interfaces, advert interval {case.interval:g} s"
    table = Table(title=title, title_justify="left", caption="; ".join(machine.values()))
    table.add_column("")
    table.add_column("unit")
    for each in measured:
        runs = f"median of {each.runs}" if each.runs > 1 else "1 run"
        table.add_column(f"{each.kind} {each.version}\n{runs}", justify="right")
    if len(measured) == 2:
        table.add_column("ratio", justify="right")
    remarks: list[str] = []
    for metric in METRICS:
        cells = []
        for each in measured:
            value = each.values.get(metric.key)
            cells.append(metric.text(value))
            if value is None:
                why = each.reason(metric.key)
                cells[-1] = "not supported" if why.startswith("not supported") else "-"
                remarks.append(f"{each.kind}, {metric.label}: {why}")
        if len(measured) == 2:
            cells.append(_ratio(*(each.values.get(metric.key) for each in measured)))
        table.add_row(metric.label, metric.unit, *cells)
    console.print(table)
    for remark in remarks:
        console.print(remark)
    for each in measured:
        if each.failure:
            console.print(f"[bold red]{each.kind} failed:[/] {each.failure}")


def show_readings(machine: dict[str, str], measured: Sequence[MeasuredCase]) -> None:
    """The table of `fastvrrp bench config`, and what became of the goals."""
    for each in measured:
        caption = "; ".join(machine.values())
        table = Table(title=each.case.name, title_justify="left", caption=caption)
        table.add_column("")
        table.add_column("unit")
        for reading in each.readings:
            runs = f"median of {reading.runs}" if reading.runs > 1 else "1 run"
            table.add_column(f"{reading.kind} {reading.version}\n{runs}", justify="right")
        table.add_column("ratio", justify="right")
        for metric in READING_METRICS:
            cells = [metric.text(reading.values[metric.key]) for reading in each.readings]
            ratio = ratio_text(each.ratio(metric.key))
            table.add_row(metric.label, metric.unit, *cells, ratio)
        console.print(table)
        for goal in each.goals():
            console.print(f"{goal.key}, {goal.text()}: {goal.verdict(each.readings)}")


def _ratio(ours: float | None, theirs: float | None) -> str:
    if ours is None or not theirs or ours < 0 or theirs < 0:
        return ""
    return f"{ours / theirs:.2f}"
