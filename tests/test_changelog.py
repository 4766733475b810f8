"""CHANGELOG.md: merges have not doubled anything."""

from collections import Counter
from pathlib import Path

LONG = 20
"""Characters of a line that may stand twice."""


def test_no_line_stands_twice() -> None:
    text = (Path(__file__).parents[1] / "CHANGELOG.md").read_text()
    counts = Counter(line for line in text.splitlines() if len(line) > LONG)
    assert [line for line, count in counts.items() if count > 1] == []
