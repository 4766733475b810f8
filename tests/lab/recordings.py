"""Recordings of a terminal in a page: commands behind `# `, and below each what it has printed.

When they are run again, the same has to be printed but for what no two runs share: times, lengths
of time, process ids, and how many blanks make a column of them. `...` stands for any lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

PROMPT = "# "
ANY_LINES = "..."
NEVER_THE_SAME = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?(\+\d\d:\d\d)?"), "TIME"),
    (re.compile(r"\b(\d+ (min|h|d) )?\d+(\.\d+)? (s|min|h)\b"), "LENGTH"),
    (re.compile(r"\bpid \d+"), "PID"),
    (re.compile(r"[ \t]+"), " "),
)
NUMBER = re.compile(r"(?<![\w.:/_])\d+(\.\d+)?(?![\w.:])")


@dataclass(frozen=True)
class Said:
    """A command and what it prints."""

    command: str
    output: str


def recorded(text: str) -> Iterator[Said]:
    """The commands of a recording."""
    assert text.startswith(PROMPT), text
    for part in re.split(rf"^{PROMPT}", text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield Said(command, output)


def is_on_screen(printed: str, expected: str, *, are_numbers_free: bool) -> bool:
    """Whether all lines that are expected are there, wherever a program has put them."""
    wanted = set(_comparable(expected, are_numbers_free)) - {ANY_LINES}
    return wanted <= set(_comparable(printed, are_numbers_free))


def shows(printed: str, expected: str, *, are_numbers_free: bool) -> bool:
    """Whether it is the same; with free numbers, but for numbers that are words of their own."""
    parts = [
        re.escape("\n".join(_comparable(part, are_numbers_free)))
        for part in re.split(rf"^{re.escape(ANY_LINES)}$", expected, flags=re.MULTILINE)
    ]
    pattern = r"(?s:.*)".join(part.strip() for part in parts)
    return re.fullmatch(pattern, "\n".join(_comparable(printed, are_numbers_free))) is not None


def _comparable(text: str, are_numbers_free: bool) -> Iterator[str]:
    """The lines that are not empty."""
    for pattern, name in NEVER_THE_SAME:
        text = pattern.sub(name, text)
    if are_numbers_free:
        text = NUMBER.sub("NUMBER", text)
    return (line.strip() for line in text.splitlines() if line.strip())
