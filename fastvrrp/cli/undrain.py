"""`fastvrrp undrain`: what was given away is taken back, after maintenance."""

from __future__ import annotations

import argparse

from fastvrrp.cli.asking import STATUSES, add_rate, tell
from fastvrrp.cli.looking import add_command


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "undrain",
        run,
        help="take back what 'drain' and 'resign' have given away",
        description="Lets all virtual routers take part again by their ordinary rules. Those with a"
        " higher priority than their master's, that preempt, become master a Master_Down_Interval"
        " later: so many a second are let go. Ends what 'fastvrrp resign' has begun, too.",
        examples=("fastvrrp undrain", "fastvrrp undrain --rate 50"),
        statuses=STATUSES,
    )
    add_rate(parser, "are taken back")


def run(arguments: argparse.Namespace) -> int:
    """Take them back; the exit status (asking.STATUSES)."""
    return tell(arguments, "undrain", {"rate": arguments.rate})
