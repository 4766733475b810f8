"""A process that works for vrrpd and outlives it: a child of the parent, at vrrpd's order."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

from fastvrrp.daemon.orders import CloseWard, StartWard, ToWard, WardEnded, WardSaid, WardStarted
from fastvrrp.daemon.parent import Parent

GRACE = 5.0
"""Seconds that the parent has for killing a ward whose time is over."""


class Ward:
    """One such process, from vrrpd's view."""

    def __init__(
        self,
        parent: Parent,
        name: str,
        module: str,
        title: str,
        on_message: Callable[[bytes], object],
        on_start: Callable[[], object],
        on_end: Callable[[], object] = lambda: None,
        *,
        shares_stderr: bool = False,
    ) -> None:
        """`module` is run with the number of its socket as argument; `title` is its name in the
        log. `on_start` is called whenever it has been started, or was found to run already, to say
        what it has to know; `on_end` when it has ended after `close`."""
        self.name = name
        self.pid: int | None = None
        self.is_wanted = name in parent.running_wards
        """It runs, or will again by itself."""
        self.is_closing = False
        self._parent = parent
        self._module = module
        self._title = title
        self._on_message = on_message
        self._on_start = on_start
        self._on_end = on_end
        self._shares_stderr = shares_stderr
        self._deadline = 0.0
        parent.add(self)

    def start(self) -> None:
        """Has it started, where it does not run; `on_start` follows."""
        self.is_wanted = True
        order = StartWard(self.name, self._module, self._title, self._shares_stderr, _umask())
        self._parent.say(order)

    def send(self, message: object) -> None:
        """Says something (pickled), where it runs; otherwise `on_start` will."""
        self._parent.say(ToWard(self.name, pickle.dumps(message)))

    def close(self, limit: float) -> None:
        """Lets it end when it has heard all that was said; it is killed where it has not in `limit`
        seconds."""
        self.is_wanted = False
        if not self._parent.is_gone:
            self.is_closing = True
            self._deadline = limit + GRACE
            self._parent.say(CloseWard(self.name, limit))

    def wait(self) -> None:
        """Waits for its end, outside of the loop."""
        self._parent.wait_ward(self, self._deadline)

    def take(self, message: WardStarted | WardSaid | WardEnded) -> None:
        """Hears what the parent says of it."""
        match message:
            case WardStarted(_, pid):
                self.pid = pid
                if self.is_wanted:
                    self._on_start()
            case WardSaid(_, said):
                if self.is_wanted:
                    self._on_message(said)
            case WardEnded():
                self.pid = None
                self.is_closing = False
                self._on_end()


def _umask() -> int:
    """Ours; to ask the kernel by umask(2) is to change it, which other threads would see."""
    found = re.search(r"^Umask:\s*(\d+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1], 8) if found else -1
