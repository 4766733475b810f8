"""Tracked processes as the daemon has them: whether there are as many as there should be.

A process of their own watches them (`watcher`), which is started when the first one is tracked, and
started again should it end.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping

from fastvrrp.kernel.capabilities import Capability, raised
from fastvrrp.model import TrackProcess
from fastvrrp.track.census import Census, Quorum
from fastvrrp.track.companion import Companion

log = logging.getLogger(__name__)


class Processes:
    """The tracked processes of one daemon."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_change: Callable[[str, bool], None]
    ) -> None:
        """`on_change` is called with the name of one of which there are enough now, or not enough
        any more, and when the first is known of it."""
        self._on_change = on_change
        self._wanted: tuple[TrackProcess, ...] = ()
        self._known: dict[str, bool] = {}
        self._watcher = Companion(
            loop, "fastvrrp.track.watcher", "watches processes", self._on_message, self._on_start
        )
        self._has_complained = False
        self.counts: dict[str, int] = {}
        """How many there were when it was last told whether there are enough, by name."""

    @property
    def known(self) -> Mapping[str, bool]:
        """Of each that was counted, whether there are enough."""
        return self._known

    @property
    def pid(self) -> int | None:
        """The other process; None where there is none."""
        return self._watcher.pid

    def count(self, wanted: Iterable[TrackProcess]) -> None:
        """Counts these now, in this process, which takes a look at every process there is."""
        with raised(Capability.SYS_PTRACE):  # for those that /proc hides from others (hidepid)
            Census(wanted, self._take_count)

    def track(self, wanted: Iterable[TrackProcess]) -> None:
        """Watches these from now on, and no others."""
        before, self._wanted = self._wanted, tuple(wanted)
        if self._wanted == before:
            return
        names = {each.name for each in self._wanted}
        self._known = {name: state for name, state in self._known.items() if name in names}
        self.counts = {name: count for name, count in self.counts.items() if name in names}
        if self._watcher.is_started:
            self._watcher.send(self._wanted)
        else:
            self._watcher.start()

    def close(self) -> None:
        self._watcher.close()
        self._watcher.wait()

    def _take_count(self, quorum: Quorum) -> None:
        self._known[quorum.wanted.name] = quorum.has_enough
        self.counts[quorum.wanted.name] = quorum.count

    def _on_start(self) -> None:
        self._watcher.send(self._wanted)

    def _on_message(self, message: bytes) -> None:
        said = json.loads(message)
        if isinstance(said, str):
            if not self._has_complained:
                log.warning(
                    "the kernel does not tell of processes (%s): they are looked at every second",
                    said,
                )
            self._has_complained = True
            return
        name, is_enough, count = said
        if all(each.name != name for each in self._wanted):
            return
        self.counts[name] = count
        is_news = self._known.get(name) is not is_enough
        if is_news and name in self._known:
            log.info("Quorum %s for tracked process %s", "gained" if is_enough else "lost", name)
        if is_news:
            self._known[name] = is_enough
            self._on_change(name, is_enough)
