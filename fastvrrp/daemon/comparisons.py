"""What is done when the kernel has dropped notifications of links and addresses.

Everything is asked for again, in the kernel thread, since such a dump waits for a lock that anybody
may hold; then the picture of the place is compared with it in slices, between which adverts leave.
Meanwhile nothing is read of what the kernel says of that place: what waits is older than the dump,
and thrown away with it, or newer, and read afterwards.

A dump says nothing of what was added after it. So those who keep addresses are asked for a `Survey`
when the dump is, and are shown what it found at the end.

Whatever fails on the way is logged, and it ends as ever: a place of which nothing is read any more
would be deaf until the daemon ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator

from fastvrrp.kernel.link_dump import Dump
from fastvrrp.vrrp.place import Place, Survey

log = logging.getLogger(__name__)

SLICE = 2_000_000
"""Nanoseconds, as of vrrp/reviews.py."""
ATTEMPT = 1.0
"""Seconds until what could not be read is asked for again."""


class Comparisons:
    """At most one for each place."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], int],
        surveys: Callable[[Place], Iterable[Survey]],
        settle: Callable[[Place], None],
        on_links: Callable[[Place], object],
        on_end: Callable[[Place], None],
    ) -> None:
        """`settle` is called at the end of each slice, `on_links` when links of a place are
        readable, and `on_end` when the links of a place are heard of again."""
        self._loop = loop
        self._clock = clock
        self._surveys = surveys
        self._settle = settle
        self._on_links = on_links
        self._on_end = on_end
        self._under_way: dict[Place, object] = {}
        """What tells the one of a place from those that were given up."""

    def begin(self, place: Place) -> None:
        """Has a place compared."""
        self._loop.remove_reader(place.links.fileno())
        log.warning(
            "Netlink: Receive buffer overrun on monitor socket in %s: reading everything",
            place.where,
        )
        mark = self._under_way[place] = object()
        surveys: tuple[Survey, ...] = ()
        try:
            surveys = tuple(self._surveys(place))
        except Exception:
            log.exception("what stands in %s is not looked through", place.where)
        self._ask(place, mark, surveys)

    def forget(self, place: Place) -> None:
        """The place is about to be left: nothing more is asked for, or compared."""
        self._under_way.pop(place, None)

    def _ask(self, place: Place, mark: object, surveys: Iterable[Survey]) -> None:
        if self._under_way.get(place) is not mark:
            return
        found: list[Dump] = []

        def read() -> None:
            try:
                found.append(place.links.dump())
            except OSError as error:
                log.warning("the links in %s cannot be read: %s", place.where, error.strerror)

        def compare() -> None:
            if found:
                self._work(place, mark, self._steps(place, found[0], surveys))
            else:
                self._loop.call_later(ATTEMPT, self._ask, place, mark, surveys)

        place.run_elsewhere(read, compare)

    def _steps(self, place: Place, dump: Dump, surveys: Iterable[Survey]) -> Iterator[None]:
        yield from place.links.compare(dump)
        for survey in surveys:
            try:
                yield from survey(dump.placed)
            except Exception:
                log.exception("what stands in %s was not looked through to the end", place.where)

    def _work(self, place: Place, mark: object, steps: Iterator[None]) -> None:
        """Does one slice."""
        if self._under_way.get(place) is not mark:
            return
        until = self._clock() + SLICE
        has_more = False
        try:
            for _ in steps:
                if self._clock() >= until:
                    has_more = True
                    break
        finally:
            if has_more:
                self._loop.call_soon(self._work, place, mark, steps)
            elif self._under_way.get(place) is mark:
                self._end(place)
            self._settle(place)

    def _end(self, place: Place) -> None:
        del self._under_way[place]
        place.links.caught_up()
        self._loop.add_reader(place.links.fileno(), self._on_links, place)
        self._on_end(place)
