"""`fastvrrp events`: changes of state of a running daemon, as they come."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from fastvrrp.cli.looking import RESTARTED, add_command, add_name, keep_looking

if TYPE_CHECKING:
    from fastvrrp._table import Segment
    from fastvrrp.observe.view import View

    Event = dict[str, Any]

PAUSE = 0.02
"""Seconds between two looks: what the ring remembers is enough for eight times as many changes as
were ever seen in one."""
RECENT = 20


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "events",
        run,
        help="print changes of state of the running daemon",
        description="Prints the last changes of state, and split brains; with --follow also those"
        " that come, until it is interrupted, also of a daemon that is started again.",
        examples=("fastvrrp events --last 100", "fastvrrp events --follow --json 'VI_1*'"),
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
    from fastvrrp._table import RING

    segment = view.segment
    names = Names(segment)
    done = max(segment.last_event - min(last, RING), 0)
    while True:
        found = _since(segment, done)
        if found and done and found[0]["number"] > done + 1:
            names.forget()
            yield {"lost": found[0]["number"] - done - 1}
        for name, each in zip(names.of(found), found, strict=True):
            done = each["number"]
            yield _event(view, name, each)
        if segment.last_event > done:
            continue
        if not follows or not view.is_current:
            return
        time.sleep(PAUSE)


def _since(segment: Segment, done: int) -> list[Event]:
    """All that are remembered of what came after an event."""
    found: list[Event] = []
    while more := segment.events_after(found[-1]["number"] if found else done):
        if found and more[0]["number"] > found[-1]["number"] + 1:
            found.clear()  # overtaken: what is left begins behind a gap
        found += more
    return found


def _event(view: View, name: str, found: Event) -> Event:
    from fastvrrp._engine import NOTE_NAMES
    from fastvrrp.model import State

    event = {
        "time": round((found["at"] + view.wall_offset) / 1e9, 6),
        "name": name,
        "event": NOTE_NAMES[found["kind"]],
        "before": State(found["before"]).name,
        "after": State(found["after"]).name,
        "priority": found["priority"],
    }
    if found["source"]:
        event["master"] = str(ip_address(found["source"]))
    return event


class Names:
    """Whose an event is. The segment has indexes, and one that a reload has freed is another
    virtual router's by and by; the last event of each is that it was stopped."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._known: dict[int, str] = {}
        """By index, as they were at the end of the events before."""
        self._at_first = segment.names()

    def forget(self) -> None:
        """Events were lost: whoever had an index may have it no more."""
        self._known.clear()

    def of(self, events: Sequence[Event]) -> list[str]:
        """The names of those whose events these are, the next ones and all there are: `#7` where
        nobody knows any more who had the index 7."""
        from fastvrrp._engine import NOTE_NAMES

        stop = NOTE_NAMES.index("STOP")
        ends = Counter(each["router"] for each in events if each["kind"] == stop)
        left = ends.copy()
        now = {index: self._name(index) for index in {each["router"] for each in events}}
        names: list[str] = []
        for each in events:
            index = each["router"]
            if not left[index]:
                name = now[index]
            elif left[index] == ends[index]:
                name = self._known.get(index)
            else:
                name = None
            names.append(name or f"#{index}")
            left[index] -= each["kind"] == stop
        # Those of whom nothing has been heard yet may be heard of no sooner than when they stop.
        self._known.update(self._at_first)
        self._at_first = {}
        self._known.update({index: name for index, name in now.items() if name})
        return names

    def _name(self, index: int) -> str | None:
        record = self._segment.read(index)
        return None if record is None else record["name"]


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
