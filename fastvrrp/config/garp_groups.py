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

    def take(self, group: Entry) -> tuple[str, ...] | None:
        """The interfaces of a group, or None where it is left out.

        Complains of a group without a gap, and of interfaces that are in a group already.
        """
        keywords = {entry.keyword.name for entry in group.entries}
        has_gap = bool(keywords & {"garp_interval", "gna_interval"})
        if not has_gap:
            self.complaints.error(
                group.statement,
                0,
                "garp_group has no garp_interval and no gna_interval; it is left out",
            )
        if {"interface", "interfaces"} <= keywords:
            self.complaints.warning(
                group.statement,
                0,
                "garp_group has interface and interfaces: all of them share its gaps; write one"
                " of the two",
                is_ours=True,
            )
        interfaces: list[str] = []
        for entry in group.entries:
            if entry.keyword.name == "interface" and isinstance(entry.value, str):
                if self._is_free(entry.value, entry.statement, 1):
                    interfaces.append(entry.value)
            elif entry.keyword.name == "interfaces":
                interfaces += [
                    word
                    for _, statement in entry.items
                    for index, word in enumerate(statement.words)
                    if self._is_free(word, statement, index)
                ]
        return tuple(interfaces) if has_gap else None

    def _is_free(self, name: str, statement: Statement, index: int) -> bool:
        """Take an interface; False, after a complaint, where a group has it already."""
        is_free = name not in self._holders
        if not is_free:
            self.complaints.error(
                statement,
                index,
                f"{name} is in the garp_group of line {self._holders[name].number} already; it is"
                " ignored here",
            )
        self._holders.setdefault(name, statement)
        return is_free
