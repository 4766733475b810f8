"""Lines on their way through the expansion: pieces of text that know where they come from."""

from __future__ import annotations

from typing import NamedTuple

from fastvrrp.config.complaints import Place
from fastvrrp.config.parameters import Written, without_marks
from fastvrrp.config.statement import Use
from fastvrrp.config.tokens import token_offset, token_spans, token_text


class Segment(NamedTuple):
    """A piece of a line: its text, the column of its use, and where it was written if elsewhere."""

    text: str
    column: int
    written: Written | None

    def cut(self, start: int, end: int | None = None) -> Segment:
        """The part of it between two offsets."""
        text = self.text[start:end]
        if self.written is None:
            return Segment(text, self.column + start, None)
        written = self.written
        return Segment(
            text,
            self.column,
            Written(text, written.path, written.number, written.column + start),
        )


class Line(NamedTuple):
    """A line on its way: its segments, where it is used, and how deep inside others."""

    segments: list[Segment]
    use: Use
    depth: int

    @property
    def text(self) -> str:
        return "".join([segment.text for segment in self.segments])

    def cut(self, start: int, end: int | None = None) -> Line:
        """The part of it between two offsets."""
        segments: list[Segment] = []
        offset = 0
        for segment in self.segments:
            length = len(segment.text)
            if offset + length > start and (end is None or offset < end):
                segments.append(
                    segment.cut(
                        max(0, start - offset), None if end is None else min(length, end - offset)
                    )
                )
            offset += length
        return Line(segments, self.use, self.depth)


class SegmentsOrigin:
    """Where the tokens of a line come from that was put together of segments."""

    __slots__ = ("_segments", "_text")

    def __init__(self, segments: list[Segment], text: str) -> None:
        self._segments = segments
        self._text = text

    def column(self, token: int) -> int:
        """Column of the token, or of the reference that made it."""
        segment, offset = self._segment(token)
        if segment is None:
            return 1
        return segment.column + offset if segment.written is None else segment.column

    def definition(self, token: int) -> Place | None:
        """Where the token was written: the first part of it that was written elsewhere."""
        spans = token_spans(self._text)
        if token >= len(spans):
            return None
        begin, end = spans[token]
        start = 0
        for segment in self._segments:
            stop = start + len(segment.text)
            if stop > begin and start < end and segment.written is not None:
                written = segment.written
                return Place(written.path, written.number, written.column + max(0, begin - start))
            start = stop
        return None

    def raw(self, token: int) -> str:
        """The token with its quotes."""
        return without_marks(token_text(self._text, token))

    def _segment(self, token: int) -> tuple[Segment | None, int]:
        at_end = token >= len(token_spans(self._text))
        offset = token_offset(self._text, token)
        for segment in self._segments:
            if offset < len(segment.text) or (at_end and offset == len(segment.text)):
                return segment, offset
            offset -= len(segment.text)
        return (self._segments[-1], len(self._segments[-1].text)) if self._segments else (None, 0)
