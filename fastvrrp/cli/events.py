"""`fastvrrp events`: what happens to virtual routers and virtual servers of a running daemon."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from heapq import merge
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

from fastvrrp.cli.looking import RESTARTED, add_command, add_name, keep_looking

if TYPE_CHECKING:
    from fastvrrp._table import Segment
    from fastvrrp.observe.server_events import Reader
    from fastvrrp.observe.view import View

    Event = dict[str, Any]

PAUSE = 0.02
"""Seconds between two looks: what the ring remembers is enough for eight times as many changes as
were ever seen in one."""
RECENT = 20
GONE = "#?"
"""Instead of the name of one that went with the process that had it."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "events",
        run,
        help="print what happens to virtual routers and virtual servers",
        description="Prints the last changes of state and split brains of virtual routers, and of"
        " virtual servers what their real servers, quorums and sorry servers did; with --follow"
        " also what comes, until it is interrupted, also of a daemon that is started again.",
        examples=(
            "fastvrrp events --last 100",
            "fastvrrp events --follow --json 'VI_1*'",
            "fastvrrp events --follow 192.0.2.1:80",
        ),
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
    trails = Trails(max(arguments.last, 0))
    return keep_looking(arguments, lambda view: _print(view, arguments, trails))


def _print(view: View, arguments: argparse.Namespace, trails: Trails) -> int:
    is_wanted = _filter(arguments.name)
    for event in events(view, trails, follows=arguments.follow, is_wanted=is_wanted):
        said = json.dumps(event, ensure_ascii=False) if arguments.json else text(event)
        print(said, flush=True)
    return RESTARTED if arguments.follow else 0


def _filter(pattern: str | None) -> Callable[[Event], bool]:
    """Which events a pattern asks for. What was lost may have been anybody's."""
    if pattern is None:
        return lambda event: True
    from fastvrrp.observe.server_facts import is_called

    def is_wanted(event: Event) -> bool:
        if "lost" in event:
            return True
        name: str = event["name"]
        if "priority" in event:  # of a virtual router
            return name == pattern or fnmatchcase(name, pattern)
        return is_called(name, pattern)

    return is_wanted


class Ring(Protocol):
    """Remembers the last events, which have numbers."""

    def events_after(self, number: int, most: int = ...) -> list[Event]: ...


class Trails:
    """How far all events were followed, to begin with the last so many."""

    def __init__(self, last: int) -> None:
        self.routers = Trail()
        self.servers = Trail()
        self._last: int | None = last

    def first(self, events: list[Event]) -> list[Event]:
        """Of what is found first as many as are wanted; of everything later, all."""
        last, self._last = self._last, None
        return events if last is None else events[max(len(events) - last, 0) :]


class Trail:
    """How far the events of one kind were followed, also over daemons that follow one another."""

    def __init__(self) -> None:
        self._has_begun = False
        self._seen: tuple[int, int] | None = None
        """Number and time of the last one."""

    def take(self, event: Event) -> None:
        """That one was followed."""
        self._seen = event["number"], event["at"]

    def start(self, ring: Ring) -> int | None:
        """The number of the event after which a ring is to be read; None in the beginning, when
        whatever it remembers is to be read and nothing is missed. One that takes over from another
        one's crash has its events too, and one that does not is read as a whole."""
        if not self._has_begun:
            self._has_begun = True
            return None
        if self._seen is None:
            return 0
        number = self._seen[0]
        same = ring.events_after(number - 1, 1)
        if not same:
            return 0
        is_forgotten = same[0]["number"] > number  # as much as was lost, at least
        is_heir = is_forgotten or (same[0]["number"], same[0]["at"]) == self._seen
        return number if is_heir else 0


def events(
    view: View,
    trails: Trails,
    *,
    follows: bool,
    is_wanted: Callable[[Event], bool] = lambda event: True,
) -> Iterator[Event]:
    """The events that are wanted from where the trails begin until the daemon ends, or those that
    there are now. Where some came faster than they were read there is one that only says `lost`."""
    happened = RouterEvents(view, trails.routers), ServerEvents(view, trails.servers)
    try:
        while True:
            found = list(merge(*(each.take() for each in happened), key=_moment))
            yield from trails.first(list(filter(is_wanted, found)))
            if found:
                continue
            if not follows or not view.is_current:
                return
            time.sleep(PAUSE)
    finally:
        for each in happened:
            each.close()


