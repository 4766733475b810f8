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
from fastvrrp.config.source import (
    Source,
    SourceError,
    expand_braces,
    is_pattern,
    matching_files,
    read_source,
)
from fastvrrp.config.statement import Statement
from fastvrrp.config.tokens import split_line, unquote, without_comment

INCLUDES = frozenset({"include", "includer", "includem", "includew", "includeb", "includea"})
DEEPEST_INCLUDE = 64
FIRST_WORD = re.compile(r"\s*(\w+)")

NEEDS_TOKENS = re.compile(r"""["'\\#!$@~]|[^\t\r -~]""")
"""A line without any of these is split by str.split; braces are looked at there."""

NEEDS_EXPANSION = re.compile(r"\$|^\s*[@~]")


class Lines:
    """Statements of a file and of the files that it includes, in order."""

    def __init__(self, complaints: Complaints, config_id: str = "", seed: int = 0) -> None:
        self._complaints = complaints
        self._expander = Expander(complaints, config_id, seed)
        self._opened = 0
        self._open_paths: list[str] = []

    def of_file(self, path: str) -> Iterator[Statement]:
        """Every statement of a file. Raises SourceError where that file cannot be read."""
        source = read_source(path, self._opened)
        self._opened += 1
        return self._of_source(source)

    def _of_source(self, source: Source) -> Iterator[Statement]:
        self._open_paths.append(source.path)
        needs_tokens = NEEDS_TOKENS.search
        lines = iter(enumerate(source.lines, 1))
        for number, line in lines:
            if needs_tokens(line) is not None:
                yield from self._of_tokens(source, number, line, lines)
                continue
            words = line.split()
            if not words:
                continue
            if words[0] in INCLUDES:
                yield from self._of_include(Statement(words, False, source, number))
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
            yield Statement(words, opens, source, number)
        self._open_paths.pop()

    def _of_tokens(
        self, source: Source, number: int, line: str, following: PhysicalLines
    ) -> Iterator[Statement]:
        name = FIRST_WORD.match(line)
        if name is not None and name.group(1) in INCLUDES:
            yield from self._of_include(Statement(_include_words(line), False, source, number))
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

    def _of_include(self, statement: Statement) -> Iterator[Statement]:
        if len(statement.words) < 2:
            self._complaints.warning(
                statement, 1, f"{statement.words[0]} names no file; write one after it"
            )
            return
        for name in expand_braces(statement.words[1]):
            if is_pattern(name):
                paths = matching_files(name, statement.source.directory)
            else:
                paths = [_beside(name, statement.source)]
            for path in paths:
                yield from self._of_included(path, statement)

    def _of_included(self, path: str, statement: Statement) -> Iterator[Statement]:
        if path in self._open_paths:
            circle = " -> ".join([*self._open_paths[self._open_paths.index(path) :], path])
            self._complaints.error(statement, 1, f"{path} includes itself: {circle}")
            return
        if len(self._open_paths) >= DEEPEST_INCLUDE:
            self._complaints.error(
                statement, 1, f"{path} is not read: includes are {DEEPEST_INCLUDE} deep"
            )
            return
        try:
            statements = self.of_file(path)
        except SourceError as error:
            self._complaints.warning(statement, 1, f"{error}; nothing is included", is_ours=True)
            return
        yield from statements


def _beside(name: str, source: Source) -> str:
    if name.startswith("/") or source.directory == ".":
        return name
    return f"{source.directory}/{name}"


def _include_words(line: str) -> list[str]:
    """An include's name may have braces, so its line is not split at them."""
    return [unquote(word) for word in without_comment(line).split()]
