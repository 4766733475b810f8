"""A statement, and where it stands.

Columns are not remembered: the few words that are complained of are found again in their line. A
statement that a parameter or a sequence made knows two places: where it was used, which is where
the file asks for it, and where it was written.
"""

from __future__ import annotations

from typing import Protocol

from fastvrrp.config.complaints import Place
from fastvrrp.config.source import Source
from fastvrrp.config.tokens import token_offset, token_text


class Statement:
    """Words of one line up to a brace or its end.

    `words` is empty for a brace alone: `opens` tells which one. `source` and `number` say which
    line of which file it is, `first` how many tokens of that line came before.
    """

    __slots__ = ("first", "number", "opens", "source", "words")

    def __init__(
        self, words: list[str], opens: bool, source: Source, number: int, first: int = 0
    ) -> None:
        self.words = words
        self.opens = opens
        self.source = source
        self.number = number
        self.first = first

    def raw(self, index: int) -> str:
        """Word `index` as it is written, with its quotes."""
        return token_text(self.source.lines[self.number - 1], self.first + index)

    def place(self, index: int = 0) -> Place:
        """Where word `index` stands; past the last word is the end of the statement."""
        offset = token_offset(self.source.lines[self.number - 1], self.first + index)
        return Place(self.source.path, self.number, offset + 1)

    def definition(self, index: int = 0) -> Place | None:
        """Where word `index` was written, when that is not where it stands."""
        return None

    def order(self) -> tuple[int, int]:
        """Position in reading order."""
        return (self.source.number, self.number)


class Use:
    """Where the file asks for text that stands elsewhere: one line, one column."""

    __slots__ = ("column", "number", "source")

    def __init__(self, source: Source, number: int, column: int) -> None:
        self.source = source
        self.number = number
        self.column = column


class Origin(Protocol):
    """Where the tokens of a line come from that was not read but made."""

    def column(self, token: int) -> int:
        """Column of its use."""

    def definition(self, token: int) -> Place | None:
        """Where it was written, when that is elsewhere."""

    def raw(self, token: int) -> str:
        """The token with its quotes."""


class MadeStatement(Statement):
    """A statement that a parameter or a sequence made; its line is that of the use."""

    __slots__ = ("_origin",)

    def __init__(
        self,
        words: list[str],
        opens: bool,
        use: Use,
        first: int,
        origin: Origin,
    ) -> None:
        self.words = words
        self.opens = opens
        self.source = use.source
        self.number = use.number
        self.first = first
        self._origin = origin

    def raw(self, index: int) -> str:
        """Word `index` as it is written, with its quotes."""
        return self._origin.raw(self.first + index)

    def place(self, index: int = 0) -> Place:
        """Where the parameter or sequence is used."""
        return Place(self.source.path, self.number, self._origin.column(self.first + index))

    def definition(self, index: int = 0) -> Place | None:
        """Where word `index` was written."""
        return self._origin.definition(self.first + index)


class Whole:
    """A file as a whole, for complaints that belong to no line."""

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    def place(self, index: int = 0) -> Place:
        """The beginning of the file."""
        return Place(self.path, 1, 1)

    def definition(self, index: int = 0) -> Place | None:
        """A file is where it is."""
        return None

    def order(self) -> tuple[int, int]:
        """Before anything in the file."""
        return (0, 0)
