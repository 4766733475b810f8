"""Text as man(7) has it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from textwrap import wrap

ESCAPED = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga"})
STARTS_REQUEST = (".", "'")
HEADINGS = (".SH ", ".SS ")
WIDTH = 78
"""Characters of a line of the source, which roff fills anew."""


class ManualPage:
    """One page, in the order in which its parts are added."""

    def __init__(self, name: str, section: int, summary: str, source: str) -> None:
        """`source` is the program with its version; `summary` is what whatis(1) prints."""
        self._lines = [f'.TH "{name.upper()}" "{section}" "" "{escape(source)}"', ".nh", ".ad l"]
        self.section("Name")
        self._lines.append(f"{escape(name)} \\- {escape(summary)}")

    def section(self, title: str) -> None:
        self._lines.append(f'.SH "{escape(title.upper())}"')

    def subsection(self, title: str) -> None:
        self._lines.append(f'.SS "{escape(title)}"')

    def paragraph(self, text: str) -> None:
        if not self._lines[-1].startswith(HEADINGS):
            self._lines.append(".PP")
        self._lines += _filled(text)

    def item(self, tag: str, *paragraphs: str) -> None:
        """Paragraphs below what they are about."""
        self._lines += [".TP", f"\\fB{escape(tag)}\\fR"]
        for number, text in enumerate(paragraphs or ("",)):
            if number:
                self._lines += [".sp 0"]
            self._lines += _filled(text) or ["\\&"]

    def items(self, items: Iterable[tuple[str, Sequence[str]]]) -> None:
        for tag, paragraphs in items:
            self.item(tag, *paragraphs)

    def example(self, text: str) -> None:
        """Lines that stay as they are."""
        self._lines += [".PP", ".RS 4", ".nf"]
        self._lines += [_line(line) or "\\&" for line in text.splitlines()]
        self._lines += [".fi", ".RE"]

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def escape(text: str) -> str:
    """Characters that mean something to roff, as themselves."""
    return text.translate(ESCAPED)


def _filled(text: str) -> list[str]:
    """Text that is to be filled, in lines as short as its words let them be."""
    lines = wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
    return [_line(line) for line in lines]


def _line(text: str) -> str:
    escaped = escape(text)
    return f"\\&{escaped}" if text.startswith(STARTS_REQUEST) else escaped
