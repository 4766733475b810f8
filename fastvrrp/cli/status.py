"""`fastvrrp status [NAME|GLOB]`: every virtual router of a running daemon, at a glance."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fastvrrp.cli.looking import (
    RESTARTED,
    add_command,
    add_name,
    ago,
    duration,
    keep_looking,
    look,
    matching,
    say_unknown,
)

if TYPE_CHECKING:
    from fastvrrp.observe.view import View

    Row = dict[str, Any]

STATES = ("MASTER", "BACKUP", "FAULT", "INIT")
FEW = 40
"""Virtual routers of which all are shown without being asked for."""
WATCH_INTERVAL = 1.0
CLEAR = "\x1b[H\x1b[2J"
COLUMNS = ("NAME", "STATE", "SINCE", "PRIORITY", "INTERFACE", "VRID", "FAMILY", "MASTER")


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "status",
        run,
        help="show the virtual routers of the running daemon",
        description="Shows how many virtual routers are in which state, then those with which"
        f" something is not as configured, then all others where they are no more than {FEW} or"
        " are asked for by a name, a pattern, a state or --all. Reads what the daemon shows, and"
        " costs it nothing.",
        examples=(
            "fastvrrp status",
            "fastvrrp status 'VI_1*'",
            "fastvrrp status --state MASTER",
            "fastvrrp status --json | jq .routers",
        ),
    )
    add_name(parser, "a name, or a pattern as of a shell", is_optional=True, metavar="NAME")
    parser.add_argument("--state", choices=STATES, help="only those in this state")
    parser.add_argument("--all", action="store_true", help="all, however many they are")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print everything as JSON")
    output.add_argument("--watch", action="store_true", help="show it anew every second")


def run(arguments: argparse.Namespace) -> int:
    """Show it; the exit status (looking.STATUSES)."""
    if not arguments.watch:
        return look(arguments, lambda view: show(view, arguments))
    return keep_looking(arguments, lambda view: _watch(view, arguments))


def show(view: View, arguments: argparse.Namespace) -> int:
    """Print it once."""
    rows, known = rows_of(view, arguments)
    if arguments.name is not None and not rows and arguments.state is None:
        return say_unknown(arguments.name, known)
    if arguments.json:
        rows = in_order(rows)
        print(json.dumps({**summary(view, rows), "routers": rows}, ensure_ascii=False))
        return 0
    is_asked = arguments.all or arguments.name is not None or arguments.state is not None
    print("\n".join(lines(view, rows, shows_all=is_asked or len(rows) <= FEW)))
    return 0


def _watch(view: View, arguments: argparse.Namespace) -> int:
    while view.is_current:
        rows, _ = rows_of(view, arguments)
        shows_all = arguments.all or len(rows) <= FEW
        text = "\n".join(lines(view, rows, shows_all=shows_all))
        sys.stdout.write(f"{CLEAR if sys.stdout.isatty() else ''}{text}\n")
        sys.stdout.flush()
        time.sleep(WATCH_INTERVAL)
    return RESTARTED


def rows_of(view: View, arguments: argparse.Namespace) -> tuple[list[Row], list[str]]:
    """What is to be shown, and the names of all."""
    from fastvrrp.observe.facts import brief

    details = view.details()
    routers = view.routers()
    rows = [brief(view, each, details) for each in matching(routers, arguments.name)]
    if arguments.state is not None:
        rows = [row for row in rows if row["state"] == arguments.state]
    return rows, [each["name"] for each in routers]


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Sorted by name, as a person counts."""
    return sorted(rows, key=lambda row: natural(row["name"]))


def natural(name: str) -> list[tuple[int, int, str]]:
    """What sorts VI_9 before VI_10."""
    parts: list[tuple[int, int, str]] = []
    word = ""
    for character in [*name, ""]:
        if word and (not character or character.isdigit() != word[-1].isdigit()):
            is_number = word.isdecimal() and word.isascii()
            parts.append((0, int(word), "") if is_number else (1, 0, word))
            word = ""
        word += character
    return parts


def summary(view: View, rows: Sequence[Row]) -> Row:
    """Of the whole: the daemon, and how many are in which state."""
    totals = view.segment.totals()
    counts = Counter(row["state"] for row in rows)
    return {
        "version": totals["version"],
        "pid": view.segment.pid,
        "started": round((totals["started_at"] + view.wall_offset) / 1e9, 3),
        "states": {state: counts[state] for state in STATES},
        "in_trouble": sum(bool(row["troubles"]) for row in rows),
        "drained": sum(row["restraint"] == "drained" for row in rows),
        "resigned": sum(row["restraint"] == "resigned" for row in rows),
        "reloads_refused": totals["reloads_refused"],
        "last_reload_successful": totals["reloaded_at"] == totals["reload_done_at"],
    }


def lines(view: View, rows: Sequence[Row], *, shows_all: bool) -> Iterator[str]:
    """For a person."""
    from fastvrrp.config.complaints import printable

    whole = summary(view, rows)
    up = duration(time.time() - whole["started"])
    yield f"fastvrrp {whole['version']}, pid {whole['pid']}, up {up}"
    counts = ", ".join(f"{count} {state}" for state, count in whole["states"].items() if count)
    yield f"{len(rows)} virtual router{'s' if len(rows) != 1 else ''}: {counts or 'none'}"
    if not whole["last_reload_successful"]:
        yield "The last reload was refused: what runs is not what the configuration says now."
    if whole["drained"]:
        yield f"{whole['drained']} drained, and not to be master until 'fastvrrp undrain'."
    if whole["resigned"]:
        yield f"{whole['resigned']} resigned, and not to preempt for now."
    troubled = in_order(row for row in rows if row["troubles"])
    well = [row for row in rows if not row["troubles"]]
    if troubled:
        yield ""
        yield f"Not as configured ({len(troubled)}):"
        width = max(len(row["name"]) for row in troubled)
        for row in troubled:
            what = "; ".join(row["troubles"])
            yield printable(f"  {row['name']:{width}}  {row['state']:6}  {what}")
    if not shows_all:
        yield ""
        yield f"{len(well)} are well: --all, a name or --state shows them."
    elif well:
        yield ""
        yield from map(printable, table(in_order(well)))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Rows under the heads of their columns."""
    cells = [COLUMNS, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(COLUMNS))]
    for row in cells:
        texts = (f"{text:{width}}" for text, width in zip(row, widths, strict=True))
        yield "  ".join(texts).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    place = f"{row['interface']}@{row['namespace']}" if row["namespace"] else row["interface"]
    return (
        row["name"],
        row["state"],
        ago(row["since"]),
        str(row["priority"]),
        place,
        str(row["vrid"]),
        row["family"],
        row["master"] or "-",
    )
