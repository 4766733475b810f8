"""Groups of interfaces that share a gap between announcements: each interface is in one of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry


@dataclass(slots=True)
class GarpGroups:
    """The interfaces of every garp_group so far."""

    complaints: Complaints
    _holders: dict[str, Statement] = field(default_factory=dict)

    def take(self, group: Entry) -> None:
        """Complain of a group without a gap, and of interfaces that are in a group already."""
        keywords = {entry.keyword.name for entry in group.entries}
        if not keywords & {"garp_interval", "gna_interval"}:
            self.complaints.error(
                group.statement,
                0,
                "garp_group has no garp_interval and no gna_interval; it is left out",
            )
        for entry in group.entries:
            if entry.keyword.name == "interface":
                self._take_interface(entry.value, entry.statement, 1)
            elif entry.keyword.name == "interfaces":
                for _, statement in entry.items:
                    for index, word in enumerate(statement.words):
                        self._take_interface(word, statement, index)

    def _take_interface(self, name: object, statement: Statement, index: int) -> None:
        if not isinstance(name, str):
            return
        if name in self._holders:
            self.complaints.error(
                statement,
                index,
                f"{name} is in the garp_group of line {self._holders[name].number} already; it is"
                " ignored here",
            )
        self._holders.setdefault(name, statement)
