"""Which processes are tracked, how many of each there are, and whether those are enough.

A process is known by the name of its program (`/proc/PID/comm`) or, where its parameters count too,
by its command line. A zombie is no process, and a thread is none either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, partial
from pathlib import Path

from fastvrrp.model import Nanoseconds, ParameterMatch, TrackProcess

PROC = Path("/proc")


class Event(Enum):
    """What changed the count of a process."""

    FORK = 1
    EXEC = 2
    """Or another name."""
    EXIT = 3


class Process:
    """What is known of one process, read when it is asked for. Nothing where it is gone."""

    def __init__(self, pid: int) -> None:
        self._folder = PROC / str(pid)

    @cached_property
    def name(self) -> str:
        """The name of its program: 15 characters at most."""
        return self._read("comm").removesuffix("\n")

    @cached_property
    def words(self) -> list[str]:
        """Its command line."""
        line = self._read("cmdline")
        return line.removesuffix("\0").split("\0") if line else []

    @cached_property
    def has_ended(self) -> bool:
        """Only its parent does not know yet that it has ended (a zombie), or it is gone."""
        state = self._read("stat").rpartition(")")[2].split()
        return not state or state[0] in ("Z", "X")

    def _read(self, file: str) -> str:
        try:
            return (self._folder / file).read_text(errors="surrogateescape")
        except OSError:
            return ""


def matches(wanted: TrackProcess, process: Process) -> bool:
    """Whether a process is one of those that are tracked.

    Without parameters that is a matter of its name, or with `full_command` of the first word of its
    command line. Otherwise that word is compared, and the others as `param_match` says. With no
    parameter written `param_match` makes no difference, as keepalived 2.2.7 was seen to do.
    """
    if not wanted.parameters and not wanted.full_command:
        return process.name == wanted.process
    words = process.words
    if not words or words[0] != wanted.process:
        return False
    parameters = list(wanted.parameters)
    if not parameters:
        return True
    count = len(parameters)
    if wanted.match == ParameterMatch.INITIAL:
        last = words[count] if len(words) > count else ""
        return words[1:count] == parameters[:-1] and last.startswith(parameters[-1])
    if wanted.match == ParameterMatch.PARTIAL:
        return words[1 : count + 1] == parameters
    return words[1:] == parameters


def processes() -> Iterator[int]:
    """Every process there is."""
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            yield int(entry.name)


@dataclass(slots=True, eq=False)
class Quorum:
    """One tracked process: how many there are, and whether they count as enough."""

    wanted: TrackProcess
    count: int = 0
    is_reached: bool | None = None
    """None until the first census."""
    due: Nanoseconds | None = None
    """When it counts as something else, on the monotonic clock."""

    @property
    def has_enough(self) -> bool:
        most = self.wanted.quorum_max
        return self.wanted.quorum <= self.count and (most is None or self.count <= most)

    def begin(self) -> None:
        """Counts at once: the census is the first, or events were lost."""
        self.is_reached, self.due = self.has_enough, None

    def judge(self, event: Event, now: Nanoseconds) -> None:
        """Looks at the count after an event. What a fork has changed counts after `fork_delay`,
        what an exit has after `terminate_delay`, and what a program's start has at once."""
        if self.has_enough == self.is_reached:
            self.due = None
            return
        if event == Event.EXEC:
            wait = 0
        elif event == Event.FORK:
            wait = self.wanted.fork_delay
        else:
            wait = self.wanted.terminate_delay
        if not wait:
            self.begin()
        elif self.due is None:
            self.due = now + wait

    def pass_time(self, now: Nanoseconds) -> None:
        """Counts what has lasted long enough."""
        if self.due is not None and self.due <= now:
            self.begin()


class Census:
    """All tracked processes and who they are. `on_change` is called with each Quorum that has come
    to count as something else."""

    def __init__(self, wanted: Iterable[TrackProcess], on_change: Callable[[Quorum], None]) -> None:
        """Counts all processes there are."""
        self._quorums = [Quorum(each) for each in wanted]
        self._on_change = on_change
        self._members: dict[int, tuple[Quorum, ...]] = {}
        """What each process counts for, by its id; only of those that count for something."""
        self.count_all()

    def count_all(self) -> None:
        """Counts from the beginning: at first, or when events were lost."""
        self._enumerate()
        for quorum in self._quorums:
            self._watch(quorum, quorum.begin)

    def compare_all(self, now: Nanoseconds) -> None:
        """Looks for what has changed since the last time, where no events tell. More of them is
        like a fork, and fewer like an exit, whoever came and went meanwhile."""
        before = {quorum: quorum.count for quorum in self._quorums}
        self._enumerate()
        for quorum, count in before.items():
            if quorum.count != count:
                event = Event.FORK if quorum.count > count else Event.EXIT
                self._watch(quorum, partial(quorum.judge, event, now))

    def forked(self, parent: int, child: int, now: Nanoseconds) -> None:
        """A process has another one like it."""
        quorums = self._members.get(parent, ())
        if quorums:
            self._replace(child, quorums, Event.FORK, now)

    def changed(self, pid: int, now: Nanoseconds) -> None:
        """A process runs another program, or has another name."""
        after = self._matching(pid)
        if after != self._members.get(pid, ()):
            self._replace(pid, after, Event.EXEC, now)

    def exited(self, pid: int, now: Nanoseconds) -> None:
        """A process has ended."""
        if pid in self._members:
            self._replace(pid, (), Event.EXIT, now)

    def pass_time(self, now: Nanoseconds) -> None:
        """Counts what has lasted long enough."""
        for quorum in self._quorums:
            self._watch(quorum, partial(quorum.pass_time, now))

    def next_due(self) -> Nanoseconds | None:
        """When `pass_time` has something to do; None is never."""
        return min((quorum.due for quorum in self._quorums if quorum.due is not None), default=None)

    def _enumerate(self) -> None:
        self._members.clear()
        for quorum in self._quorums:
            quorum.count = 0
        for pid in processes():
            quorums = self._matching(pid)
            if quorums:
                self._members[pid] = quorums
                for quorum in quorums:
                    quorum.count += 1

    def _matching(self, pid: int) -> tuple[Quorum, ...]:
        process = Process(pid)
        found = tuple(each for each in self._quorums if matches(each.wanted, process))
        return () if found and process.has_ended else found

    def _replace(self, pid: int, after: tuple[Quorum, ...], event: Event, now: Nanoseconds) -> None:
        before = self._members.pop(pid, ())
        if after:
            self._members[pid] = after
        for quorum in before:
            quorum.count -= 1
        for quorum in after:
            quorum.count += 1
        for quorum in dict.fromkeys(before + after):
            self._watch(quorum, partial(quorum.judge, event, now))

    def _watch(self, quorum: Quorum, act: Callable[[], None]) -> None:
        was_reached = quorum.is_reached
        act()
        if quorum.is_reached is not was_reached:
            self._on_change(quorum)
