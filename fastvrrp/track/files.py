"""Files with a number, read again whenever they change (inotify(7)).

A file may be written in place, replaced, removed or made later, and so may its directory: what is
watched is the nearest directory that exists, and for a symbolic link that of its target too. A file
that is not there, or does not begin with a number, has 0.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from inotify_simple import INotify, flags

log = logging.getLogger(__name__)

CHANGES = (
    flags.CLOSE_WRITE
    | flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.ATTRIB
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
)
NUMBER = re.compile(rb"\s*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
LEAST, MOST = -(2**31), 2**31 - 1
LOOKED_AT = 64
"""Bytes of a file in which its number must stand."""


class Files:
    """Named files and their numbers."""

    def __init__(self) -> None:
        self._inotify = INotify(nonblocking=True)
        self._paths: dict[str, str] = {}
        self._watches: dict[str, int] = {}
        """By directory."""
        self._numbers: dict[str, int] = {}

    def fileno(self) -> int:
        """The descriptor that is readable when a file may have changed."""
        return int(self._inotify.fileno())

    @property
    def numbers(self) -> Mapping[str, int]:
        """The number of each file."""
        return self._numbers

    def watch(self, paths: Mapping[str, str]) -> None:
        """Watches these files (absolute paths by name) from now on, and no others."""
        self._paths = dict(paths)
        self._look()

    def read(self) -> list[tuple[str, int]]:
        """The names and new numbers of files that have changed."""
        for event in self._inotify.read(timeout=0):
            if event.mask & flags.IGNORED:  # the directory is gone, and the watch with it
                for directory, watch in list(self._watches.items()):
                    if watch == event.wd:
                        del self._watches[directory]
        before = self._numbers
        self._look()
        return [item for item in self._numbers.items() if before.get(item[0]) != item[1]]

    def close(self) -> None:
        self._inotify.close()

    def _look(self) -> None:
        """Sets the watches, and only then reads: what changes meanwhile is not missed."""
        self._set_watches({place for path in self._paths.values() for place in _directories(path)})
        self._numbers = {name: self._number(name, path) for name, path in self._paths.items()}

    def _set_watches(self, directories: Iterable[str]) -> None:
        wanted = set(directories)
        for directory in self._watches.keys() - wanted:
            with suppress(OSError):  # it went with its directory
                self._inotify.rm_watch(self._watches.pop(directory))
        for directory in wanted - self._watches.keys():
            try:
                self._watches[directory] = self._inotify.add_watch(directory, CHANGES)
            except FileNotFoundError:
                continue  # gone again; its parent, which is watched next, says so
            except OSError as error:
                log.error("changes in %s cannot be watched: %s", directory, error.strerror)

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


def _directories(path: str) -> Iterable[str]:
    """The directories in which a change may be one of the file's."""
    for place in {path, os.path.realpath(path)}:
        directory = os.path.dirname(place)  # noqa: PTH120 - as text, from the caller's text
        while not Path(directory).is_dir():
            directory = os.path.dirname(directory)  # noqa: PTH120
        yield directory
