"""`fastvrrp bench balancing`: health checks, and the table of IPVS."""

from __future__ import annotations

import argparse
from pathlib import Path

from fastvrrp.cli.bench_guard import guarded, refuse


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    balancing = kinds.add_parser(
        "balancing",
        help="health checks, and the table of IPVS",
        description="Check 5,000 real servers every second, and see what processor time that takes."
        " In a kernel with IPVS, with --beside: fewer checks, and 2,000 virtual servers with 8 real"
        " servers each, loaded, reloaded and removed, beside keepalived. Needs root.",
        epilog="example: fastvrrp bench balancing",
    )
    balancing.add_argument(
        "--beside", action="store_true", help="beside keepalived; the kernel must have IPVS"
    )
    balancing.add_argument(
        "--services", type=int, metavar="N", help="virtual servers, instead of these numbers"
    )
    balancing.add_argument(
        "--duration",
        type=float,
        default=20.0,
        metavar="S",
        help="how many seconds to measure processor time (%(default)g)",
    )
    balancing.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    balancing.set_defaults(
        run=lambda arguments: guarded(_balancing, arguments, ["rich"], needs_root=True)
    )


def _balancing(arguments: argparse.Namespace) -> int:
    """Exit status: 1 where the kernel lacks what was asked for."""
    from dataclasses import replace

    from fastvrrp.bench import screen
    from fastvrrp.bench.balancing import (
        CHECKED,
        CHECKED_BESIDE,
        TABLE,
        has_ipvs,
        measure,
        table,
        write_json,
    )

    if arguments.beside and not has_ipvs():
        return refuse("this kernel has no IPVS: modprobe ip_vs ip_vs_rr, or leave out --beside")
    cases = [CHECKED_BESIDE, TABLE] if arguments.beside else [CHECKED]
    if arguments.services is not None:
        cases = [replace(case, services=arguments.services) for case in cases]
    kinds = ("fastvrrp", "keepalived") if arguments.beside else ("fastvrrp",)
    with screen.progress() as say:
        measured = [
            measure(case, kind, arguments.duration, say) for case in cases for kind in kinds
        ]
    print("\n".join(table(measured)))
    if arguments.json is not None:
        write_json(arguments.json, measured)
    return 0
