"""FIFOs that are one: whoever reads it gets every line twice, as under keepalived."""

from __future__ import annotations

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry

FIFOS = ("notify_fifo", "vrrp_notify_fifo", "lvs_notify_fifo")


class FifoChecks:
    """The paths of all `global_defs`."""

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._written: dict[str, tuple[str, Statement]] = {}
        """Path and line of each keyword; the last one counts."""

    def take(self, definitions: Entry) -> None:
        """Looks at one `global_defs`."""
        for entry in definitions.entries:
            keyword = entry.keyword.name
            if keyword not in FIFOS or not isinstance(entry.value, tuple):
                continue
            path = str(entry.value[0])
            for other, (taken, line) in self._written.items():
                if taken == path and other != keyword:
                    self._complaints.warning(
                        entry.statement,
                        1,
                        f"{path} is the {other} of line {line.number} too: it gets some lines"
                        " twice; write another path",
                        is_ours=True,
                    )
            self._written[keyword] = path, entry.statement
