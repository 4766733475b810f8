"""The parent, as the process that speaks VRRP has it: what both say (`orders`).

Before its event loop runs, and after it, vrrpd waits for what the parent says; in between it hears
it in the loop, and gives a sign of life again and again. When the parent is gone, in whatever way,
vrrpd ends as it does when it is told to.
"""

from __future__ import annotations

import asyncio
import pickle
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from fastvrrp.daemon.beat import LIMIT, LOOK
from fastvrrp.daemon.orders import (
    Beat,
    Begin,
    Go,
    Named,
    Order,
    Orders,
    Started,
    Stop,
    Stopping,
    ToParent,
    ToVrrpd,
    WardEnded,
    WardSaid,
    WardStarted,
)
from fastvrrp.daemon.scheduling import Role, name_of
from fastvrrp.model import Configuration
from fastvrrp.track.conversation import Conversation
from fastvrrp.track.frames import Closed, Frames
from fastvrrp.vrrp.follower import Follower

if TYPE_CHECKING:
    from fastvrrp.daemon.ward import Ward

PATIENCE = 5.0
"""Seconds for a parent to take what is said to it while nothing else is done."""


class Parent:
    """Vrrpd's end."""

    def __init__(self, end: socket.socket) -> None:
        self._frames = Frames(end)
        self._conversation: Conversation | None = None
        self._heard: deque[bytes] = deque()
        self._wards: dict[str, Ward] = {}
        self._begin: Begin | None = None
        self._has_started = False
        self._is_going = False
        self._is_gone = False
        self._is_to_stop = False
        self._early: list[Order] | None = []
        """Orders that came before the loop runs, and with it whoever carries them out."""
        self._next_beat: asyncio.TimerHandle | None = None
        self._on_gone: Callable[[], object] = lambda: None
        self.orders = Orders(self.say)
        """Who carries out what the parent asks for."""

    @property
    def is_restart(self) -> bool:
        """Whether a predecessor of this process has died."""
        return self._begin is not None and self._begin.is_restart

    @property
    def running_wards(self) -> tuple[str, ...]:
        """Names of the wards that ran before this process did."""
        return () if self._begin is None else self._begin.wards

    @property
    def is_gone(self) -> bool:
        return self._is_gone

    @property
    def keeps_wards(self) -> bool:
        """Whether wards are to go on when this process ends now: another one will follow it."""
        self._take_what_came()
        return (self._has_started or self.is_restart) and not self._is_to_stop and not self._is_gone

    @property
    def is_followed(self) -> bool:
        """Whether nobody wants the daemon to end, when this process does now: another one follows,
        of this parent, or of the next one where this one has died."""
        return self.keeps_wards or (self._is_gone and not self._is_to_stop)

    def say(self, message: ToParent) -> None:
        """Says something. In the loop it waits for nobody."""
        if self._is_gone:
            return
        self._has_started |= isinstance(message, Started)
        data = pickle.dumps(message)
        if self._conversation is not None:
            self._conversation.send(data)
            return
        self._frames.send(data)
        until = time.monotonic() + PATIENCE
        while self._frames.is_behind and time.monotonic() < until:
            select.select((), (self._frames.socket,), (), PATIENCE)
            self._frames.flush()

    def wait_begin(self) -> Begin:
        """Waits for the first message. Raises Closed where the parent is gone."""
        self._wait(lambda: self._begin is not None)
        if self._begin is None:
            raise Closed
        return self._begin

    def wait_go(self) -> None:
        """Waits until the parent lets us go on. Raises Closed where it is gone."""
        self._wait(lambda: self._is_going)
        if not self._is_going:
            raise Closed

    def wait_ward(self, ward: Ward, seconds: float) -> None:
        """Waits until a ward that was closed has ended, for so many seconds at most."""
        self._wait(lambda: not ward.is_closing, seconds)

    def add(self, ward: Ward) -> None:
        """Has a ward hear what is said of it."""
        self._wards[ward.name] = ward

    def attach(self, loop: asyncio.AbstractEventLoop, on_gone: Callable[[], object]) -> None:
        """From now on what the parent says is heard in the loop; `on_gone` is called when it is no
        more."""
        self._on_gone = on_gone
        self._conversation = Conversation(loop, self._frames, self._hear, self._lose)
        early, self._early = self._early or [], None
        for order in early:
            loop.call_soon(self.orders.carry_out, order)
        self._beat(loop)

    def say_last(self, message: ToParent) -> None:
        """Leaves the loop, and says something when all that waits was sent."""
        if self._conversation is not None:
            self._conversation.leave()
            self._conversation = None
        self.say(message)

    def leave(self, limit: float) -> None:
        """Leaves the loop, since vrrpd ends, in `limit` seconds at most. May be called twice."""
        if self._next_beat is not None:
            self._next_beat.cancel()
            self._next_beat = None
        if self._conversation is not None:
            self._conversation.leave()
            self._conversation = None
            self.say(Stopping(limit))

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        """The first one when the loop runs: until then there is the limit of the start."""
        self._next_beat = loop.call_later(LOOK, self._beat_again, loop)

    def _beat_again(self, loop: asyncio.AbstractEventLoop) -> None:
        self.say(Beat(LIMIT))
        self._beat(loop)

    def _wait(self, is_over: Callable[[], bool], seconds: float | None = None) -> None:
        """Hears the parent until it has said something, or is gone."""
        until = None if seconds is None else time.monotonic() + seconds
        while not is_over() and not self._is_gone:
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            select.select((self._frames.socket,), (), (), left)
            self._take_what_came()

    def _take_what_came(self) -> None:
        """Outside of the loop."""
        while self._conversation is None and not self._is_gone:
            if not select.select((self._frames.socket,), (), (), 0)[0]:
                return
            try:
                self._hear(self._frames.receive())
            except Closed:
                self._lose()

    def _lose(self) -> None:
        self._is_gone = True
        self._on_gone()

    def _hear(self, messages: Sequence[bytes]) -> None:
        for data in messages:
            self._take(pickle.loads(data))

    def _take(self, message: ToVrrpd) -> None:
        match message:
            case Begin():
                self._begin = message
            case Go():
                self._is_going = True
            case Stop():
                self._is_to_stop = True
            case Order() if self._early is not None:
                self._early.append(message)
            case Order():
                self.orders.carry_out(message)
            case WardStarted() | WardSaid() | WardEnded():
                ward = self._wards.get(message.name)
                if ward is not None:
                    ward.take(message)


class ParentSettings(Follower):
    """What the parent has to know of each configuration."""

    def __init__(self, parent: Parent, name: str) -> None:
        """`name` is the parent's for `ps`, where the configuration says nothing."""
        self._parent = parent
        self._name = name

    def configure(self, configuration: Configuration) -> None:
        processes = configuration.definitions.processes
        self._parent.say(Named(name_of(processes, Role.PARENT, self._name)))
