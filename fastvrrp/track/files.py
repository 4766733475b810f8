"""Files with a number, read again whenever they change (inotify(7)).

A file may be written in place, replaced, removed or made later, and so may every directory and
symbolic link on the way to it: what is watched is each step of that way, for the one name that
matters there. A file that is not there, or does not begin with a number, has 0.

Only files on whose way something has changed are looked at, a few at a time.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from inotify_simple import INotify, flags, parse_events

log = logging.getLogger(__name__)

CHANGES = flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.ONLYDIR
"""Of a directory on the way."""
WRITES = flags.CLOSE_WRITE | flags.ATTRIB
"""Of the directory in which the file itself is."""
EVENTS = 4096
"""Bytes of events in one `read`: a hundred or so."""
LOOKS = 20
"""Files that are looked at in one `read`: each takes some tens of microseconds."""
LINKS = 40
"""Symbolic links on one way (path_resolution(7))."""
NUMBER = re.compile(rb"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
LEAST, MOST = -(2**31), 2**31 - 1
LOOKED_AT = 64
"""Bytes of a file in which its number must stand."""


class Files:
    """Named files and their numbers."""

    def __init__(self, on_change: Callable[[str], None] = lambda _: None) -> None:
        """`on_change` is called with the name of a file that has another number than before, or its
        first one. Raises OSError where there are too many inotify instances already."""
        self._on_change = on_change
        self._inotify = INotify(nonblocking=True)
        self._paths: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._ways: dict[str, list[tuple[int, str]]] = {}
        """By file: the steps of its way, as watch and name in that directory."""
        self._waiting: dict[tuple[int, str], set[str]] = {}
        """Files by such a step."""
        self._uses: dict[int, int] = {}
        """How many steps each watch is for."""
        self._stale: dict[str, None] = {}
        """Files to look at, in order."""
        self._refused: set[str] = set()
        """Directories that cannot be watched, of which that was said."""

    def fileno(self) -> int:
        """The descriptor that is readable when a file may have changed."""
        return int(self._inotify.fileno())

    @property
    def numbers(self) -> Mapping[str, int]:
        """The number of each file that was looked at."""
        return self._numbers

    @property
    def is_behind(self) -> bool:
        """True while files wait to be looked at: `read` again."""
        return bool(self._stale)

    def watch(self, name: str, path: str) -> None:
        """Watches a file (an absolute path) from now on; it waits to be looked at."""
        if self._paths.get(name) != path:
            self._paths[name] = path
            self._stale[name] = None

    def forget(self, name: str) -> None:
        """Watches a file no more."""
        del self._paths[name]
        self._stale.pop(name, None)
        self._numbers.pop(name, None)
        self._forget(name, self._ways.pop(name, []))

    def read(self) -> None:
        """Takes in what has changed, and looks at some of the files that wait."""
        with suppress(BlockingIOError):
            for event in parse_events(os.read(self.fileno(), EVENTS)):
                if event.mask & flags.Q_OVERFLOW:
                    self._stale.update(dict.fromkeys(self._paths))
                for name in self._waiting.get((event.wd, event.name), ()):
                    self._stale[name] = None
        for name in list(self._stale)[:LOOKS]:
            self.look(name)

    def look(self, name: str) -> int:
        """Looks at a file now; its number."""
        self._stale.pop(name, None)
        self._follow(name)
        number = self._number(name, self._paths[name])
        if self._numbers.get(name) != number:
            self._numbers[name] = number
            self._on_change(name)
        return number

    def close(self) -> None:
        self._inotify.close()

    def _follow(self, name: str) -> None:
        """Watches the way to a file as it is now, and only then may the file be read: what changes
        meanwhile is not missed."""
        way: list[tuple[int, str]] = []
        steps = list(steps_to(self._paths[name]))
        for number, (directory, entry) in enumerate(steps, 1):
            mask = CHANGES | (WRITES if number == len(steps) else 0) | flags.MASK_ADD
            try:
                way.append((self._inotify.add_watch(directory, mask), entry))
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR):
                    break  # gone again, which the step before this one says
                if directory not in self._refused:
                    self._refused.add(directory)
                    log.error("changes in %s cannot be watched: %s", directory, error.strerror)
        before = self._ways.pop(name, [])
        self._ways[name] = way
        for step in way:
            self._waiting.setdefault(step, set()).add(name)
            self._uses[step[0]] = self._uses.get(step[0], 0) + 1
        self._forget(name, before)

    def _forget(self, name: str, way: list[tuple[int, str]]) -> None:
        kept = set(self._ways.get(name, ()))
        for step in way:
            if step not in kept and step in self._waiting:
                self._waiting[step].discard(name)
                if not self._waiting[step]:
                    del self._waiting[step]
            watch = step[0]
            self._uses[watch] -= 1
            if not self._uses[watch]:
                del self._uses[watch]
                with suppress(OSError):  # it went with its directory
                    self._inotify.rm_watch(watch)

    def _number(self, name: str, path: str) -> int:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return 0
        try:
            content = os.read(descriptor, LOOKED_AT)
        except OSError as error:
            log.warning("track_file %s: %s cannot be read: %s", name, path, error.strerror)
            return 0
        finally:
            os.close(descriptor)
        number = number_in(content)
        if number is None:
            if content.strip():
                log.warning("track_file %s: %s does not begin with a number", name, path)
            return 0
        return number


def number_in(content: bytes) -> int | None:
    """The number with which a file begins: decimal, hexadecimal (0x) or octal (0). None where there
    is none, or it is outside 32 bits."""
    found = NUMBER.match(content)
    if found is None:
        return None
    sign, digits = found[1], found[2]
    base = 16 if digits[:2].lower() == b"0x" else 8 if digits.startswith(b"0") else 10
    number = int(sign + digits, base)
    return number if LEAST <= number <= MOST else None


def initialise(path: str, number: int, *, overwrites: bool) -> None:
    """Writes a number into a file that does not exist, or into any (`init_file`). Raises OSError
    where it cannot be written."""
    if overwrites or not Path(path).exists():
        Path(path).write_text(f"{number}\n")


def steps_to(path: str) -> Iterator[tuple[str, str]]:
    """The steps on the way to a file, as directory and name in it, as far as they exist, with the
    first one that does not. A change of any of them may make it another file."""
    here = "/"
    rest = _names(path)
    links = 0
    while rest:
        name = rest.pop(0)
        if name == "..":
            here = str(Path(here).parent)
            continue
        yield here, name
        entry = here.rstrip("/") + "/" + name
        try:
            target = os.readlink(entry)  # noqa: PTH115 - as text, which may lead nowhere
        except OSError as error:
            if error.errno != errno.EINVAL:
                return  # it is not there
            here = entry
            continue
        links += 1
        if links > LINKS:
            return
        rest = _names(target) + rest
        if target.startswith("/"):
            here = "/"


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]
