"""`fastvrrp top`: the virtual routers of a running daemon, live in the terminal."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from fastvrrp.cli.looking import add_command, look
from fastvrrp.observe.sorting import SORTS

if TYPE_CHECKING:
    from fastvrrp.observe.view import View

MISSING = 1


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "top",
        run,
        help="watch the virtual routers of the running daemon",
        description="Shows the virtual routers live, with what each sends and hears a second. Keys:"
        " s sorts by the next column, / searches, escape ends the search, q ends. Needs"
        " fastvrrp[top] (textual); it reads what the daemon shows, and costs it nothing.",
        examples=("fastvrrp top --sort refused",),
    )
    parser.add_argument(
        "--sort",
        choices=tuple(SORTS),
        default=next(iter(SORTS)),
        help="by what (default: %(default)s)",
    )
    parser.add_argument(
        "--interval",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="between two looks (default: %(default)g)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show it until it is ended; the exit status (looking.STATUSES)."""
    try:
        from fastvrrp.cli.top_screen import Top
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("textual"):
            raise
        print(
            "fastvrrp: top needs textual, which is not installed; pip install 'fastvrrp[top]', or"
            " use fastvrrp status --watch",
            file=sys.stderr,
        )
        return MISSING

    def show(view: View) -> int:
        Top(view, arguments.sort, max(arguments.interval, 0.1)).run()
        return 0

    return look(arguments, show)
