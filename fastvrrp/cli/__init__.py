"""The command `fastvrrp`. Each module of this package is one command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fastvrrp import __version__
from fastvrrp.cli import bench, check, completion, demo, keyword, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="fastvrrp",
        description="A VRRP router daemon that reads keepalived.conf.",
        epilog="'fastvrrp COMMAND --help' says more of a command.",
    )
    parser.add_argument("-v", "--version", action="version", version=f"fastvrrp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (run, check, keyword, demo, bench, completion):
        module.register(commands)
    completion.complete(parser)
    parsed = parser.parse_args(arguments)
    status: int = parsed.run(parsed)
    return status


if __name__ == "__main__":
    sys.exit(main())
