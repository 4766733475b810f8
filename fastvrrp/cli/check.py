"""`fastvrrp check FILE`: what is wrong with a configuration, and what it means."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, TextIO

from fastvrrp.cli.kernel_check import kernel_complaints
from fastvrrp.config import Complaint, Severity, read
from fastvrrp.config.as_json import as_json
from fastvrrp.config.complaints import printable
from fastvrrp.config.diff import compare
from fastvrrp.config.source import SourceError, read_source

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

COLORS = {Severity.ERROR: "\033[1;31m", Severity.WARNING: "\033[1;33m"}
BOLD = "\033[1m"
PLAIN = "\033[0m"


def register(subparsers: Subparsers) -> None:
    """Add the command to the program's."""
    parser = subparsers.add_parser(
        "check",
        help="say everything that is wrong with a configuration",
        description="Reads a configuration and prints every complaint as FILE:LINE:COLUMN:"
        " error|warning: text; on a terminal with the line and a caret under the word. Exits with"
        " 1 where there is an error, otherwise with 0.",
        epilog="examples: fastvrrp check keepalived.conf; fastvrrp check new.conf --diff"
        " keepalived.conf; fastvrrp check keepalived.conf --json",
    )
    parser.add_argument("file", metavar="FILE", help="the configuration, as keepalived.conf")
    parser.add_argument(
        "-i",
        "--config-id",
        metavar="ID",
        help="read lines that start with @ID (default: the host's name)",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument(
        "--json",
        action="store_true",
        help="print what was understood, with every default, as JSON",
    )
    output.add_argument(
        "--diff",
        metavar="OLD",
        help="print what a reload from OLD to FILE would add, remove and change, and which virtual"
        " routers would leave MASTER; of OLD only errors are said",
    )
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="color complaints, and show their lines (default: on a terminal)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check one file; the exit status."""
    reading = read(arguments.file, arguments.config_id)
    complaints = reading.complaints + kernel_complaints(reading)
    print_complaints(complaints, sys.stderr, arguments.color)
    if arguments.json:
        for piece in as_json(reading.configuration):
            sys.stdout.write(piece)
        print()
    if arguments.diff is not None:
        old = read(arguments.diff, arguments.config_id)
        errors = tuple(item for item in old.complaints if item.severity == Severity.ERROR)
        print_complaints(errors, sys.stderr, arguments.color)
        for line in compare(old.configuration, reading.configuration).lines():
            print(printable(line))
    return 1 if reading.has_errors else 0


def print_complaints(complaints: tuple[Complaint, ...], stream: TextIO, color: str) -> None:
    """Write complaints, one a line; in color each with its line of the file and a caret."""
    is_colored = color == "always" or (
        color == "auto" and stream.isatty() and "NO_COLOR" not in os.environ
    )
    lines: dict[str, list[str]] = {}
    for complaint in complaints:
        if not is_colored:
            print(complaint, file=stream)
            continue
        severity = complaint.severity
        place, text = str(complaint).split(f": {severity.name.lower()}: ", 1)
        print(
            f"{BOLD}{place}:{PLAIN} {COLORS[severity]}{severity.name.lower()}:{PLAIN} {text}",
            file=stream,
        )
        file = complaint.place.file
        if file not in lines:
            lines[file] = _lines_of(file)
        if complaint.place.line <= len(lines[file]):
            line = lines[file][complaint.place.line - 1].expandtabs(1)
            start = complaint.place.column - 1
            print(f"    {printable(line)}", file=stream)
            print(
                f"    {' ' * len(printable(line[:start]))}{COLORS[severity]}^{PLAIN}", file=stream
            )


def _lines_of(file: str) -> list[str]:
    """Lines of a file that was read a moment ago; none where it cannot be read."""
    try:
        return read_source(file, 0).lines
    except SourceError:
        return []
