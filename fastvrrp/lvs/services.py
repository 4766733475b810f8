"""What the kernel's IPVS is to have of virtual servers, and the way there.

A virtual server may be many services: one for each address of its group's ranges and for each mark.
`services_of` and `destination_of` translate the configuration; `Services` is told what is wanted,
and carries out the difference to what there is in a thread of its own, since the kernel may take
its time: there are tables of 18,000 entries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from socket import AF_INET
from typing import TypeVar

from fastvrrp.kernel.attributes import family_of
from fastvrrp.kernel.ipvs import Failure, namespace_of
from fastvrrp.kernel.ipvs_messages import SCHEDULER_FLAGS, Timeouts
from fastvrrp.lvs.marks import Marking, Marks
from fastvrrp.lvs.notes import Notes
from fastvrrp.lvs.table import Entry, KernelTable
from fastvrrp.model import (
    SECOND,
    Configuration,
    FlushOnStop,
    Forwarding,
    ForwardingMethod,
    IpvsDestination,
    IpvsDestinationKey,
    IpvsService,
    IpvsServiceKey,
    RealServer,
    SorryServer,
    VirtualServer,
    VirtualServerGroup,
)

log = logging.getLogger(__name__)

Result = TypeVar("Result")

SILENT = "IPVS does not answer"
UNUSABLE = "IPVS cannot be used"
UNMARKED = "Packets of groups cannot be marked, so their virtual servers get none"
UNNOTED = "What is ours in IPVS cannot be noted, so a crash may leave some of it behind"
PLAIN = {method: Forwarding(method) for method in (ForwardingMethod.NAT, ForwardingMethod.DR)}
RETRY = 30.0
"""Seconds until what the kernel has refused is tried again: a module may have come."""


def services_of(
    server: VirtualServer, group: VirtualServerGroup | None = None, mark: int | None = None
) -> tuple[IpvsService, ...]:
    """The services that a virtual server is; `group` is that of its name, and `mark` the one that
    packets to its addresses have (`Services.mark_of`)."""
    if mark is not None and group is not None:
        families = dict.fromkeys(family_of(span.first) for span in group.ranges)
        keys: Iterable[IpvsServiceKey] = [IpvsServiceKey(each, mark=mark) for each in families]
    else:
        keys = _keys_of(server, group)
    return tuple(_service(server, key) for key in keys)


def destination_of(server: RealServer | SorryServer, weight: int) -> IpvsDestination:
    """A real server, or a sorry server, as a destination of that weight."""
    upper = lower = 0
    if isinstance(server, RealServer):
        upper, lower = server.upper_threshold, server.lower_threshold
    return IpvsDestination(
        IpvsDestinationKey(server.address, server.port),
        weight,
        _forwarding(server.forwarding),
        upper,
        lower,
    )


class Services:
    """What is wanted of the kernel's IPVS. It belongs to one event loop."""

    def __init__(
        self,
        on_failure: Callable[[Failure], None] = lambda _: None,
        notes: Notes | None = None,
    ) -> None:
        """`on_failure` hears of what the kernel refuses, once for each; the log says it already.
        With `notes` a successor learns what was ours."""
        self._notes = notes
        self._ours: set[IpvsServiceKey] = set()
        """Services that are to be noted."""
        self._is_noted = True
        self._was_marked = False
        """Whether another process has left a table of marks."""
        self._table = KernelTable()
        self._on_failure = on_failure
        self._thread = ThreadPoolExecutor(1, "ipvs")
        self._lock = asyncio.Lock()
        self._wanted: dict[IpvsServiceKey, Entry] = {}
        self._changed: dict[IpvsServiceKey, None] = {}
        """Keys of what was said since it was last carried out, in that order."""
        self._refused: dict[IpvsServiceKey, set[str]] = {}
        """What the log has been told of services that do not stand as they are to."""
        self._configuration = Configuration()
        self._marks = Marks()
        self._marking: Marking | None = None
        self._is_configured = False
        """Whether the kernel has the timeouts."""
        self._said: dict[str, str] = {}
        """What the log has been told of what cannot be done at all."""
        self._retrying: asyncio.TimerHandle | None = None
        self._is_due = False
        """Whether something has happened by itself that asks for settling."""
        self._settling: asyncio.Task[None] | None = None

    async def adopt(self, configuration: Configuration) -> None:
        """Opens IPVS, empties it where `lvs_flush` wants it, and reads what services there are:
        those that are wanted later are changed, not made, and of the others goes what was noted as
        ours. Where the kernel has no IPVS the log says so, and it is tried again later."""
        if self._notes is not None:
            noted = await self._elsewhere(self._notes.read)
            self._ours.update(noted.services)
            self._changed = dict.fromkeys(noted.services)
            self._marks.take_over(noted.marks)
            self._table.timeouts_before = noted.timeouts
            self._was_marked = bool(noted.marks)
        self.configure(configuration)
        async with self._lock:
            await self._open()

    def configure(self, configuration: Configuration) -> None:
        """Timeouts, and the marks of groups, are like this from now on, once it is settled."""
        self._configuration = replace(configuration, virtual_routers=(), virtual_servers=())
        before = self._marks.given
        self._marks.configure(configuration)
        self._is_noted &= before == self._marks.given
        self._is_configured = False

    def mark_of(self, server: VirtualServer) -> int | None:
        """The firewall mark that a virtual server has instead of its group's addresses; None where
        it has them (`nftables_ipvs`)."""
        return self._marks.mark_of(server)

    def want(
        self, service: IpvsService, destinations: Mapping[IpvsDestinationKey, IpvsDestination]
    ) -> None:
        """A service is to be there with exactly these destinations, once it is settled."""
        self._wanted[service.key] = Entry(service, _fitting(service.key, destinations))
        self._changed[service.key] = None

    def drop(self, key: IpvsServiceKey) -> None:
        """A service is to be there no more, once it is settled."""
        if self._wanted.pop(key, None) is not None:
            self._changed[key] = None

    async def settle(self) -> None:
        """Carries out all that was said until now; several may wait for it at once."""
        async with self._lock:
            if not await self._open():
                return
            keys, self._changed = list(self._changed), {}
            staying = [(key, self._wanted[key]) for key in keys if key in self._wanted]
            going = [(key, None) for key in keys if key not in self._wanted]
            await self._note(set(keys) - self._ours, set())
            try:
                failures = await self._elsewhere(self._table.carry_out, staying)
                if not await self._mark() and self._marks.marked:
                    # Packets come to the services of addresses until they are marked.
                    self._changed = dict.fromkeys(key for key, _ in going) | self._changed
                    going = []
                failures += await self._elsewhere(self._table.carry_out, going)
            except OSError as error:
                self._tell(SILENT, error)
                self._changed = dict.fromkeys(keys) | self._changed
                return
            except Exception:
                self._changed = dict.fromkeys(keys) | self._changed
                raise
            self._said.pop(SILENT, None)
            self._take(keys, failures)
            await self._note(set(), {key for key, _ in going if key not in self._refused})

    async def close(self, mode: FlushOnStop) -> None:
        """Removes the services from the kernel as `lvs_flush_on_stop` says, and ends."""
        if self._retrying is not None:
            self._retrying.cancel()
        if self._settling is not None:
            await self._settling
        async with self._lock:
            if self._marking is not None:
                asyncio.get_running_loop().remove_reader(self._marking.fileno())
            if await self._withdraw(mode) and self._notes is not None:
                try:
                    await self._elsewhere(self._notes.remove)
                except OSError as error:
                    log.error("The note of what is ours cannot be removed: %s", error.strerror)
        self._thread.shutdown()

    async def _withdraw(self, mode: FlushOnStop) -> bool:
        """Takes everything of ours back, each whatever becomes of the others; False where
        something of it stays."""
        steps: list[tuple[str, Callable[[], None]]] = [
            ("IPVS cannot be emptied", partial(self._table.empty, mode)),
            ("Timeouts of IPVS cannot be put back", self._table.return_timeouts),
            ("IPVS cannot be closed", self._table.close),
        ]
        if self._marking is not None:
            steps.append(("The marks of groups cannot be removed", self._marking.close))
        is_whole = True
        for what, step in steps:
            try:
                await self._elsewhere(step)
            except OSError as error:
                log.error("%s: %s", what, error.strerror)
                is_whole = False
        return is_whole

    async def _elsewhere(self, run: Callable[..., Result], *arguments: object) -> Result:
        """Calls something in the other thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(run, *arguments))

    async def _open(self) -> bool:
        """Opens IPVS and sets the timeouts, where that was not done; False where it cannot be."""
        if self._is_configured:
            return True
        if UNUSABLE in self._said and self._retrying is not None:
            return False
        definitions = self._configuration.definitions
        lvs = definitions.lvs
        times = (lvs.tcp_timeout, lvs.tcp_fin_timeout, lvs.udp_timeout)
        timeouts = Timeouts(*(None if time is None else time // SECOND for time in times))
        namespace = namespace_of(definitions.namespaces)
        try:
            await self._elsewhere(self._table.open, namespace, lvs.flushes_at_start)
        except OSError as error:
            self._tell(UNUSABLE, error)
            return False
        self._said.pop(UNUSABLE, None)
        self._is_configured = True
        await self._lend_timeouts(timeouts)
        return True

    async def _lend_timeouts(self, timeouts: Timeouts) -> None:
        """Sets them; what they were is noted first, or a crash in between would lose it."""
        is_known = self._table.timeouts_before is not None
        if timeouts == Timeouts() and not is_known:
            return
        try:
            if not is_known:
                await self._elsewhere(self._table.remember_timeouts)
                self._is_noted = False
                await self._note(set(), set())
            await self._elsewhere(self._table.set_timeouts, timeouts)
        except OSError as error:
            log.error("IPVS does not take lvs_timeouts: %s", error.strerror)

    async def _note(self, come: set[IpvsServiceKey], gone: set[IpvsServiceKey]) -> None:
        """Notes which services are ours, before they are made and after they are gone."""
        if self._notes is None or (self._is_noted and not come and not gone):
            return
        self._ours |= come
        self._ours -= gone
        try:
            before = self._table.timeouts_before
            await self._elsewhere(self._notes.write, self._ours, self._marks.given, before)
        except OSError as error:
            self._is_noted = False
            self._tell(UNNOTED, error)
        else:
            self._is_noted = True
            self._said.pop(UNNOTED, None)

    async def _mark(self) -> bool:
        """Has packets of groups marked as they are to be now; False where that cannot be."""
        if self._marking is None:
            if not self._marks.marked and not self._was_marked:
                return True
            namespace = namespace_of(self._configuration.definitions.namespaces)
            try:
                self._marking = await self._elsewhere(Marking, namespace)
            except OSError as error:
                self._tell(UNMARKED, error)
                return False
            asyncio.get_running_loop().add_reader(self._marking.fileno(), self._on_ruleset)
        try:
            await self._elsewhere(self._marking.settle, self._marks.table, self._marks.marked)
        except OSError as error:
            self._tell(UNMARKED, error)
            return False
        self._was_marked = False
        self._said.pop(UNMARKED, None)
        return True

    def _on_ruleset(self) -> None:
        """Somebody changed the ruleset: a firewall that starts anew flushes all of it."""
        if self._marking is not None:
            self._marking.read()
            self._settle_soon()

    def _tell(self, what: str, error: OSError) -> None:
        """Says what cannot be done, once, and tries again later."""
        if self._said.get(what) != error.strerror:
            log.error("%s: %s", what, error.strerror)
        self._said[what] = error.strerror or ""
        self._retry_later()

    def _take(self, keys: list[IpvsServiceKey], failures: list[Failure]) -> None:
        """Tells of what has failed, once."""
        refused: dict[IpvsServiceKey, set[str]] = {}
        for failure in failures:
            key = failure.change.service.key
            refused.setdefault(key, set()).add(failure.reason)
            if failure.reason not in self._refused.get(key, ()):
                log.error("IPVS: %s", failure.reason)
                self._on_failure(failure)
        for key in keys:
            self._refused.pop(key, None)
        self._refused |= refused
        if self._refused:
            self._retry_later()

    def _retry_later(self) -> None:
        if self._retrying is None:
            self._retrying = asyncio.get_running_loop().call_later(RETRY, self._retry)

    def _retry(self) -> None:
        self._retrying = None
        self._changed = dict.fromkeys(self._refused) | self._changed
        self._settle_soon()

    def _settle_soon(self) -> None:
        self._is_due = True
        if self._settling is None or self._settling.done():
            self._settling = asyncio.get_running_loop().create_task(self._settle_while_due())

    async def _settle_while_due(self) -> None:
        while self._is_due:
            self._is_due = False
            await self.settle()


def _fitting(
    key: IpvsServiceKey, destinations: Mapping[IpvsDestinationKey, IpvsDestination]
) -> dict[IpvsDestinationKey, IpvsDestination]:
    """Destinations as a service can have them: a packet that is not translated keeps its port,
    which behind a mark is any. Where two become one the first one stays."""
    fitting: dict[IpvsDestinationKey, IpvsDestination] = {}
    for own, destination in destinations.items():
        if own.port == key.port or destination.forwarding.method == ForwardingMethod.NAT:
            fitting.setdefault(own, destination)
        else:
            moved = IpvsDestinationKey(own.address, key.port)
            fitting.setdefault(moved, replace(destination, key=moved))
    return fitting


def _keys_of(server: VirtualServer, group: VirtualServerGroup | None) -> Iterator[IpvsServiceKey]:
    if server.mark is not None:
        yield IpvsServiceKey(server.family or AF_INET, mark=server.mark)
    elif server.address is not None:
        yield IpvsServiceKey(
            family_of(server.address), server.protocol, server.address, server.port
        )
    elif group is not None:
        for span in group.ranges:
            family = family_of(span.first)
            last = int.from_bytes(span.last, "big")
            for number in range(int.from_bytes(span.first, "big"), last + 1):
                address = number.to_bytes(len(span.first), "big")
                yield IpvsServiceKey(family, server.protocol, address, span.port)
        for mark in group.marks:
            yield IpvsServiceKey(mark.family or server.family or AF_INET, mark=mark.mark)


def _service(server: VirtualServer, key: IpvsServiceKey) -> IpvsService:
    mask = server.persistence_mask if server.persistence_timeout else None
    size = 4 if key.family == AF_INET else 16
    if mask is not None and (len(mask) != size or mask == b"\xff" * size):
        mask = None
    return IpvsService(
        key,
        server.scheduler,
        server.scheduler_flags & SCHEDULER_FLAGS,
        server.is_one_packet,
        server.persistence_timeout,
        mask,
        server.persistence_engine if server.persistence_timeout else None,
    )


def _forwarding(written: Forwarding) -> Forwarding:
    """How packets are forwarded, without what only counts for tunnels."""
    return PLAIN.get(written.method, written)
