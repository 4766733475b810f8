"""`lvs_sync_daemon`: the kernel's threads that share the connections of IPVS between directors.

There are two halves. The master's sends the connections of this machine, the backup's takes those
of others. Where a virtual router is named, its state chooses one: the master's in state MASTER and
the backup's in any other; where none is named both run for as long as the daemon does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fastvrrp._engine import Note
from fastvrrp.model import Configuration, Namespaces, State, SyncDaemon
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance

if TYPE_CHECKING:
    from fastvrrp.kernel.ipvs_sync import SyncThreads

RETRY = 10.0
"""Seconds until what the kernel has refused is tried again: its interface may have come."""
SLICE = 1000
"""Instances that are looked through at once."""


class SyncDaemons(Follower):
    """Follows one virtual router, or none."""

    def __init__(
        self,
        instances: dict[int, Instance],
        is_master: Callable[[int], bool],
        run_elsewhere: Callable[[Callable[[], None], Callable[[], None]], None],
        call_later: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
        note: Path,
    ) -> None:
        """`note` is a file that is there as long as threads of ours may run.

        `is_master` answers for an index of `instances`. `run_elsewhere(run, then)` calls `run`
        in the one other thread, then `then` in ours."""
        self._instances = instances
        self._is_master = is_master
        self._run_elsewhere = run_elsewhere
        self._call_later = call_later
        self._note = note
        self._has_asked = False
        """There was something to do."""
        self._wanted: SyncDaemon | None = None
        self._namespaces = Namespaces()
        self._followed: Instance | None = None
        self._threads: SyncThreads | None = None
        """The other thread's; None until it had something to do."""
        self._retrying: asyncio.TimerHandle | None = None

    def configure(self, configuration: Configuration) -> None:
        definitions = configuration.definitions
        self._wanted = definitions.lvs.sync_daemon
        self._namespaces = definitions.namespaces

    def leave(self, instance: Instance) -> None:
        if instance is self._followed:
            self._followed = None

    def settle(self) -> Iterator[None]:
        name = None if self._wanted is None else self._wanted.instance
        if name is None:
            self._followed = None
        elif self._followed is None or self._followed.model.name != name:
            yield from self._find(name)
        if self._wanted is not None or self._has_asked or self._note.exists():
            self._ask()

    def take(self, instance: Instance, note: Note) -> None:
        if instance is self._followed:
            self._ask(note.after == State.MASTER)

    def stop(self) -> None:
        self._wanted = None
        if self._retrying is not None:
            self._retrying.cancel()
        if self._has_asked:
            self._run_elsewhere(partial(self._run, None, (), closes=True), lambda: None)

    def _find(self, name: str) -> Iterator[None]:
        self._followed = None
        for number, instance in enumerate(list(self._instances.values())):
            if number % SLICE == SLICE - 1:
                yield
            if instance.model.name == name:
                self._followed = instance
                return

    def _ask(self, is_master: bool | None = None) -> None:
        """Has what is to run run, in the other thread; `is_master` is None where nothing has told
        it just now."""
        self._has_asked = True
        wanted = self._wanted
        states: tuple[State, ...] = ()
        if wanted is None or self._followed is None:
            states = (State.MASTER, State.BACKUP) if wanted and wanted.instance is None else ()
        else:
            if is_master is None:
                is_master = self._is_master(self._followed.index)
            states = (State.MASTER,) if is_master else (State.BACKUP,)
            if wanted.id is None:
                wanted = replace(wanted, id=self._followed.model.vrid)
        self._run_elsewhere(partial(self._run, wanted, states), self._look_back)

    def _run(
        self, wanted: SyncDaemon | None, states: tuple[State, ...], *, closes: bool = False
    ) -> None:
        """In the other thread. What has no sync daemon needs no word of IPVS, which takes the loop
        ten milliseconds to learn."""
        if self._threads is None:
            from fastvrrp.kernel.ipvs_sync import SyncThreads  # noqa: PLC0415

            self._threads = SyncThreads(self._namespaces, self._note)
        self._threads.settle(wanted, states)
        if closes:
            self._threads.close()

    def _look_back(self) -> None:
        if self._threads is not None and self._threads.has_failed and self._retrying is None:
            self._retrying = self._call_later(RETRY, self._retry)

    def _retry(self) -> None:
        self._retrying = None
        self._ask()
