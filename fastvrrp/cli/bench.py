"""`fastvrrp bench`: what the daemon costs and how fast it is, beside keepalived."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastvrrp.cli import (
    bench_balancing,
    bench_config,
    bench_flood,
    bench_load,
    bench_profile,
    bench_scrapes,
    bench_soak,
)
from fastvrrp.cli.bench_guard import guarded, refuse


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "bench",
        help="measure the daemon, beside keepalived",
        description="Measure what virtual routers cost and how fast they fail over.",
        epilog="example: fastvrrp bench lab --routers 4080 --interfaces 16",
    )
    kinds = parser.add_subparsers(dest="bench", metavar="WHAT", required=True)
    _register_lab(kinds)
    bench_config.register(kinds)
    bench_balancing.register(kinds)
    _register_micro(kinds)
    _register_document(kinds)
    bench_load.register(kinds)
    bench_profile.register(kinds)
    bench_flood.register(kinds)
    bench_soak.register(kinds)
    bench_scrapes.register(kinds)


def _register_lab(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lab = kinds.add_parser(
        "lab",
        help="two daemons in two network namespaces",
        description="Run two daemons in two network namespaces, a master and its backup, measure"
        " both, and kill the master. Everything is removed at the end. Needs root.",
        epilog="example: fastvrrp bench lab --routers 4080 --interfaces 16 --versus keepalived",
    )
    lab.add_argument("--routers", type=int, default=1020, metavar="N", help="(%(default)s)")
    lab.add_argument("--interfaces", type=int, default=4, metavar="K", help="(%(default)s)")
    lab.add_argument("--vmac", action="store_true", help="each with a virtual MAC of its own")
    lab.add_argument(
        "--no-accept", action="store_true", help="their addresses take no packets (no_accept)"
    )
    lab.add_argument("--version", type=int, choices=(2, 3), default=2, help="(%(default)s)")
    lab.add_argument("--family", type=int, choices=(4, 6), default=4, help="(%(default)s)")
    lab.add_argument(
        "--advert-interval", type=float, default=1.0, metavar="S", help="seconds (%(default)g)"
    )
    lab.add_argument(
        "--phases",
        choices=("natural", "spread"),
        default="natural",
        help="let the virtual routers speak when they come to, or evenly spread over the interval"
        " (%(default)s)",
    )
    lab.add_argument(
        "--scripts",
        type=int,
        default=0,
        metavar="N",
        help="scripts that run every second, each tracked by a virtual router (%(default)s)",
    )
    lab.add_argument(
        "--duration",
        type=float,
        default=10.0,
        metavar="S",
        help="how many seconds to measure processor time, and then adverts (%(default)g)",
    )
    lab.add_argument(
        "--versus", choices=("keepalived",), help="measure this one in the same way, too"
    )
    lab.add_argument(
        "--disturb",
        type=_disturbances,
        default="change,upgrade,crash",
        metavar="HOW",
        help="what two daemons more live through, each: change (a reload with one virtual router"
        " added and one removed), upgrade, crash (of the process that speaks VRRP), or none"
        " (%(default)s)",
    )
    lab.add_argument("--runs", type=int, default=1, help="show medians of so many (%(default)s)")
    lab.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    lab.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw the failover there (.png or .svg)"
    )
    lab.set_defaults(run=lambda arguments: guarded(_lab, arguments, ["rich"], needs_root=True))


def _disturbances(written: str) -> tuple[str, ...]:
    """Names with commas between them. Raises argparse.ArgumentTypeError."""
    from fastvrrp.bench.disturbances import DISTURBANCES

    names = () if written == "none" else tuple(written.split(","))
    for name in names:
        if name not in DISTURBANCES:
            known = ", ".join([*DISTURBANCES, "none"])
            raise argparse.ArgumentTypeError(f"{name!r} is none of {known}")
    return names


def _register_micro(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    micro = kinds.add_parser(
        "micro",
        help="single operations, in a checkout of the source",
        description="How many operations a second: codec, checksum, wheel, table, netlink.",
        epilog="example: fastvrrp bench micro",
    )
    micro.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    micro.set_defaults(
        run=lambda arguments: guarded(_micro, arguments, ["pytest", "pytest_benchmark"])
    )


def _register_document(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    document = kinds.add_parser(
        "document",
        help="measure everything that docs/performance.md shows, and write it",
        description="Measure all cases with goals, beside keepalived and the limit of the machine"
        " (bench/floor.c, in a checkout of the source), and write a document. Takes about an"
        " hour. Needs root.",
        epilog="example: fastvrrp bench document --output docs/performance.md",
    )
    document.add_argument(
        "--output",
        type=Path,
        default=Path("docs/performance.md"),
        metavar="FILE",
        help="(%(default)s)",
    )
    document.add_argument(
        "--only",
        metavar="TEXT",
        action="append",
        default=[],
        help="only the case of this name, or all with this in theirs, 'reading', 'balancing',"
        " 'flood', 'scrapes', 'soak' or 'profile'; may be repeated. The others stay as they were"
        " measured before",
    )
    again = document.add_mutually_exclusive_group()
    again.add_argument(
        "--resume", action="store_true", help="only what was not measured whole before"
    )
    again.add_argument(
        "--add", action="store_true", help="add the runs to those of before, for the medians"
    )
    document.set_defaults(
        run=lambda arguments: guarded(_document, arguments, ["rich", "matplotlib"], needs_root=True)
    )


def _lab(arguments: argparse.Namespace) -> int:
    """Exit status: 0 only if all runs of fastvrrp came to their end."""
    from fastvrrp.bench import screen
    from fastvrrp.bench.case import Case
    from fastvrrp.bench.compare import compare, write_json
    from fastvrrp.bench.machine import describe

    case = Case(
        arguments.routers,
        arguments.interfaces,
        arguments.vmac,
        arguments.version,
        arguments.family,
        arguments.advert_interval,
        arguments.phases == "spread",
        arguments.scripts,
        arguments.no_accept,
    )
    if arguments.plot is not None and arguments.plot.suffix not in (".png", ".svg"):
        return refuse(f"{arguments.plot}: a picture's name ends in .png or .svg")
    if arguments.runs < 1 or arguments.duration <= 0:
        return refuse("--runs and --duration must be more than 0")
    machine = describe()
    kinds = ["fastvrrp", *([arguments.versus] if arguments.versus else [])]
    with screen.progress() as say:
        measured = compare(case, kinds, arguments.runs, arguments.duration, say, arguments.disturb)
    screen.show(case, machine, measured)
    if arguments.json is not None:
        write_json(arguments.json, case, machine, measured)
    if arguments.plot is not None:
        from fastvrrp.bench.picture import draw_failover

        draw_failover(case, measured, arguments.plot)
    return 1 if measured[0].failure else 0


def _micro(arguments: argparse.Namespace) -> int:
    from fastvrrp.bench.checkout import run_micro

    return run_micro(arguments.json)


def _document(arguments: argparse.Namespace) -> int:
    from fastvrrp.bench import screen
    from fastvrrp.bench.document import write

    with screen.progress() as say:
        write(arguments.output, arguments.only, say, resume=arguments.resume, add=arguments.add)
    return 0
