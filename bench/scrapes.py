"""What a scrape costs: its time and size, and what it does to the gaps between adverts.

    sudo python bench/scrapes.py [ROUTERS [INTERFACES [SECONDS]]]

A master and its backup as in `fastvrrp bench lab`; for so many seconds nobody asks, then somebody
asks every second, three times in turns. Says the medians.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from fastvrrp.bench.case import Case
from fastvrrp.bench.kinds import Fastvrrp
from fastvrrp.bench.lab import observed
from fastvrrp.bench.recording import percentile

ROUNDS = 3
SCRAPER = """
import sys, time, urllib.request, json
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    began = time.monotonic()
    request = urllib.request.Request("http://127.0.0.1:9165/metrics")
    request.add_header("Accept-Encoding", "gzip")
    answer = urllib.request.urlopen(request, timeout=30)
    size = 0
    while data := answer.read(1 << 20):
        size += len(data)
    print(json.dumps([time.monotonic() - began, size]), flush=True)
    time.sleep(max(0, began + 1 - time.monotonic()))
"""


class Asked(Fastvrrp):
    """Fastvrrp with metrics."""

    def running(self) -> Sequence[str]:
        return [*super().running(), "--metrics"]


def main(routers: int = 65_280, interfaces: int = 256, seconds: int = 10) -> None:
    case = Case(routers, interfaces)
    without: list[list[float]] = []
    with_scrapes: list[list[float]] = []
    scrapes: list[list[float]] = []
    with observed(case, Asked, lambda text: None) as (a, _, watch):
        enter = ["nsenter", "-t", str(a.pid), "-n"]
        subprocess.run([*enter, "ip", "link", "set", "lo", "up"], check=True)
        while "Serving metrics" not in a.log_file.read_text():
            time.sleep(1)
        for _ in range(ROUNDS):
            without.append(figures(watch(seconds)))
            with subprocess.Popen(
                [*enter, sys.executable, "-c", SCRAPER, str(seconds)], stdout=subprocess.PIPE
            ) as scraper:
                with_scrapes.append(figures(watch(seconds)))
                assert scraper.stdout is not None
                scrapes += [json.loads(line) for line in scraper.stdout]
    print(f"{routers:,} routers on {interfaces}, load {os.getloadavg()[0]:.1f} at the end")
    times, sizes = zip(*scrapes, strict=True)
    print(f"a scrape: {median(times):.2f} s, longest {max(times):.2f} s, {len(times)} of them")
    print(f"its size: {median(sizes) / 1e6:.1f} MB of gzip")
    for name, each in (("without", without), ("with a scrape every second", with_scrapes)):
        rows = ", ".join(
            f"{label} {median(row[i] for row in each):.1f}"
            for i, label in enumerate(("median", "p99", "longest"))
        )
        print(f"gaps in ms, {name}: {rows}; p99 of each {[round(row[1], 1) for row in each]}")


def figures(ordered: list[int]) -> list[float]:
    return [(percentile(ordered, part) or 0) / 1e6 for part in (0.5, 0.99, 1.0)]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
