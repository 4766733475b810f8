"""`fastvrrp events`: changes of state of a running daemon, as they come."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from fastvrrp.cli.looking import RESTARTED, STATUSES, add_daemon, add_name, keep_looking

if TYPE_CHECKING:
    from fastvrrp.observe.view import View

    Event = dict[str, Any]

PAUSE = 0.02
"""Seconds between two looks: what the ring remembers is enough for eight times as many changes as
were ever seen in one."""
RECENT = 20


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "events",
        help="print changes of state of the running daemon",
        description="Prints the last changes of state, and split brains; with --follow also those"
        " that come, until it is interrupted, also of a daemon that is started again.",
        epilog="examples: fastvrrp events --last 100; fastvrrp events --follow --json 'VI_1*'."
        f" {STATUSES}",
    )
    add_name(parser, "only of this one, or of this pattern's", is_optional=True, metavar="NAME")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with those that come")
    parser.add_argument(
        "--last",
        type=int,
        default=RECENT,
        metavar="NUMBER",
        help="how many that have been to begin with (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON each")
    add_daemon(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print them; the exit status (looking.STATUSES)."""
    return keep_looking(arguments, lambda view: _print(view, arguments))


def _print(view: View, arguments: argparse.Namespace) -> int:
    for event in events(view, max(arguments.last, 0), follows=arguments.follow):
        name = event.get("name", arguments.name)  # what was lost may have been anybody's
        if arguments.name and name != arguments.name and not fnmatchcase(name, arguments.name):
            continue
        print(json.dumps(event, ensure_ascii=False) if arguments.json else text(event), flush=True)
    arguments.last = 1 << 30  # all of the daemon that comes next
    return RESTARTED if arguments.follow else 0


def events(view: View, last: int, *, follows: bool) -> Iterator[Event]:
    """The last so many events, then those that come until the daemon ends. Where some came faster
    than they were read there is one that only says `lost`."""
    from fastvrrp._engine import NOTE_NAMES
    from fastvrrp._table import RING
    from fastvrrp.model import State

    segment = view.segment
    names = segment.names()
    done = max(segment.last_event - min(last, RING), 0)
    while True:
        for found in segment.events_after(done):
            if found["number"] > done + 1 and done:
                yield {"lost": found["number"] - done - 1}
            done = found["number"]
            index = found["router"]
            record = segment.read(index)
            if record is not None:
                names[index] = record["name"]
            event = {
                "time": round((found["at"] + view.wall_offset) / 1e9, 6),
                "name": names.get(index, f"#{index}"),
                "event": NOTE_NAMES[found["kind"]],
                "before": State(found["before"]).name,
                "after": State(found["after"]).name,
                "priority": found["priority"],
            }
            if found["source"]:
                event["master"] = str(ip_address(found["source"]))
            yield event
        if segment.last_event > done:
            continue
        if not follows or not view.is_current:
            return
        time.sleep(PAUSE)


def text(event: Event) -> str:
    """For a person."""
    from fastvrrp.config.complaints import printable

    if "lost" in event:
        return f"... {event['lost']} events came faster than they could be read"
    at = datetime.fromtimestamp(event["time"], UTC).astimezone()
    stamp = at.isoformat(sep=" ", timespec="milliseconds")
    if event["event"] == "SPLIT_BRAIN":
        what = "split brain: another master does not yield"
    elif event["event"] == "SPLIT_BRAIN_OVER":
        what = "split brain is over"
    else:
        what = f"{event['before']} -> {event['after']} ({CAUSES[event['event']]})"
    if "master" in event:
        what += f", master {event['master']}"
    return printable(f"{stamp}  {event['name']}  {what}, priority {event['priority']}")


CAUSES = {
    "START": "everything it needs is there",
    "TIMER": "its deadline came",
    "ADVERT": "an advertisement was heard",
    "FAIL": "something it needs is gone",
    "STOP": "it was stopped",
    "PROMOTE": "its sync group becomes master",
    "DEMOTE": "its sync group is master no more",
    "RESIGN": "it was told to resign",
}
"""What each event of the state machine is, for a person."""
