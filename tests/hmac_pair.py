"""`auth_hmac`: two routers that share a key, on a simulated link."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hmac_reference as reference
from fastvrrp._trailer import Authenticator
from fastvrrp._wire import REASONS
from simulation import IFINDEX, SECOND, Link, Router

BACKUP, MASTER = 1, 2
ETHERNET = 14
EPOCH = 1_800_000_000 * SECOND
OLD, NEW, OTHER = b"o" * 32, b"n" * 64, b"x" * 40


def clock_of(link: Link, start: int = EPOCH) -> Callable[[], int]:
    return lambda: start + link.now


def record(router: Router, index: int = 0) -> dict[str, Any]:
    found = router.table.read(index)
    assert found is not None
    return found


def refusals(router: Router, index: int = 0) -> dict[str, int]:
    counts = zip(REASONS, record(router, index)["refused"], strict=True)
    return {reason: count for reason, count in counts if count}


class Keyed:
    """Two routers on a link, both with `keys`, and a third one's place to say what is false."""

    def __init__(
        self,
        family: int = 4,
        version: int = 3,
        *,
        window: int = 5 * SECOND,
        start: int = EPOCH,
        **options: object,
    ) -> None:
        self.high, self.low = Router("high", 1), Router("low", 2)
        self.link = Link([self.high, self.low])
        self.clock = clock_of(self.link, start)
        self.window = window
        self.authenticators: list[Authenticator] = []
        for router, priority in ((self.high, 200), (self.low, 100)):
            router.add(
                51,
                family=family,
                version=version,
                priority=priority,
                signs=True,
                **options,  # type: ignore[arg-type]
            )
            self.authenticators.append(self.give_key(router, 0))
        for router in (self.high, self.low):
            router.engine.start(0, 0)

    def give_key(self, router: Router, index: int) -> Authenticator:
        made = Authenticator([(1, OLD)], 1, window=self.window, clock=self.clock)
        router.engine.authenticate(index, made)
        return made

    def settle(self) -> None:
        self.link.run_until(self.link.now + 5 * SECOND)
        assert (self.high.state(0), self.low.state(0)) == (MASTER, BACKUP)

    def next_frame(self) -> bytes:
        """The next advert of the master, which nobody has heard yet."""
        while True:
            wake = self.high.engine.run(self.link.now)
            if frames := self.high.recorder.take_frames():
                break
            assert wake is not None
            self.link.now = wake
        ((_, frame),) = frames
        return frame

    def hear(self, frame: bytes) -> dict[str, int]:
        """What the backup refuses of what it hears now, by reason."""
        before = refusals(self.low)
        self.low.engine.receive_frame(IFINDEX, frame, self.link.now)
        after = refusals(self.low)
        return {
            reason: count - before.get(reason, 0)
            for reason, count in after.items()
            if count != before.get(reason, 0)
        }


def changed(
    frame: bytes, position: int, value: int | None = None, *, source: bytes | None = None
) -> bytes:
    """A frame with another byte in its message (or flipped bits), and a right checksum."""
    packet = frame[ETHERNET:]
    message = bytearray(reference.message_of(packet))
    message[position] = message[position] ^ 0x41 if value is None else value
    return frame[:ETHERNET] + reference.with_message(packet, bytes(message), source)
