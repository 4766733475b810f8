"""SIGHUP: the configuration is read again, and what is different is carried out, between adverts.

The file is read and compared by another process (daemon/reading.py). An error in it refuses the
reload as a whole: everything goes on as it was. Otherwise what comes back is what is different, and
is carried out in slices, in this order: what is removed resigns; what is changed keeps its state,
and its addresses leave where they do not belong any more; then they are put where they belong now;
then what is new begins. What did not change is not looked at.

Which virtual router goes on as which is the rule of config/diff.py.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from fastvrrp._driver import Driver
from fastvrrp._engine import Engine
from fastvrrp._table import Table
from fastvrrp.config.diff import Identity, differences, identities
from fastvrrp.daemon.options import Options
from fastvrrp.daemon.places import Places
from fastvrrp.daemon.reader_process import ReaderProcess
from fastvrrp.daemon.reading import UNUSED, Known, News, Reader, ReaderError, Summary
from fastvrrp.daemon.reload_files import ReloadFile, write_complaints
from fastvrrp.daemon.sealing import DIGEST_SIZE, digests_of
from fastvrrp.model import SECOND, Configuration, State, VirtualRouter
from fastvrrp.track.credentials import learn
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.roster import Roster
from fastvrrp.vrrp.transitions import Transitions

log = logging.getLogger(__name__)

SLICE = 2_000_000
"""Nanoseconds of one slice, as of transitions.py: a fifth of the shortest advert interval."""
UNKNOWN = b"\xff" * DIGEST_SIZE
"""Instead of a digest: what runs at this index is not what any configuration says."""


class Asker(Protocol):
    """Whoever has asked for a reload."""

    def __call__(self, is_ok: bool, lines: tuple[str, ...], value: None) -> None:
        """Once, at the end: whether it was done, and what the log says of it."""

    def say(self, line: str) -> None:
        """A complaint about the configuration."""


PlacedAddress = tuple[str | None, tuple[int, bytes]]
"""A network namespace, and the family and address of a virtual address in it."""
GROWTH = 8
"""When the table has to grow, there is room for one in so many more than is needed."""


class Running:
    """What runs: the rooms that a reload changes, and the digests of their virtual routers."""

    def __init__(
        self,
        configuration: Configuration,
        digests: bytearray,
        table: Table,
        engine: Engine,
        driver: Driver,
        roster: Roster,
        transitions: Transitions,
        places: Places,
        followers: Sequence[Follower],
    ) -> None:
        """`configuration` has no virtual routers; `digests` are by the table's index."""
        self.configuration = configuration
        self.digests = digests
        self.table = table
        self.engine = engine
        self.driver = driver
        self.roster = roster
        self.transitions = transitions
        self.places = places
        self.followers = followers

    def set_digest(self, index: int, digest: bytes) -> None:
        start = index * DIGEST_SIZE
        if start > len(self.digests):
            self.digests += bytes(start - len(self.digests))
        self.digests[start : start + DIGEST_SIZE] = digest


