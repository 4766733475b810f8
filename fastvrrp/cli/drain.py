"""`fastvrrp drain`: all masters are given away, before maintenance."""

from __future__ import annotations

import argparse

from fastvrrp.cli.asking import STATUSES, add_rate, tell
from fastvrrp.cli.looking import add_command


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "drain",
        run,
        help="give all masters of the running daemon away, before maintenance",
        description="Gives all masters away, so many a second, and waits until that is done. From"
        " then on no virtual router of this daemon becomes master, also where nobody else is, and"
        " none that a reload adds, until 'fastvrrp undrain', or until the daemon is stopped. It"
        " goes on where this command is interrupted.",
        examples=("fastvrrp drain", "fastvrrp drain --rate 50 && systemctl stop fastvrrp"),
        statuses=STATUSES,
    )
    add_rate(parser, "are given away")


def run(arguments: argparse.Namespace) -> int:
    """Drain it; the exit status (asking.STATUSES)."""
    return tell(arguments, "drain", {"rate": arguments.rate})
