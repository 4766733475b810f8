"""`fastvrrp resign NAME|GLOB`: virtual routers are given to whoever else there is."""

from __future__ import annotations

import argparse

from fastvrrp.cli.asking import STATUSES, add_rate, tell
from fastvrrp.cli.looking import add_command, add_name

MINUTE = 60.0


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "resign",
        run,
        help="give virtual routers of the running daemon to another one",
        description="Lets masters resign: they say so with priority 0, and whoever else there is"
        " takes over at once. For a while they do not preempt that one, whatever their priority is;"
        " where nobody else is master they become it again. With --for 0 they take part by their"
        " ordinary rules at once: one with a higher priority that preempts is master again a"
        " Master_Down_Interval later. Members of a sync group resign together."
        " 'fastvrrp undrain' ends it before its time.",
        examples=("fastvrrp resign VI_1", "fastvrrp resign 'CUST_1*' --for 600"),
        statuses=STATUSES,
    )
    add_name(parser, "a name, or a pattern as of a shell", is_optional=False, metavar="NAME")
    parser.add_argument(
        "--for",
        dest="seconds",
        type=float,
        default=MINUTE,
        metavar="SECONDS",
        help="how long they do not preempt (default: %(default)g)",
    )
    add_rate(parser, "resign")


def run(arguments: argparse.Namespace) -> int:
    """Let them resign; the exit status (asking.STATUSES)."""
    details = {"name": arguments.name, "for": arguments.seconds, "rate": arguments.rate}
    return tell(arguments, "resign", details)
