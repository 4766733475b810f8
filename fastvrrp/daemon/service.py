"""The parent, as systemd has it: what its children do is told as the state of one service."""

from __future__ import annotations

from fastvrrp.daemon.loop import Loop
from fastvrrp.daemon.orders import Reloaded, Reloading, Started, Stopping, Summed, ToParent
from fastvrrp.daemon.service_state import ServiceState


class Service:
    """Tells from `Service(...)` to the end of the loop.

    The watchdog is for the parent alone: it kills and starts again a child that hangs, which takes
    less than systemd would need, and costs the others nothing.
    """

    def __init__(self, loop: Loop, state: ServiceState, start_limit: float) -> None:
        """`start_limit` is what a start may take, in seconds."""
        self._loop = loop
        self._state = state
        state.takes(start_limit)
        self._show_life()

    def hear(self, message: ToParent) -> None:
        """Hears what is said to the parent."""
        match message:
            case Started() | Reloaded():
                self._state.ready()
            case Reloading():
                self._state.reloading()
            case Stopping(limit):
                self._state.stopping(limit)
            case Summed(words):
                self._state.say(words)

    def _show_life(self) -> None:
        if self._state.pause is not None:
            self._state.alive()
            self._loop.call_later(self._state.pause, self._show_life)
