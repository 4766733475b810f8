"""What is wrong with a configuration, and where.

An *error* says what cannot be: the value, address or block in question is dropped, and everything
else stands, as keepalived does it. A *warning* says that something is taken, but not as written,
or that it has no effect. keepalived exits with 5 on both when it is only asked to check (`-t`), and
so does `fastvrrp run -t`;
complaints that it would not have made are marked `is_ours`, so that verdicts can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

MOST_COMPLAINTS = 10_000
"""A file with more than that is no configuration."""
MOST_SUGGESTIONS = 200
"""Looking for the nearest word takes a millisecond; a file of nothing but unknown words is no
configuration."""


class Severity(IntEnum):
    """How bad a complaint is; the lower-case name is what a person reads."""

    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Place:
    """A character of a file; line and column count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Located(Protocol):
    """Something written in a file whose words have places."""

    def place(self, index: int = 0) -> Place:
        """Where the word of that index stands; past the last word is the end of the line."""

    def definition(self, index: int = 0) -> Place | None:
        """Where the text of the word is defined, when that is not where it stands."""

    def order(self) -> tuple[int, int]:
        """Position in reading order: the file's number and the line."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """One complaint; `str()` of it is the line that a person reads."""

    place: Place
    severity: Severity
    text: str
    is_ours: bool = False
    """True where keepalived takes the same text without a word."""
    definition: Place | None = None
    """Where the text was defined, when `place` is the use of a parameter or a sequence."""

    def __str__(self) -> str:
        text = self.text
        if self.definition is not None:
            text = f"{text} (written in {self.definition})"
        return printable(f"{self.place}: {self.severity.name.lower()}: {text}")


def printable(text: str) -> str:
    """Escape what a terminal would obey, or could not encode."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


class Complaints:
    """Collects the complaints of one reading, the same one at the same place only once."""

    def __init__(self) -> None:
        self._found: dict[Complaint, tuple[int, int]] = {}
        self.errors = 0
        """Errors so far, also those that are too many to keep."""
        self.misses_files = False
        """True where a file that an include names is not there or no file, and that is an error."""
        self._suggestions_left = MOST_SUGGESTIONS

    def error(self, where: Located, index: int, text: str, *, is_ours: bool = False) -> None:
        """Complain of word `index`: the thing is dropped."""
        self.errors += 1
        self._add(where, index, Severity.ERROR, text, is_ours)

    def warning(self, where: Located, index: int, text: str, *, is_ours: bool = False) -> None:
        """Complain of word `index`: the thing is taken, though not as written."""
        self._add(where, index, Severity.WARNING, text, is_ours)

    def may_suggest(self) -> bool:
        """Whether it is worth the time to look for the word that was meant."""
        self._suggestions_left -= 1
        return self._suggestions_left >= 0

    def _add(
        self, where: Located, index: int, severity: Severity, text: str, is_ours: bool
    ) -> None:
        if len(self._found) > MOST_COMPLAINTS:
            return
        if len(self._found) == MOST_COMPLAINTS:
            severity = Severity.ERROR if self.errors else severity
            text = f"{MOST_COMPLAINTS} complaints are enough; there are more"
        place = where.place(index)
        definition = where.definition(index)
        if definition is not None and (definition.file, definition.line) == (
            place.file,
            place.line,
        ):
            definition = None
        complaint = Complaint(place, severity, text, is_ours, definition)
        self._found.setdefault(complaint, where.order())

    def __len__(self) -> int:
        return len(self._found)

    def in_order(self) -> tuple[Complaint, ...]:
        """All complaints, in the order of the files that were read."""
        found = self._found.items()
        return tuple(
            complaint
            for complaint, _ in sorted(found, key=lambda item: (item[1], item[0].place.column))
        )
