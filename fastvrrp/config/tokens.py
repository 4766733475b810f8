r"""One line of text to words, and words to what they mean.

Every brace outside quotes ends a statement as the end of the line does, so that

    virtual_ipaddress { 192.0.2.1 }

is three statements: `virtual_ipaddress {`, `192.0.2.1` and `}`. Comments start at any # or !
outside quotes. Inside quotes the escapes of a shell are known: \a \b \E \f \n \r \t \v, \NNN, \xXX
and \cC. An apostrophe that has no second one is a letter.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

TOKEN = re.compile(
    r"""(?P<space>[ \t\r\f\v]+)
    | (?P<comment>[#!].*)
    | (?P<brace>[{}])
    | (?P<word>(?: [^\s"'\\{}\#!$]
                 | \\["']?
                 | \$\{[^}\n]{0,200}\} | \$
                 | "(?:[^"\\]|\\.)*" | "[^"]*"
                 | '(?:[^'\\]|\\.)*' | '
                 | [\x1c-\x1f\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]
               )+)
    | (?P<open_quote>")
    """,
    re.VERBOSE | re.DOTALL,
)
QUOTED_PART = re.compile(
    r"""\\(["'])|"((?:[^"\\]|\\.)*|[^"]*)"|'((?:[^'\\]|\\.)*)'""",
    re.DOTALL,
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


class Split(NamedTuple):
    """One statement of a line."""

    words: list[str]
    """As they are meant; empty for a brace alone."""
    opens: bool
    first: int
    """How many tokens of the line came before."""


def split_line(line: str) -> tuple[list[Split], int | None]:
    """Statements of a line, and the token before which a quote stands that is not closed."""
    splits: list[Split] = []
    words: list[str] = []
    first = seen = 0
    open_quote: int | None = None
    for match in TOKEN.finditer(line):
        kind = match.lastgroup
        if kind == "word":
            text = match.group()
            words.append(unquote(text) if is_quoted(text) else text)
            seen += 1
        elif kind == "brace":
            opens = match.group() == "{"
            if opens or words:
                splits.append(Split(words, opens, first))
            if not opens:
                splits.append(Split([], False, seen))
            seen += 1
            words, first = [], seen
        elif kind == "comment":
            break
        elif kind == "open_quote":
            open_quote = seen
    if words:
        splits.append(Split(words, False, first))
    return splits, open_quote


@lru_cache(maxsize=8)
def token_spans(line: str) -> list[tuple[int, int]]:
    """Where words and braces of a line start and end, in order.

    A line of 100 kB may be complained of at 10,000 places, one after another: the lines of the last
    complaints are remembered.
    """
    return [match.span() for match in TOKEN.finditer(line) if match.lastgroup in ("word", "brace")]


def token_offset(line: str, index: int) -> int:
    """Where token `index` starts, from 0; past the last one is the end of the line."""
    spans = token_spans(line)
    return spans[index][0] if index < len(spans) else len(line.rstrip())


def token_text(line: str, index: int) -> str:
    """Token `index` as it is written, with its quotes."""
    start, end = token_spans(line)[index]
    return line[start:end]


def without_comment(line: str) -> str:
    """A line up to its comment."""
    if "#" not in line and "!" not in line:
        return line
    for match in TOKEN.finditer(line):
        if match.lastgroup == "comment":
            return line[: match.start()]
    return line


def is_quoted(word: str) -> bool:
    """Whether a word as it is written may be other than what it means."""
    return '"' in word or "'" in word or "\\" in word


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
