"""The parent's other children (checkd, the exporter): started, told, renewed, closed.

vrrpd has asked for them, and they go on when that one dies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fastvrrp.daemon.child import Child, Stderr
from fastvrrp.daemon.loop import Loop
from fastvrrp.daemon.orders import StartWard, WardEnded, WardSaid, WardStarted
from fastvrrp.daemon.renewal import built

if TYPE_CHECKING:
    from fastvrrp.daemon.renewal import Keep

log = logging.getLogger(__name__)

LIMIT = 60.0
"""Seconds that one may be silent for: it carries out a configuration as a whole, and no advert
waits for it."""
LAST_MOMENTS = 60.0
"""Seconds for the end of one that nobody has closed."""


class Wards:
    """All of them, by their names."""

    def __init__(
        self,
        loop: Loop,
        say: Callable[[WardStarted | WardSaid | WardEnded], object],
        on_death: Callable[[Child, int], object],
        on_end: Callable[[], object],
    ) -> None:
        """`say` tells vrrpd; `on_death` is called with one that has died and the process that it
        was, `on_end` behind every end."""
        self._loop = loop
        self._say = say
        self._on_death = on_death
        self._on_end = on_end
        self._wards: dict[str, Child] = {}
        self._renewed: set[str] = set()
        """Those that end because new ones are to take their place."""
        self._closing: dict[str, StartWard | None] = {}
        """Those that were closed and have not ended; and with what they are to be there again."""
        self._is_over = False

    def __iter__(self) -> Iterator[Child]:
        return iter(self._wards.values())

    @property
    def started(self) -> tuple[str, ...]:
        """Names of those that run, or will again by themselves."""
        return tuple(name for name, ward in self._wards.items() if ward.is_started)

    def tell(self, name: str, words: bytes) -> None:
        """Says something to one, where it is there."""
        if name in self._wards:
            self._wards[name].send(words)

    def start(self, order: StartWard) -> None:
        """Has it be there from now on."""
        name = order.name
        if name in self._closing:
            self._closing[name] = order
            return
        ward = self._wards.get(name)
        if ward is None:
            ward = self._wards[name] = self._new(name, order.module, order.title)
        ward.stderr = Stderr.SHARED if order.shares_stderr else Stderr.KEPT
        ward.umask = order.umask
        if name in self._renewed:
            pass  # it ends, and begins anew
        elif ward.pid is not None:
            self._say(WardStarted(name, ward.pid))
        elif not ward.is_started:
            self._begin(name)

    def close(self, name: str, limit: float) -> None:
        """Lets it end, in `limit` seconds at most; `WardEnded` follows."""
        ward = self._wards.get(name)
        if ward is not None:
            ward.end(limit)
        if ward is not None and ward.is_started:
            self._closing[name] = None
        else:
            self._say(WardEnded(name, 0))

    def renew(self, python: str | None, farewells: Mapping[str, bytes]) -> None:
        """Has every one run the code that vrrpd runs by now, when it has heard that it is to leave
        what it has made."""
        for name, ward in self._wards.items():
            ward.python = python
            if ward.pid is not None and name not in self._closing:
                self._renewed.add(name)
                if name in farewells:
                    ward.send(farewells[name])
                ward.end(LAST_MOMENTS)

    def stay_away(self) -> None:
        """None that ends is started again from now on: the daemon ends."""
        self._is_over = True

    def end(self) -> None:
        """Ends all that are left."""
        for ward in self:
            ward.end(LAST_MOMENTS)

    def plain(self, keep: Keep) -> dict[str, Any]:
        """With what `go_on` goes on in another program."""
        return {
            "children": {name: ward.plain(keep) for name, ward in self._wards.items()},
            "renewed": sorted(self._renewed),
            "closing": {
                name: None if again is None else asdict(again)
                for name, again in self._closing.items()
            },
        }

    def go_on(self, plain: Mapping[str, Any]) -> None:
        """Takes the children that another program had in this process. Raises OSError."""
        for name, of_ward in plain.get("children", {}).items():
            self._wards[name] = ward = self._new(name, of_ward["module"], of_ward["title"])
            ward.go_on(of_ward)
        self._renewed = set(plain.get("renewed", ()))
        self._closing = {
            name: None if again is None else built(StartWard, again)
            for name, again in plain.get("closing", {}).items()
        }

    def _begin(self, name: str) -> None:
        ward = self._wards[name]
        try:
            ward.start()
        except OSError as error:
            log.error("%s child process cannot be started: %s", ward.title, error.strerror)
            ward.start_later()

    def _new(self, name: str, module: str, title: str) -> Child:
        def on_messages(messages: Sequence[bytes]) -> None:
            for message in messages:
                self._say(WardSaid(name, message))

        ward = Child(
            self._loop,
            module,
            title,
            on_messages,
            lambda: self._say(WardStarted(name, ward.pid or 0)),
            lambda pid, status: self._on_ward_end(name, pid, status),
        )
        ward.limit = LIMIT
        return ward

    def _on_ward_end(self, name: str, pid: int, status: int) -> None:
        is_renewed = name in self._renewed
        self._renewed.discard(name)
        if name in self._closing:
            again = self._closing.pop(name)
            self._say(WardEnded(name, status))
            if again is not None and not self._is_over:
                self.start(again)
        elif is_renewed and not self._is_over:
            self._begin(name)
        elif not self._is_over:
            self._on_death(self._wards[name], pid)
        self._on_end()
