"""Engines on a simulated link and a virtual clock: elections without a network, in no time.

The engines are the daemon's own compiled code. A frame that one of them sends is heard by every
other router of its link at the same instant, unless the link loses it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fastvrrp._engine import Engine
from fastvrrp._sockets import Recorder
from fastvrrp._table import Table

IFINDEX = 7
GROUP4 = bytes((224, 0, 0, 18))
GROUP6 = bytes.fromhex("ff02" + "00" * 13 + "12")
SECOND = 1_000_000_000


@dataclass
class Router:
    """One machine with virtual routers of its own."""

    name: str
    number: int
    """Decides its addresses; the last byte of its source address."""
    recorder: Recorder = field(default_factory=Recorder)
    capacity: int = 16
    is_up: bool = True
    notes: list[tuple[int, str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = Table(None, self.capacity)
        self.engine = Engine(self.table, self.recorder, 0)

    def add(
        self,
        vrid: int,
        *,
        family: int = 4,
        version: int = 3,
        priority: int = 100,
        advert_interval: int = SECOND,
        ifindex: int = IFINDEX,
        **options: object,
    ) -> int:
        address = (
            bytes((10, 0, 0, 100)) if family == 4 else bytes.fromhex("fe80" + "00" * 13 + "64")
        )
        index = self.table.add(f"{self.name}-{vrid}", "eth0", ifindex, family, vrid, priority)
        self.engine.configure(
            index,
            version=version,
            advert_interval=advert_interval,
            addresses=address,
            group=GROUP4 if family == 4 else GROUP6,
            **options,  # type: ignore[arg-type]
        )
        source = bytes((10, 0, 0, self.number))
        if family == 6:
            source = bytes.fromhex("fe80" + "00" * 13) + bytes((self.number,))
        mac = bytes((2, 0, 0, 0, 0, self.number))
        self.engine.attach(index, ifindex, mac, source)
        return index

    def state(self, index: int) -> int:
        return self.table.state(index)

    def run(self, now: int) -> int | None:
        """Does what is due; when to be called next."""
        return self.engine.run(now)

    def hear(self, ifindex: int, frame: bytes, now: int) -> None:
        self.engine.receive_frame(ifindex, frame, now)


class Link:
    """Carries frames between routers, and time to all of them. Interfaces of one index are on one
    wire."""

    def __init__(self, routers: Sequence[Router]) -> None:
        self.routers = routers
        self.now = 0
        self.loses: Callable[[Router, Router], bool] = lambda sender, receiver: False
        self.unplugged: set[tuple[str, int]] = set()
        """Names of routers, and their interfaces, whose wire is out."""

    def deliver(self) -> None:
        """Hands over what was sent, and what is sent in answer, until the link is quiet."""
        busy = True
        while busy:
            busy = False
            for sender in self.routers:
                for ifindex, frame in sender.recorder.take_frames():
                    busy = True
                    for receiver in self.routers:
                        if receiver is sender or not (sender.is_up and receiver.is_up):
                            continue
                        if self.unplugged & {(sender.name, ifindex), (receiver.name, ifindex)}:
                            continue
                        if not self.loses(sender, receiver):
                            receiver.hear(ifindex, frame, self.now)

    def run_until(self, end: int) -> None:
        """Lets time pass."""
        while True:
            self.deliver()
            wakes = [wake for each in self.routers if (wake := each.run(self.now)) is not None]
            self.deliver()
            wake = min((wake for wake in wakes if wake > self.now), default=end)
            if wake >= end:
                break
            self.now = wake
        self.now = end
        for each in self.routers:
            each.run(self.now)
        self.deliver()
