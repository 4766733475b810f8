"""The parent, as systemd has it: what its children do is told as the state of one service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastvrrp.daemon.orders import Reloaded, Reloading, Started, Stopping, Summed, ToParent
from fastvrrp.daemon.service_state import ServiceState

if TYPE_CHECKING:
    from fastvrrp.track.conversation import EventLoop


class Service:
    """Tells from `begin` to the end of the loop.

    The watchdog is for the parent alone: it kills and starts again a child that hangs, which takes
    less than systemd would need, and costs the others nothing.
    """

    def __init__(self, loop: EventLoop, state: ServiceState) -> None:
        self._loop = loop
        self._state = state

    @property
    def plain(self) -> dict[str, Any]:
        """With what another program goes on in this process."""
        return self._state.plain

    def begin(self, start_limit: float) -> None:
        """Tells that the start takes so many seconds at most."""
        self._state.takes(start_limit)
        self.go_on()

    def go_on(self) -> None:
        """Tells of what has been started before."""
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
