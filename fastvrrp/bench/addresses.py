"""When virtual addresses appeared on a side, as the kernel told of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from fastvrrp._rtmessage import AddressEvent
from fastvrrp._rtnetlink import Channel, Monitor, Overrun
from fastvrrp.bench.case import Case
from fastvrrp.bench.network import Namespace

RECEIVE_BUFFER = 256 << 20  # all addresses of the largest case, if nobody read meanwhile
READ_LIMIT = 4096


class Arrivals:
    """The virtual addresses that are there, and when the last one came (ns since 1970)."""

    def __init__(self, case: Case, monitor: Monitor, channel: Channel) -> None:
        self._case = case
        self._monitor = monitor
        self._channel = channel
        self._present: set[tuple[int, bytes]] = set()
        self.last = 0

    @classmethod
    @contextmanager
    def on(cls, side: Namespace, case: Case) -> Iterator[Arrivals]:
        with side.entered():
            monitor = Monitor(RECEIVE_BUFFER)
            channel = Channel()
        try:
            yield cls(case, monitor, channel)
        finally:
            monitor.close()
            channel.close()

    @property
    def count(self) -> int:
        return len(self._present)

    def watch(self, seconds: float) -> None:
        """Waits, and takes note of what came meanwhile.

        Who waited for each notification would be woken for each, on the processor that the daemon
        needs just then.
        """
        time.sleep(seconds)
        while self._take():
            pass

    def _take(self) -> bool:
        """Takes note of some notifications; False where there was none."""
        try:
            events = self._monitor.read(READ_LIMIT)
        except Overrun:
            self._present.clear()
            events = list(self._channel.dump_addresses())
        now = time.time_ns()
        for event in events:
            if isinstance(event, AddressEvent) and self._case.is_virtual(event.address):
                key = event.ifindex, event.address
                if event.removed:
                    self._present.discard(key)
                elif key not in self._present:
                    self._present.add(key)
                    self.last = now
        return bool(events)
