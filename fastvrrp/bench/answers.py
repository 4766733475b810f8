"""What a device under test has answered, from what passed on the wire."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastvrrp.bench.crowd import VirtualRouter
from fastvrrp.bench.recording import PACKET_OUTGOING, Recording, percentile

SILENT_AFTER = 2.5
"""Advert intervals without an advert after which a virtual router of the device has stopped."""
GAVE_WAY_AFTER = 1.2
"""The same where we have spoken meanwhile."""


@dataclass
class Voice:
    """One virtual router on the wire. Times are nanoseconds since 1970; priorities stand beside."""

    theirs: list[tuple[int, int]] = field(default_factory=list)
    ours: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Answer:
    """What the device said as one virtual router."""

    adverts: int
    priority: int | None
    """Of its last advert that was no farewell; None where there was none."""
    began: tuple[int, ...]
    """When it began to speak after silence, or after a farewell."""
    stopped: int
    """How often it fell silent or said farewell (priority 0)."""
    longest_gap: int
    """Nanoseconds between two of its adverts."""
    takeovers: tuple[int, ...]
    """Nanoseconds from what made it speak to its first advert: our last advert, or the first one of
    a lower priority than before."""


class Answers:
    """Reads the records `start` and later of a recording, in which announcements may be."""

    def __init__(
        self, recording: Recording, start: int, interval: float, began: int, ended: int
    ) -> None:
        self.announced: dict[tuple[int, int], list[int]] = {}
        """When the device has announced addresses, by ifindex and the address's last byte."""
        self._interval = interval * 1e9
        self._began = began
        self._ended = ended
        self._voices: dict[int, Voice] = {}
        for time, key in zip(*recording.columns(start, recording.count), strict=True):
            is_ours = key >> 8 & 0xFF == PACKET_OUTGOING
            if key >> 24 & 0xFF == 0:
                if not is_ours:
                    self.announced.setdefault((key >> 32, key >> 16 & 0xFF), []).append(time)
                continue
            voice = self._voices.setdefault(key >> 16, Voice())
            (voice.ours if is_ours else voice.theirs).append((time, key & 0xFF))

    def of(self, router: VirtualRouter) -> Answer:
        voice = self._voices.get(router.key, Voice())
        began: list[int] = []
        stopped = longest = last = 0
        is_speaking = False
        for time, priority in voice.theirs:
            if last:
                longest = max(longest, time - last)
            if is_speaking and self._has_stopped(voice, last, time):
                stopped += 1
                is_speaking = False
            if priority == 0:
                stopped += is_speaking
                is_speaking = False
            elif not is_speaking:
                is_speaking = True
                began.append(time)
            last = time
        if is_speaking and self._has_stopped(voice, last, self._ended):
            stopped += 1
        takeovers = (_reason(voice.ours, time) for time in began)
        return Answer(
            len(voice.theirs),
            next((priority for _, priority in reversed(voice.theirs) if priority), None),
            tuple(began),
            stopped,
            longest,
            tuple(
                time - why for time, why in zip(began, takeovers, strict=True) if why is not None
            ),
        )

    def _has_stopped(self, voice: Voice, last: int, now: int) -> bool:
        """Whether the device had stopped between its advert at `last` and `now`."""
        if now - last > SILENT_AFTER * self._interval:
            return True
        place = bisect_left(voice.ours, (last, 0))
        is_answered = place < len(voice.ours) and voice.ours[place][0] < now
        return is_answered and now - last > GAVE_WAY_AFTER * self._interval

    def to_json(self, routers: Sequence[VirtualRouter]) -> dict[str, Any]:
        """Counts, and times in milliseconds; by virtual router those that have said something."""
        answers = {router.name: self.of(router) for router in routers}
        heard = {name: answer for name, answer in answers.items() if answer.adverts}
        takeovers = sorted(time for answer in heard.values() for time in answer.takeovers)
        times = sorted(time for each in self.announced.values() for time in each)
        return {
            "adverts": sum(answer.adverts for answer in heard.values()),
            "routers": len(heard),
            "speaking_before": sum(self._spoke_before(answer) for answer in heard.values()),
            "began": sum(len(answer.began) for answer in heard.values()),
            "stopped": sum(answer.stopped for answer in heard.values()),
            "stopped_routers": sum(answer.stopped > 0 for answer in heard.values()),
            "longest_gap_ms": _milliseconds(
                max((a.longest_gap for a in heard.values()), default=None)
            ),
            "takeover_routers": sum(bool(answer.takeovers) for answer in heard.values()),
            "takeover_ms": {
                name: _milliseconds(percentile(takeovers, part))
                for name, part in (("p50", 0.5), ("p99", 0.99), ("longest", 1.0))
            },
            "announcements": len(times),
            "announced_addresses": len(self.announced),
            "last_announcement_s": (times[-1] - self._began) / 1e9 if times else None,
            "by_router": {name: _described(answer) for name, answer in heard.items()},
        }

    def _spoke_before(self, answer: Answer) -> bool:
        return bool(answer.began) and answer.began[0] < self._began


def _reason(ours: Sequence[tuple[int, int]], time: int) -> int | None:
    """When we did what made the device speak at `time`; None where we had not spoken."""
    place = bisect_left(ours, (time, 0)) - 1
    if place < 0:
        return None
    priority = ours[place][1]
    first = place
    while first and ours[first - 1][1] == priority:
        first -= 1
    return ours[first][0] if first and ours[first - 1][1] > priority else ours[place][0]


def _described(answer: Answer) -> Mapping[str, Any]:
    return {
        "adverts": answer.adverts,
        "priority": answer.priority,
        "began": len(answer.began),
        "stopped": answer.stopped,
        "longest_gap_ms": _milliseconds(answer.longest_gap),
        "takeovers_ms": [_milliseconds(each) for each in answer.takeovers],
    }


def _milliseconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else round(nanoseconds / 1e6, 3)
