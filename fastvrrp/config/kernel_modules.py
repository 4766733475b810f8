"""Modules of the kernel that virtual servers need, each with the place that asks for it first.

Whether there are such modules is no matter of the configuration, which is often checked on another
machine than that which runs it: who checks it asks (`cli/kernel_check`).
"""

from __future__ import annotations

from dataclasses import dataclass

from fastvrrp.config.complaints import Place
from fastvrrp.config.server_families import MODERN
from fastvrrp.config.tree import Entry

IPVS = "ip_vs"
DEFAULT_SCHEDULER = "wlc"


@dataclass(frozen=True, slots=True)
class NeededModule:
    """One of them."""

    name: str
    what: str
    """What needs it, for a person."""
    place: Place


class NeededModules:
    """All of a configuration."""

    def __init__(self) -> None:
        self._found: dict[str, NeededModule] = {}

    def take(self, server: Entry) -> None:
        """What one virtual server needs."""
        self._add(IPVS, "virtual_server", server, 0)
        scheduler = engine = None
        for entry in server.entries:
            keyword = MODERN.get(entry.keyword.name, entry.keyword.name)
            if keyword == "lvs_sched":
                scheduler = entry
            elif keyword == "persistence_engine":
                engine = entry
        if scheduler is None:
            self._add(f"ip_vs_{DEFAULT_SCHEDULER}", f"lvs_sched {DEFAULT_SCHEDULER}", server, 0)
        elif isinstance(scheduler.value, str):
            self._add(f"ip_vs_{scheduler.value}", f"lvs_sched {scheduler.value}", scheduler, 1)
        if engine is not None and isinstance(engine.value, str):
            self._add(f"ip_vs_pe_{engine.value}", f"persistence_engine {engine.value}", engine, 1)

    @property
    def found(self) -> tuple[NeededModule, ...]:
        """Each once."""
        return tuple(self._found.values())

    def _add(self, name: str, what: str, where: Entry, index: int) -> None:
        if name not in self._found:
            self._found[name] = NeededModule(name, what, where.statement.place(index))
