"""Which routes and rules a daemon may have in the kernel, in a file for whoever follows it.

Nothing in the kernel says that they are ours, and the next daemon's configuration, or the next
version's, may not have them any more. Most configurations have none, and then there is no file. It
is JSON with names (vrrp/wording.py), so that another version reads it. It has the id of the process
that it is of, so that nobody takes it for what another one has left.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fastvrrp.model import Configuration, Route, Rule, VirtualRouter
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.orphans import Left
from fastvrrp.vrrp.wording import in_words

if TYPE_CHECKING:
    from fastvrrp.vrrp.instance import Instance

ENDING = ".policy"
"""Of the file's name, beside the state segment."""

Had: TypeAlias = list[tuple[str | None, str | None, tuple[Route | Rule, ...]]]
"""As orphans.Left, with the things themselves."""


class RoutesFile(Follower):
    """Keeps the file as the configuration is."""

    def __init__(
        self,
        segment: Path,
        run_elsewhere: Callable[[Callable[[], None], Callable[[], None]], None],
    ) -> None:
        """`segment` is the path of the state segment. `run_elsewhere(run, then)` calls `run` in the
        one other thread, then `then` in ours."""
        self._path = segment.with_suffix(ENDING)
        self._run_elsewhere = run_elsewhere
        self._static: tuple[Route | Rule, ...] = ()
        self._owners: dict[int, Instance] = {}
        """By index: those that have some."""
        self._is_stale = True

    def configure(self, configuration: Configuration) -> None:
        static: tuple[Route | Rule, ...] = (
            *configuration.static_routes,
            *configuration.static_rules,
        )
        self._is_stale |= static != self._static
        self._static = static

    def enter(self, instance: Instance) -> None:
        if own_of(instance.model):
            self._owners[instance.index] = instance
            self._is_stale = True

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        if instance.index in self._owners:
            del self._owners[instance.index]
            self._is_stale = True
        self.enter(instance)

    def leave(self, instance: Instance) -> None:
        if instance.index in self._owners:
            del self._owners[instance.index]
            self._is_stale = True

    def settle(self) -> Iterator[None]:
        if not self._is_stale:
            return
        self._is_stale = False
        had: Had = [(None, None, self._static)] if self._static else []
        for instance in list(self._owners.values()):
            had.append((instance.place.name, instance.model.name, own_of(instance.model)))
            yield
        if had or self._path.exists():
            self._run_elsewhere(lambda: _write(self._path, had), lambda: None)

    def left_by(self, pid: int) -> list[Left]:
        """What that process has left; nothing where it has left none, or not in a way that is
        known here."""
        try:
            known = json.loads(self._path.read_bytes())
            if known["pid"] != pid:
                return []
            return [Left(each["namespace"], each["router"], each["has"]) for each in known["left"]]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def wanted(self) -> Iterable[tuple[str | None, tuple[Route | Rule, ...]]]:
        """What is wanted now, by the name of its network namespace."""
        yield None, self._static
        for instance in self._owners.values():
            yield instance.place.name, own_of(instance.model)

    def forget(self) -> None:
        """Nothing is left for anybody who follows us."""
        self._path.unlink(missing_ok=True)


def own_of(model: VirtualRouter) -> tuple[Route | Rule, ...]:
    """The routes and rules that go with a master."""
    options = model.options
    return (*options.routes, *options.rules) if options.routes or options.rules else ()


def _write(path: Path, had: Had) -> None:
    if not had:
        path.unlink(missing_ok=True)
        return
    left: list[dict[str, Any]] = [
        {"namespace": namespace, "router": router, "has": [in_words(each) for each in things]}
        for namespace, router, things in had
    ]
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    # Whatever umask is written. A crash must find the old file or the new one, and never half.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"pid": os.getpid(), "left": left}, file)
    draft.replace(path)
