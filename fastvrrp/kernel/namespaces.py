"""Which named network namespaces there are, and when one comes or goes.

A name is a file in /run/netns on which a namespace is mounted (ip-netns(8)). The file is made
first, and mounting is no event of inotify(7): so after a file has come it is looked at again, until
it is a namespace. A name that is given to another namespace is told as gone and as come.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from inotify_simple import INotify, flags

from fastvrrp.kernel.netns import HERE, NAMESPACES, status_of

RETRY = 0.02
"""Seconds until a file that is no namespace yet is looked at again; then twice as long, up to"""
LONGEST_RETRY = 1.0
CHANGES = flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO

Identity = tuple[int, int]
"""Device and inode of a namespace: one that has gone and one that has come have different ones."""


def own_names() -> frozenset[str]:
    """The names that the network namespace of the calling thread has."""
    own = _identity_of(Path(HERE))
    try:
        names = [path for path in NAMESPACES.iterdir() if _identity_of(path) == own]
    except OSError:
        return frozenset()
    return frozenset(path.name for path in names)


def _identity_of(path: Path) -> Identity | None:
    try:
        found = status_of(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class Change(NamedTuple):
    """A namespace that has come or gone."""

    name: str
    exists: bool


class Namespaces:
    """Watches names that somebody wants to know of."""

    def __init__(self) -> None:
        if not NAMESPACES.is_dir():
            NAMESPACES.mkdir(parents=True, exist_ok=True)
            NAMESPACES.chmod(0o755)  # whatever umask is written: it is everybody's
        self._inotify = INotify(nonblocking=True)
        self._inotify.add_watch(str(NAMESPACES), CHANGES)
        self._device = Path("/proc/self/ns/net").stat().st_dev
        self._known: dict[str, Identity | None] = {}
        self._unfinished: set[str] = set()
        """Names whose file is there, and no namespace is mounted on it."""
        self.pause = RETRY
        """Seconds until they are to be looked at again."""

    def fileno(self) -> int:
        """The descriptor that is readable when `read` may have something to say."""
        return int(self._inotify.fileno())

    @property
    def is_unfinished(self) -> bool:
        """A namespace may be about to be mounted: `read` again after `pause`."""
        return bool(self._unfinished)

    def add(self, name: str) -> bool:
        """Watches one more name; whether it has a namespace now."""
        now = self._known[name] = self._identity(name)
        return now is not None

    def exists(self, name: str) -> bool:
        """Whether a name that is watched had a namespace when it was last looked at."""
        return self._known[name] is not None

    def forget(self, name: str) -> None:
        """Watches a name no more."""
        del self._known[name]
        self._unfinished.discard(name)

    def read(self) -> list[Change]:
        """What has come and gone since it was last asked."""
        events = self._inotify.read(timeout=0)
        self.pause = RETRY if events else min(2 * self.pause, LONGEST_RETRY)
        if any(event.mask & flags.Q_OVERFLOW for event in events):
            return self._look(list(self._known))
        touched = dict.fromkeys(event.name for event in events if event.name in self._known)
        return self._look([*touched, *(self._unfinished - touched.keys())])

    def close(self) -> None:
        self._inotify.close()

    def _look(self, names: Iterable[str]) -> list[Change]:
        changes: list[Change] = []
        for name in names:
            before, now = self._known[name], self._identity(name)
            if now == before:
                continue
            self._known[name] = now
            if before is not None:
                changes.append(Change(name, exists=False))
            if now is not None:
                changes.append(Change(name, exists=True))
        return changes

    def _identity(self, name: str) -> Identity | None:
        """Of the namespace that has a name now; None where none has it."""
        self._unfinished.discard(name)
        found = _identity_of(NAMESPACES / name)
        if found is not None and found[0] != self._device:
            self._unfinished.add(name)
            return None
        return found
