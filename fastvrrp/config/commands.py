"""Scripts: a command with its arguments, and who runs it if that is written."""

from __future__ import annotations

import re

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.statement import Statement
from fastvrrp.config.syntax import ignore_rest
from fastvrrp.model import Command

PART = re.compile(r"""'([^']*)'?|"([^"]*)"?|(\s+)|([^\s'"]+)""")
IN_BLOCKS = frozenset({"script", "misc_path"})
"""Commands that stand in a block with their user; all others stand in a line with him."""


class Script:
    """COMMAND [USER [GROUP]]; a command with arguments is one quoted word."""

    def __init__(self, *, is_optional: bool = False) -> None:
        self._is_optional = is_optional

    @property
    def shape(self) -> str:
        return "[COMMAND [USER [GROUP]]]" if self._is_optional else "COMMAND [USER [GROUP]]"

    def read(self, statement: Statement, complaints: Complaints) -> object:
        words = statement.words
        if len(words) == 1:
            if self._is_optional:
                return True
            complaints.error(statement, 1, f"{words[0]} needs a command")
            return None
        arguments = command_words(words[1])
        if not arguments:
            complaints.error(statement, 1, f"the command of {words[0]} is empty")
            return None
        ignore_rest(statement, 4, complaints)
        return Command(
            arguments,
            words[2] if len(words) > 2 else None,
            *written_group(words[3] if len(words) > 3 else None),
        )


class BareCommand:
    """COMMAND alone: the words of one quoted word, or all words of the line."""

    shape = "COMMAND"

    def read(self, statement: Statement, complaints: Complaints) -> Command | None:
        words = statement.words
        arguments = command_words(words[1]) if len(words) > 1 else ()
        if not arguments:
            complaints.error(statement, 1, f"{words[0]} needs a command")
            return None
        return Command(arguments + tuple(words[2:]))


def written_group(word: str | None) -> tuple[str | None, bool]:
    """The group that a word names, if any, and whether all groups of the user count: a colon stands
    before it then, or alone."""
    if word is None:
        return None, False
    return word.removeprefix(":") or None, word.startswith(":")


def command_words(text: str) -> tuple[str, ...]:
    """Arguments of a command line: white space parts them, quotes of either kind keep it."""
    words: list[str] = []
    is_inside = False
    for single, double, space, plain in (match.groups() for match in PART.finditer(text)):
        if space is not None:
            is_inside = False
            continue
        part = next(piece for piece in (single, double, plain) if piece is not None)
        if is_inside:
            words[-1] += part
        else:
            words.append(part)
        is_inside = True
    return tuple(words)
