"""What the parent and the process that speaks VRRP say to each other.

    parent                                  vrrpd
      | Begin(launch, is_restart)  ------->   | reads the configuration
      |   <-------  Read(pid_file, namespace, ...)
      | takes the pid file                    | waits
      | Go()  --------------------------->    | begins every virtual router
      |   <-------  Started(), then Beat(limit) again and again
      | Order(number, kind, arguments) --->   | looks into its `Orders`
      |   <-------  Progress(number, line), Answer(number, is_ok, lines, value)
      | Stop(), and SIGTERM  ------------->   |
      |   <-------  Stopping(limit), Ended(status)

Wards are the parent's other children (checkd, the exporter): they go on when vrrpd dies. vrrpd says
which there are to be and what they are told (`StartWard`, `ToWard`, `CloseWard`); the parent starts
them, starts them again, and passes on what they say (`WardStarted`, `WardSaid`, `WardEnded`).

A message is a pickle in a frame (`track/frames`). In an upgrade vrrpd is of a newer version than
the parent for a while: a message that the parent does not know is logged and left out, and a field
that is new has a default in its class. The parent imports this file: it imports no model, and what
is said to the parent holds none.
"""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from fastvrrp.daemon.launch import Launch
from fastvrrp.daemon.logs import Idents

log = logging.getLogger(__name__)

# --- said by the parent ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Begin:
    """The first message: read the configuration, and say `Read`."""

    launch: Launch
    idents: Idents | None = None
    """As the first vrrpd has said them; None for the first, as the next."""
    pid_file: str | None = None
    namespace: str | None = None
    """`net_namespace` of the first, in which the daemon stays."""
    is_restart: bool = False
    """A predecessor has died: what it left is to be taken back."""
    wards: tuple[str, ...] = ()
    """Names of those that run already."""
    predecessor: int | None = None
    """The vrrpd whose place it is to take while that runs (daemon/handover)."""


@dataclass(frozen=True)
class Go:
    """The pid file is ours: begin every virtual router."""


@dataclass(frozen=True)
class Order:
    """Somebody asks for something to be done; `Answer` has the same number."""

    number: int
    kind: str
    """As registered at `Orders`."""
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """The whole daemon ends, wards too. SIGTERM comes with it, for a vrrpd that does not listen
    yet; SIGTERM alone ends nothing but vrrpd, which is then started again."""


@dataclass(frozen=True)
class WardStarted:
    """A ward runs, and has to be told everything: it was started, or ran before vrrpd did."""

    name: str
    pid: int


@dataclass(frozen=True)
class WardSaid:
    """A message of a ward, as it came."""

    name: str
    message: bytes


@dataclass(frozen=True)
class WardEnded:
    """A ward that was closed has ended."""

    name: str
    status: int


ToVrrpd = Begin | Go | Order | Stop | WardStarted | WardSaid | WardEnded

# --- said by vrrpd --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Read:
    """The configuration was read, and there is something to run. Nothing is in the kernel yet."""

    pid_file: str
    """Absolute path of the file that the parent takes."""
    namespace: str | None
    """`net_namespace`, where the parent starts wards."""
    idents: Idents


@dataclass(frozen=True)
class Complained:
    """A successor says why it cannot take over, or what it has found on the way."""

    line: str


@dataclass(frozen=True)
class HandedOver:
    """The last message of a vrrpd whose place another one has taken."""

    pid: int
    """Of that one."""
    farewells: Mapping[str, bytes] = field(default_factory=dict)
    """What wards are to be told before they end, by their names."""


@dataclass(frozen=True)
class Left:
    """The last message of a vrrpd that has left everything to the next daemon (order `leave`)."""

    farewells: Mapping[str, bytes] = field(default_factory=dict)
    """What wards are to be told before they end, by their names."""


@dataclass(frozen=True)
class Named:
    """What `ps` is to call the parent."""

    name: str


@dataclass(frozen=True)
class Started:
    """Every virtual router has begun."""