class Reloads:
    """All reloads of a daemon, one at a time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        path: str,
        config_id: str | None,
        running: Running,
        options: Options,
        on_accepted: Callable[[int], object] = lambda _: None,
        process: ReaderProcess | None = None,
    ) -> None:
        """`path` is absolute: the daemon's folder is another than its caller's. `on_accepted` is
        called with the snapshot of each configuration that is about to be carried out, which is
        closed afterwards. `process` has read it at the start, and stays."""
        self._on_accepted = on_accepted
        self._process = process
        self._options = options
        self._file = ReloadFile()
        self._loop = loop
        self._path = path
        self._config_id = config_id
        self._running = running
        self._reader: Reader | None = None
        self._work: Iterator[None] | None = None
        self._next_slice: asyncio.Handle | None = None
        self._is_wanted = False
        self._waiting: list[Asker] = []
        """Those who have asked for the next reload."""
        self._checks: list[Asker] = []
        """Those who have asked what one would do."""
        self._askers: list[Asker] = []
        """Those who are told of what is under way."""
        self._is_check = False
        """What is under way changes nothing."""
        self._outcome = False, ""
        """Whether what is under way was done, and what is said of it at its end."""
        self._began = 0.0
        self.on_begin: Callable[[], object] = lambda: None
        self.on_end: Callable[[bool], object] = lambda _: None
        """Told whether it was done."""

    @property
    def is_under_way(self) -> bool:
        return self._reader is not None or self._work is not None

    def request(self, asker: Asker | None = None) -> None:
        """Reloads; where something is under way, afterwards. Whoever asks is told what a reload
        that has begun after that does."""
        self._is_wanted = True
        if asker is not None:
            self._waiting.append(asker)
        self._begin()

    def request_check(self, asker: Asker) -> None:
        """Tells what a reload would do, and changes nothing."""
        self._checks.append(asker)
        self._begin()

    def _begin(self) -> None:
        """Does the next thing that was asked for, where nothing is under way."""
        if self._reader is not None or self._work is not None:
            return
        self._is_check = not self._is_wanted
        if self._is_wanted:
            self._is_wanted = False
            self._askers, self._waiting = self._waiting, []
            log.info("Reloading %s", self._path)
            self.on_begin()
            self._file.begin(
                self._running.configuration.definitions, self._options.network_namespace
            )
        elif self._checks:
            self._askers, self._checks = self._checks, []
        else:
            return
        self._outcome = False, "it ended before its time; the log says why"
        self._began = monotonic()
        process, self._process = self._process, None
        try:
            self._reader = Reader(
                self._loop,
                self._path,
                self._config_id,
                Known(self._running.digests, digests_of(self._running.configuration)),
                self._on_read,
                half=self._options.half,
                process=process,
                keeps=not self._is_check,
            )
        except OSError as error:
            self._file.end()
            self._refuse(f"no process can be started to read it: {error.strerror}")
            self._answer()

    def close(self) -> None:
        """Leaves undone what is under way: the daemon stops."""
        self._file.end()
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._process is not None:
            self._process.close()
            self._process = None
        if self._next_slice is not None:
            self._next_slice.cancel()
        self._work = None
        self._is_wanted = False
        self._askers += self._waiting + self._checks
        self._waiting, self._checks = [], []
        self._outcome = False, "the daemon stops"
        self._answer()

    def _on_read(self, found: News | ReaderError) -> None:
        assert self._reader is not None
        self._process, self._reader = self._reader.stayed, None
        self._file.end()
        self._work = self._refused(found) if isinstance(found, ReaderError) else self._judge(found)
        gc.disable()  # it would look at everything that comes now, in the middle of a slice
        # What has come last was read in this turn of the loop: the first slice has the next one.
        self._next_slice = self._loop.call_soon(self._do_slice)

    def _do_slice(self) -> None:
        assert self._work is not None
        clock = self._running.driver.now
        until = clock() + SLICE
        is_over = False
        try:
            while not is_over and clock() < until:
                is_over = next(self._work, self) is self
        except Exception:
            # What was carried out stands, and the next reload begins from there.
            log.exception("the reload of %s ended before its time", self._path)
            is_over = True
        self._running.driver.settle()
        if not is_over:
            self._next_slice = self._loop.call_soon(self._do_slice)
            return
        self._work = self._next_slice = None
        gc.freeze()  # what has come lives long
        gc.enable()
        self._answer()
        self._begin()

    def _answer(self) -> None:
        askers, self._askers = self._askers, []
        is_done, line = self._outcome
        for asker in askers:
            asker(is_done, (line,), None)

    def _refused(self, error: ReaderError) -> Iterator[None]:
        self._refuse(str(error))
        yield

    def _judge(self, news: News) -> Iterator[None]:
        try:
            yield from self._weigh(news)
        finally:
            if news.snapshot is not None:
                os.close(news.snapshot)

    def _weigh(self, news: News) -> Iterator[None]:
        for level, line in news.complaints:
            if not self._is_check:
                log.log(level, "%s", line)
            for asker in self._askers:
                asker.say(line)
            yield
        if not self._is_check:
            check_log = self._running.configuration.definitions.files.check_log
            write_complaints(check_log, (line for _, line in news.complaints))
        assert news.summary is not None
        if news.summary.has_errors:
            self._refuse("it has errors")
            return
        plan = _Plan()
        yield from plan.pair(news, self._running.roster.instances)
        room = self._running.table.room
        if self._running.table.count + len(plan.added) > room:
            self._refuse(f"there is room for {room} virtual routers until the daemon starts anew")
            return
        counts = (
            f"{len(plan.added)} added, {len(plan.removed)} removed, {len(plan.changed)} changed,"
            f" {news.summary.routers - len(plan.added) - len(plan.changed)} unchanged"
        )
        if self._is_check:
            self._outcome = True, f"{self._path} would be reloaded: {counts}"
            return
        try:
            self._make_room(len(plan.added))
        except OSError as error:
            self._refuse(f"there is no room for the state of more: {error.strerror}")
            return
        if news.snapshot is not None:
            self._on_accepted(news.snapshot)
        configuration = news.configuration(self._running.configuration)
        yield from self._carry_out(news.summary, configuration, plan)
        done = f"Reloaded {self._path}: {counts}; {monotonic() - self._began:.2f} s"
        log.info("%s", done)
        self._outcome = True, done

    def _make_room(self, added: int) -> None:
        """Lets the table grow for so many more, before anything is changed. Raises OSError."""
        running = self._running
        needed = running.table.count + added
        if needed > running.table.capacity:
            running.table.grow(min(needed + needed // GROWTH, running.table.room))
            running.engine.grow()

    def _carry_out(
        self, summary: Summary, configuration: Configuration, plan: _Plan
    ) -> Iterator[None]:
        running = self._running
        learn(summary.accounts)
        definitions = configuration.definitions
        running.transitions.pace(
            definitions.garp_interval,
            definitions.gna_interval,
            configuration.garp_groups,
        )
        if log.isEnabledFor(logging.DEBUG):
            for line in differences(running.configuration.definitions, definitions):
                log.debug("global_defs: %s", line)
        own = running.places.own_name
        if definitions.namespaces.network != own:
            log.warning(
                "net_namespace cannot be changed by a reload: the daemon stays in %s until it is"
                " started anew",
                own or "the network namespace that it was started in",
            )
        running.configuration = configuration
        for follower in running.followers:
            follower.configure(configuration)
            yield
        yield from self._remove(plan)
        while running.transitions.has_notes:
            yield  # addresses of those that are removed go before others take them over
        yield from self._change(plan)
        yield from self._add(plan)
        for follower in running.followers:
            yield from follower.settle()
        running.roster.settle_vmacs()
        yield from self._forget_addresses(plan)
        self._count(is_done=True)

    def _refuse(self, why: str) -> None:
        if self._is_check:
            self._outcome = False, f"{self._path} would not be reloaded: {why}"
            return
        self._outcome = (
            False,
            f"The configuration is not reloaded: {why}. Everything goes on as it was",
        )
        log.error("%s", self._outcome[1])
        self._count(is_done=False)

    def _count(self, *, is_done: bool) -> None:
        duration = int((monotonic() - self._began) * SECOND)
        self._running.table.count_reload(is_done, self._running.driver.now(), duration)
        self.on_end(is_done)

    def _remove(self, plan: _Plan) -> Iterator[None]:
        running = self._running
        for instance in plan.removed:
            log.debug("(%s) is removed", instance.model.name)
            with self._apart(instance):
                running.roster.remove(instance)
                running.driver.settle()  # its last note comes before its end
                running.transitions.end(instance, running.roster.forget)
                running.set_digest(instance.index, UNUSED)
            yield

    @contextmanager
    def _apart(self, instance: Instance) -> Iterator[None]:
        """What goes wrong with one virtual router is said, and does not keep the others from what
        is theirs; the next reload tries again."""
        try:
            yield
        except Exception:
            log.exception("(%s) could not be reloaded", instance.model.name)
            self._running.set_digest(instance.index, UNKNOWN)

    def _change(self, plan: _Plan) -> Iterator[None]:
        running = self._running
        moved: list[Instance] = []
        for instance, model, digest in plan.changed:
            if log.isEnabledFor(logging.DEBUG):
                for line in differences(instance.model, model):
                    log.debug("(%s) %s", model.name, line)
            with self._apart(instance):
                self._announce(plan, instance.model, model)
                is_moved = running.roster.change(instance, model)
                running.set_digest(instance.index, digest)
                if is_moved and running.table.state(instance.index) == State.MASTER:
                    running.transitions.take_off(instance)
                    moved.append(instance)
            yield
        for instance in moved:
            if running.table.state(instance.index) == State.MASTER:
                running.transitions.put_on(instance)
            yield

    def _add(self, plan: _Plan) -> Iterator[None]:
        running = self._running
        entered: list[Instance] = []
        for model, digest in plan.added:
            log.debug("(%s) is added", model.name)
            try:
                self._announce(plan, None, model)
                entered.append(running.roster.enter(model))
            except Exception:
                # The others that have entered must begin.
                log.exception("(%s) could not be added", model.name)
            else:
                running.set_digest(entered[-1].index, digest)
            yield
        for instance in entered:
            with self._apart(instance):
                running.roster.begin(instance)
            yield

    def _announce(self, plan: _Plan, old: VirtualRouter | None, new: VirtualRouter) -> None:
        """Says what else has to know of a virtual router before it is there."""
        if old is not None:
            plan.lost_addresses.update(set(_addresses(old)) - set(_addresses(new)))
        self._running.places.expect(new)

    def _forget_addresses(self, plan: _Plan) -> Iterator[None]:
        """Addresses that no virtual router has any more are like all others."""
        for instance in plan.removed:
            plan.lost_addresses.update(_addresses(instance.model))
        if not plan.lost_addresses:
            return
        leaving = set(plan.removed)
        for instance in list(self._running.roster.instances.values()):
            if instance not in leaving:
                plan.lost_addresses.difference_update(_addresses(instance.model))
            yield
        known = {place.name: place.virtual_addresses for place in self._running.places}
        for name, address in plan.lost_addresses:
            if name in known:
                known[name].discard(address)
            yield


def _addresses(model: VirtualRouter) -> Iterator[PlacedAddress]:
    for address in model.all_addresses:
        yield model.namespace, (address.family, address.address)


class _Plan:
    """What goes, what changes and what comes."""

    def __init__(self) -> None:
        self.removed: list[Instance] = []
        self.changed: list[tuple[Instance, VirtualRouter, bytes]] = []
        self.added: list[tuple[VirtualRouter, bytes]] = []
        self.lost_addresses: set[PlacedAddress] = set()

    def pair(self, news: News, instances: dict[int, Instance]) -> Iterator[None]:
        """Finds out which of the new goes on as which of those that run otherwise."""
        waiting = {index: instances[index] for index in news.gone}
        by_identity: dict[Identity, Instance] = {}
        for instance in waiting.values():
            by_identity.update(dict.fromkeys(identities(instance.model), instance))
            yield
        for model, digest in news.routers:
            for key in identities(model):
                before = by_identity.get(key)
                if before is not None and before.index in waiting:
                    del waiting[before.index]
                    self.changed.append((before, model, digest))
                    break
            else:
                self.added.append((model, digest))
            yield
        self.removed = list(waiting.values())
