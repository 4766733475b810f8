"""From files to statements, through the files that they include.

Most lines of a large file hold no quote, comment or escape, and are split by str.split. Of the
others, those with a parameter, a condition or a sequence are made into other lines (`expansion`),
and the rest is matched against the token expression (`tokens`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.expansion import Expander, PhysicalLines
from fastvrrp.config.includes import (
    INCLUDE_CHECK,
    INCLUDES,
    Checks,
    checks_of,
    included_paths,
    opened,
)
from fastvrrp.config.recall import HEAD, Head, Memory, Recalled, text_of_block
from fastvrrp.config.source import LONGEST_NAME, Reach, Source, read_source
from fastvrrp.config.statement import Statement
from fastvrrp.config.tokens import split_line, unquote, without_comment

DEEPEST_INCLUDE = 64
FIRST_WORD = re.compile(r"\s*(\w+)(?=[\s#!]|$)")

NEEDS_TOKENS = re.compile(r"""["'\\#!$@~]|[^\t\r -~]""")
"""A line without any of these is split by str.split; braces are looked at there."""

NEEDS_EXPANSION = re.compile(r"\$|^\s*[@~]")


class Lines:
    """Statements of a file and of the files that it includes, in order."""

    def __init__(
        self,
        complaints: Complaints,
        config_id: str = "",
        seed: int = 0,
        memory: Memory | None = None,
    ) -> None:
        """With a `memory` a virtual server that it knows is one statement (`Recalled`)."""
        self._memory = memory
        self._complaints = complaints
        self._expander = Expander(complaints, config_id, seed)
        self._checks = Checks.NONE
        self._opened = 0
        self._reach = Reach()
        self._open_paths: list[str] = []

    def seed(self, seed: int) -> None:
        """Start the numbers of ${_RANDOM} again from a seed."""
        self._expander.seed(seed)

    def of_file(self, path: str) -> Iterator[Statement]:
        """Every statement of a file. Raises SourceError where that file cannot be read."""
        source = read_source(path, self._opened)
        self._opened += 1
        return self._of_source(source)

    def _of_source(self, source: Source) -> Iterator[Statement]:
        self._open_paths.append(source.path)
        if source.has_mark:
            self._complaints.warning(
                Statement([], False, source, 1),
                0,
                "the file begins with a byte order mark, which keepalived takes for a part of the"
                " first word; save it as UTF-8 without one",
            )
        needs_tokens = NEEDS_TOKENS.search
        lines = iter(enumerate(source.lines, 1))
        for number, line in lines:
            if needs_tokens(line) is not None:
                yield from self._of_tokens(source, number, line, lines)
                continue
            words = line.split()
            if not words:
                continue
            if words[0].startswith("include") and self._is_directive(words[0]):
                yield from self._of_directive(source, number, line)
                continue
            opens = words[-1] == "{"
            if opens:
                words.pop()
            elif words[0] == "}" and len(words) == 1:
                words.pop()
                yield Statement(words, False, source, number)
                continue
            if "}" in line or ("{" in line and (not opens or line.count("{") > 1)):
                yield from self._of_tokens(source, number, line, lines)
                continue
            if opens and words[:1] == [HEAD] and self._memory is not None:
                yield self._of_server(self._memory, words, source, number, lines)
                continue
            yield Statement(words, opens, source, number)
        self._open_paths.pop()

    @staticmethod
    def _of_server(
        memory: Memory, words: list[str], source: Source, number: int, following: PhysicalLines
    ) -> Statement:
        """A virtual server that is known, which goes with all its lines, or the head of one."""
        text = text_of_block(source, number)
        if text is None:
            return Statement(words, True, source, number)
        server = memory.recall(text)
        if server is None:
            return Head(words, source, number, text)
        for _ in range(text.count("\n")):
            next(following)
        return Recalled(words, source, number, server)

    def _of_tokens(
        self, source: Source, number: int, line: str, following: PhysicalLines
    ) -> Iterator[Statement]:
        name = FIRST_WORD.match(line)
        if name is not None and self._is_directive(name.group(1)):
            yield from self._of_directive(source, number, line)
            return
        if NEEDS_EXPANSION.search(line) is not None:
            yield from self._expander.statements(source, number, line, following)
            return
        splits, open_quote = split_line(line)
        if open_quote is not None:
            where = Statement([], False, source, number, open_quote)
            self._complaints.error(where, 0, 'the quote " is not closed in this line; close it')
        for words, opens, first in splits:
            yield Statement(words, opens, source, number, first)

    @staticmethod
    def _is_directive(word: str) -> bool:
        """Whether a line with that first word is about files and no statement."""
        return word in INCLUDES or word == INCLUDE_CHECK

    def _of_directive(self, source: Source, number: int, line: str) -> Iterator[Statement]:
        words = without_comment(line).split()
        statement = Statement(words, False, source, number)
        if words[0] == INCLUDE_CHECK:
            self._checks = checks_of(statement, self._checks, self._complaints)
        else:
            yield from self._of_include(statement, _included_name(line))

    def _of_include(self, statement: Statement, name: str) -> Iterator[Statement]:
        word = statement.words[0]
        if not name:
            self._complaints.warning(statement, 1, f"{word} names no file; write one after it")
            return
        if len(name) > LONGEST_NAME:
            self._complaints.error(
                statement, 1, f"{word} has a name of more than {LONGEST_NAME} characters"
            )
            return
        checks = self._checks | INCLUDES[word]
        for path in included_paths(statement, name, checks, self._reach, self._complaints):
            if path in self._open_paths:
                circle = self._open_paths[self._open_paths.index(path) :]
                self._complaints.error(
                    statement, 1, f"{path} includes itself: {' -> '.join([*circle, path])}"
                )
                continue
            if len(self._open_paths) >= DEEPEST_INCLUDE:
                self._complaints.error(
                    statement, 1, f"{path} is not read: includes are {DEEPEST_INCLUDE} deep"
                )
                continue
            source = opened(path, self._opened, statement, checks, self._complaints)
            if source is not None:
                self._opened += 1
                before = self._checks
                yield from self._of_source(source)
                self._checks = before


def _included_name(line: str) -> str:
    """What follows an include's word, to the end of the line: a name may have spaces and braces."""
    words = without_comment(line).strip().split(maxsplit=1)
    return unquote(words[1]) if len(words) > 1 else ""
