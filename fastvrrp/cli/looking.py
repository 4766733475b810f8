"""What the commands that look at a running daemon have in common: which one, names, statuses."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastvrrp.observe.files import DEFAULT_PID_FILE, Files

if TYPE_CHECKING:
    from fastvrrp.observe.view import View

UNREADABLE = 1
NOT_RUNNING = 3
NO_SUCH_NAME = 4
RESTARTED = -1
"""Another daemon has taken the place of the one that was looked at, or will."""
STATUSES = (
    "exit status: 0 done; 1 what the daemon shows cannot be read; 2 wrong arguments; 3 no daemon"
    " runs; 4 no virtual router of that name"
)
GLOB = frozenset("*?[")


def add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], int],
    *,
    help: str,
    description: str,
    examples: Sequence[str],
    statuses: str = STATUSES,
) -> argparse.ArgumentParser:
    """Adds a command that has to do with a running daemon, with the option that says which."""
    shown = f"example{'s' if len(examples) > 1 else ''}: {'; '.join(examples)}"
    parser = commands.add_parser(
        name, help=help, description=description, epilog=f"{shown}. {statuses}"
    )
    add_daemon(parser)
    parser.set_defaults(run=run)
    return parser


def add_daemon(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says which daemon."""
    parser.add_argument(
        "-p",
        "--pid",
        type=Path,
        default=DEFAULT_PID_FILE,
        metavar="FILE",
        help="the daemon's pid file, beside which it shows its state (default: %(default)s)",
    )


def add_name(
    parser: argparse.ArgumentParser, help: str, *, is_optional: bool, metavar: str
) -> None:
    """Adds the argument that says which virtual routers; shells complete it."""
    added = parser.add_argument(
        "name", nargs="?" if is_optional else None, metavar=metavar, help=help
    )
    # argcomplete looks for this name.
    added.completer = lambda prefix, parsed_args, **_: names(  # type: ignore[attr-defined]
        parsed_args.pid, prefix
    )


def names(pid_file: Path, prefix: str) -> list[str]:
    """Virtual routers of a daemon whose names start with `prefix`; none where none runs."""
    from fastvrrp.observe.view import NotRunning, View

    try:
        with closing(View(Files.beside(pid_file))) as view:
            found = view.segment.names().values()
    except (NotRunning, OSError, ValueError):
        return []
    return [name for name in found if name.startswith(prefix)]


def keep_looking(arguments: argparse.Namespace, show: Callable[[View], int]) -> int:
    """The same as `look`, and again at the next daemon where `show` returns RESTARTED, however long
    that one takes to come, until it is interrupted."""
    status = look(arguments, show)
    try:
        while status == RESTARTED:
            time.sleep(1)
            status = look(arguments, show, awaits=True)
    except KeyboardInterrupt:
        return 0
    return status


def look(
    arguments: argparse.Namespace, show: Callable[[View], int], *, awaits: bool = False
) -> int:
    """Opens what the daemon shows and calls `show`; the exit status, of that or for what is in the
    way, which stderr says. One who awaits a daemon is told RESTARTED where there is none yet."""
    from fastvrrp.observe.view import NotRunning, View

    try:
        with closing(View(Files.beside(arguments.pid.absolute()), arguments.pid)) as view:
            return show(view)
    except NotRunning as error:
        if awaits:
            return RESTARTED
        print(f"fastvrrp: {error}", file=sys.stderr)
        return NOT_RUNNING
    except BrokenPipeError:
        return 0
    except (OSError, ValueError) as error:
        print(f"fastvrrp: {error}", file=sys.stderr)
        return UNREADABLE
    except KeyboardInterrupt:
        return 0
    finally:
        _let_go_of_stdout()


def _let_go_of_stdout() -> None:
    """Whoever reads stdout may have had enough; then the interpreter must not say so at its end."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def matching(routers: Iterable[dict[str, Any]], pattern: str | None) -> list[dict[str, Any]]:
    """Those whose name is the pattern, or matches it as a shell would; all where there is none."""
    if pattern is None:
        return list(routers)
    return [
        router
        for router in routers
        if router["name"] == pattern or fnmatchcase(router["name"], pattern)
    ]


def say_unknown(name: str, known: Iterable[str]) -> int:
    """Says that there is no such virtual router, and which may have been meant."""
    from fastvrrp.config.complaints import printable
    from fastvrrp.config.spelling import nearest

    text = f"the daemon has no virtual router {name}"
    suggestion = None if GLOB & set(name) else nearest(name, known)
    if suggestion is not None:
        text += f"; did you mean {suggestion}?"
    print(f"fastvrrp: {printable(text)}", file=sys.stderr)
    return NO_SUCH_NAME


def duration(seconds: float) -> str:
    """A length of time as a person says it: 0.3 s, 12 s, 5 min 3 s, 3 h 12 min, 12 d 4 h."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def ago(at: float | None) -> str:
    """How long ago a time of the day was."""
    return "" if at is None else duration(time.time() - at)
