"""Parameters: `$NAME=value`, and the predefined ones whose names start with an underscore.

A reference is `${NAME}` anywhere, or `$NAME` before white space or the end of the line. One to a
name that is not defined stays as it is.
"""

from __future__ import annotations

import os
import re

DEFINITION = re.compile(r"\s*\$([A-Za-z_][A-Za-z0-9_]*)=", re.ASCII)
REFERENCE = re.compile(
    r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)((?:\s[^}]{0,200})?)\}|([A-Za-z_][A-Za-z0-9_]*)(?=\s|$))",
    re.ASCII,
)
REFERENCE_INSIDE = re.compile(
    r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII
)
"""Inside the parentheses of a sequence, where a comma may follow."""
PLAIN_VALUE = re.compile(r"""[^\s"'\\#!{}$~@]+""")
"""A value that stays inside one word and needs no second look."""
HASH_MARK = "\ue023"
BANG_MARK = "\ue021"
"""Stand-ins for # and ! that start no comment (of the private use area of Unicode)."""
RANDOM_DEFAULTS = (0, 32767)
MASK = 2**64 - 1


class Written:
    """A piece of text and where its first character was written."""

    __slots__ = ("column", "number", "path", "text")

    def __init__(self, text: str, path: str, number: int, column: int) -> None:
        self.text = text
        self.path = path
        self.number = number
        self.column = column


class Parameter:
    """A parameter: lines of text, each with the file, the line and the column it was written in."""

    __slots__ = ("is_plain", "lines", "name")

    def __init__(self, name: str, lines: list[Written]) -> None:
        self.name = name
        self.lines = lines
        self.is_plain = len(lines) == 1 and PLAIN_VALUE.fullmatch(lines[0].text) is not None


class Predefined:
    """The parameters that are always there."""

    def __init__(self, config_id: str, seed: int) -> None:
        self._config_id = config_id
        self._random = seed & MASK

    def seed(self, seed: int) -> None:
        """Start the random numbers again (`random_seed`)."""
        self._random = seed & MASK

    def value(self, name: str, words: list[str], directory: str) -> str | None:
        """The value of a predefined name, or None where it is none; words follow it in braces."""
        if name == "_PWD":
            return directory
        if name == "_INSTANCE":
            return self._config_id
        if name == "_HASH":
            return HASH_MARK
        if name == "_BANG":
            return BANG_MARK
        if name == "_ENV" and len(words) == 1:
            return os.environ.get(words[0], "")
        if name == "_RANDOM":
            return self._random_number(words)
        return None

    def _random_number(self, words: list[str]) -> str | None:
        if len(words) > 2 or not all(word.isascii() and word.isdigit() for word in words):
            return None
        numbers = [int(word[:18]) for word in words]
        least = numbers[0] if numbers else RANDOM_DEFAULTS[0]
        most = numbers[1] if len(numbers) > 1 else RANDOM_DEFAULTS[1]
        return str(least + self._next() % (max(least, most) - least + 1))

    def _next(self) -> int:
        """The next 64 bits (splitmix64: good enough to spread configurations)."""
        self._random = (self._random + 0x9E3779B97F4A7C15) & MASK
        mixed = self._random
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return mixed ^ (mixed >> 31)


def without_marks(word: str) -> str:
    """A word with its # and ! again."""
    return word.replace(HASH_MARK, "#").replace(BANG_MARK, "!")
