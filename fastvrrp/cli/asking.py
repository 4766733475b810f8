"""What the commands that tell a running daemon to do something have in common."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from fastvrrp.cli.looking import NO_SUCH_NAME, NOT_RUNNING
from fastvrrp.observe.files import Files

NOT_ALLOWED = 1
REFUSED = 5
INTERRUPTED = 130
RATE = 250.0
"""Masters a second: 4,080 in 16 s."""
STATUSES = (
    "exit status: 0 done; 1 the daemon could not be told, or ended meanwhile; 2 wrong arguments; 3"
    " no daemon runs; 4 no virtual router of that name; 5 the daemon has refused it"
)


def add_rate(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds the option that says how many masters a second change."""
    parser.add_argument(
        "--rate",
        type=float,
        default=RATE,
        metavar="NUMBER",
        help=f"how many masters {what} a second, evenly (default: %(default)g)",
    )


def tell(arguments: argparse.Namespace, request: str, details: dict[str, Any]) -> int:
    """Sends a request to the daemon of --pid, prints what it says and returns the exit status
    (STATUSES)."""
    from fastvrrp.config.complaints import printable
    from fastvrrp.observe.requests import BrokenOffError, NobodyAnswersError, ask

    path = Files.beside(arguments.pid.absolute()).control
    try:
        outcome = ask(path, request, details, lambda line: print(printable(line), flush=True))
    except NobodyAnswersError as error:
        print(
            f"fastvrrp: no daemon runs: {error}; start it with 'fastvrrp run', or name its pid"
            f" file with --pid (now it is {arguments.pid})",
            file=sys.stderr,
        )
        return NOT_RUNNING
    except (BrokenOffError, OSError, ValueError) as error:
        print(f"fastvrrp: {error}", file=sys.stderr)
        return NOT_ALLOWED
    except KeyboardInterrupt:
        print("fastvrrp: the daemon goes on with it", file=sys.stderr)
        return INTERRUPTED
    if outcome.ok:
        return 0
    return NO_SUCH_NAME if outcome.value == "unknown" else REFUSED