def _moment(event: Event) -> float:
    moment: float = event["time"]
    return moment


class RouterEvents:
    """Those of virtual routers."""

    def __init__(self, view: View, trail: Trail) -> None:
        self._view = view
        self._trail = trail
        self._names = Names(view.segment)
        self._done = trail.start(view.segment)

    def take(self) -> Iterator[Event]:
        """All that came since the last time."""
        # Whose an event is before a gap nobody knows.
        found = _behind_gaps(_since(self._view.segment, self._done))
        if found and _is_gap(self._done, found[0]):
            self._names.forget()
            yield _lost(self._view, found[0], self._done)
        for name, each in zip(self._names.of(found), found, strict=True):
            self._done = each["number"]
            self._trail.take(each)
            yield _event(self._view, name, each)
        self._done = self._done or 0

    def close(self) -> None:
        return


class ServerEvents:
    """Those of virtual servers."""

    def __init__(self, view: View, trail: Trail) -> None:
        self._view = view
        self._trail = trail
        self._ring: Reader = view.server_events()
        self._done = trail.start(self._ring)

    def take(self) -> Iterator[Event]:
        """All that came since the last time."""
        from fastvrrp.cli.pools import event_facts

        for each in _since(self._ring, self._done):
            if _is_gap(self._done, each):
                yield _lost(self._view, each, self._done)
            self._done = each["number"]
            self._trail.take(each)
            if each["event"] is not None:
                yield {"time": _time(self._view, each), **event_facts(each["event"])}
        self._done = self._done or 0

    def close(self) -> None:
        self._ring.close()


def _since(ring: Ring, done: int | None) -> list[Event]:
    """All that are remembered of what came after an event, or of everything."""
    found: list[Event] = []
    while more := ring.events_after(found[-1]["number"] if found else done or 0):
        found += more
    return found


def _is_gap(done: int | None, found: Event) -> bool:
    """Whether some between that one and this one were lost."""
    number: int = found["number"]
    return done is not None and number > done + 1


def _behind_gaps(found: Sequence[Event]) -> Sequence[Event]:
    """Those of which none in between was lost, up to the last one."""
    for at in range(len(found) - 1, 0, -1):
        if _is_gap(found[at - 1]["number"], found[at]):
            return found[at:]
    return found


def _lost(view: View, found: Event, done: int | None) -> Event:
    """Says how many were lost, right before the next one."""
    return {"time": _time(view, found), "lost": found["number"] - (done or 0) - 1}


def _time(view: View, found: Event) -> float:
    at: int = found["at"]
    return round((at + view.wall_offset) / 1e9, 6)


def _event(view: View, name: str, found: Event) -> Event:
    from fastvrrp._engine import NOTE_NAMES
    from fastvrrp.model import State

    event = {
        "time": _time(view, found),
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
            names.append(name or (f"#{index}" if index < self._segment.extent else GONE))
            left[index] -= each["kind"] == stop
        # Those of whom nothing has been heard yet may be heard of no sooner than when they stop.
        self._known.update(self._at_first)
        self._at_first = {}
        self._known.update({index: name for index, name in now.items() if name})
        return names

    def _name(self, index: int) -> str | None:
        if index >= self._segment.extent:  # of one that went with a process that has died
            return None
        record = self._segment.read(index)
        return None if record is None else record["name"]


def text(event: Event) -> str:
    """For a person."""
    from fastvrrp.cli.pools import event_text
    from fastvrrp.config.complaints import printable

    if "lost" in event:
        what = "1 event" if event["lost"] == 1 else f"{event['lost']} events"
        return f"... {what} came faster than they could be read"
    at = datetime.fromtimestamp(event["time"], UTC).astimezone()
    stamp = at.isoformat(sep=" ", timespec="milliseconds")
    said = event_text(event)
    if said is not None:
        return printable(f"{stamp}  {event['name']}  {said}")
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
