"""A long time with everything at once: scrapes, reloads, scripts and links that come and go.

Two daemons as in `lab`, with more virtual routers on two cables of their own: those of the first
one track a script that fails for a while now and then, the interface of the others goes down as
often, and every other reload adds one and removes it again. Nothing of all that may change any of
the others, and what the daemons take of memory may not grow.
"""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from fastvrrp._table import Segment
from fastvrrp.bench.case import BACKUP_PRIORITY, MASTER_PRIORITY, Case
from fastvrrp.bench.figures import Figures
from fastvrrp.bench.kinds import Daemon, Fastvrrp
from fastvrrp.bench.lab import begin
from fastvrrp.bench.network import batch, wait_until
from fastvrrp.bench.processes import proportional_set, tree
from fastvrrp.bench.recording import gaps, percentile
from fastvrrp.bench.setting import Say, Setting, prepare

FLAPPING = 4
"""Virtual routers on each of the two cables."""
SCRAPES, RELOADS, SCRIPT_FLAPS, LINK_FLAPS = 5.0, 30.0, 20.0, 25.0
"""Seconds from one to the next."""
FLAP = 6.0
"""Seconds that a script fails, and a link is down: longer than a Master_Down_Interval."""
SHORTEST = 30.0
"""Seconds."""
WARM_AFTER = 0.2
"""Part of the time after which memory has to stay as it is."""
TOLERANCE = 0.02
"""Part of the memory by which its last third may be above its first one."""
METRICS = "127.0.0.1:9165"
SETTLING_TIMEOUT = 30.0
ERRORS = ("error", "critical")


class Soaking(Fastvrrp):
    """Fastvrrp with metrics, and with a log that says what is an error."""

    def running(self) -> list[str]:
        return [*super().running(), "--metrics", METRICS, "--log-format", "json"]

    @property
    def segment(self) -> Path:
        return self.folder / "fastvrrp.state"

    def errors(self) -> list[str]:
        """Lines of the log that are errors, or are none of the log."""
        found = []
        for line in self.log_file.read_text(errors="replace").splitlines():
            try:
                if json.loads(line)["level"] in ERRORS:
                    found.append(line)
            except (ValueError, KeyError, TypeError):
                found.append(line)
        return found


@dataclass
class Soaked:
    """What became of it."""

    version: str
    routers: int
    interfaces: int
    duration: float
    """Seconds."""
    scrapes: int = 0
    longest_scrape: float = 0.0
    """Seconds."""
    reloads: int = 0
    """Of each of the two daemons."""
    unreloaded: int = 0
    """Reloads that were refused or did not come to an end, of both."""
    script_flaps: int = 0
    link_flaps: int = 0
    flapped: int = 0
    """Changes of state of the virtual routers that the flaps were meant for, on both sides."""
    false_transitions: int = 0
    """Changes of state of all others, on both sides."""
    lost: int = 0
    """Of those, for which the backup has spoken."""
    gap_p99: float = 0.0
    gap_longest: float = 0.0
    """Milliseconds."""
    memory: dict[str, tuple[float, float]] = field(default_factory=dict)
    """MB (PSS), medians of the first and of the last third, by what the daemon is."""
    errors: list[str] = field(default_factory=list)
    """Of the logs."""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Soaked:
        memory = {name: (first, last) for name, (first, last) in found["memory"].items()}
        return cls(**{**found, "memory": memory})

    def to_json(self) -> dict[str, Any]:
        return vars(self)

    def faults(self) -> list[str]:
        """What was not as it has to be, for a person."""
        found = [
            f"the memory of the {name} was {first:.2f} MB and then {last:.2f} MB"
            for name, (first, last) in self.memory.items()
            if last > first * (1 + TOLERANCE)
        ]
        for count, what in (
            (self.false_transitions, "false transitions"),
            (self.lost, "virtual routers lost"),
            (self.unreloaded, "reloads that were not carried out"),
            (len(self.errors), "errors in the log"),
        ):
            if count:
                found.append(f"{count} {what}")
        if not self.flapped:
            found.append("the flaps have changed nothing")
        return found

    def rows(self) -> Iterator[tuple[str, str]]:
        """Label and text, for a table."""
        yield "virtual routers", f"{self.routers:,} on {self.interfaces:,}"
        yield "time (s)", f"{self.duration:,.0f}"
        yield "scrapes of each daemon", f"{self.scrapes:,}"
        yield "longest scrape (s)", f"{self.longest_scrape:.2f}"
        yield "reloads of each daemon", f"{self.reloads:,}"
        yield "reloads not carried out", f"{self.unreloaded:,}"
        yield "times that a script failed", f"{self.script_flaps:,}"
        yield "times that a link was down", f"{self.link_flaps:,}"
        yield "changes of state from that", f"{self.flapped:,}"
        yield "false transitions", f"{self.false_transitions:,}"
        yield "virtual routers lost", f"{self.lost:,}"
        yield "advert gap, p99 (ms)", f"{self.gap_p99:,.1f}"
        yield "advert gap, longest (ms)", f"{self.gap_longest:,.1f}"
        for name, (first, last) in self.memory.items():
            text = f"{first:.2f}, {last:.2f} ({(last / first - 1) * 100:+.1f} %)"
            yield f"memory of the {name} (MB), first and last third", text
        yield "errors in the logs", f"{len(self.errors):,}"


