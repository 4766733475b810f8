"""What a person sees meanwhile, and the table at the end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table

from fastvrrp.bench.case import Case
from fastvrrp.bench.figures import METRICS, Figures
from fastvrrp.bench.flood import Flooded, flood_rows
from fastvrrp.bench.load import Load
from fastvrrp.bench.reading import METRICS as READING_METRICS
from fastvrrp.bench.reading import MeasuredCase, ratio_text
from fastvrrp.bench.scraping import Scraped
from fastvrrp.bench.setting import Say
from fastvrrp.bench.soak import Soaked

console = Console(highlight=False)

MOST_ERRORS = 20


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


def show_load(load: Load, interfaces: Sequence[str], result: Mapping[str, Any]) -> None:
    """What was sent, and what was answered."""
    sent, answered = result["sent"], result["answered"]
    table = Table(title=f"{load.kind}: {load.routers:,} virtual routers on {', '.join(interfaces)}")
    table.add_column("")
    table.add_column("", justify="right")
    times = ", ".join(
        f"{name} {value:,.1f}"
        for name, value in answered["takeover_ms"].items()
        if value is not None
    )
    last = answered["last_announcement_s"]
    for name, value in (
        ("packets sent", f"{sent['packets']:,} in {sent['seconds']:.2f} s"),
        ("a second", f"{sent['packets_a_second']:,.0f}"),
        ("refused by this kernel", f"{sent['refused_by_kernel']:,}"),
        ("adverts heard", f"{answered['adverts']:,}"),
        ("of virtual routers", f"{answered['routers']:,}"),
        ("speaking before", f"{answered['speaking_before']:,}"),
        ("transitions: began to speak", f"{answered['began']:,}"),
        ("transitions: stopped", f"{answered['stopped']:,}"),
        ("longest gap of one (ms)", f"{answered['longest_gap_ms'] or 0:,.1f}"),
        ("took over from us", f"{answered['takeover_routers']:,}"),
        ("after (ms)", times or "-"),
        ("gratuitous ARP and neighbour advertisements", f"{answered['announcements']:,}"),
        ("the last of them, from our begin (s)", "-" if last is None else f"{last:.2f}"),
        ("packets that passed unseen", f"{result['unseen']:,}"),
    ):
        table.add_row(name, value)
    console.print(table)


def show_floods(case: Case, done: Sequence[Flooded]) -> None:
    """A column a daemon."""
    table = Table(title=f"{case.name} interfaces, all masters, flooded", title_justify="left")
    table.add_column("")
    for each in done:
        table.add_column(f"{each.kind} {each.version}", justify="right")
    for label, cells in flood_rows(done):
        table.add_row(label, *cells)
    console.print(table)


def show_soak(soaked: Soaked) -> None:
    """What it was like, and what should have been otherwise."""
    _show_rows(f"fastvrrp {soaked.version}, for a long time", soaked.rows())
    for line in soaked.errors[:MOST_ERRORS]:
        console.print(line, markup=False, soft_wrap=True)
    _show_faults(soaked.faults())


def show_scraped(scraped: Scraped) -> None:
    """What scrapes cost, and what misses its goal."""
    _show_rows(f"fastvrrp {scraped.version}, asked for its metrics", scraped.rows())
    _show_faults(scraped.faults())


def _show_rows(title: str, rows: Iterable[tuple[str, str]]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    for label, text in rows:
        table.add_row(label, text)
    console.print(table)


def _show_faults(faults: Iterable[str]) -> None:
    for fault in faults:
        console.print(f"[bold red]not as it has to be:[/] {fault}")


def _ratio(ours: float | None, theirs: float | None) -> str:
    if ours is None or not theirs or ours < 0 or theirs < 0:
        return ""
    return f"{ours / theirs:.2f}"
