"""What IPVS has counted, asked of the kernel now and then for those who look from outside.

The kernel tells it by service: of 2,000 services with 8 servers each that is 2,000 questions. They
are asked in a thread, on a socket of its own, so that no change of the table waits for them, and
with a pause that is long against what they take: never more than a fiftieth of a core.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from time import monotonic, sleep

from fastvrrp.kernel.ipvs import Ipvs
from fastvrrp.kernel.ipvs_messages import Counters as KernelCounters
from fastvrrp.lvs.showing import Counted, Showing
from fastvrrp.model import IpvsDestinationKey
from fastvrrp.observe.servers import COUNTERS, PERIOD, Counters

log = logging.getLogger(__name__)

IDLE = 50
"""How much longer than a count the pause behind it is, at least."""


class Counting:
    """Counts for one `Showing` until it is closed."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, showing: Showing, namespace: str | None
    ) -> None:
        """`namespace` as for `Ipvs`."""
        self._loop = loop
        self._showing = showing
        self._namespace = namespace
        self._thread = ThreadPoolExecutor(1, "counting")
        self._ipvs: Ipvs | None = None
        self._next: asyncio.TimerHandle | None = loop.call_later(1.0, self._count)
        self._is_closed = False

    def close(self) -> None:
        """Counts no more; what is being counted is waited for."""
        self._is_closed = True
        if self._next is not None:
            self._next.cancel()
        self._thread.shutdown()
        if self._ipvs is not None:
            self._ipvs.close()

    def _count(self) -> None:
        self._next = None
        epoch, wanted = self._showing.to_count()
        begun = monotonic()
        asked = self._thread.submit(self._counts_of, wanted)
        asked.add_done_callback(
            lambda done: self._loop.call_soon_threadsafe(self._counted, done, epoch, begun)
        )

    def _counted(self, done: Future[dict[int, bytes]], epoch: int, begun: float) -> None:
        if self._is_closed:
            return
        error = done.exception()
        if error is None:
            self._showing.counted(epoch, done.result())
        elif not isinstance(error, OSError):  # of an IPVS that is not there others tell
            log.error("IPVS could not be counted", exc_info=error)
        pause = max(PERIOD, IDLE * (monotonic() - begun))
        self._next = self._loop.call_later(pause, self._count)

    def _counts_of(self, wanted: Iterable[Counted]) -> dict[int, bytes]:
        """COUNTERS of everything, by where they are to be put. Raises OSError."""
        if self._ipvs is None:
            self._ipvs = Ipvs(self._namespace)
        ipvs = self._ipvs
        services = ipvs.service_counters()
        found: dict[int, bytes] = {}
        for each in wanted:
            present = [key for key in each.services if key in services]
            found[each.at] = _packed(_sum(services[key] for key in present))
            sums: dict[int, Counters] = {}
            for key in present:
                if self._is_closed:
                    return {}
                counted = ipvs.destination_counters(key)
                for at, destination in each.destinations:
                    # A server that is not translated has its service's port.
                    moved = IpvsDestinationKey(destination.address, key.port)
                    server = counted.get(destination) or counted.get(moved)
                    if server is not None:
                        more = Counters(*_basic(server.counters), server.active, server.inactive)
                        sums[at] = _added(sums[at], more) if at in sums else more
                sleep(0)  # the loop may want the interpreter
            found |= {at: _packed(counters) for at, counters in sums.items()}
        return found


def _basic(counters: KernelCounters) -> tuple[int, int, int, int, int]:
    return (
        counters.connections,
        counters.packets_in,
        counters.packets_out,
        counters.bytes_in,
        counters.bytes_out,
    )


def _sum(each: Iterable[KernelCounters]) -> Counters:
    total = Counters()
    for counters in each:
        total = _added(total, Counters(*_basic(counters)))
    return total


def _added(one: Counters, other: Counters) -> Counters:
    return Counters(*(a + b for a, b in zip(one, other, strict=True)))


def _packed(counters: Counters) -> bytes:
    return COUNTERS.pack(*counters)
