"""How the words after a keyword are read together.

`Arguments` is the ordinary case: so many arguments of these types. What has a grammar of its own
(an address with its options, a unicast peer, `use_vmac`) is a class here too. A syntax answers with
a value, or with None when it has complained and there is nothing to take.
"""

from __future__ import annotations

from typing import Protocol

from fastvrrp.config.arguments import Adjusted, Argument, ArgumentError
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.spelling import slip
from fastvrrp.config.statement import Statement


class Syntax(Protocol):
    """Reader of one statement."""

    @property
    def shape(self) -> str:
        """How the documentation writes what follows the keyword."""

    def read(self, statement: Statement, complaints: Complaints) -> object:
        """The value, or None after a complaint."""


class Flag:
    """A keyword that says it all; its value is True."""

    shape = ""

    def read(self, statement: Statement, complaints: Complaints) -> bool:
        ignore_rest(statement, 1, complaints)
        return True


class InnerBlock:
    """Nothing between a keyword and its brace; keepalived minds, other than at the top."""

    shape = ""

    def read(self, statement: Statement, complaints: Complaints) -> bool:
        if len(statement.words) > 1:
            rest = " ".join(statement.words[1:])
            text = f"{rest!r} between {statement.words[0]} and '{{' is ignored"
            remedy = slip(statement.words[1])
            complaints.warning(statement, 1, f"{text}; {remedy}" if remedy else text)
        return True


class Switch:
    """A keyword with an optional boolean; alone it means on."""

    shape = "[on|off]"

    def __init__(self, boolean: Argument) -> None:
        self._boolean = boolean

    def read(self, statement: Statement, complaints: Complaints) -> object:
        if len(statement.words) == 1:
            return True
        ignore_rest(statement, 2, complaints)
        return read_word(statement, 1, self._boolean, complaints)


class One:
    """A keyword with one argument; its value is the argument's.

    Further words are passed over, or with `is_alone` leave it without a value, as keepalived does
    with a few keywords.
    """

    def __init__(self, argument: Argument, *, is_alone: bool = False) -> None:
        self._argument = argument
        self._read = argument.read
        self._is_alone = is_alone

    @property
    def shape(self) -> str:
        return self._argument.shape

    def read(self, statement: Statement, complaints: Complaints) -> object:
        words = statement.words
        if len(words) == 2:
            try:
                return self._read(words[1])
            except (ArgumentError, Adjusted):
                return read_word(statement, 1, self._argument, complaints)
        if len(words) == 1:
            complaints.error(statement, 1, f"{words[0]} needs a value: {self.shape}")
            return None
        if self._is_alone:
            rest = " ".join(words[2:])
            complaints.error(
                statement, 2, f"{words[0]} is ignored: it has one value; remove {rest!r}"
            )
            return None
        ignore_rest(statement, 2, complaints)
        return read_word(statement, 1, self._argument, complaints)


class Several:
    """A keyword with arguments of their own types, the last `optional` of which may be missing.

    Its value is a tuple with None for each that is missing.
    """

    def __init__(self, *arguments: Argument, optional: int = 0, start: int = 1) -> None:
        self._arguments = arguments
        self._least = len(arguments) - optional
        self._start = start
        """0 where the line of a block without keywords is read."""

    @property
    def shape(self) -> str:
        least = [argument.shape for argument in self._arguments[: self._least]]
        more = [f"[{argument.shape}]" for argument in self._arguments[self._least :]]
        return " ".join(least + more)

    def read(self, statement: Statement, complaints: Complaints) -> tuple[object, ...] | None:
        words = statement.words
        if len(words) < self._least + self._start:
            complaints.error(statement, len(words), f"{words[0]} needs {self.shape}")
            return None
        values: list[object] = []
        for index, argument in enumerate(self._arguments, self._start):
            if index >= len(words):
                values.append(None)
                continue
            value = read_word(statement, index, argument, complaints)
            if value is None and index < self._least + self._start:
                return None
            values.append(value)
        ignore_rest(statement, len(self._arguments) + self._start, complaints)
        return tuple(values)


class Many:
    """A keyword with any number of arguments of one type; the value is a tuple."""

    def __init__(self, argument: Argument, least: int = 1) -> None:
        self._argument = argument
        self._least = least

    @property
    def shape(self) -> str:
        shape = self._argument.shape
        return f"{shape} ..." if self._least else f"[{shape} ...]"

    def read(self, statement: Statement, complaints: Complaints) -> tuple[object, ...] | None:
        words = statement.words
        if len(words) <= self._least:
            complaints.error(statement, len(words), f"{words[0]} needs a value: {self.shape}")
            return None
        values = [
            read_word(statement, index, self._argument, complaints)
            for index in range(1, len(words))
        ]
        return tuple([value for value in values if value is not None])


class Optional:
    """A keyword with an argument that may be missing; alone its value is True."""

    def __init__(self, argument: Argument) -> None:
        self._argument = argument

    @property
    def shape(self) -> str:
        return f"[{self._argument.shape}]"

    def read(self, statement: Statement, complaints: Complaints) -> object:
        if len(statement.words) == 1:
            return True
        ignore_rest(statement, 2, complaints)
        return read_word(statement, 1, self._argument, complaints)


class Line:
    """A line of a block without keywords: words of one type, all on the line."""

    def __init__(self, argument: Argument) -> None:
        self._argument = argument

    @property
    def shape(self) -> str:
        return self._argument.shape

    def read(self, statement: Statement, complaints: Complaints) -> tuple[object, ...]:
        values = [
            read_word(statement, index, self._argument, complaints)
            for index in range(len(statement.words))
        ]
        return tuple([value for value in values if value is not None])


def read_word(
    statement: Statement,
    index: int,
    argument: Argument,
    complaints: Complaints,
    subject: str = "",
    consequence: str = "",
) -> object:
    """The value of one word, or None after a complaint.

    The complaint begins with `subject`, which is the first word of the statement unless given, and
    ends with `consequence`.
    """
    word = statement.words[index]
    try:
        return argument.read(word)
    except ArgumentError as error:
        text = f"{_named(statement, index, subject)} {error}"
        text = joined(text, slip(word), consequence)
        complaints.error(statement, index, text, is_ours=error.is_ours)
    except Adjusted as adjusted:
        complaints.warning(statement, index, f"{_named(statement, index, subject)} {adjusted}")
        return adjusted.value
    return None


def joined(*parts: str | None) -> str:
    """What is said in a complaint, its parts one after the other."""
    return "; ".join(filter(None, parts))


def ignore_rest(statement: Statement, index: int, complaints: Complaints) -> None:
    """Warn of words from `index` on, which keepalived passes over in silence."""
    if len(statement.words) > index:
        rest = " ".join(statement.words[index:])
        text = f"{rest!r} after {statement.words[0]} is ignored"
        remedy = slip(statement.words[index])
        complaints.warning(statement, index, f"{text}; {remedy}" if remedy else text, is_ours=True)


def _named(statement: Statement, index: int, subject: str) -> str:
    """A word as complaints name it: after its keyword, unless it is that itself."""
    word = statement.words[index]
    if subject:
        return f"{subject} {word}"
    return f"{statement.words[0]} {word}" if index else word
