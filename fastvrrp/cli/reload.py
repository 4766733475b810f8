"""`fastvrrp reload`: the running daemon reads its configuration again."""

from __future__ import annotations

import argparse

from fastvrrp.cli.asking import STATUSES, tell
from fastvrrp.cli.looking import add_command


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "reload",
        run,
        help="let the running daemon read its configuration again",
        description="Lets the daemon read its configuration again, waits until what is different"
        " is carried out, and prints what there is to complain about and what was done. A"
        " configuration with errors is refused as a whole, and everything goes on as it was.",
        examples=("fastvrrp reload", "fastvrrp reload --check"),
        statuses=STATUSES,
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="only say what would be done; nothing is changed",
    )


def run(arguments: argparse.Namespace) -> int:
    """Reload; the exit status (asking.STATUSES)."""
    return tell(arguments, "reload", {"check": arguments.check})
