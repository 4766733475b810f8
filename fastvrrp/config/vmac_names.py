"""Names of VMAC interfaces that the configuration leaves to the daemon.

keepalived calls them PREFIX.VRID. Where that is taken, an IPv6 instance tries PREFIX6.VRID, and
then either family tries PREFIX1.VRID, PREFIX2.VRID and so on. Names written anywhere in the
configuration are taken before any is chosen. Each network namespace has names of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastvrrp.config.arguments import INTERFACE_NAME_LENGTH


class VmacNames:
    """Hands out names that are not taken; `written` are those known to come."""

    def __init__(self, prefix: str, written: Iterable[str] = ()) -> None:
        self._prefix = prefix
        self._owners: dict[object, str] = {}
        self._next: dict[tuple[str, int, str | None], int] = {}
        self._written = frozenset(written)
        self._chosen: set[str] = set()
        self.written: set[str] = set()
        """Names that the configuration wrote."""
        self.chose_too_early = False
        """True where a name was chosen that is written further on."""

    def owner(self, name: str, namespace: str | None) -> str | None:
        """The instance for which a name was written already."""
        return self._owners.get(_key(name, namespace)) if name in self.written else None

    def take(self, name: str, instance: str, namespace: str | None) -> None:
        """Give a written name to an instance."""
        self.written.add(name)
        self.chose_too_early |= name in self._chosen
        self._owners[_key(name, namespace)] = instance

    def choose(
        self,
        vrid: int,
        is_ipv6: bool,
        instance: str,
        namespace: str | None,
        prefix: str | None = None,
    ) -> str:
        """Choose the first free name for an instance, or for one of its addresses."""
        end = f".{vrid}"
        start = self._prefix if prefix is None else prefix
        name = _fitted(start, "", end)
        if self._is_taken(name, namespace) and is_ipv6:
            name = _fitted(start, "6", end)
        if self._is_taken(name, namespace):
            number = self._next.get((start, vrid, namespace), 1)
            while self._is_taken(name := _fitted(start, str(number), end), namespace):
                number += 1
            self._next[start, vrid, namespace] = number + 1
        self._owners[_key(name, namespace)] = instance
        self._chosen.add(name)
        return name

    def _is_taken(self, name: str, namespace: str | None) -> bool:
        return name in self._written or _key(name, namespace) in self._owners


def _key(name: str, namespace: str | None) -> object:
    return name if namespace is None else (name, namespace)


def _fitted(prefix: str, number: str, end: str) -> str:
    """A name of at most fifteen characters: a long prefix loses its end, never the VRID."""
    return prefix[: INTERFACE_NAME_LENGTH - len(number) - len(end)] + number + end
