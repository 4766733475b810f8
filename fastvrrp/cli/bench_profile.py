"""`fastvrrp bench profile`: which functions an advert's microseconds are spent in."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fastvrrp.cli.bench_guard import guarded


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    profile = kinds.add_parser(
        "profile",
        help="the functions in which the processor time is spent",
        description="Run a master and its backup in two network namespaces and show which functions"
        " they, and the kernel for them, spend their time in. Needs root and perf.",
        epilog="example: fastvrrp bench profile --routers 4080 --interfaces 16",
    )
    profile.add_argument("--routers", type=int, default=16_320, metavar="N", help="(%(default)s)")
    profile.add_argument("--interfaces", type=int, default=64, metavar="K", help="(%(default)s)")
    profile.add_argument(
        "--duration", type=float, default=20.0, metavar="S", help="seconds (%(default)g)"
    )
    profile.add_argument(
        "--kind", choices=("fastvrrp", "keepalived"), default="fastvrrp", help="(%(default)s)"
    )
    profile.add_argument("--json", type=Path, metavar="FILE", help="write all functions there")
    profile.set_defaults(
        run=lambda arguments: guarded(_profile, arguments, ["rich"], needs_root=True)
    )


def _profile(arguments: argparse.Namespace) -> int:
    from fastvrrp.bench import screen
    from fastvrrp.bench.case import Case
    from fastvrrp.bench.kinds import KINDS
    from fastvrrp.bench.profile import lines, profile

    case = Case(arguments.routers, arguments.interfaces)
    with screen.progress() as say:
        done = profile(case, KINDS[arguments.kind], arguments.duration, say)
    for line in lines(done):
        screen.console.print(line, markup=False, soft_wrap=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([each.to_json() for each in done], indent=1) + "\n")
    return 0
