"""Writes down what happens to virtual servers, for `fastvrrp events` (observe/server_events)."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from time import monotonic_ns

from fastvrrp.lvs.naming import real_name, virtual_name
from fastvrrp.lvs.news import News, Occasion, QuorumNews, ServerNews, SorryNews, WeightNews
from fastvrrp.model import VirtualServer
from fastvrrp.observe.server_events import Event, Kind, Writer

log = logging.getLogger(__name__)

REASONS = {
    Occasion.START: "it is new",
    Occasion.REMOVAL: "it was removed",
    Occasion.END: "the virtual server ends",
}


class Recording:
    """Writes to one file. Raises OSError where that cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Writer | None = Writer(path)

    def record(self, model: VirtualServer, news: list[News]) -> None:
        """This has happened to a virtual server."""
        if self._writer is None:
            return
        try:
            self._writer.write(tuple(events_of(model, news)), monotonic_ns())
        except OSError as error:
            log.error("%s: %s; events of virtual servers are lost", self._path, error.strerror)
            self.close()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def events_of(model: VirtualServer, news: list[News]) -> Iterator[Event]:
    """What others see of news. What one checker of several thinks is in the pool's show alone."""
    name = virtual_name(model)
    for each in news:
        match each:
            case ServerNews() if each.is_up or each.was_up is not False:
                kind = Kind.REAL_SERVER_UP if each.is_up else Kind.REAL_SERVER_DOWN
                why = each.why or REASONS.get(each.occasion, "")
                yield Event(kind, name, real_name(model, each.server), why)
            case QuorumNews():
                kind = Kind.QUORUM_GAINED if each.is_up else Kind.QUORUM_LOST
                yield Event(kind, name, numbers=(each.weight, each.quorum))
            case SorryNews():
                kind = Kind.SORRY_SERVER_IN if each.is_in else Kind.SORRY_SERVER_OUT
                yield Event(kind, name, real_name(model, each.server))
            case WeightNews():
                numbers = (each.before, each.after)
                yield Event(Kind.WEIGHT, name, real_name(model, each.server), numbers=numbers)
