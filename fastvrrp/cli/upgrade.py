"""`fastvrrp upgrade`: the version that is installed now takes the place of the one that runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fastvrrp.cli.asking import STATUSES, tell
from fastvrrp.cli.looking import add_command


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = add_command(
        commands,
        "upgrade",
        run,
        help="let the version that is installed now take the place of the one that runs",
        description="Starts a second process from the files that are installed now, which reads and"
        " checks the configuration, takes over addresses and states, and goes on: masters stay"
        " masters, and no address moves. The parent of the processes goes on by the new code, with"
        " its process id. Where anything goes wrong, the daemon runs on as it was,"
        " and this says why.",
        examples=("fastvrrp upgrade", "fastvrrp upgrade --with /opt/fastvrrp-2/bin/python"),
        statuses=STATUSES,
    )
    parser.add_argument(
        "--with",
        dest="python",
        type=Path,
        metavar="PYTHON",
        help="the interpreter of the environment that has the new version (default: the one that"
        " runs the daemon)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Upgrade; the exit status (asking.STATUSES)."""
    python: Path | None = arguments.python
    if python is not None:
        python = python.absolute()
        if not python.is_file():
            print(f"fastvrrp: {python}: there is no such interpreter", file=sys.stderr)
            return 1
    return tell(arguments, "upgrade", {} if python is None else {"python": str(python)})