class _Flaps:
    """The configuration with what flaps in it, and how it is made to."""

    def __init__(self, now: Setting) -> None:
        self._now = now
        self._file = now.a.folder / "failing"
        self._has_another = False
        first = now.case.interfaces
        self.script_link, self.down_link = f"eth{first}", f"eth{first + 1}"
        now.network.lay_spare_cables(2)
        for side in (now.network.a, now.network.b):
            batch(side, ["link set lo up"])
        self.write()

    @property
    def links(self) -> tuple[str, str]:
        return self.script_link, self.down_link

    def write(self) -> None:
        for daemon, priority in ((self._now.a, MASTER_PRIORITY), (self._now.b, BACKUP_PRIORITY)):
            daemon.configuration.write_text(self._text(daemon is self._now.a, priority))

    def reload(self) -> None:
        self._has_another = not self._has_another
        self.write()
        for daemon in (self._now.a, self._now.b):
            os.kill(daemon.pid, signal.SIGHUP)

    def set_script(self, is_failing: bool) -> None:
        """Only a's: then b is preferred."""
        if is_failing:
            self._file.touch()
        else:
            self._file.unlink()

    def set_link(self, is_down: bool) -> None:
        """On side a, and so without a carrier on side b."""
        batch(self._now.network.a, [f"link set {self.down_link} {'down' if is_down else 'up'}"])

    def _text(self, is_flapping: bool, priority: int) -> str:
        case, number = self._now.case, self._now.case.interfaces
        test = f"/usr/bin/test ! -e {self._file}" if is_flapping else "/bin/true"
        head = (
            "global_defs {\n    script_user root\n    enable_script_security\n}\n"
            f'vrrp_script FLAPPING {{\n    script "{test}"\n    interval 1\n    weight -150\n}}\n'
        )
        tracked = "    track_script {\n        FLAPPING\n    }\n"
        vrids = range(1, FLAPPING + 1)
        flapping = [(number, vrid, tracked) for vrid in vrids]
        flapping += [(number + 1, vrid, "") for vrid in vrids]
        if self._has_another:
            flapping.append((number, FLAPPING + 1, ""))
        return (
            head
            + case.configuration(priority)
            + "".join(case.instance(*each[:2], priority, each[2]) for each in flapping)
        )


def soak(case: Case, duration: float, say: Say) -> Soaked:
    """Raises DaemonError, NetworkError, CaseError, or PermissionError without root. Nothing is left
    behind."""
    with ExitStack() as stack:
        figures = Figures(Soaking.kind, Soaking.version())
        now = prepare(case, Soaking, figures, 0.0, say, stack)
        flaps = _Flaps(now)
        begin(now)
        daemons = {"master": now.a, "backup": now.b}
        for daemon in daemons.values():
            wait_until(
                lambda daemon=daemon: bool(daemon.log_count("Serving metrics")),  # type: ignore[misc]
                SETTLING_TIMEOUT,
                "metrics",
            )
        soaked = Soaked(Soaking.version(), case.routers, case.interfaces, duration)
        before = _counts(daemons, flaps.links)
        now.recording.look(True)
        start = now.recording.count
        memory = _live(now, flaps, soaked, duration)
        _settle(soaked, daemons)
        now.recording.look(False)
        after = _counts(daemons, flaps.links)
        soaked.flapped = after[0] - before[0]
        soaked.false_transitions = after[1] - before[1]
        soaked.lost = len(now.recording.speakers(start, from_b=True))
        ordered = gaps(now.recording.times(start, now.recording.count, from_b=False))
        soaked.gap_p99 = (percentile(ordered, 0.99) or 0) / 1e6
        soaked.gap_longest = (percentile(ordered, 1.0) or 0) / 1e6
        for name, daemon in daemons.items():
            soaked.memory[name] = _thirds([found for at, found in memory[name] if at >= WARM_AFTER])
            assert isinstance(daemon, Soaking)
            soaked.errors += daemon.errors()
            if daemon.has_ended():
                raise daemon.error("it has ended")
        say("removing the network")
        return soaked


