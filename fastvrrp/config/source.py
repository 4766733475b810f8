"""Reading files: text, its lines, and which files an `include` names.

Nothing here knows keywords. Text is decoded as UTF-8; bytes that are none survive as surrogates, so
that a password in another encoding is still the same bytes when it is encoded again.
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

BYTE_ORDER_MARK = "\ufeff"
WILDCARD = re.compile(r"[*?\[]")
BRACES = re.compile(r"\{([^{}]*)\}")
MOST_EXPANDED_NAMES = 1000
"""A brace expression that makes more names than this is an accident."""
MOST_NAMES = 30_000
"""Files and directories that the includes of a configuration look at."""
MOST_MATCHES = 10_000
"""A pattern that reaches more files and directories than this is one, too."""
LONGEST_NAME = 4096
"""PATH_MAX of linux/limits.h."""


class SourceError(Exception):
    """A file cannot be read; the text says why, and starts with the file's name."""

    def __init__(self, text: str, *, is_missing: bool = False) -> None:
        super().__init__(text)
        self.is_missing = is_missing


class Reach:
    """How many names the includes of one reading may look at."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MOST_NAMES

    def take(self, names: int) -> None:
        """Look at so many. Raises SourceError where that is too much."""
        self.left -= names
        if self.left < 0:
            raise SourceError(f"includes look at more than {MOST_NAMES} names")


class Source:
    """One opened file. `path` is shown in complaints as it was given or composed."""

    __slots__ = ("directory", "has_mark", "lines", "number", "path")

    def __init__(self, path: str, text: str, number: int) -> None:
        self.has_mark = text.startswith(BYTE_ORDER_MARK)
        """Whether a byte order mark stands before the first line, which is read without it."""
        self.path = path
        self.number = number
        """How many files were opened before this one: the reading order of files."""
        self.directory = str(Path(path).parent)
        self.lines = text.removeprefix(BYTE_ORDER_MARK).split("\n")

    @property
    def absolute_directory(self) -> str:
        """The directory of the file from the root, as ${_PWD} has it."""
        return str(Path(self.directory).absolute())


def included_source(path: str, number: int) -> Source:
    """The same for a file that another one names, which must not be a device or a pipe: those may
    have no end. Raises SourceError."""
    try:
        is_endless = not Path(path).is_file() and not Path(path).is_dir() and Path(path).exists()
    except (OSError, ValueError):
        is_endless = False
    if is_endless:
        raise SourceError(f"{path} is no regular file")
    return read_source(path, number)


def read_source(path: str, number: int) -> Source:
    """Open, read and decode a file. Raises SourceError with a sentence about it."""
    try:
        data = Path(path).read_bytes()
    except IsADirectoryError:
        raise SourceError(f"{path} is a directory; name a file") from None
    except FileNotFoundError:
        raise SourceError(f"{path} does not exist", is_missing=True) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{path} cannot be read: {reason}") from None
    if b"\0" in data:
        raise SourceError(f"{path} is not text: it has a NUL byte at offset {data.index(0)}")
    return Source(path, data.decode("utf-8", "surrogateescape"), number)


def is_pattern(name: str) -> bool:
    """True where a name may match no file without that being a mistake."""
    return WILDCARD.search(name) is not None


def expand_braces(name: str) -> list[str]:
    """The names that a csh brace expression makes, in its order: a{b,c} is ab and ac."""
    names = [name]
    finished: list[str] = []
    while names:
        candidate = names.pop(0)
        match = BRACES.search(candidate)
        if match is None or len(names) + len(finished) > MOST_EXPANDED_NAMES:
            finished.append(candidate)
            continue
        head, tail = candidate[: match.start()], candidate[match.end() :]
        names[:0] = [head + part + tail for part in match.group(1).split(",")]
    return list(dict.fromkeys(finished))


def matching_files(pattern: str, directory: str, reach: Reach) -> list[str]:
    """Paths that match a wildcard pattern, sorted; relative patterns start in `directory`.

    As in glob(3), a leading dot is only matched by a dot. Raises SourceError for too many.
    """
    parts = Path(pattern).parts
    found = [Path(parts[0])] if Path(pattern).is_absolute() else [Path(directory)]
    for part in parts[1:] if Path(pattern).is_absolute() else parts:
        if not is_pattern(part):
            found = [path / part for path in found if (path / part).exists()]
            continue
        matches = re.compile(fnmatch.translate(part)).match
        deeper: list[Path] = []
        for path in found:
            try:
                names = sorted(entry.name for entry in path.iterdir())
            except OSError:
                continue
            reach.take(1 + len(names))
            deeper += [
                path / name
                for name in names
                if matches(name) and (part.startswith(".") or not name.startswith("."))
            ]
            if len(deeper) > MOST_MATCHES:
                raise SourceError(f"{pattern} matches more than {MOST_MATCHES} names")
        found = deeper
    return [str(path) for path in found]
