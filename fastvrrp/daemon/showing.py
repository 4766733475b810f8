"""What the daemon shows besides the state segment: the details and the catalogue (observe/).

The details are written in the kernel thread a moment after something in them has changed, so that
thousands of changes are written once. The catalogue is written as virtual routers come and change,
and from its beginning at a reload that finds it twice as long as it need be.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from fastvrrp._table import Table
from fastvrrp.model import Configuration, SyncGroup, VirtualRouter
from fastvrrp.observe import catalogue, details
from fastvrrp.observe.details import Details, TrackerState
from fastvrrp.observe.files import Files
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance

log = logging.getLogger(__name__)

MOMENT = 0.2
"""Seconds for changes to come together."""
PIECE = 65_536
"""Bytes of the catalogue that are written at once."""
STEP = 200
"""Virtual routers, or trackers, that are dealt with without a pause."""
LONGEST = 1 << 20
"""Bytes below which the catalogue is never written anew."""


class Showing(Follower):
    """Writes the details and the catalogue of one daemon."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        run_elsewhere: Callable[[Callable[[], None], Callable[[], None]], None],
        files: Files,
        table: Table,
        instances: Mapping[int, Instance],
        trackers: Callable[[], Iterable[TrackerState]],
        configuration: Path,
    ) -> None:
        """`trackers` are asked when one of them has changed (`tracker_changed`); `configuration` is
        the file. Raises OSError where the files cannot be made."""
        self._loop = loop
        self._run_elsewhere = run_elsewhere
        self._files = files
        self._table = table
        self._instances = instances
        self._trackers = trackers
        self._details = Details(configuration=str(configuration))
        self._drafts = {path: _draft_of(path) for path in (files.details, files.routers)}
        self._details_file = _create(self._drafts[files.details])
        self._catalogue_file = _create(self._drafts[files.routers])
        self._pending = bytearray()
        self._written = 0
        self._needed = 0
        """Bytes of the catalogue when it was last written as a whole."""
        self._groups: dict[str, str] = {}
        self._regrouped: set[str] = set()
        """Names of virtual routers that are in another group since the last reload."""
        self._sync_groups: Sequence[SyncGroup] = ()
        """As they are to be: `_groups` is made of them in `settle`."""
        self._numbers: dict[str, int] = {}
        """Of network namespaces."""
        self._next_writing: asyncio.TimerHandle | None = None
        self._next_step: asyncio.Handle | None = None
        self._is_writing = False
        self.tracker_changed()

    def tracker_changed(self) -> None:
        """Something that is tracked has another state, or is known at last."""
        if self._next_writing is None:
            self._next_writing = self._loop.call_later(MOMENT, self._write)

    def configure(self, configuration: Configuration) -> None:
        self._sync_groups = configuration.sync_groups
        if not self._needed:  # at the start nobody waits, and all have still to be written
            for _ in self._regroup():
                continue

    def enter(self, instance: Instance) -> None:
        namespace = instance.model.namespace
        if namespace is not None:
            number = self._numbers.setdefault(namespace, len(self._numbers) + 1)
            self._details.places[number] = namespace
            self._table.set_place(instance.index, number)
            self.tracker_changed()
        self._write_line(instance)

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        self._write_line(instance)

    def lacks(self, instance: Instance) -> None:
        if instance.lack is not None:
            self._details.faults[instance.index] = instance.describe_lack()
        elif self._details.faults.pop(instance.index, None) is None:
            return
        self.tracker_changed()

    def leave(self, instance: Instance) -> None:
        if self._details.faults.pop(instance.index, None) is not None:
            self.tracker_changed()

    def settle(self) -> Iterator[None]:
        if self._needed:
            yield from self._regroup()
        if self._needed and self._written > max(LONGEST, 2 * self._needed):
            self._pending.clear()
            os.ftruncate(self._catalogue_file, 0)
            os.lseek(self._catalogue_file, 0, os.SEEK_SET)
            self._written = self._needed = 0
            yield from self._write_lines(None)
        elif self._needed and self._regrouped:
            yield from self._write_lines(self._regrouped)
        self._flush()
        self._needed = self._needed or self._written

    def _regroup(self) -> Iterator[None]:
        """Finds out who is in another group; those that have entered or changed since `configure`
        were written with the group they had."""
        members = ((name, group.name) for group in self._sync_groups for name in group.members)
        before, self._groups = self._groups, {}
        self._regrouped = set()
        while some := list(islice(members, STEP)):
            for name, group in some:
                self._groups[name] = group
                if before.pop(name, None) != group:
                    self._regrouped.add(name)
            yield
        gone = iter(before)
        while some_gone := list(islice(gone, STEP)):
            self._regrouped.update(some_gone)
            yield

    def stop(self) -> None:
        for handle in (self._next_writing, self._next_step):
            if handle is not None:
                handle.cancel()

    def publish(self) -> None:
        """Puts the files at their places; whoever has those before them open does not see it.
        Raises OSError."""
        for path, draft in self._drafts.items():
            draft.replace(path)
        self._drafts.clear()

    def close(self) -> None:
        """Removes the files."""
        for path, descriptor in (
            (self._files.details, self._details_file),
            (self._files.routers, self._catalogue_file),
        ):
            self._drafts.get(path, path).unlink(missing_ok=True)
            os.close(descriptor)

    # --- the catalogue ----------------------------------------------------------------------------

    def _write_line(self, instance: Instance) -> None:
        model = instance.model
        self._pending += catalogue.line(instance.index, model, self._groups.get(model.name, ""))
        if len(self._pending) >= PIECE:
            self._flush()

    def _flush(self) -> None:
        # The file is in memory under /run; where it is not, the kernel writes it out later.
        try:
            os.write(self._catalogue_file, self._pending)
        except OSError as error:
            log.error("%s: %s", self._files.routers, error.strerror)
        self._written += len(self._pending)
        self._pending.clear()

    def _write_lines(self, names: set[str] | None) -> Iterator[None]:
        """Writes the lines of these virtual routers; None is all. A reader that comes meanwhile
        finds a part of them."""
        instances = iter(list(self._instances.values()))
        while some := list(islice(instances, STEP)):
            for instance in some:
                if names is None or instance.model.name in names:
                    self._write_line(instance)
            yield

    # --- the details ------------------------------------------------------------------------------

    def _write(self) -> None:
        self._next_writing = None
        if self._is_writing:
            self.tracker_changed()
            return
        self._is_writing = True
        self._collect(iter(self._trackers()), [])

    def _collect(self, trackers: Iterator[TrackerState], found: list[TrackerState]) -> None:
        """Asks some trackers in each turn of the loop; one that changes after it was asked has
        everything written once more."""
        some = list(islice(trackers, STEP))
        if some:
            found += some
            self._next_step = self._loop.call_soon(self._collect, trackers, found)
            return
        self._next_step = None
        said = Details(
            dict(self._details.faults),
            found,
            dict(self._details.places),
            self._details.configuration,
        )

        def write() -> None:
            details.write(self._details_file, said)

        self._run_elsewhere(write, self._wrote)

    def _wrote(self) -> None:
        self._is_writing = False


def _draft_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}")


def _create(path: Path) -> int:
    path.unlink(missing_ok=True)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
