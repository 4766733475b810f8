"""`fastvrrp bench soak`: a long time with everything at once."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fastvrrp.cli.bench_guard import guarded, refuse


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    soak = kinds.add_parser(
        "soak",
        help="a long time with scrapes, reloads, scripts and links that come and go",
        description="Run a master and its backup in two network namespaces for a long time, ask"
        " them for metrics every 5 seconds, reload them every 30, and let a script and a link of"
        " a few virtual routers fail now and then. The others may not change, memory may not grow,"
        " and there may be no error in the log; the exit status says whether it was so. Needs"
        " root.",
        epilog="example: fastvrrp bench soak --routers 100 --interfaces 2 --duration 120",
    )
    soak.add_argument("--routers", type=int, default=4080, metavar="N", help="(%(default)s)")
    soak.add_argument("--interfaces", type=int, default=16, metavar="K", help="(%(default)s)")
    soak.add_argument(
        "--duration", type=float, default=600.0, metavar="S", help="seconds (%(default)g)"
    )
    soak.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    soak.set_defaults(run=lambda arguments: guarded(_soak, arguments, ["rich"], needs_root=True))


def _soak(arguments: argparse.Namespace) -> int:
    from fastvrrp.bench import screen
    from fastvrrp.bench.case import Case
    from fastvrrp.bench.machine import describe
    from fastvrrp.bench.soak import SHORTEST, soak

    if arguments.duration < SHORTEST:
        return refuse(f"--duration must be at least {SHORTEST:g} s")
    case = Case(arguments.routers, arguments.interfaces)
    with screen.progress() as say:
        soaked = soak(case, arguments.duration, say)
    screen.show_soak(soaked)
    if arguments.json is not None:
        found = {"machine": describe(), **soaked.to_json()}
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if soaked.faults() else 0
