"""What the kernel's IPVS is to have of virtual servers, and the way there.

A virtual server may be many services: one for each address of its group's ranges and for each mark.
`services_of` and `destination_of` translate the configuration; `Services` is told what is wanted,
and carries out the difference to what there is in a thread of its own, since the kernel may take
its time: there are tables of 18,000 entries.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from socket import AF_INET, AF_INET6

from fastvrrp.kernel.ipvs import Failure, Ipvs
from fastvrrp.kernel.ipvs_messages import SCHEDULER_FLAGS, Timeouts
from fastvrrp.lvs.table import Entry, KernelTable
from fastvrrp.model import (
    SECOND,
    FlushOnStop,
    Forwarding,
    ForwardingMethod,
    IpvsDestination,
    IpvsDestinationKey,
    IpvsService,
    IpvsServiceKey,
    Lvs,
    RealServer,
    SorryServer,
    VirtualServer,
    VirtualServerGroup,
)

log = logging.getLogger(__name__)

RETRY = 30.0
"""Seconds until what the kernel has refused is tried again: a module may have come."""


def services_of(
    server: VirtualServer, group: VirtualServerGroup | None = None
) -> tuple[IpvsService, ...]:
    """The services that a virtual server is; `group` is that of its name."""
    return tuple(_service(server, key) for key in _keys_of(server, group))


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
    """What is wanted of the kernel's IPVS. It belongs to the loop of the thread that uses it."""

    def __init__(
        self,
        open_ipvs: Callable[[], Ipvs] = Ipvs,
        on_failure: Callable[[Failure], None] = lambda _: None,
    ) -> None:
        """`open_ipvs` is called in the other thread. `on_failure` hears of what the kernel refuses,
        once for each; the log says it already."""
        self._table = KernelTable(open_ipvs)
        self._on_failure = on_failure
        self._thread = ThreadPoolExecutor(1, "ipvs")
        self._lock = asyncio.Lock()
        self._wanted: dict[IpvsServiceKey, Entry] = {}
        self._changed: dict[IpvsServiceKey, None] = {}
        """Keys of what was said since it was last carried out, in that order."""
        self._refused: dict[IpvsServiceKey, set[str]] = {}
        """What the log has been told of services that do not stand as they are to."""
        self._lvs = Lvs()
        self._is_open = False
        self._is_missing = False
        self._retrying: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def adopt(self, lvs: Lvs) -> None:
        """Opens IPVS, empties it where `lvs_flush` wants it, and reads what services there are:
        those that are wanted later are changed, not made. Sets the timeouts. Where the kernel has
        no IPVS the log says so, and it is tried again later."""
        self._lvs = lvs
        async with self._lock:
            await self._open()

    async def configure(self, lvs: Lvs) -> None:
        """Sets the timeouts that a reload has brought."""
        self._lvs = lvs
        async with self._lock:
            self._is_open = False
            await self._open()

    def want(
        self, service: IpvsService, destinations: Mapping[IpvsDestinationKey, IpvsDestination]
    ) -> None:
        """A service is to be there with exactly these destinations, once it is settled."""
        self._wanted[service.key] = Entry(service, dict(destinations))
        self._changed[service.key] = None

    def drop(self, key: IpvsServiceKey) -> None:
        """A service is to be there no more, once it is settled."""
        if self._wanted.pop(key, None) is not None:
            self._changed[key] = None

    async def settle(self) -> None:
        """Carries out all that was said until now; several may wait for it at once."""
        async with self._lock:
            await self._open()
            if not self._is_open or not self._changed:
                return
            keys, self._changed = list(self._changed), {}
            wanted = [(key, self._wanted.get(key)) for key in keys]
            loop = asyncio.get_running_loop()
            try:
                failures = await loop.run_in_executor(self._thread, self._table.carry_out, wanted)
            except OSError as error:
                log.error("IPVS does not answer: %s", error.strerror)
                self._changed = dict.fromkeys(keys) | self._changed
                self._retry_later()
                return
            self._take(keys, failures)

    async def close(self, mode: FlushOnStop) -> None:
        """Removes the services from the kernel as `lvs_flush_on_stop` says, and ends."""
        if self._retrying is not None:
            self._retrying.cancel()
        async with self._lock:
            loop = asyncio.get_running_loop()
            try:
                await loop.run_in_executor(self._thread, self._table.close, mode)
            except OSError as error:
                log.error("IPVS cannot be emptied: %s", error.strerror)
        self._thread.shutdown()

    async def _open(self) -> None:
        if self._is_open:
            return
        lvs = self._lvs
        timeouts = Timeouts(
            *(
                None if time is None else time // SECOND
                for time in (lvs.tcp_timeout, lvs.tcp_fin_timeout, lvs.udp_timeout)
            )
        )
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(
                self._thread, self._table.open, lvs.flushes_at_start, timeouts
            )
        except OSError as error:
            if not self._is_missing:
                log.error("IPVS cannot be used: %s", error.strerror)
            self._is_missing = True
            self._retry_later()
        else:
            self._is_open = True
            if self._is_missing:
                log.info("IPVS can be used now")
            self._is_missing = False

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
        task = asyncio.get_running_loop().create_task(self.settle())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _keys_of(server: VirtualServer, group: VirtualServerGroup | None) -> Iterator[IpvsServiceKey]:
    if server.mark is not None:
        yield IpvsServiceKey(server.family or AF_INET, mark=server.mark)
    elif server.address is not None:
        yield IpvsServiceKey(
            _family_of(server.address), server.protocol, server.address, server.port
        )
    elif group is not None:
        for span in group.ranges:
            family = _family_of(span.first)
            last = int.from_bytes(span.last, "big")
            for number in range(int.from_bytes(span.first, "big"), last + 1):
                address = number.to_bytes(len(span.first), "big")
                yield IpvsServiceKey(family, server.protocol, address, span.port)
        for mark in group.marks:
            yield IpvsServiceKey(mark.family or _usual_family(server, group), mark=mark.mark)


def _usual_family(server: VirtualServer, group: VirtualServerGroup) -> int:
    """That of a mark which says none: the group's addresses', or the real servers'."""
    for span in group.ranges:
        return _family_of(span.first)
    for real in server.real_servers:
        if real.forwarding.method != ForwardingMethod.TUN:
            return _family_of(real.address)
    return server.family or AF_INET


def _service(server: VirtualServer, key: IpvsServiceKey) -> IpvsService:
    mask = server.persistence_mask if server.persistence_timeout else None
    if mask is not None and mask == b"\xff" * len(mask):
        mask = None
    return IpvsService(
        key,
        server.scheduler,
        server.scheduler_flags & SCHEDULER_FLAGS,
        server.is_one_packet,
        server.persistence_timeout,
        mask,
        server.persistence_engine,
    )


def _forwarding(written: Forwarding) -> Forwarding:
    """How packets are forwarded, without what only counts for tunnels."""
    return written if written.method == ForwardingMethod.TUN else Forwarding(written.method)


def _family_of(address: bytes) -> int:
    return AF_INET if len(address) == 4 else AF_INET6
