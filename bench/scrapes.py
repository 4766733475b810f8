"""What a scrape costs: its time and size, and what it does to the gaps between adverts.

    sudo python bench/scrapes.py [ROUTERS [INTERFACES [SECONDS [ROUNDS [EVERY]]]]]

A master and its backup as in `fastvrrp bench lab`. For so many seconds nobody asks, then somebody
asks once in EVERY seconds, and so on; the same daemons throughout. What a scrape does to the p99 of
the gaps is the difference between a period with scrapes and the mean of the quiet ones around it,
so that what drifts on the machine is in neither. Says every p99 and the median of the differences,
and beside it how far apart quiet periods are in the same reckoning: what is smaller than that is
not measured.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from statistics import mean, median

from fastvrrp.bench.case import Case
from fastvrrp.bench.kinds import Fastvrrp
from fastvrrp.bench.lab import observed
from fastvrrp.bench.recording import percentile

SCRAPER = """
import os, sys, time, urllib.request, json
# Who asks is on another machine as a rule, and takes no processor here.
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
end, every = time.monotonic() + float(sys.argv[1]), float(sys.argv[2])
while time.monotonic() < end:
    began = time.monotonic()
    request = urllib.request.Request("http://127.0.0.1:9165/metrics")
    request.add_header("Accept-Encoding", "gzip")
    answer = urllib.request.urlopen(request, timeout=30)
    size = 0
    while data := answer.read(1 << 20):
        size += len(data)
    print(json.dumps([time.monotonic() - began, size]), flush=True)
    time.sleep(max(0, min(began + every, end) - time.monotonic()))
"""
Watch = Callable[[float], list[int]]


class Asked(Fastvrrp):
    """Fastvrrp with metrics."""

    def running(self) -> Sequence[str]:
        return [*super().running(), "--metrics"]


def main(
    routers: int = 65_280,
    interfaces: int = 256,
    seconds: int = 15,
    rounds: int = 8,
    every: int = 5,
) -> None:
    scrapes: list[tuple[float, int]] = []
    quiet: list[float] = []
    asked: list[float] = []
    with observed(Case(routers, interfaces), Asked, lambda text: None) as (a, _, watch):
        enter = ["nsenter", "-t", str(a.pid), "-n"]
        subprocess.run([*enter, "ip", "link", "set", "lo", "up"], check=True)
        while "Serving metrics" not in a.log_file.read_text():
            time.sleep(1)
        watch(seconds)  # the first period has what the start left
        for _ in range(rounds):
            quiet.append(p99(watch, seconds))
            with scraping(enter, seconds, every, scrapes):
                asked.append(p99(watch, seconds))
        quiet.append(p99(watch, seconds))
    print(f"{routers:,} routers on {interfaces}, load {os.getloadavg()[0]:.1f} at the end")
    times, sizes = zip(*scrapes, strict=True)
    print(f"a scrape: {median(times):.2f} s, longest {max(times):.2f} s, {len(times)} of them")
    print(f"its size: {median(sizes) / 1e6:.1f} MB of gzip")
    print(f"p99 of the gaps in ms, in periods of {seconds} s")
    print(f"  quiet:                    median {median(quiet):.2f}; {rounded(quiet)}")
    print(f"  a scrape every {every:2d} seconds: median {median(asked):.2f}; {rounded(asked)}")
    moved = [each - mean(around) for each, around in zip(asked, pairwise(quiet), strict=True)]
    print(f"  moved by:                 median {median(moved):+.2f}; {rounded(moved)}")
    noise = [
        each - mean((before, after))
        for before, each, after in zip(quiet, quiet[1:], quiet[2:], strict=False)
    ]
    print(f"  quiet ones, the same way: median {median(noise):+.2f}; {rounded(noise)}")


def p99(watch: Watch, seconds: float) -> float:
    """In milliseconds."""
    return (percentile(watch(seconds), 0.99) or 0) / 1e6


@contextmanager
def scraping(
    enter: list[str], seconds: float, every: float, found: list[tuple[float, int]]
) -> Iterator[None]:
    """Somebody asks meanwhile; adds how long each answer took, and its bytes."""
    command = [*enter, sys.executable, "-c", SCRAPER, str(seconds), str(every)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as scraper:
        yield
        assert scraper.stdout is not None
        found += [json.loads(line) for line in scraper.stdout]


def rounded(values: list[float]) -> list[float]:
    return [round(each, 2) for each in values]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
