"""`fastvrrp bench config`: how long configurations take to read."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastvrrp.cli.bench_guard import guarded, refuse


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    config = kinds.add_parser(
        "config",
        help="reading large configurations",
        description="Read 65,024 virtual routers that three nested sequences make, and 4,080 that"
        " are written out, each in a fresh process: time and peak memory. keepalived needs a minute"
        " for the first.",
        epilog="example: fastvrrp bench config --versus keepalived",
    )
    config.add_argument(
        "--ports",
        type=int,
        metavar="N",
        help="of the sequences, instead of 8 (254 VRIDs, 32 VLANs)",
    )
    config.add_argument(
        "--vlans", type=int, metavar="N", help="of the written ones, instead of 17 (240 VRIDs each)"
    )
    config.add_argument("--versus", choices=("keepalived",), help="let this one read them, too")
    config.add_argument("--runs", type=int, default=1, help="show medians of so many (%(default)s)")
    config.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    config.set_defaults(run=lambda arguments: guarded(_config, arguments, ["rich"]))


def _config(arguments: argparse.Namespace) -> int:
    """Exit status: 0 only if every goal that was measured is met."""
    from dataclasses import replace

    from fastvrrp.bench import screen
    from fastvrrp.bench.machine import describe
    from fastvrrp.bench.reading import MANUAL, WRITTEN, measure, write_json

    if arguments.runs < 1:
        return refuse("--runs must be more than 0")
    cases = (
        MANUAL if arguments.ports is None else replace(MANUAL, ports=arguments.ports),
        WRITTEN if arguments.vlans is None else replace(WRITTEN, vlans=arguments.vlans),
    )
    machine = describe()
    kinds = ["fastvrrp", *([arguments.versus] if arguments.versus else [])]
    with screen.progress() as say:
        measured = measure(cases, kinds, arguments.runs, say)
    screen.show_readings(machine, measured)
    if arguments.json is not None:
        write_json(arguments.json, machine, measured)
    missed = [
        goal
        for each in measured
        for goal in each.goals()
        if goal.verdict(each.readings) == "missed"
    ]
    return 1 if missed else 0
