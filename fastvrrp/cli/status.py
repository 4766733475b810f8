"""`fastvrrp status [NAME|GLOB]`: the virtual routers and virtual servers of a running daemon, at a
glance."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from fastvrrp.cli import pools as cli_pools
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
    from fastvrrp.observe.servers import Servers, VirtualServerState
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
        help="show the virtual routers and virtual servers of the running daemon",
        description="Shows how many virtual routers are in which state and how many virtual servers"
        " are below their quorum, then those with which something is not as configured, then all"
        f" others where they are no more than {FEW} or are asked for by a name, a pattern, a state"
        " or --all. Reads what the daemon shows, and costs it nothing.",
        examples=(
            "fastvrrp status",
            "fastvrrp status 'VI_1*'",
            "fastvrrp status --state MASTER",
            "fastvrrp status --json | jq .routers",
        ),
    )
    add_name(parser, "a name, or a pattern as of a shell", is_optional=True, metavar="NAME")
    parser.add_argument("--state", choices=STATES, help="only virtual routers in this state")
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
    shown, pools = pools_of(view, arguments)
    if arguments.name is not None and not rows and not pools and arguments.state is None:
        known += (pool.words.name for pool in shown.virtual_servers)
        return say_unknown(arguments.name, known)
    if arguments.json:
        print(json.dumps(_as_json(view, in_order(rows), shown, pools), ensure_ascii=False))
        return 0
    is_asked = arguments.all or arguments.name is not None or arguments.state is not None
    shows_all = is_asked or len(rows) + len(pools) <= FEW
    print("\n".join(lines(view, rows, shown, pools, shows_all=shows_all)))
    return 0


def _as_json(
    view: View, rows: Sequence[Row], shown: Servers, pools: Sequence[VirtualServerState]
) -> Row:
    from fastvrrp.observe import server_facts

    found = {**summary(view, rows), "routers": rows}
    if shown.virtual_servers:
        found["pools"] = {
            **server_facts.summary(pools),
            "checks_run": shown.is_alive,
        }
        found["virtual_servers"] = [
            server_facts.facts_of(pool, shown, view.wall_offset) for pool in pools
        ]
    return found


def _watch(view: View, arguments: argparse.Namespace) -> int:
    while view.is_current:
        rows, _ = rows_of(view, arguments)
        shown, pools = pools_of(view, arguments)
        shows_all = arguments.all or len(rows) + len(pools) <= FEW
        text = "\n".join(lines(view, rows, shown, pools, shows_all=shows_all))
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


def pools_of(view: View, arguments: argparse.Namespace) -> tuple[Servers, list[VirtualServerState]]:
    """What is shown of virtual servers, and those of them that are asked for; nothing where only
    virtual routers are."""
    from fastvrrp.observe.server_facts import matching as matching_pools
    from fastvrrp.observe.servers import Servers

    if arguments.state is not None:
        return Servers(), []
    shown = view.servers()
    found = matching_pools(shown, arguments.name)
    return shown, sorted(found, key=lambda pool: natural(pool.words.name))


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


def lines(
    view: View,
    rows: Sequence[Row],
    shown: Servers,
    pools: Sequence[VirtualServerState],
    *,
    shows_all: bool,
) -> Iterator[str]:
    """For a person."""
    from fastvrrp.config.complaints import printable
    from fastvrrp.observe.server_facts import troubles_of

    whole = summary(view, rows)
    up = duration(time.time() - whole["started"])
    yield f"fastvrrp {whole['version']}, pid {whole['pid']}, up {up}"
    counts = ", ".join(f"{count} {state}" for state, count in whole["states"].items() if count)
    if rows or not shown.virtual_servers:
        yield f"{len(rows)} virtual router{'s' if len(rows) != 1 else ''}: {counts or 'none'}"
    yield from cli_pools.heading(shown, pools)
    if not whole["last_reload_successful"]:
        yield "The last reload was refused: what runs is not what the configuration says now."
    if whole["drained"]:
        yield f"{whole['drained']} drained, and not to be master until 'fastvrrp undrain'."
    if whole["resigned"]:
        yield f"{whole['resigned']} resigned, and not to preempt for now."
    troubled = in_order(row for row in rows if row["troubles"])
    well = [row for row in rows if not row["troubles"]]
    troubles = [
        (row["name"], f"{row['state']:6}  {'; '.join(row['troubles'])}") for row in troubled
    ]
    troubles += cli_pools.troubles(pools, view.wall_offset)
    if troubles:
        yield ""
        yield f"Not as configured ({len(troubles)}):"
        width = max(len(name) for name, _ in troubles)
        for name, what in troubles:
            yield printable(f"  {name:{width}}  {what}")
    if not shows_all:
        healthy = len(well) + sum(not any(troubles_of(pool)) for pool in pools)
        yield ""
        yield f"{healthy} are well: --all, a name or --state shows them."
        return
    if well:
        yield ""
        yield from map(printable, table([COLUMNS, *map(_cells, in_order(well))]))
    if pools:
        yield ""
        yield from map(printable, table(list(cli_pools.rows(pools, view.wall_offset))))


def table(cells: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows, of which the first has the heads of their columns."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
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