def _live(
    now: Setting, flaps: _Flaps, soaked: Soaked, duration: float
) -> dict[str, list[tuple[float, float]]]:
    """Does everything in its rhythm. Returns the memory (MB) of each daemon, with the part of the
    time that had passed."""
    memory: dict[str, list[tuple[float, float]]] = {"master": [], "backup": []}
    began = time.monotonic()

    def scrape() -> None:
        part = (time.monotonic() - began) / duration
        for name, daemon in (("master", now.a), ("backup", now.b)):
            memory[name].append((part, proportional_set(tree(daemon.pid)) / 1e6))
        took = max(_scrape(now, daemon) for daemon in (now.a, now.b))
        soaked.scrapes += 1
        soaked.longest_scrape = max(soaked.longest_scrape, took)

    def reload() -> None:
        flaps.reload()
        soaked.reloads += 1

    def fail() -> None:
        flaps.set_script(True)
        soaked.script_flaps += 1

    def cut() -> None:
        flaps.set_link(True)
        soaked.link_flaps += 1

    rhythm: list[tuple[float, float, Callable[[], None]]] = [
        (SCRAPES, 0.0, scrape),
        (RELOADS, RELOADS / 2, reload),
        (SCRIPT_FLAPS, SCRIPT_FLAPS / 4, fail),
        (SCRIPT_FLAPS, SCRIPT_FLAPS / 4 + FLAP, lambda: flaps.set_script(False)),
        (LINK_FLAPS, LINK_FLAPS / 3, cut),
        (LINK_FLAPS, LINK_FLAPS / 3 + FLAP, lambda: flaps.set_link(False)),
    ]
    due = [(first, every, act) for every, first, act in rhythm]
    # What has begun to flap ends: the last ones begin early enough.
    while due:
        at, every, act = due.pop(due.index(min(due, key=lambda each: each[0])))
        ends = act in (fail, cut)
        if at + (FLAP if ends else 0) > duration:
            continue
        time.sleep(max(0.0, began + at - time.monotonic()))
        now.say(f"soaking ({at:.0f} of {duration:.0f} s)")
        act()
        due.append((at + every, every, act))
    time.sleep(max(0.0, began + duration - time.monotonic()))
    return memory


def _scrape(now: Setting, daemon: Daemon) -> float:
    """Asks a daemon for its metrics; how many seconds that took. Raises DaemonError where it does
    not tell of all."""
    began = time.monotonic()
    side = now.network.a if daemon is now.a else now.network.b
    with side.entered(), urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=30) as answer:
        text: bytes = answer.read()
    told = text.count(b"\nfastvrrp_router_state{")
    if told < now.case.routers:
        raise daemon.error(f"its metrics tell of {told} of {now.case.routers} virtual routers")
    return time.monotonic() - began


def _settle(soaked: Soaked, daemons: Mapping[str, Daemon]) -> None:
    """Waits for the last reload, and counts those that were not carried out."""

    def done() -> list[int]:
        return [
            Segment(daemon.segment).totals()["reloads_done"]
            for daemon in daemons.values()
            if isinstance(daemon, Soaking)
        ]

    began = time.monotonic()
    while min(done()) < soaked.reloads and time.monotonic() - began < SETTLING_TIMEOUT:
        time.sleep(0.1)
    soaked.unreloaded = sum(soaked.reloads - count for count in done())


def _counts(daemons: Mapping[str, Daemon], links: tuple[str, ...]) -> tuple[int, int]:
    """Changes of state: of the virtual routers on `links`, and of all others."""
    found = [0, 0]
    for daemon in daemons.values():
        assert isinstance(daemon, Soaking)
        for router in Segment(daemon.segment):
            found[router["interface"] not in links] += router["changes"]
    return found[0], found[1]


def _thirds(values: list[float]) -> tuple[float, float]:
    """The medians of the first and of the last third; of one value that value."""
    size = max(1, len(values) // 3)
    return median(values[:size]), median(values[-size:])