@dataclass(frozen=True)
class Beat:
    """A sign of life; the next one, of whatever kind, comes within `limit` seconds, or else vrrpd
    hangs and is to be killed."""

    limit: float


@dataclass(frozen=True)
class Reloading:
    """A reload has begun."""


@dataclass(frozen=True)
class Reloaded:
    """A reload has ended."""

    is_done: bool
    """False where it was refused."""


@dataclass(frozen=True)
class Summed:
    """What there is to say of all virtual routers."""

    words: str
    """A line for a person."""


@dataclass(frozen=True)
class Stopping:
    """The stop has begun; it takes `limit` seconds at most."""

    limit: float


@dataclass(frozen=True)
class Ended:
    """The last message of a vrrpd that ends because it wants to: it was told to, or cannot start,
    and has said why."""

    status: int
    """That of the whole daemon, where vrrpd is not started again."""


@dataclass(frozen=True)
class StartWard:
    """There is to be this ward, from now on and however often it dies; one that runs goes on.
    `WardStarted` answers."""

    name: str
    module: str
    """Run with the number of its socket as argument."""
    title: str
    """What it is called in the log: `Starting TITLE child process`."""
    shares_stderr: bool
    umask: int


@dataclass(frozen=True)
class ToWard:
    """A message for a ward."""

    name: str
    message: bytes


@dataclass(frozen=True)
class CloseWard:
    """A ward is to end; one that has not in `limit` seconds is killed. `WardEnded` answers."""

    name: str
    limit: float


@dataclass(frozen=True)
class Answer:
    """What became of an order."""

    number: int
    is_ok: bool
    lines: tuple[str, ...] = ()
    """For a person: one complaint each, or what was done."""
    value: object = None
    """For a program: whatever JSON can say."""


@dataclass(frozen=True)
class Progress:
    """How far an order is; its `Answer` comes later."""

    number: int
    line: str
    """For a person."""


ToParent = (
    Read
    | Named
    | Complained
    | HandedOver
    | Left
    | Started
    | Beat
    | Reloading
    | Reloaded
    | Summed
    | Stopping
    | Ended
    | StartWard
    | ToWard
    | CloseWard
    | Answer
    | Progress
)


def unpacked(messages: Iterable[bytes]) -> Iterator[ToParent]:
    """What vrrpd has said, without what only a newer version knows."""
    for message in messages:
        try:
            said: ToParent = pickle.loads(message)
        except (AttributeError, ImportError) as error:
            log.warning("The VRRP process says what only a newer version knows: %s", error)
        else:
            yield said


class Reply:
    """Called once, now or later, with what became of an order."""

    def __init__(self, send: Callable[[Answer | Progress], object], number: int) -> None:
        self._send = send
        self._number = number

    def __call__(self, is_ok: bool, lines: Sequence[str] = (), value: object = None) -> None:
        self._send(Answer(self._number, is_ok, tuple(lines), value))

    def say(self, line: str) -> None:
        """Tells whoever has asked how far it is."""
        self._send(Progress(self._number, line))


Carrier = Callable[[Mapping[str, Any], Reply], object]
"""Carries one order out: it is called in vrrpd's loop, and must not wait."""


class Orders:
    """Who carries out what, in vrrpd."""

    def __init__(self, send: Callable[[Answer | Progress], object]) -> None:
        self._reply_to = partial(Reply, send)
        self._carriers: dict[str, Carrier] = {}

    def register(self, kind: str, carrier: Carrier) -> None:
        """Raises ValueError where somebody else carries out this kind already."""
        if kind in self._carriers:
            raise ValueError(f"{kind} is carried out by somebody else")
        self._carriers[kind] = carrier

    def carry_out(self, order: Order) -> None:
        """Has an order carried out; one that nobody knows is answered so."""
        reply = self._reply_to(order.number)
        carrier = self._carriers.get(order.kind)
        if carrier is None:
            reply(False, (f"the daemon knows no order {order.kind}",))
        else:
            carrier(order.arguments, reply)
