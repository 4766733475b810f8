"""The command `fastvrrp`. Each module of this package is one command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path

from fastvrrp import __version__

COMMANDS = (
    *("run", "check", "explain", "keyword", "status", "show", "events", "top"),
    *("reload", "upgrade", "resign", "drain", "undrain"),
    *("keepalived", "genhash", "demo", "bench", "completion"),
)
MODULES = {"keepalived": "as_keepalived"}
"""Where the module has another name than the command."""
KEEPALIVED = "keepalived"
"""What is started by this name takes keepalived's options."""
ASKED = "_ARGCOMPLETE"
"""Set by a shell's script when it asks for completions."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status.

    Only the module of the command that is named is imported: the daemon keeps what it has read.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if arguments is None and Path(sys.argv[0]).name == KEEPALIVED:
        given.insert(0, KEEPALIVED)
    if given[:1] == [KEEPALIVED]:
        from fastvrrp.cli import as_keepalived

        return as_keepalived.main(given[1:])
    parser = parser_of(given[:1] if given and given[0] in COMMANDS else COMMANDS)
    if ASKED in os.environ:
        from fastvrrp.cli import completion

        completion.answer(parser)
    parsed = parser.parse_args(given)
    status: int = parsed.run(parsed)
    return status


def parser_of(commands: Iterable[str]) -> argparse.ArgumentParser:
    """The parser of these commands; their modules are imported."""
    parser = argparse.ArgumentParser(
        prog="fastvrrp",
        description="A VRRP router daemon that reads keepalived.conf.",
        epilog="'fastvrrp COMMAND --help' says more of a command.",
    )
    parser.add_argument("-v", "--version", action="version", version=f"fastvrrp {__version__}")
    parsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in commands:
        import_module(f"fastvrrp.cli.{MODULES.get(name, name)}").register(parsers)
    return parser


if __name__ == "__main__":
    sys.exit(main())
