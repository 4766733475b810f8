"""Dumps on signals: keepalived.data, keepalived.stats and keepalived.json.

They are written in the loop, in slices between two adverts, and small ones at once:
keepalived-exporter looks for the file ten milliseconds after its signal. Another process would need
longer than that to begin.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from ipaddress import ip_address
from time import CLOCK_REALTIME, clock_gettime_ns, monotonic_ns

from fastvrrp._table import Table
from fastvrrp.daemon.options import Options
from fastvrrp.kernel.links import FAMILIES, Link, Links
from fastvrrp.model import Configuration, State, SyncGroup
from fastvrrp.observe.dumps import as_data, as_json
from fastvrrp.observe.dumps.counters import counts_of, stats_of
from fastvrrp.observe.dumps.facts import Counts, LinkFacts, RouterFacts, StateOf, Whole
from fastvrrp.observe.dumps.files import Dump, DumpFile, place_of
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance, Pending

log = logging.getLogger(__name__)

SLICE = 1_500_000
"""Nanoseconds of writing in one turn of the loop: adverts come first."""
STATS_CLEAR = signal.SIGRTMAX - 1
JSON = signal.SIGRTMIN + 2
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2, STATS_CLEAR, JSON)


class Dumping(Follower):
    """Writes the dumps of one daemon."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        table: Table,
        instances: Mapping[int, Instance],
        links: Links,
        groups: Callable[[], Iterable[tuple[SyncGroup, State]]],
        state_of: StateOf,
        processes: Callable[[], Mapping[str, int]],
        options: Options,
    ) -> None:
        """`groups`, `state_of` and `processes` answer how things are now."""
        self._loop = loop
        self._table = table
        self._instances = instances
        self._links = links
        self._states_of_groups = groups
        self._state_of = state_of
        self._processes = processes
        self._options = options
        self._configuration = Configuration()
        self._groups: dict[str, str] = {}
        self._cleared: dict[int, Counts] = {}
        """What was counted when the counters were last cleared, by index."""
        self._wanted: list[int] = []
        """Signals that were not seen to yet."""
        self._work: Generator[None, None, None] | None = None
        self._next_slice: asyncio.Handle | None = None
        self._has_begun = False
        self.on_data: Callable[[], object] = lambda: None
        """Called when the data is asked for: other processes have their part of it."""

    def watch(self) -> None:
        """Takes the signals from now on."""
        for number in SIGNALS:
            self._loop.add_signal_handler(number, self.request, number)

    def request(self, number: int) -> None:
        """Writes what a signal asks for, after what was asked for before."""
        if number not in self._wanted:
            self._wanted.append(number)
        if self._next_slice is None:
            self._step()

    # --- the follower -----------------------------------------------------------------------------

    def configure(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._groups = {
            member: group.name for group in configuration.sync_groups for member in group.members
        }

    def leave(self, instance: Instance) -> None:
        self._cleared.pop(instance.index, None)

    def settle(self) -> Iterator[None]:
        if self._options.dumps_configuration and not self._has_begun:
            for piece in as_data.document(self._routers(), self._whole()):
                for line in piece.splitlines():
                    log.info("%s", line)
        self._has_begun = True
        return iter(())

    def stop(self) -> None:
        if self._next_slice is not None:
            self._next_slice.cancel()
        if self._work is not None:
            self._work.close()

    # --- writing ----------------------------------------------------------------------------------

    def _step(self) -> None:
        self._next_slice = None
        until = monotonic_ns() + SLICE
        while monotonic_ns() < until:
            if self._work is None:
                if not self._wanted:
                    return
                self._work = self._dumps(self._wanted.pop(0))
            if next(self._work, self) is self:
                self._work = None
        self._next_slice = self._loop.call_soon(self._step)

    def _dumps(self, number: int) -> Generator[None, None, None]:
        match number:
            case signal.SIGUSR1:
                self.on_data()
                whole = self._whole()
                yield from self._write(Dump.DATA, as_data.document(self._routers(), whole))
                yield from self._write(Dump.PARENT, iter((as_data.parent_lines(whole),)))
            case _ if number == JSON:
                version = self._configuration.definitions.files.json_version
                pieces = as_json.document(self._routers(), self._whole(), version)
                yield from self._write(Dump.JSON, pieces)
            case _:
                yield from self._write(Dump.STATISTICS, self._statistics(number == STATS_CLEAR))

    def _write(self, dump: Dump, pieces: Iterator[str]) -> Iterator[None]:
        definitions = self._configuration.definitions
        path = place_of(dump, definitions, self._options.network_namespace)
        umask = self._options.umask
        if umask is None:
            umask = definitions.processes.umask
        file: DumpFile | None = None
        try:
            file = DumpFile(path, umask)
            for piece in pieces:
                file.write(piece)
                yield
            file.finish()
            file = None
        except OSError as error:
            log.error("Can't write %s: %s", path, error.strerror)
        finally:
            if file is not None:
                file.give_up()

    def _statistics(self, clears: bool) -> Iterator[str]:
        for index, instance in list(self._instances.items()):
            record = self._table.read(index)
            if record is not None:
                counts = counts_of(record)
                yield stats_of(instance.model.name, self._since_cleared(index, counts))
                if clears:
                    self._cleared[index] = counts

    def _since_cleared(self, index: int, counts: dict[str, int]) -> dict[str, int]:
        before = self._cleared.get(index)
        if before is None:
            return counts
        return {key: count - before[key] for key, count in counts.items()}

    # --- how things are ---------------------------------------------------------------------------

    def _routers(self) -> Iterator[RouterFacts]:
        offset = clock_gettime_ns(CLOCK_REALTIME) - monotonic_ns()
        for index, instance in list(self._instances.items()):
            record = self._table.read(index)
            if record is None or self._instances.get(index) is not instance:
                continue  # it went while others were written
            model = instance.model
            is_master = record["state"] == State.MASTER
            changed, deadline = record["changed_at"], record["deadline"]
            yield RouterFacts(
                model,
                record,
                self._since_cleared(index, counts_of(record)),
                self._groups.get(model.name),
                has_addresses=is_master and bool(model.all_addresses),
                drops_packets=is_master and not model.accept,
                faults=max(len(instance.faults), int(instance.lack is not None)),
                is_waiting=any(isinstance(why, Pending) for why in instance.faults.values()),
                changed_at=(changed + offset) // 1000 / 1e6 if changed else 0.0,
                deadline=None if deadline is None else (deadline + offset) / 1e9,
            )

    def _whole(self) -> Whole:
        return Whole(
            self._configuration,
            tuple((group.name, state) for group, state in self._states_of_groups()),
            self._state_of,
            self._processes(),
            map(self._link_facts, list(self._links)),
        )

    def _link_facts(self, link: Link) -> LinkFacts:
        """keepalived tells of the address of each family that adverts leave from."""
        found = (self._links.primary_address(link.index, family) for family in FAMILIES)
        return LinkFacts(
            link.name,
            link.index,
            link.mac,
            link.mtu,
            link.is_up,
            link.is_running,
            tuple(str(ip_address(address)) for address in found if address is not None),
        )
