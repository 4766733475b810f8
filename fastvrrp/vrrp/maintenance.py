"""Giving masters away before maintenance, and taking them back.

An administrator wants two things. One or some virtual routers shall *resign*: whoever else there is
becomes master, and ours do not preempt for a while; where nobody else is master they take over, as
a backup does. Or the whole machine is *drained*: all masters are given away, so many a second, and
none becomes master, whatever happens, until that is taken back; what a reload adds neither.

Both are restraints of the state machine (ext/fsm.pyx), so that a virtual router stays in BACKUP and
hears its master. A sync group goes as a whole, and counts as many as it has members.

What is wanted outlives this process: it stands in a file (observe/maintenance.py), which the next
process reads, and which the end of the daemon removes.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Generator, Iterable
from fnmatch import fnmatchcase
from heapq import heappop, heappush
from pathlib import Path
from typing import Protocol

from fastvrrp._engine import Engine
from fastvrrp._fsm import RESTRAINT_NAMES
from fastvrrp._table import Table
from fastvrrp.model import SECOND, State
from fastvrrp.observe import maintenance
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.roster import Roster
from fastvrrp.vrrp.sync_groups import SyncGroups

log = logging.getLogger(__name__)

UNRESTRAINED, YIELDING, ABSTAINING = (
    RESTRAINT_NAMES.index(name) for name in ("UNRESTRAINED", "YIELDING", "ABSTAINING")
)
SLICE = 2_000_000
"""Nanoseconds, as of transitions.py."""
BACKLOG = SECOND // 20
"""How much that a busy machine kept from going in time may go at once."""
FEW = 20
"""Virtual routers that are named in an answer."""
PROGRESS = SECOND
"""Nanoseconds between two lines on how far it is."""
UNKNOWN = "unknown"
"""The value of an answer to who names a virtual router that is not there."""

Steps = Generator[int, None, "Outcome"]
"""Work in small steps: each yields when the next one may be, in nanoseconds of the engine's clock;
0 is at once."""
Outcome = tuple[bool, list[str], object]


class Reply(Protocol):
    """Whoever has asked."""

    def __call__(self, is_ok: bool, lines: list[str], value: object) -> None:
        """Once, at the end."""

    def say(self, line: str) -> None:
        """How far it is."""


class Pace:
    """Lets so many through a second, evenly."""

    def __init__(self, rate: float, now: int) -> None:
        self._gap = SECOND / rate
        self._free_at = float(now)

    def next_at(self, now: int) -> int:
        """When the next may go; 0 where it may."""
        return int(self._free_at) if self._free_at > now else 0

    def take(self, count: int, now: int) -> None:
        """So many go now."""
        self._free_at = max(self._free_at, now - BACKLOG) + count * self._gap


class Maintenance(Follower):
    """Who is not to be master for now. `settle` has what the engine did sent and told."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        engine: Engine,
        table: Table,
        roster: Roster,
        groups: SyncGroups,
        clock: Callable[[], int],
        settle: Callable[[], object],
        path: Path,
        is_followed: Callable[[], bool] = lambda: False,
    ) -> None:
        """`path` is of the file, which stays at the end where another process will follow this
        one: `is_followed` is asked then."""
        self._loop = loop
        self._engine = engine
        self._table = table
        self._roster = roster
        self._groups = groups
        self._clock = clock
        self._settle = settle
        self._path = path
        self._is_followed = is_followed
        self._drain_rate: float | None = None
        """Masters a second; None where nothing is drained."""
        self._until: dict[int, int] = {}
        """Until when those that have resigned yield, by index."""
        self._ends: list[tuple[int, int]] = []
        """A heap of the same; what is not in `_until` any more has no effect."""
        self._alarm: asyncio.TimerHandle | None = None
        self._work: dict[int, tuple[Steps, Reply | None]] = {}
        """What is under way, by number."""
        self._handles: dict[int, asyncio.Handle] = {}
        self._numbers = 0
        self._found: maintenance.Maintenance | None = None
        """What the process before this one has left, until all have entered."""
        try:
            self._found = maintenance.read(path)
        except (OSError, ValueError, LookupError, TypeError) as error:
            log.error("%s: %s; nothing is drained", path, error)
            self._found = maintenance.Maintenance()  # the damaged one is erased with that
        else:
            self._drain_rate = self._found.drain_rate

    @property
    def is_under_way(self) -> bool:
        """Whether masters are being given away, or taken back, one after the other."""
        return bool(self._work)

    # --- what is asked for ------------------------------------------------------------------------

    def resign(self, pattern: str, seconds: float, rate: float, reply: Reply) -> None:
        """Lets all of that name, or pattern as of a shell, resign, and not preempt for so many
        seconds afterwards; so many masters a second."""
        self._begin(self._resign(pattern, int(seconds * SECOND), rate), reply)

    def drain(self, rate: float, reply: Reply) -> None:
        """Gives all masters away, so many a second, and lets nobody become one."""
        self._break_off("the daemon was told to drain")
        log.info("Draining: masters are given away, %g a second", rate)
        self._forget_ends()
        self._drain_rate = rate
        self._erase()
        self._write(maintenance.drained(rate))
        self._begin(self._drain(rate, reply.say), reply)

    def undrain(self, rate: float, reply: Reply) -> None:
        """Lets all take part again; those that will preempt so many a second."""
        self._break_off("the daemon was told to take masters back")
        log.info("Taking masters back, %g a second", rate)
        self._forget_ends()
        self._drain_rate = None
        self._erase()
        self._begin(self._undrain(rate, reply.say), reply)

    def _resign(self, pattern: str, duration: int, rate: float) -> Steps:
        matching: dict[int, Instance] = {}
        for instance in list(self._roster.instances.values()):
            name = instance.model.name
            if name == pattern or fnmatchcase(name, pattern):
                matching[instance.index] = instance
            yield 0
        if not matching:
            return False, [f"the daemon has no virtual router {pattern}"], UNKNOWN
        if self._drain_rate is not None:
            return False, ["the daemon is drained: nothing is master, or to be"], None
        pace = Pace(rate, self._clock())
        were_master: list[str] = []
        done: set[int] = set()
        for instance in matching.values():
            if instance.index in done:
                continue
            if self._are_master(self._unit(instance)):
                yield from self._wait(pace, instance)
            members = self._unit(instance)
            done.update(each.index for each in members)
            for each in members:
                self._yield_for(each, duration)
            were_master += self._give_away(members)
            yield 0
        lines = [f"{name} was master, and has resigned" for name in were_master[:FEW]]
        if len(were_master) > FEW:
            lines.append(f"... and {len(were_master) - FEW} more")
        others = len(done) - len(were_master)
        if others:
            lines.append(f"{others} {_were(others)} not master")
        if duration:
            what = "It does" if len(done) == 1 else "They do"
            lines.append(f"{what} not preempt for {duration / SECOND:g} s")
        return True, lines, {"resigned": len(were_master), "others": others}

    def _drain(self, rate: float, say: Callable[[str], object]) -> Steps:
        masters: list[Instance] = []
        for instance in list(self._roster.instances.values()):
            if self._are_master((instance,)):
                masters.append(instance)
            elif self._is_there(instance):
                self._restrain(instance.index, ABSTAINING)
            yield 0
        pace = Pace(rate, self._clock())
        given = 0
        said_at = self._clock()
        for instance in masters:
            if self._are_master(self._unit(instance)):
                yield from self._wait(pace, instance)
            members = self._unit(instance)
            for each in members:
                self._restrain(each.index, ABSTAINING)
            given += len(self._give_away(members))
            if self._clock() - said_at >= PROGRESS:
                said_at = self._clock()
                say(f"{given} of {len(masters)} masters are given away")
            yield 0
        line = f"{_counted(given, 'master')} {_were(given)} given away"
        log.info("Drained: %s", line)
        return True, [f"drained: {line}"], {"resigned": given}

    def _undrain(self, rate: float, say: Callable[[str], object]) -> Steps:
        eager: list[Instance] = []
        count = 0
        for instance in list(self._roster.instances.values()):
            record = self._table.read(instance.index)
            if record is not None and record["restraint"]:
                count += 1
                if (
                    record["state"] == State.BACKUP
                    and record["preempt"]
                    and record["priority"] > record["master_priority"]
                ):
                    eager.append(instance)
                else:
                    self._restrain(instance.index, UNRESTRAINED)
            yield 0
        pace = Pace(rate, self._clock())
        done: set[int] = set()
        said_at = self._clock()
        for instance in eager:
            if instance.index in done:
                continue
            yield from self._wait(pace, instance)
            members = self._unit(instance)
            for each in members:
                self._restrain(each.index, UNRESTRAINED)
            done.update(each.index for each in members)
            if self._clock() - said_at >= PROGRESS:
                said_at = self._clock()
                say(f"{len(done)} of {len(eager)} that have the higher priority take part again")
            yield 0
        line = f"{_counted(count, 'virtual router')} {'takes' if count == 1 else 'take'} part again"
        log.info("Undrained: %s", line)
        if eager:
            takes = "takes" if len(eager) == 1 else "take"
            line += f"; {len(eager)} with a higher priority than the master's {takes} over"
        return True, [line], {"released": count, "eager": len(eager)}

    def _wait(self, pace: Pace, instance: Instance) -> Generator[int, None, None]:
        """Until it may go, with those that go with it."""
        yield pace.next_at(self._clock())
        pace.take(len(self._unit(instance)), self._clock())

    # --- in steps ---------------------------------------------------------------------------------

    def _begin(self, steps: Steps, reply: Reply | None) -> None:
        self._numbers += 1
        self._work[self._numbers] = steps, reply
        self._go_on(self._numbers)

    def _go_on(self, number: int) -> None:
        self._handles.pop(number, None)
        steps, reply = self._work[number]
        until = self._clock() + SLICE
        try:
            while True:
                at = next(steps)
                now = self._clock()
                if at > now:
                    delay = (at - now) / SECOND
                    self._handles[number] = self._loop.call_later(delay, self._go_on, number)
                    return
                if now >= until:
                    self._handles[number] = self._loop.call_soon(self._go_on, number)
                    return
        except StopIteration as end:
            outcome: Outcome = end.value
        except Exception:
            log.exception("what was asked for ended before its time")
            outcome = False, ["it ended before its time; the log says why"], None
        del self._work[number]
        if reply is not None:
            reply(*outcome)

    def _break_off(self, why: str) -> None:
        """What is under way is not gone on with."""
        for handle in self._handles.values():
            handle.cancel()
        self._handles.clear()
        work, self._work = self._work, {}
        for steps, reply in work.values():
            steps.close()
            if reply is not None:
                reply(False, [why], None)

    # --- one virtual router -----------------------------------------------------------------------

    def _is_there(self, instance: Instance) -> bool:
        return self._roster.instances.get(
            instance.index
        ) is instance and not self._roster.is_leaving(instance)

    def _unit(self, instance: Instance) -> list[Instance]:
        """Those that go with it, itself among them; nobody where it has gone meanwhile."""
        if not self._is_there(instance):
            return []
        return self._groups.companions(instance)

    def _are_master(self, instances: Iterable[Instance]) -> bool:
        return any(
            self._is_there(each) and self._table.state(each.index) == State.MASTER
            for each in instances
        )

    def _give_away(self, instances: Iterable[Instance]) -> list[str]:
        """Lets the masters of these resign; their names."""
        masters = [each for each in instances if self._table.state(each.index) == State.MASTER]
        for each in masters:
            self._roster.resign(each)
        if masters:
            self._settle()
        return [each.model.name for each in masters]

    def _yield_for(self, instance: Instance, duration: int) -> None:
        self._until.pop(instance.index, None)
        if not duration:
            self._restrain(instance.index, UNRESTRAINED)
            return
        until = self._clock() + duration
        log.info("(%s) does not preempt for %g seconds", instance.model.name, duration / SECOND)
        self._restrain_until(instance, until)
        self._write(maintenance.resigned(instance.model.name, until))

    def _restrain(self, index: int, restraint: int) -> None:
        self._engine.restrain(index, restraint, self._clock())

    def _restrain_until(self, instance: Instance, until: int) -> None:
        self._restrain(instance.index, YIELDING)
        self._until[instance.index] = until
        heappush(self._ends, (until, instance.index))
        if self._ends[0] == (until, instance.index):
            self._set_alarm()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._ends:
            delay = max(self._ends[0][0] - self._clock(), 0) / SECOND
            self._alarm = self._loop.call_later(delay, self._on_alarm)

    def _on_alarm(self) -> None:
        """Those whose time is over may preempt again; what is left of many waits for another turn
        of the loop."""
        self._alarm = None
        now = self._clock()
        stop = now + SLICE
        while self._ends and self._ends[0][0] <= now and self._clock() < stop:
            until, index = heappop(self._ends)
            if self._until.get(index) == until:
                del self._until[index]
                self._restrain(index, UNRESTRAINED)
                log.info("(%s) may preempt again", self._roster.instances[index].model.name)
        if not self._until and self._drain_rate is None:
            self._erase()
        self._set_alarm()

    def _forget_ends(self) -> None:
        self._until.clear()
        self._ends.clear()
        self._set_alarm()

    # --- the file ---------------------------------------------------------------------------------

    def _write(self, line: bytes) -> None:
        try:
            with self._path.open("ab") as file:
                if not os.fstat(file.fileno()).st_size:
                    line = maintenance.head() + line
                file.write(line)
        except OSError as error:
            log.error("%s: %s: a crash would forget this", self._path, error.strerror)

    def _erase(self) -> None:
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s: %s", self._path, error.strerror)

    # --- as a follower ----------------------------------------------------------------------------

    def enter(self, instance: Instance) -> None:
        if self._drain_rate is not None:
            self._restrain(instance.index, ABSTAINING)
        elif self._found is not None:
            until = self._found.until.get(instance.model.name, 0)
            if until > self._clock():
                self._restrain_until(instance, until)

    def leave(self, instance: Instance) -> None:
        self._until.pop(instance.index, None)

    def settle(self) -> Generator[None, None, None]:
        found, self._found = self._found, None
        if found is not None and found.drain_rate is not None:
            log.info("The daemon is drained, as it was when it ended before its time")
            self._begin(self._drain(found.drain_rate, log.info), None)
        elif found is not None and not self._until:
            self._erase()
        yield from ()

    def stop(self) -> None:
        self._break_off("the daemon stops")
        self._forget_ends()
        if not self._is_followed():
            self._erase()


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
