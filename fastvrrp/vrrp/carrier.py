"""Whether an interface counts as up, where that is not what the kernel says at once.

`interface_up_down_delays`: a link that bounces does not count until it has stayed as it is. Some
links are asked, every second, since their driver does not tell (`linkbeat_interfaces`). For all
others the kernel's notifications count (kernel/links.py), and cost what they did before.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping

from fastvrrp.kernel.linkbeat import QUESTIONS, Unsupported, choose
from fastvrrp.kernel.links import IFF_UP, Link, by_flags
from fastvrrp.model import SECOND, InterfaceDelay, LinkPolling, Nanoseconds, VirtualRouter
from fastvrrp.vrrp.place import Place

log = logging.getLogger(__name__)

POLL_INTERVAL = 1.0
"""Seconds from the answers to the next questions."""
SOFTWARE = ("macvlan", "ipvlan")
"""Kinds of links that are not asked: the kernel tells of them."""


class Carrier:
    """Delays and questions, by the names of interfaces of one network namespace."""

    def __init__(
        self, place: Place, loop: asyncio.AbstractEventLoop, settle: Callable[[], None]
    ) -> None:
        """`settle` is called after the links' subscribers were told of something."""
        self._place = place
        self._links = place.links
        self._loop = loop
        self._settle = settle
        self._delays: dict[str, InterfaceDelay] = {}
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        """When a link that is not as it counts has stayed so."""
        self._has_stayed: set[str] = set()
        self._polled: dict[str, LinkPolling] = {}
        """What each link is asked, as far as it is written."""
        self._questions: dict[str, LinkPolling] = {}
        """What it does answer."""
        self._answers: dict[str, bool] = {}
        self._asking: socket.socket | None = None
        self._next_poll: asyncio.TimerHandle | None = None

    def reporter(self, name: str) -> str:
        """Who says whether an interface is up, for the log."""
        return "Linkbeat" if name in self._answers else "Netlink"

    def delay(self, delays: Mapping[str, InterfaceDelay]) -> None:
        """Delays changes of these interfaces from now on, and of no others."""
        gone = self._delays.keys() - delays.keys()
        self._delays = dict(delays)
        for name in gone:
            self._review(name)
        self._choose_judge()

    def shorten(self, name: str, model: VirtualRouter) -> None:
        """Lets the delays of an interface end before the backups of a virtual router that uses it
        lose their patience: they would become master before this one fails."""
        delay = self._delays[name]
        limit = longest_delay(model)
        if max(delay.down, delay.up) > limit:
            log.warning(
                "(%s) interface %s debounce timer(s) not less than %d * advert_int - resetting to"
                " %.3f s",
                model.name,
                name,
                model.down_timer_adverts - 1,
                limit / SECOND,
            )
            self._delays[name] = InterfaceDelay(name, min(delay.down, limit), min(delay.up, limit))

    def poll(self, polled: Mapping[str, LinkPolling]) -> None:
        """Asks these interfaces for their link from now on, and no others."""
        for name, wish in self._polled.items():
            if polled.get(name) != wish:
                self._questions.pop(name, None)
        gone = self._answers.keys() - polled.keys()
        self._polled = dict(polled)
        for name in gone:
            del self._answers[name]
            self._review(name)
        self._choose_judge()
        self.resume()

    def resume(self) -> None:
        """Asks, where something is to be asked and the namespace is there."""
        if self._polled and self._asking is None and self._place.is_open:
            with self._place.inside():
                self._asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._ask()

    def pause(self) -> None:
        """Asks no more until it is to `resume`."""
        if self._next_poll is not None:
            self._next_poll.cancel()
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def close(self) -> None:
        """Lets every link count as what it is, and asks no more."""
        self._links.judge = by_flags
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        self.pause()

    def _choose_judge(self) -> None:
        self._links.judge = self._judge if self._delays or self._polled else by_flags

    def _judge(self, link: Link) -> bool:
        answer = self._answers.get(link.name)
        is_up = link.is_running if answer is None else answer and bool(link.flags & IFF_UP)
        delay = self._delays.get(link.name)
        if delay is None or is_up == link.is_up or link.name in self._has_stayed:
            self._forget_alarm(link.name)
            return is_up
        wait = delay.up if is_up else delay.down
        if not wait:
            return is_up
        if link.name not in self._alarms:
            log.debug(
                "%s: Adding change to %s delay by %d",
                link.name,
                "up" if is_up else "down",
                wait // 1000,
            )
            self._alarms[link.name] = self._loop.call_later(
                wait / SECOND, self._on_stayed, link.name
            )
        return link.is_up

    def _forget_alarm(self, name: str) -> None:
        self._has_stayed.discard(name)
        alarm = self._alarms.pop(name, None)
        if alarm is not None:
            alarm.cancel()

    def _on_stayed(self, name: str) -> None:
        self._has_stayed.add(name)
        self._review(name)
        self._forget_alarm(name)
        self._settle()

    def _review(self, name: str) -> None:
        link = self._links.by_name(name)
        if link is not None:
            self._links.review(link)

    def _ask(self) -> None:
        """Asks every link, in the other thread: the kernel may let it wait."""
        asking = self._asking
        if asking is None:
            return
        wanted = {
            name: (wish, self._questions.get(name))
            for name, wish in self._polled.items()
            if (link := self._links.by_name(name)) is not None and link.kind not in SOFTWARE
        }
        found: dict[str, tuple[LinkPolling, bool]] = {}

        def ask() -> None:
            for name, (wish, question) in wanted.items():
                try:
                    chosen = question or choose(asking, name, wish)
                    found[name] = chosen, QUESTIONS[chosen](asking, name)
                except (OSError, Unsupported) as error:
                    # It has gone, or another one has its name now: netlink says which.
                    log.debug("%s cannot be asked for its link: %s", name, error)

        self._place.run_elsewhere(ask, lambda: self._on_answers(asking, found))

    def _on_answers(
        self, asking: socket.socket, found: Mapping[str, tuple[LinkPolling, bool]]
    ) -> None:
        if self._asking is not asking:
            return
        for name in self._polled:
            if name not in found:
                self._answers.pop(name, None)
                self._questions.pop(name, None)
                continue
            question, is_up = found[name]
            if name not in self._questions:
                self._questions[name] = question
                self._say_what_is_asked(name, question)
            if self._answers.get(name) is not is_up:
                self._answers[name] = is_up
                self._review(name)
        self._settle()
        if self._polled:
            self._next_poll = self._loop.call_later(POLL_INTERVAL, self._ask)
        else:
            self.pause()

    def _say_what_is_asked(self, name: str, question: LinkPolling) -> None:
        wish = self._polled[name]
        if wish not in (LinkPolling.ANY, question):
            log.warning(
                "(%s): Configured linkbeat type %s not supported, using %s",
                name,
                wish.name,
                question.name,
            )


def longest_delay(model: VirtualRouter) -> Nanoseconds:
    """The longest time for which an interface may be down before a backup, with the shortest
    Skew_Time that there is, has been without adverts for too long."""
    adverts = max(model.down_timer_adverts - 1, 0)
    return max(adverts * model.advert_interval - model.advert_interval // 256, 0)
