"""Requests to a running daemon, through its control socket (docs/control.md).

A request is a line of JSON, `{"request": "reload", "arguments": {}}`. The answer is lines of JSON:
any number of `{"line": "..."}`, which are for a person and come while it is carried out, and at the
end `{"ok": true, "value": ...}`. A connection is for one request.

Whoever asks waits here; the daemon's end is daemon/control.py.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

LONGEST_REQUEST = 16_384
"""Bytes of a request, with the end of its line."""
LONGEST_PATH = 107
"""Bytes of a path of a socket (unix(7))."""


class NobodyAnswersError(Exception):
    """There is no daemon at the socket."""


class BrokenOffError(Exception):
    """The daemon has ended, or was told to, before it had answered."""


class Outcome(NamedTuple):
    """How a request has ended."""

    ok: bool
    value: Any = None
    """What belongs to the request, of JSON's types."""


def ask(
    path: Path,
    request: str,
    arguments: Mapping[str, object],
    on_line: Callable[[str], object],
) -> Outcome:
    """Sends a request to the socket at `path` and waits for its end, however long that takes;
    `on_line` is called with each line for a person. Raises NobodyAnswersError, BrokenOffError, and
    OSError where there are no rights."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            with short_path(path) as name:
                connection.connect(name)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NobodyAnswersError(f"there is nobody at {path}") from None
        except OSError as error:
            error.filename = str(path)
            raise
        said = json.dumps({"request": request, "arguments": arguments})
        try:
            with suppress(BrokenPipeError):  # it may have refused us before that: it says why
                connection.sendall(said.encode() + b"\n")
            with connection.makefile("rb") as answer:
                for line in answer:
                    found = json.loads(line)
                    if "ok" in found:
                        return Outcome(found["ok"], found.get("value"))
                    on_line(found["line"])
        except ConnectionError:
            pass
    raise BrokenOffError("the daemon has ended before it had answered")


@contextmanager
def short_path(path: Path) -> Iterator[str]:
    """A name for a socket's path that the kernel takes however long the path is."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
