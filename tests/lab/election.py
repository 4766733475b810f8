"""One story of two daemons that share virtual routers, told once and judged by many tests.

The preferred one starts together with the other, is killed, starts again, and is stopped; then the
other is stopped. Whatever goes wrong for one virtual router is recorded and the story goes on, so
that each of its tests says what is wrong with that one. Times are those of the frames on the wire.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby

from lab.capture import SECOND, Advert, Capture, glance
from lab.configuration import VirtualRouter
from lab.daemons import Daemon
from lab.network import Laboratory
from lab.stalls import StallWatch
from lab.waiting import wait_until

PREFERRED, OTHER = 200, 100
"""Priorities of the two."""
STALL = 0.1
"""Seconds that a story may lose to others who hold the kernel's lock."""


@dataclass
class Story:
    """What happened, with the addresses that the two routers had after each chapter."""

    preferred: Daemon
    other: Daemon
    virtual_routers: dict[str, VirtualRouter]
    """By the name that a test has for it."""
    capture: Capture
    chapters: dict[str, int] = field(default_factory=dict)
    """When each began, in nanoseconds since the epoch."""
    addresses: dict[tuple[str, Daemon], set[str]] = field(default_factory=dict)
    links: dict[tuple[str, Daemon], set[str]] = field(default_factory=dict)
    statuses: dict[Daemon, int] = field(default_factory=dict)
    wire: list[Advert] = field(default_factory=list)
    logs: str = ""
    longest_stall: float = 0.0
    """Seconds that somebody kept the kernel from changing an address, at most."""

    def tell(self) -> "Story":
        self.begin("before")
        self.look()
        with self.capture, StallWatch(self.other.router) as stalls:
            self.begin("start")
            self.other.start()
            self.preferred.start()
            self.wait_for_sender(self.preferred, 8.0)
            if self.other.says_backup:  # it may take longer to start than the preferred one
                self.other.wait_log("Entering BACKUP STATE", count=len(self.virtual_routers))
            self.linger()
            self.look()
            self.begin("kill")
            self.preferred.kill()
            self.wait_for_sender(self.other, 5.0)
            self.linger()
            self.look()
            self.begin("restart")
            self.preferred.start()
            self.wait_for_sender(self.preferred, 8.0)
            self.linger()
            self.look()
            self.begin("stop")
            self.statuses[self.preferred] = self.preferred.stop()
            self.wait_for_sender(self.other, 3.0)
            self.linger()
            self.look()
            self.begin("end")
            self.statuses[self.other] = self.other.stop()
            self.look()
        self.longest_stall = stalls.longest
        self.wire = self.capture.adverts()
        self.logs = "".join(
            f"\n{daemon}:\n{daemon.log_file.read_text()}" for daemon in (self.preferred, self.other)
        )
        return self

    def begin(self, chapter: str) -> None:
        self.chapters[chapter] = time.time_ns()

    def look(self) -> None:
        chapter = list(self.chapters)[-1]
        for daemon in (self.preferred, self.other):
            self.addresses[chapter, daemon] = daemon.held_addresses()
            self.links[chapter, daemon] = daemon.router.links()

    def wait_for_sender(self, daemon: Daemon, timeout: float) -> None:
        """Waits until `daemon`, and for 0.2 s nobody else, advertises every virtual router; or the
        timeout."""
        is_outgoing = daemon is self.other
        latest: dict[tuple[str, int, int], bool] = {}
        position = 0
        interruption = 0

        def is_sender_of_all() -> bool:
            nonlocal position, interruption
            for frame in self.capture.frames[position:]:
                position += 1
                sight = glance(frame.data)
                if sight is not None and sight.priority:
                    family = 6 if ":" in sight.source else 4
                    latest[frame.interface, sight.vrid, family] = frame.is_outgoing
                    if frame.is_outgoing is not is_outgoing:
                        interruption = frame.time
            return time.time_ns() > interruption + SECOND // 5 and all(
                latest.get(key(v)) is is_outgoing for v in self.virtual_routers.values()
            )

        def key(virtual_router: VirtualRouter) -> tuple[str, int, int]:
            return virtual_router.link.interface, virtual_router.vrid, virtual_router.family

        try:
            wait_until(is_sender_of_all, timeout)
        except TimeoutError:
            return  # the test of the virtual router that has another sender says so

    def linger(self) -> None:
        """Lets every virtual router have one more interval, for what must not happen in it."""
        time.sleep(max(v.interval for v in self.virtual_routers.values()) + 0.2)

    def adverts(self, virtual_router: VirtualRouter, chapter: str = "") -> list[Advert]:
        """A virtual router's adverts, all or those of one chapter."""
        begin, end = 0, time.time_ns()
        if chapter:
            names = list(self.chapters)
            begin = self.chapters[chapter]
            if chapter != names[-1]:
                end = self.chapters[names[names.index(chapter) + 1]]
        return [
            advert
            for advert in self.wire
            if (advert.interface, advert.vrid, advert.family)
            == (virtual_router.link.interface, virtual_router.vrid, virtual_router.family)
            and begin <= advert.time < end
        ]

    def timeline(self, virtual_router: VirtualRouter) -> str:
        """What a person needs to see when a test of this virtual router fails."""
        zero = self.chapters["start"]
        events = [(begin, f"--- {name}") for name, begin in self.chapters.items()]
        runs = groupby(
            self.adverts(virtual_router),
            key=lambda advert: (advert.is_outgoing, advert.source, advert.priority),
        )
        for (is_outgoing, source, priority), group in runs:
            run = list(group)
            sender = self.other if is_outgoing else self.preferred
            span = f"until {(run[-1].time - zero) / SECOND:.3f}, {len(run)} in all"
            events.append((run[0].time, f"{sender} {source} priority {priority} {span}"))
        stalls = f"\nlongest stall of the kernel: {self.longest_stall:.3f} s"
        return f"{stalls}\n" + "\n".join(
            f"{(moment - zero) / SECOND:9.3f} {text}" for moment, text in sorted(events)
        )


def tell_undisturbed(tell: Callable[[Laboratory], Story], *, alone: bool = False) -> Story:
    """Has a story told in a laboratory, and when the kernel was held by others meanwhile, once
    more and alone; the third is taken as it is."""
    for attempt in range(3):
        with Laboratory(alone=alone or attempt > 0) as laboratory:
            story = tell(laboratory)
        if story.longest_stall < STALL:
            break
    return story
