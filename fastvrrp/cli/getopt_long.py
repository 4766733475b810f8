"""Options as getopt_long(3) reads them.

argparse reads them otherwise: there `-t FILE` is -t with a value, and an option with a value that
may be left out takes the next word for it. Scripts that were written for a program in C rely on the
rules here: such a value follows its option at once (`-tFILE`, `--config-test=FILE`), flags stand
together behind one dash, and a long name may be cut where only one begins so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple


class Value(Enum):
    """Whether an option has a value."""

    NONE = 0
    NEEDED = 1
    OPTIONAL = 2


class Option(NamedTuple):
    """One option."""

    long: str
    """Without its dashes."""
    short: str = ""
    """One letter, or none."""
    value: Value = Value.NONE


class Given(NamedTuple):
    """An option that was given, or with an empty `name` a word that is none."""

    name: str
    """Its long name, whole."""
    value: str | None


class OptionError(Exception):
    """An option that is not known, or lacks its value; the text is getopt's user's."""


def read_options(words: Sequence[str], options: Iterable[Option]) -> Iterator[Given]:
    """What was given, in that order; words that are no options among them. Raises OptionError when
    it comes to one with a fault."""
    known = list(options)
    rest = iter(words)
    for word in rest:
        if word == "--":
            yield from (Given("", each) for each in rest)
        elif word.startswith("--"):
            yield _long(word, known, rest)
        elif word.startswith("-") and word != "-":
            yield from _short(word, known, rest)
        else:
            yield Given("", word)


def _long(word: str, known: list[Option], rest: Iterator[str]) -> Given:
    name, equals, value = word[2:].partition("=")
    found = [option for option in known if option.long == name]
    found = found or [option for option in known if option.long.startswith(name)]
    if len(found) != 1 or (equals and found[0].value is Value.NONE):
        raise OptionError(f"Unknown option {word}")
    option = found[0]
    if option.value is Value.NEEDED and not equals:
        return Given(option.long, _next(rest, word))
    return Given(option.long, value if equals else None)


def _short(word: str, known: list[Option], rest: Iterator[str]) -> Iterator[Given]:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = next((each for each in known if each.short == letter), None)
        if option is None:
            raise OptionError(f"Unknown option -{letter}")
        if option.value is Value.NONE:
            yield Given(option.long, None)
            continue
        if option.value is Value.NEEDED and not letters:
            yield Given(option.long, _next(rest, f"-{letter}"))
        else:
            yield Given(option.long, letters or None)
        return


def _next(rest: Iterator[str], option: str) -> str:
    value = next(rest, None)
    if value is None:
        raise OptionError(f"Missing parameter for option {option}")
    return value
