"""`fastvrrp undrain`: what was given away is taken back, after maintenance."""

from __future__ import annotations

import argparse

from fastvrrp.cli.asking import STATUSES, add_rate, tell
from fastvrrp.cli.looking import add_daemon


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "undrain",
        help="take back what 'drain' and 'resign' have given away",
        description="Lets all virtual routers take part again by their ordinary rules. Those with a"
        " higher priority than their master's, that preempt, become master a Master_Down_Interval"
        " later: so many a second are let go. Ends what 'fastvrrp resign' has begun, too.",
        epilog=f"examples: fastvrrp undrain; fastvrrp undrain --rate 50. {STATUSES}",
    )
    add_rate(parser, "are taken back")
    add_daemon(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Take them back; the exit status (asking.STATUSES)."""
    return tell(arguments, "undrain", {"rate": arguments.rate})
