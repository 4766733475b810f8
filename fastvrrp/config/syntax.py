"""How the words after a keyword are read together.

`Arguments` is the ordinary case: so many arguments of these types. What has a grammar of its own
(an address with its options, a unicast peer, `use_vmac`) is a class here too. A syntax answers with
a value, or with None when it has complained and there is nothing to take.
"""

from __future__ import annotations

from typing import Protocol

from fastvrrp.config.arguments import Adjusted, Argument, ArgumentError
from fastvrrp.config.complaints import Complaints
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
            complaints.warning(
                statement, 1, f"{rest!r} between {statement.words[0]} and '{{' is ignored"
            )
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
    """A keyword with one argument; its value is the argument's."""

    def __init__(self, argument: Argument) -> None:
        self._argument = argument
        self._read = argument.read

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
        ignore_rest(statement, 2, complaints)
        return read_word(statement, 1, self._argument, complaints)


def read_word(
    statement: Statement, index: int, argument: Argument, complaints: Complaints
) -> object:
    """The value of one word, or None after a complaint that begins with the keyword."""
    word = statement.words[index]
    try:
        return argument.read(word)
    except ArgumentError as error:
        complaints.error(statement, index, f"{_subject(statement, index)} {error}")
    except Adjusted as adjusted:
        complaints.warning(statement, index, f"{_subject(statement, index)} {adjusted}")
        return adjusted.value
    return None


def ignore_rest(statement: Statement, index: int, complaints: Complaints) -> None:
    """Warn of words from `index` on, which keepalived passes over in silence."""
    if len(statement.words) > index:
        rest = " ".join(statement.words[index:])
        complaints.warning(
            statement, index, f"{rest!r} after {statement.words[0]} is ignored", is_ours=True
        )


def _subject(statement: Statement, index: int) -> str:
    return f"{statement.words[0]} {statement.words[index]}" if index else statement.words[0]
