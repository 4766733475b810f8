"""Network namespaces that a configuration names: which of them is the daemon's own, and how many
others there are."""

from __future__ import annotations

from collections.abc import Callable

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.statement import Statement
from fastvrrp.model import MOST_NAMESPACES, OWN_NAMESPACE


class Namespaces:
    """Tells places apart, whatever they are called."""

    def __init__(self, is_own: Callable[[str], bool], complaints: Complaints) -> None:
        """`is_own` says whether the daemon's own network namespace has that name."""
        self._is_own = is_own
        self._complaints = complaints
        self._others: set[str] = set()

    def of_instance(self, name: str | None) -> str | None:
        """Where a virtual router is that names a namespace, or none; None is the daemon's own."""
        return None if name is None or self._is_own(name) else name

    def of_tracked(self, name: str | None, home: str | None) -> str | None:
        """Where an interface is that a virtual router of `home` tracks; None is `home`."""
        if name is None or name == home:
            return None
        if self._is_own(name):
            return None if home is None else OWN_NAMESPACE
        return name

    def has_room(self, name: str | None, statement: Statement, index: int, who: str) -> bool:
        """False, after a complaint of word `index`, where that place is one too many."""
        if not name or name in self._others:
            return True
        if len(self._others) < MOST_NAMESPACES:
            self._others.add(name)
            return True
        self._complaints.error(
            statement,
            index,
            f"net_namespace {name} is one too many, and {who} is left out: besides its own, a"
            f" daemon can be in {MOST_NAMESPACES} network namespaces; start another one for the"
            " rest",
            is_ours=True,
        )
        return False
