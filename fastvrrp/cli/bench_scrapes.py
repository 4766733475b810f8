"""`fastvrrp bench scrapes`: what a scrape of all metrics costs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fastvrrp.cli.bench_guard import guarded


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    scrapes = kinds.add_parser(
        "scrapes",
        help="ask a daemon for all its metrics every second",
        description="Run a master and its backup in two network namespaces, and ask the master for"
        " its metrics every second, in turns with not asking. The longest scrape may take 2 s, and"
        " the p99 of the gaps between adverts may not move by 1 ms; the exit status says whether it"
        " was so. Needs root.",
        epilog="example: fastvrrp bench scrapes --routers 4080 --interfaces 16",
    )
    scrapes.add_argument("--routers", type=int, default=65_280, metavar="N", help="(%(default)s)")
    scrapes.add_argument("--interfaces", type=int, default=256, metavar="K", help="(%(default)s)")
    scrapes.add_argument(
        "--duration", type=float, default=10.0, metavar="S", help="seconds a turn (%(default)g)"
    )
    scrapes.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    scrapes.set_defaults(
        run=lambda arguments: guarded(_scrapes, arguments, ["rich"], needs_root=True)
    )


def _scrapes(arguments: argparse.Namespace) -> int:
    """Exit status: 0 only if nothing has missed its goal."""
    from fastvrrp.bench import screen
    from fastvrrp.bench.case import Case
    from fastvrrp.bench.machine import describe
    from fastvrrp.bench.scraping import scrape

    case = Case(arguments.routers, arguments.interfaces)
    machine = describe()
    with screen.progress() as say:
        scraped = scrape(case, arguments.duration, say)
    screen.show_scraped(scraped)
    if arguments.json is not None:
        found = {"machine": machine, **scraped.to_json()}
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if scraped.faults() else 0
