"""`fastvrrp check FILE`: what is wrong with a configuration, and what it means."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from fastvrrp.config import read
from fastvrrp.config.as_json import as_json

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def register(subparsers: Subparsers) -> None:
    """Add the command to the program's."""
    parser = subparsers.add_parser(
        "check",
        help="say everything that is wrong with a configuration",
        description="Reads a configuration and prints every complaint as FILE:LINE:COLUMN:"
        " error|warning: text. Exits with 1 where there is an error, otherwise with 0.",
    )
    parser.add_argument("file", metavar="FILE", help="the configuration, as keepalived.conf")
    parser.add_argument(
        "--json",
        action="store_true",
        help="print what was understood, with every default, as JSON",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check one file; the exit status."""
    reading = read(arguments.file)
    for complaint in reading.complaints:
        print(complaint, file=sys.stderr)
    if arguments.json:
        for piece in as_json(reading.configuration):
            sys.stdout.write(piece)
        print()
    return 1 if reading.has_errors else 0
