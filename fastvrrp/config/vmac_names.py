"""Names of VMAC interfaces that the configuration leaves to the daemon.

keepalived calls them PREFIX.VRID. Where that is taken, an IPv6 instance tries PREFIX6.VRID, and
then either family tries PREFIX1.VRID, PREFIX2.VRID and so on. Names written anywhere in the
configuration are taken before any is chosen.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastvrrp.config.arguments import INTERFACE_NAME_LENGTH


class VmacNames:
    """Hands out names that are not taken; `written` are those known to come."""

    def __init__(self, prefix: str, written: Iterable[str] = ()) -> None:
        self._prefix = prefix
        self._owners: dict[str, str | None] = dict.fromkeys(written)
        self._next: dict[tuple[str, int], int] = {}
        self._chosen: set[str] = set()
        self.written: set[str] = set()
        """Names that the configuration wrote."""
        self.chose_too_early = False
        """True where a name was chosen that is written further on."""

    def owner(self, name: str) -> str | None:
        """The instance for which a name was written already."""
        return self._owners.get(name) if name in self.written else None

    def take(self, name: str, instance: str) -> None:
        """Give a written name to an instance."""
        self.written.add(name)
        self.chose_too_early |= name in self._chosen
        self._owners[name] = instance

    def choose(self, vrid: int, is_ipv6: bool, instance: str, prefix: str | None = None) -> str:
        """Choose the first free name for an instance, or for one of its addresses."""
        end = f".{vrid}"
        owners = self._owners
        start = self._prefix if prefix is None else prefix
        name = _fitted(start, "", end)
        if name in owners and is_ipv6:
            name = _fitted(start, "6", end)
        if name in owners:
            number = self._next.get((start, vrid), 1)
            while (name := _fitted(start, str(number), end)) in owners:
                number += 1
            self._next[start, vrid] = number + 1
        owners[name] = instance
        self._chosen.add(name)
        return name


def _fitted(prefix: str, number: str, end: str) -> str:
    """A name of at most fifteen characters: a long prefix loses its end, never the VRID."""
    return prefix[: INTERFACE_NAME_LENGTH - len(number) - len(end)] + number + end
