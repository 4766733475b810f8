"""`fastvrrp bench flood`: hostile load on a daemon in a network namespace."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from fastvrrp.cli.bench_guard import guarded


def register(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    flood = kinds.add_parser(
        "flood",
        help="hostile load on a daemon in a network namespace",
        description="Make one daemon master of all its virtual routers, and flood it with adverts"
        " for unknown VRIDs, with bad checksums and with a wrong TTL. No virtual router may be"
        " lost, every packet must be accounted for, and the memory must not grow; the exit status"
        " says whether it was so. Needs root.",
        epilog="example: fastvrrp bench flood --routers 1020 --rate 20000",
    )
    flood.add_argument("--routers", type=int, default=1020, metavar="N", help="(%(default)s)")
    flood.add_argument("--interfaces", type=int, default=8, metavar="K", help="(%(default)s)")
    flood.add_argument(
        "--rate", type=float, default=50_000, metavar="N", help="packets a second (%(default)g)"
    )
    flood.add_argument(
        "--duration", type=float, default=10.0, metavar="S", help="seconds (%(default)g)"
    )
    flood.add_argument("--versus", choices=("keepalived",), help="flood this one, too")
    flood.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    flood.set_defaults(run=lambda arguments: guarded(_flood, arguments, ["rich"], needs_root=True))


def _flood(arguments: argparse.Namespace) -> int:
    from fastvrrp.bench import screen
    from fastvrrp.bench.case import Case
    from fastvrrp.bench.flood import flood
    from fastvrrp.bench.kinds import KINDS
    from fastvrrp.bench.machine import describe

    case = Case(arguments.routers, arguments.interfaces)
    kinds = ["fastvrrp", *([arguments.versus] if arguments.versus else [])]
    with screen.progress() as say:
        done = [flood(case, KINDS[kind], arguments.rate, arguments.duration, say) for kind in kinds]
    screen.show_floods(case, done)
    if arguments.json is not None:
        found = {"machine": describe(), "daemons": [each.to_json() for each in done]}
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if done[0].lost or done[0].unaccounted or done[0].has_grown else 0
