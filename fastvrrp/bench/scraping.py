"""What a scrape costs: its time and its size, and what it does to the gaps between adverts.

A master and its backup as in `lab`. For some seconds nobody asks, then somebody asks every few
seconds, and so on; the same daemons throughout. What scrapes do to the p99 of the gaps is the
difference between a period with scrapes and the mean of the quiet ones around it, so that what
drifts on the machine is in neither; how far apart quiet periods are in the same reckoning is shown
beside it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean, median
from typing import Any

from fastvrrp.bench.case import Case
from fastvrrp.bench.kinds import Fastvrrp
from fastvrrp.bench.lab import observed
from fastvrrp.bench.network import wait_until
from fastvrrp.bench.recording import percentile
from fastvrrp.bench.setting import Say

TURNS = 5
"""In which somebody asks; there is one more in which nobody does."""
EVERY = 5.0
"""Seconds from scrape to scrape; Prometheus' own default is 60."""
PORT = 9165
LONGEST_SCRAPE = 2.0
"""Seconds: the goal."""
LONGEST_SHIFT = 1.0
"""Milliseconds: how far scrapes may move the p99 of the gaps."""
START_TIMEOUT = 60.0
SCRAPER = f"""
import json, os, sys, time, urllib.request
# Who asks is on another machine as a rule, and takes no processor here.
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    began = time.monotonic()
    request = urllib.request.Request("http://127.0.0.1:{PORT}/metrics")
    request.add_header("Accept-Encoding", "gzip")
    size = 0
    with urllib.request.urlopen(request, timeout=30) as answer:
        while data := answer.read(1 << 20):
            size += len(data)
    print(json.dumps([time.monotonic() - began, size]), flush=True)
    time.sleep(max(0, min(began + {EVERY}, end) - time.monotonic()))
"""


class Asked(Fastvrrp):
    """Fastvrrp with metrics."""

    def running(self) -> list[str]:
        return [*super().running(), "--metrics", f"127.0.0.1:{PORT}"]


@dataclass
class Scraped:
    """What was measured."""

    version: str
    routers: int
    interfaces: int
    scrapes: int
    median: float
    """Seconds."""
    longest: float
    """Seconds."""
    size: float
    """MB of gzip."""
    quiet: list[float]
    """p99 of the gaps of each period in which nobody asked, milliseconds; the first and the last
    period are of these."""
    asked: list[float]
    """The same, of those in between, in which somebody did."""
    failed: int = 0
    """Of those, in how many a scrape was refused or not whole, and nobody asked again."""

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Scraped:
        return cls(**found)

    def to_json(self) -> dict[str, Any]:
        return vars(self)

    @property
    def shift(self) -> float:
        """How far the p99 of the gaps moved, milliseconds: the median of the turns."""
        return median(
            turn - mean(around)
            for turn, around in zip(self.asked, pairwise(self.quiet), strict=True)
        )

    @property
    def noise(self) -> float:
        """How far it moves by itself from one quiet turn to another, milliseconds."""
        around = zip(self.quiet, self.quiet[2:], strict=False)
        return max(
            (abs(turn - mean(both)) for turn, both in zip(self.quiet[1:], around, strict=False)),
            default=0.0,
        )

    def faults(self) -> list[str]:
        """What misses its goal, for a person."""
        found = []
        if not self.scrapes:
            found.append("nobody was answered")
        if self.failed:
            found.append(f"a scrape failed in {self.failed} of {len(self.asked)} turns")
        if self.longest > LONGEST_SCRAPE:
            found.append(f"a scrape took {self.longest:.2f} s, goal {LONGEST_SCRAPE:g} s")
        if self.shift >= LONGEST_SHIFT:
            found.append(f"the gap p99 moved by {self.shift:.1f} ms, goal {LONGEST_SHIFT:g} ms")
        return found

    def rows(self) -> Iterator[tuple[str, str]]:
        """Label and text, for a table."""
        yield "virtual routers", f"{self.routers:,} on {self.interfaces:,}"
        yield "scrapes", f"{self.scrapes:,}"
        yield "turns in which one failed", f"{self.failed:,}"
        yield "a scrape, median (s)", f"{self.median:.2f}"
        yield "a scrape, longest (s)", f"{self.longest:.2f}"
        yield "its size (MB of gzip)", f"{self.size:.1f}"
        for name, turns in (("nobody asks", self.quiet), ("somebody does", self.asked)):
            each = ", ".join(f"{turn:,.1f}" for turn in turns)
            yield f"advert gap p99 while {name} (ms)", each
        yield "it moved by (median, ms)", f"{self.shift:+.2f}"
        yield "it moves by itself by up to (ms)", f"{self.noise:.2f}"


def scrape(case: Case, seconds: float, say: Say) -> Scraped:
    """Watches for so many seconds, each turn of either kind. Raises DaemonError, NetworkError,
    CaseError, or PermissionError without root."""
    found: list[tuple[float, int]] = []
    quiet: list[float] = []
    asked: list[float] = []
    failed = 0
    with observed(case, Asked, say) as (a, _, watch):
        enter = ["nsenter", "-t", str(a.pid), "-n"]
        subprocess.run([*enter, "ip", "link", "set", "lo", "up"], check=True)
        wait_until(lambda: bool(a.log_count("Serving metrics")), START_TIMEOUT, "metrics")

        def p99() -> float:
            return (percentile(watch(seconds), 0.99) or 0.0) / 1e6

        say("a first turn, which has what the start left")
        watch(seconds)
        for turn in range(TURNS):
            say(f"turn {turn + 1} of {TURNS}: nobody asks")
            quiet.append(p99())
            say(f"turn {turn + 1} of {TURNS}: a scrape every {EVERY:g} seconds")
            command = [*enter, sys.executable, "-c", SCRAPER, str(seconds)]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as scraper:
                asked.append(p99())
                assert scraper.stdout is not None
                found += [json.loads(line) for line in scraper.stdout]
            failed += scraper.returncode != 0
        say("the last turn: nobody asks")
        quiet.append(p99())
        say("removing the network")
    times = [took for took, _ in found] or [0.0]
    return Scraped(
        Asked.version(),
        case.routers,
        case.interfaces,
        len(found),
        median(times),
        max(times),
        max((size for _, size in found), default=0) / 1e6,
        quiet,
        asked,
        failed,
    )
