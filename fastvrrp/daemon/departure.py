"""A vrrpd leaves all that it has made to another one, which goes on with it (see handover)."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable

from fastvrrp._table import SEGMENT_LAYOUT
from fastvrrp.daemon.assembly import Assembly
from fastvrrp.daemon.beat import LIMIT
from fastvrrp.daemon.handover import Giving
from fastvrrp.daemon.orders import Beat, HandedOver, Left
from fastvrrp.daemon.parent import Parent

log = logging.getLogger(__name__)


class Departure:
    """What the old one does in a handover."""

    claim: socket.socket
    """Of the daemon's own network namespace; set before the first order comes."""

    def __init__(
        self,
        rooms: Assembly,
        parent: Parent,
        is_ending: Callable[[], bool],
        close_log: Callable[[], None],
    ) -> None:
        """`is_ending` says whether the daemon is stopped."""
        self._rooms = rooms
        self._parent = parent
        self._is_ending = is_ending
        self._close_log = close_log
        self._giving = giving = Giving(
            rooms.loop,
            SEGMENT_LAYOUT,
            self._why_not,
            self._is_idle,
            lambda: {None: self.claim} | rooms.places.held(),
            lambda: rooms.table.count,
        )
        giving.send_due = lambda: rooms.engine.send_due(rooms.driver.now())
        giving.on_hold = lambda limit: parent.say(Beat(limit + LIMIT))
        giving.go_on = self._go_on
        giving.end = self._end_without_a_trace
        giving.speak_once_more = self._speak_once_more
        parent.orders.register("handover", giving.carry_out)
        parent.orders.register("leave", giving.leave)

    def close(self) -> None:
        """The daemon ends, and hands nothing over."""
        self._giving.close()

    def _why_not(self) -> str | None:
        if self._is_ending():
            return "the daemon is stopping"
        if self._rooms.maintenance.is_under_way:
            return "masters are being given away or taken back: try again when that is done"
        return "a reload is under way" if self._rooms.reloads.is_under_way else None

    def _is_idle(self) -> bool:
        """Whether nothing is under way in the kernel, and nothing waits for it."""
        transitions = self._rooms.transitions
        return (
            not self._rooms.kernel_thread.under_way
            and not transitions.has_notes
            and transitions.is_idle
        )

    def _go_on(self) -> None:
        """Somebody who was to take over has not, and may have changed what he was to take over."""
        self._parent.say(Beat(LIMIT))
        for place in self._rooms.places:
            self._rooms.places.note(place)
        self._rooms.roster.settle_all_vmacs()
        self._rooms.driver.on_alarm()

    def _speak_once_more(self) -> None:
        now = self._rooms.driver.now()
        for index in self._rooms.roster.instances:
            self._rooms.engine.hurry(index, now)
        self._rooms.engine.send_due(now)

    def _end_without_a_trace(self, successor: int | None) -> None:
        """Ends at once: all that we have made is the successor's. It ends whatever goes wrong:
        nobody else may speak when the successor does."""
        has_said = False
        try:
            farewells = self._farewells()
            if successor is None:
                self._parent.say_last(Left(farewells))
            else:
                log.info("Process %d has taken over", successor)
                self._parent.say_last(HandedOver(successor, farewells))
            has_said = True
            self._close_log()
        finally:
            os._exit(0 if has_said else 1)

    def _farewells(self) -> dict[str, bytes]:
        """What wards are to be told; nothing where that cannot be said any more, since the files of
        this version may be gone."""
        try:
            return self._rooms.checking.farewells()
        except Exception:
            log.exception("The health checkers cannot be told of their successor")
            return {}
