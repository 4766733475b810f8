"""FILE_CHECK: the number in a file, which is told of when it changes.

With a weight the number is multiplied by it and added to the server's weight, as keepalived 2.2.7
does with and without `dynamic`, a word that it does not know yet. Without one any number but 0 is a
fault; reversed, 0 is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from fastvrrp.lvs.check import Check, QuickCheck, Verdict
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import FileCheck
from fastvrrp.track.files import Files, initialise

log = logging.getLogger(__name__)

HEAVIEST = 2**31 - 1
"""Most that is added or taken."""


class TrackedFiles:
    """The files of all FILE_CHECKs."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._loop = tools.loop
        self._files: Files | None = None
        self._listeners: dict[str, list[Callable[[], None]]] = {}

    def number(self, name: str) -> int | None:
        """What a file that is listened to holds; None where it cannot be watched."""
        return None if self._files is None else self._files.numbers.get(name)

    def listen(self, name: str, on_change: Callable[[], None]) -> None:
        """Calls when the file has another number; its first one is known when this returns."""
        files = self._opened()
        definition = self._tools.track_files.get(name)
        listeners = self._listeners.setdefault(name, [])
        listeners.append(on_change)
        if files is None or definition is None or len(listeners) > 1:
            return
        if definition.initial_value is not None:
            try:
                initialise(
                    definition.path, definition.initial_value, overwrites=definition.overwrites
                )
            except OSError as error:
                log.error("track_file %s: %s: %s", name, definition.path, error.strerror)
        files.watch(name, definition.path)
        files.look(name)

    def leave(self, name: str, on_change: Callable[[], None]) -> None:
        """Calls no more."""
        self._listeners[name].remove(on_change)
        if not self._listeners[name]:
            del self._listeners[name]
            if self._files is not None and name in self._files.numbers:
                self._files.forget(name)

    def close(self) -> None:
        if self._files is not None:
            self._loop.remove_reader(self._files.fileno())
            self._files.close()
            self._files = None

    def _opened(self) -> Files | None:
        if self._files is None:
            try:
                self._files = Files(self._changed)
            except OSError as error:
                log.error("no file can be tracked: inotify: %s", error.strerror)
                return None
            self._loop.add_reader(self._files.fileno(), self._read)
        return self._files

    def _read(self) -> None:
        if self._files is None:
            return
        self._files.read()
        if self._files.is_behind:
            self._loop.call_soon(self._read)

    def _changed(self, name: str) -> None:
        for each in list(self._listeners.get(name, ())):
            each()


class FileNumber(QuickCheck):
    """Says what the number in a file means, whenever that is something else."""

    def __init__(self, checker: FileCheck, tools: Tools) -> None:
        self.what = checker.name
        self._checker = checker
        self._loop = tools.loop
        self._files = tools.the(TrackedFiles)
        self._told: Verdict | None = None
        self._done: Callable[[Verdict], None] | None = None
        self._files.listen(checker.name, self._tell)

    def begin(self, done: Callable[[Verdict], None]) -> None:
        self._done = done
        if self._verdict() != self._told:
            self._loop.call_soon(self._tell)

    def cancel(self) -> None:
        self._done = None

    def close(self) -> None:
        self._files.leave(self._checker.name, self._tell)

    def _tell(self) -> None:
        verdict = self._verdict()
        done = self._done
        if done is not None and verdict != self._told:
            self._done = None
            self._told = verdict
            done(verdict)

    def _verdict(self) -> Verdict:
        number = self._files.number(self._checker.name)
        if number is None:
            return Verdict(True)  # nothing is known of it, which is said in the log
        checker = self._checker
        if checker.weight:
            added = number * checker.weight * (-1 if checker.is_reversed else 1)
            return Verdict(True, weight=max(-HEAVIEST, min(added, HEAVIEST)))
        is_good = (number == 0) != checker.is_reversed
        return Verdict(is_good, "" if is_good else f"it has {number} in it")


def make(checker: FileCheck, tools: Tools) -> Sequence[Check]:
    return (FileNumber(checker, tools),)
