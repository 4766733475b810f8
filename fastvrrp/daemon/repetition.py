"""A line that is said over and over again fills no disk: after BURST of them the others are
counted, and the count is said when WINDOW is over.

Only lines that are equal, with all that stands in them, are one another's repetition: that
thousands of virtual routers change their state at once is news of each.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

WINDOW = 10.0
"""Seconds from the first of equal lines in which they are counted."""
BURST = 20
"""Equal lines that are written in that time."""
ROOM = 1024
"""Different lines that are counted; others, while so many are, are all written."""


@dataclass(slots=True)
class _Count:
    began: float
    said: int = 0


class Repetition:
    """Counts equal lines. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._counts: OrderedDict[tuple[int, str], _Count] = OrderedDict()
        """By level and text, the one that began first in front."""
        self._held = 0
        """Texts of which some were not written."""

    def admits(self, level: int, text: str, now: float) -> bool:
        """Takes a line; whether it is to be written. `ended` is to be asked before."""
        count = self._counts.get((level, text))
        if count is None:
            if len(self._counts) >= ROOM:
                return True
            count = self._counts[level, text] = _Count(now)
        count.said += 1
        if count.said == BURST + 1:
            self._held += 1
        return count.said <= BURST

    def ended(self, now: float) -> list[tuple[int, str]]:
        """What is to be said of those whose time is over at `now`: levels and texts."""
        summaries = []
        while self._counts:
            (level, text), count = next(iter(self._counts.items()))
            if count.began + WINDOW > now:
                break
            del self._counts[level, text]
            if count.said > BURST:
                self._held -= 1
                summaries.append((level, f"{count.said - BURST} similar lines suppressed: {text}"))
        return summaries

    def due(self) -> float | None:
        """When `ended` may have something to say; None while nothing is held back."""
        if not self._held:
            return None
        return next(iter(self._counts.values())).began + WINDOW
