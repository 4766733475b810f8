"""The screen of `fastvrrp top`."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Input, Static

from fastvrrp.cli.looking import duration
from fastvrrp.config.complaints import printable
from fastvrrp.model import State
from fastvrrp.observe.rates import Rates, Row, Whole, chosen
from fastvrrp.observe.sorting import SORTS
from fastvrrp.observe.view import View

MOST = 200
"""Rows on the screen; the others are found by searching."""
COLUMNS = (
    *("NAME", "STATE", "SINCE", "PRIO", "INTERFACE", "VRID"),
    *("SENT/s", "HEARD/s", "REFUSED/s", "CHANGES", "NOTE"),
)
COLOURS = {"MASTER": "green", "FAULT": "red", "INIT": "yellow"}


class Top(App[None]):
    """Looks at a daemon every `interval` seconds."""

    CSS = """
    #whole { height: 2; padding: 0 1; }
    #search { display: none; }
    #search.open { display: block; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "end"),
        Binding("s", "sort", "sort by the next"),
        Binding("slash", "search", "search"),
        Binding("escape", "show_all", "end the search"),
    ]

    def __init__(self, view: View, sort: str, interval: float) -> None:
        super().__init__()
        self._view = view
        self._rates = Rates(view)
        self._sort = sort
        self._interval = interval
        self._word = ""
        self._whole: Whole | None = None
        self._is_looking = False
        self._has_ended = False
        self._rows: list[Row] = []

    def compose(self) -> ComposeResult:
        yield Static(id="whole")
        yield Input(placeholder="name, state, interface or note", id="search")
        yield DataTable(id="routers", cursor_type="row", zebra_stripes=True)
        yield Footer()

    def on_mount(self) -> None:
        self.query_one(DataTable).add_columns(*COLUMNS)
        self.query_one(DataTable).focus()
        self._begin_look()
        self.set_interval(self._interval, self._begin_look)

    def action_sort(self) -> None:
        names = list(SORTS)
        self._sort = names[(names.index(self._sort) + 1) % len(names)]
        self._draw()

    def action_search(self) -> None:
        search = self.query_one(Input)
        search.add_class("open")
        search.focus()

    def action_show_all(self) -> None:
        search = self.query_one(Input)
        search.value = ""
        search.remove_class("open")
        self.query_one(DataTable).focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._word = event.value
        self._draw()

    def on_input_submitted(self) -> None:
        self.query_one(DataTable).focus()

    def _begin_look(self) -> None:
        """Looks in another thread: at 65,280 virtual routers that takes longer than a key may."""
        if not self._is_looking:
            self._is_looking = True
            self.run_worker(self._look, thread=True)

    def _look(self) -> None:
        if self._view.follow():
            self._rates = Rates(self._view)
        whole, rows = self._rates.look()
        self.call_from_thread(self._take, whole, rows, not self._view.is_current)

    def _take(self, whole: Whole, rows: list[Row], has_ended: bool) -> None:
        self._is_looking = False
        self._whole, self._rows, self._has_ended = whole, rows, has_ended
        self._draw()

    def _draw(self) -> None:
        if self._whole is None:
            return
        found = chosen(self._rows, search=self._word, sort=self._sort, most=MOST)
        table = self.query_one(DataTable)
        at = table.cursor_row
        table.clear()
        for row in found:
            table.add_row(*_cells(row))
        table.move_cursor(row=min(at, max(len(found) - 1, 0)))
        self.query_one("#whole", Static).update(self._head(self._whole, len(found)))

    def _head(self, whole: Whole, shown: int) -> Text:
        counts = ", ".join(
            f"{count} {State(state).name}" for state, count in enumerate(whole.states) if count
        )
        count = sum(whole.states)
        is_gone = "  THE DAEMON HAS ENDED" if self._has_ended else ""
        return Text(
            f"{count} virtual router{'s' if count != 1 else ''}: {counts}{is_gone}\n"
            f"sent {whole.sent:.0f}/s, heard {whole.received:.0f}/s, refused"
            f" {whole.refused:.0f}/s, changes {whole.changes:.0f}/s;"
            f" {shown} shown, by {self._sort}"
        )


def _cells(row: Row) -> tuple[Text, ...]:
    style = COLOURS.get(row.state, "")
    return (
        Text(printable(row.name), style="bold" if row.is_troubled else ""),
        Text(row.state, style=style),
        Text(duration(row.since), justify="right"),
        Text(str(row.priority), justify="right"),
        Text(printable(row.interface)),
        Text(str(row.vrid), justify="right"),
        Text(f"{row.sent:.1f}", justify="right"),
        Text(f"{row.received:.1f}", justify="right"),
        Text(f"{row.refused:.1f}", justify="right"),
        Text(str(row.changes), justify="right"),
        Text(printable(row.note)),
    )
