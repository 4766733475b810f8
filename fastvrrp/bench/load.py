"""The load generator: what a crowd of virtual routers says to a device under test, and its answer.

The crowd listens first, so that it knows who was master before; then it speaks, its adverts spread
evenly over time; then it listens again where an answer comes later. Each kind of crowd is a list of
rounds: some of the frames, in rotation, for so long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastvrrp._generator import Generator
from fastvrrp.bench.answers import Answers
from fastvrrp.bench.case import CaseError
from fastvrrp.bench.crowd import GROUPS, Speech, VirtualRouter, ports_of, spread
from fastvrrp.bench.hostile import HOSTILE, frames
from fastvrrp.bench.recording import Recording
from fastvrrp.kernel.memberships import Memberships

KINDS = ("masters", "dying", "flapping", "hostile")
PART = 0.2
"""Seconds of sending between two looks at the screen and at an interrupt."""
RESIGNATION_RATE = 20_000.0
"""Farewells a second."""
PRIORITY_RESIGN = 0
TAKEOVER_PATIENCE = 10.0
"""Seconds beyond the longest Master_Down_Interval that the device has to take over."""
LONGEST = 3600.0
"""Seconds: what runs longer has been forgotten by somebody."""
MOST = 1_000_000.0
"""Packets a second."""


@dataclass(frozen=True)
class Load:
    """What the crowd does. Times are in seconds."""

    kind: str
    """One of KINDS."""
    routers: int
    duration: float
    speech: Speech
    families: tuple[int, ...] = (4,)
    priority: int = 254
    low_priority: int = 1
    """FLAPPING: the other one."""
    flap_interval: float = 5.0
    """FLAPPING: how long each priority is kept."""
    says_farewell: bool = False
    """DYING: with priority 0 instead of in silence."""
    hostile: tuple[str, ...] = ()
    """HOSTILE: names from HOSTILE."""
    rate: float | None = None
    """Packets a second; None: each virtual router every interval."""

    def __post_init__(self) -> None:
        """Raises CaseError."""
        unknown = set(self.hostile) - set(HOSTILE)
        if self.kind not in KINDS or unknown:
            raise CaseError(f"{self.kind} {sorted(unknown)}: there is no such load")
        if (self.kind == "hostile") != bool(self.hostile):
            raise CaseError("a hostile load, and no other, says with --hostile what is wrong")
        if not 0 < self.duration <= LONGEST:
            raise CaseError(f"a duration of {self.duration:g} s: it must be up to {LONGEST:g} s")
        if self.rate is not None and not 0 < self.rate <= MOST:
            raise CaseError(f"{self.rate:g} packets a second: it must be up to {MOST:,.0f}")
        if self.kind == "flapping" and not 0 < self.flap_interval <= self.duration:
            raise CaseError("--flap-interval must be more than 0 and at most --duration")
        for priority in (self.priority, self.low_priority):
            if not 1 <= priority <= 255:
                raise CaseError(f"priority {priority} is outside 1-255")
        if 6 in self.families and self.speech.version == 2:
            raise CaseError("VRRPv2 has no IPv6: use --version 3")

    @property
    def packets_a_second(self) -> float:
        return self.rate or self.routers / self.speech.interval

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class _Round:
    """Frames `first` to `first + count - 1`, in rotation."""

    says: str
    first: int
    count: int
    packets: int
    rate: float


def carries_default_route(interface: str) -> bool:
    """Whether this namespace reaches the world through it."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[0] == interface and fields[1] == fields[7] == "00000000":
            return True
    for line in Path("/proc/net/ipv6_route").read_text().splitlines():
        fields = line.split()
        is_default = fields[0] == "0" * 32 and fields[1] == "00"
        if fields[-1] == interface != "lo" and is_default:
            return True
    return False


def run(load: Load, interfaces: Sequence[str], say: Callable[[str], None]) -> dict[str, Any]:
    """Loads what is behind the interfaces of this namespace. Returns what was sent and answered,
    for JSON. Raises CaseError, or PermissionError without the right to send."""
    ports = ports_of(interfaces)
    routers = spread(ports, load.families, load.routers)
    interval = load.speech.interval
    with ExitStack() as stack:
        generator = Generator()
        stack.callback(generator.close)
        rounds = _prepare(load, routers, generator)
        memberships = Memberships()
        stack.callback(memberships.close)
        for port in ports:
            for family in load.families:
                memberships.join(GROUPS[family], port.ifindex)
        recording = stack.enter_context(
            Recording.of(
                nullcontext(),
                max(port.ifindex for port in ports),
                announcements=True,
                # A flood is not written down; who is heard in it, and when, does not depend on it.
                outgoing=load.kind != "hostile",
            )
        )
        start = recording.count
        recording.look(True)
        say("listening")
        time.sleep(1.5 * interval)
        began, clock = time.time_ns(), time.monotonic_ns()
        for each in rounds:
            _send(each, generator, say)
        took = (time.monotonic_ns() - clock) / 1e9
        if load.kind in ("masters", "dying"):
            _await(
                recording, start, routers, time.monotonic() + 4 * interval + TAKEOVER_PATIENCE, say
            )
        else:
            time.sleep(1.5 * interval)
        recording.look(False)
        answers = Answers(recording, start, interval, began, time.time_ns())
        return {
            "sent": {
                "packets": generator.sent,
                "refused_by_kernel": generator.unsent,
                "seconds": took,
                "packets_a_second": generator.sent / took,
            },
            "unseen": recording.lost,
            "answered": answers.to_json(routers),
        }


def _prepare(load: Load, routers: Sequence[VirtualRouter], generator: Generator) -> list[_Round]:
    """Makes the frames and says in which order they go out."""
    rate = load.packets_a_second
    packets = max(1, round(rate * load.duration))
    if load.kind == "hostile":
        made = frames(load.hostile, load.speech, routers)
        for router, frame in made:
            generator.add(router.port.ifindex, frame)
        return [_Round("adverts", 0, len(made), packets, rate)]
    count = len(routers)
    for priority in (load.priority, load.low_priority, PRIORITY_RESIGN):
        for router in routers:
            generator.add(router.port.ifindex, load.speech.frame(router, priority))
    farewell = _Round("farewells", 2 * count, count, count, RESIGNATION_RATE)
    if load.kind == "flapping":
        each = max(1, round(rate * load.flap_interval))
        flaps = max(1, packets // each)
        return [
            _Round(f"flap {flap + 1} of {flaps}", (flap % 2) * count, count, each, rate)
            for flap in range(flaps)
        ]
    speaking = _Round("adverts", 0, count, packets, rate)
    return [speaking, farewell] if load.kind == "masters" or load.says_farewell else [speaking]


def _send(each: _Round, generator: Generator, say: Callable[[str], None]) -> None:
    began = time.monotonic_ns()
    number = 0
    while number < each.packets:
        say(f"sending {each.says} ({number:,} of {each.packets:,})")
        upto = min(each.packets, number + max(1, round(each.rate * PART)))
        generator.send(each.first, each.count, number, upto, each.rate, began)
        number = upto


def _await(
    recording: Recording,
    start: int,
    routers: Sequence[VirtualRouter],
    until: float,
    say: Callable[[str], None],
) -> None:
    """Waits until the device has spoken for everyone after we fell silent."""
    place = recording.count
    wanted = {router.key for router in routers}
    speaking: set[int] = set()
    while time.monotonic() < until and not speaking >= wanted:
        upto = recording.count
        speaking |= recording.speakers(place, from_b=False)
        place = upto
        say(f"waiting for the device ({len(speaking & wanted):,} taken over)")
        time.sleep(0.05)
