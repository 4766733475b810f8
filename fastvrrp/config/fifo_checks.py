"""FIFOs that are one: whoever reads it gets lines twice, or lines of two kinds, as under
keepalived."""

from __future__ import annotations

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry

ALL = "notify_fifo"
"""That of every line; each of the others has some of them."""
FIFOS = (ALL, "vrrp_notify_fifo", "lvs_notify_fifo")


class FifoChecks:
    """The paths of all `global_defs`."""

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._written: dict[str, tuple[str, Statement]] = {}
        """Path and line of each keyword, in the order of the lines; the last one counts."""

    def take(self, definitions: Entry) -> None:
        """Notes those of one `global_defs`."""
        for entry in definitions.entries:
            keyword = entry.keyword.name
            if keyword in FIFOS and isinstance(entry.value, tuple):
                self._written.pop(keyword, None)
                self._written[keyword] = str(entry.value[0]), entry.statement

    def check(self) -> None:
        """Complains of those that are one, when everything is read."""
        before: dict[str, dict[str, int]] = {}
        for keyword, (path, statement) in self._written.items():
            others = before.setdefault(path, {})
            if others:
                other = ALL if ALL in others else next(iter(others))
                what = (
                    "it gets some lines twice"
                    if ALL in (keyword, other)
                    else "lines of virtual routers and of virtual servers are mixed in it"
                )
                self._complaints.warning(
                    statement,
                    1,
                    f"{path} is the {other} of line {others[other]} too: {what}; write another"
                    " path",
                    is_ours=True,
                )
            others[keyword] = statement.number
