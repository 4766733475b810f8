"""Rates: what has happened a second between two looks at a daemon."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Self

from fastvrrp.model import SECOND, State
from fastvrrp.observe.details import Details
from fastvrrp.observe.facts import brief, why
from fastvrrp.observe.sorting import SORTS
from fastvrrp.observe.view import View

Record = dict[str, Any]
WINDOW = 3 * SECOND


class Row(NamedTuple):
    """One virtual router now, and what it has done a second since the look before."""

    name: str
    state: str
    since: float
    """Seconds."""
    priority: int
    interface: str
    vrid: int
    sent: float
    received: float
    refused: float
    changes: int
    """Of state, ever."""
    is_troubled: bool
    note: str
    """What is not as configured, or why it is in its state."""


class Whole(NamedTuple):
    """All together."""

    states: tuple[int, int, int, int]
    """How many are INIT, BACKUP, MASTER and FAULT."""
    sent: float
    received: float
    refused: float
    changes: float
    """All a second."""


class _Counts(NamedTuple):
    """What is compared with a later look, of one virtual router."""

    name: str
    sent: int
    received: int
    refused: int

    @classmethod
    def of(cls, record: Record) -> Self:
        return cls(
            record["name"],
            record["adverts_sent"],
            record["adverts_received"],
            sum(record["refused"]),
        )


class _Sample(NamedTuple):
    """What one look has seen."""

    at: int
    counts: dict[int, _Counts]
    """By index."""
    totals: dict[str, Any]


class Rates:
    """Looks at a daemon again and again. Rates are over the last WINDOW to two of them, however
    short the time between two looks is: most virtual routers speak once a second."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._older: _Sample | None = None
        self._newer: _Sample | None = None

    def look(self) -> tuple[Whole, list[Row]]:
        """Everything as it is now. Rates are 0 at the first look, and of what has just come."""
        records = self._view.routers()
        sample = _Sample(
            self._view.now(),
            {each["index"]: _Counts.of(each) for each in records},
            self._view.segment.totals(),
        )
        before = self._since(sample)
        seconds = max((sample.at - before.at) / SECOND, 1e-6)
        details = self._view.details()
        rows = [self._row(each, before, details, seconds, sample.at) for each in records]
        states = [0, 0, 0, 0]
        for each in records:
            states[each["state"]] += 1
        whole = Whole(
            (states[0], states[1], states[2], states[3]),
            sum(row.sent for row in rows),
            sum(row.received for row in rows),
            (sum(sample.totals["refused"]) - sum(before.totals["refused"])) / seconds,
            (sample.totals["changes"] - before.totals["changes"]) / seconds,
        )
        return whole, rows

    def _since(self, sample: _Sample) -> _Sample:
        """The look that a new one is compared with."""
        if self._newer is None or sample.at - self._newer.at >= WINDOW:
            self._older, self._newer = self._newer, sample
        return self._older or self._newer

    def _row(
        self, record: Record, sample: _Sample, details: Details, seconds: float, now: int
    ) -> Row:
        before = sample.counts.get(record["index"])
        if before is None or before.name != record["name"]:
            before = _Counts.of(record)
        shown = brief(self._view, record, details)
        return Row(
            record["name"],
            State(record["state"]).name,
            (now - record["changed_at"]) / SECOND,
            record["priority"],
            record["interface"],
            record["vrid"],
            max(0, record["adverts_sent"] - before.sent) / seconds,
            max(0, record["adverts_received"] - before.received) / seconds,
            max(0, sum(record["refused"]) - before.refused) / seconds,
            record["changes"],
            bool(shown["troubles"]),
            "; ".join(shown["troubles"]) or why(record, details),
        )


def chosen(rows: Iterable[Row], *, search: str, sort: str, most: int) -> Sequence[Row]:
    """The first of those in whose name, state, interface or note `search` stands, sorted."""
    word = search.casefold()
    key, is_reversed = SORTS[sort]
    found = [
        row
        for row in rows
        if any(word in text.casefold() for text in (row.name, row.state, row.interface, row.note))
    ]
    return sorted(found, key=key, reverse=is_reversed)[:most]
