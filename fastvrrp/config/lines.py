r"""From the text of files to statements: words, and whether a block opens after them.

keepalived's language is one of lines. A statement is the words of one line, and every brace outside
quotes ends a statement as the end of the line does, so that

    virtual_ipaddress { 192.0.2.1 }

is three statements: `virtual_ipaddress {`, `192.0.2.1` and `}`. Comments start at any # or !
outside quotes. Inside quotes the escapes of a shell are known: \a \b \E \f \n \r \t \v, \NNN,
\xXX and \cC.

Most lines of a large file hold no quote, comment or escape, and are split by str.split. Only the
others are matched against the token expression. Columns are not remembered: the few words that are
complained of are found again in their line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastvrrp.config.complaints import Complaints, Place
from fastvrrp.config.source import (
    Source,
    SourceError,
    expand_braces,
    is_pattern,
    matching_files,
    read_source,
)

INCLUDES = frozenset({"include", "includer", "includem", "includew", "includeb", "includea"})
DEEPEST_INCLUDE = 64

NEEDS_TOKENS = re.compile(r"""["'\\#!$@~]|[^\t\r -~]""")
"""A line without any of these is split by str.split; braces are looked at there."""

TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+)
    | (?P<comment>[#!].*)
    | (?P<brace>[{}])
    | (?P<word>(?: [^\s"'\\{}\#!$]
                 | \\["']?
                 | \$\{[^}\n]*\} | \$
                 | "(?:[^"\\]|\\.)*" | "[^"]*"
                 | '(?:[^'\\]|\\.)*' | '[^']*'
                 | [\x1c-\x1f\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]
               )+)
    | (?P<open_quote>["'])
    """,
    re.VERBOSE | re.DOTALL,
)
QUOTED_PART = re.compile(
    r"""\\(["'])|"((?:[^"\\]|\\.)*|[^"]*)"|'((?:[^'\\]|\\.)*|[^']*)'""", re.DOTALL
)
ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{1,2})|([0-7]{1,3})|c(.)|(.))", re.DOTALL)
NAMED_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "E": "\x1b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
}


class Statement:
    """Words of one line up to a brace or its end.

    `words` is empty for a brace alone: `opens` tells which one. `source` and `number` say which
    line it is, `first` how many tokens of that line came before.
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
        tokens = [
            match.group()
            for match in TOKEN.finditer(self.source.lines[self.number - 1])
            if match.lastgroup in ("word", "brace")
        ]
        return tokens[self.first + index]

    def place(self, index: int = 0) -> Place:
        """Where word `index` stands; past the last word is the end of the statement."""
        columns = token_columns(self.source.lines[self.number - 1])
        position = min(self.first + index, len(columns) - 1)
        return Place(self.source.path, self.number, columns[position])

    def definition(self, index: int = 0) -> Place | None:
        """Words of a plain line stand where they are defined."""
        return None

    def order(self) -> tuple[int, int]:
        """Position in reading order."""
        return (self.source.number, self.number)


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


def token_columns(line: str) -> list[int]:
    """Columns, from 1, of the words and braces of a line, and of its end."""
    columns = [
        match.start() + 1 for match in TOKEN.finditer(line) if match.lastgroup in ("word", "brace")
    ]
    columns.append(len(line.rstrip()) + 1)
    return columns


def unquote(word: str) -> str:
    """A word as it is meant: quotes gone, escapes done."""

    def part(match: re.Match[str]) -> str:
        escaped, double, single = match.groups()
        if escaped is not None:
            return str(escaped)
        return ESCAPE.sub(_escape, double if double is not None else single)

    return QUOTED_PART.sub(part, word)


def _escape(match: re.Match[str]) -> str:
    hexadecimal, octal, control, other = match.groups()
    if hexadecimal is not None:
        return chr(int(hexadecimal, 16))
    if octal is not None:
        return chr(int(octal, 8) & 0xFF)
    if control is not None:
        return chr(ord(control) & 0x1F)
    return NAMED_ESCAPES.get(other, other)


class Lines:
    """Statements of a file and of the files that it includes, in order."""

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
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
        for number, line in enumerate(source.lines, 1):
            if needs_tokens(line) is not None:
                yield from self._of_tokens(source, number, line)
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
                yield from self._of_tokens(source, number, line)
                continue
            yield Statement(words, opens, source, number)
        self._open_paths.pop()

    def _of_tokens(self, source: Source, number: int, line: str) -> Iterator[Statement]:
        words: list[str] = []
        first = seen = 0
        for match in TOKEN.finditer(line):
            kind = match.lastgroup
            if kind == "word":
                text = match.group()
                words.append(unquote(text) if _is_quoted(text) else text)
                if seen == 0 and text in INCLUDES:
                    yield from self._of_include(_include_statement(source, number, line))
                    return
                seen += 1
            elif kind == "brace":
                opens = match.group() == "{"
                if opens or words:
                    yield Statement(words, opens, source, number, first)
                if not opens:
                    yield Statement([], False, source, number, seen)
                seen += 1
                words, first = [], seen
            elif kind == "comment":
                break
            elif kind == "open_quote":
                self._complaints.error(
                    Statement([], False, source, number, seen),
                    0,
                    f"the quote {match.group()} is not closed in this line; close it",
                )
        if words:
            yield Statement(words, False, source, number, first)

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


def _is_quoted(word: str) -> bool:
    return '"' in word or "'" in word or "\\" in word


def _beside(name: str, source: Source) -> str:
    if name.startswith("/") or source.directory == ".":
        return name
    return f"{source.directory}/{name}"


def _include_statement(source: Source, number: int, line: str) -> Statement:
    """An include's name may have braces, so its line is not split at them."""
    bare = TOKEN_COMMENT.split(line, maxsplit=1)[0]
    return Statement([unquote(word) for word in bare.split()], False, source, number)


TOKEN_COMMENT = re.compile(r"[#!]")
