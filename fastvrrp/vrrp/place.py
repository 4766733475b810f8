"""One network namespace in which there are virtual routers, or links that they track.

The daemon's own has no name and the number 0, and is there for as long as the daemon runs. Another
one is known by its name (`net_namespace`), and comes and goes: while there is none of that name, or
none that can be used, `fault` says why, and there are no links in it. The `Place` itself stays, and
so does everything that is about it, until nobody uses the name any more.

A socket, and a file under /proc/sys/net, is of the namespace that the thread was in when it opened
it: so that is done `inside`. For the daemon's own namespace it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from errno import EEXIST, EMFILE

from fastvrrp._rtnetlink import Channel
from fastvrrp._sockets import interface_number, number_anywhere
from fastvrrp.kernel.links import Address, Links
from fastvrrp.kernel.macvlan import Vmacs
from fastvrrp.kernel.memberships import Memberships
from fastvrrp.kernel.netns import Namespace
from fastvrrp.kernel.sysctl import Sysctls
from fastvrrp.model import MOST_NAMESPACES

RunElsewhere = Callable[[Callable[[], None], Callable[[], None]], None]
"""`run_elsewhere(run, then)` calls `run` in the one other thread, then `then` in ours."""
Survey = Callable[[set[tuple[int, bytes]]], Iterator[None]]
"""Looks for what should stand since before a dump of addresses among what that has found, the
ifindex and the address of each. It may stop between any two steps."""
MOST_PLACES = 1 + MOST_NAMESPACES
"""The daemon's own among them (ext/sockets.pyx)."""
HIGHEST_INDEX = (1 << 20) - 1
"""Of an interface in another namespace than the daemon's own (ext/sockets.pyx)."""
ANYWHERE = -1
"""Instead of an ifindex: the routing table decides."""
_AT_HOME = nullcontext()


class Place:
    """A network namespace, and what belongs to it whoever uses it."""

    def __init__(
        self, run_elsewhere: RunElsewhere, name: str | None = None, number: int = 0
    ) -> None:
        self.name = name
        self.number = number
        """By which the engine's interfaces are told apart."""
        self.fault: str | None = None if name is None else _missing(name)
        """Why nothing can be done there, for a person."""
        self.users = 0
        """How many virtual routers and tracked interfaces are there."""
        self.virtual_addresses: set[Address] = set()
        """Those of its virtual routers, which are never anybody's primary address."""
        self.links = Links(self.virtual_addresses)
        self.sysctls = Sysctls()
        self.channel: Channel | None = None
        self.vmacs: Vmacs | None = None
        self.memberships = Memberships()
        self._run_elsewhere = run_elsewhere
        self._namespace: Namespace | None = None

    def __repr__(self) -> str:
        return f"<Place {self.number} {self.name or ''}>"

    @property
    def is_own(self) -> bool:
        """Whether it is the daemon's own."""
        return self.number == 0

    def open(self) -> None:
        """Opens the namespace that has the name now, and the channel to it. Raises OSError."""
        if self.number >= MOST_PLACES:
            raise OSError(EMFILE, f"there are {MOST_PLACES - 1} others already")
        if self.name is not None:
            self._namespace = Namespace(self.name)
            if self._namespace.is_entered:
                raise OSError(EEXIST, "it is the daemon's own, which a reload finds out")
        with self.inside():
            self.channel = Channel()
        self.vmacs = Vmacs(self.channel, self.sysctls)
        self.memberships = Memberships()

    @property
    def is_open(self) -> bool:
        """Whether something can be done there."""
        return self.channel is not None

    def missing(self) -> None:
        """There is no namespace of that name."""
        assert self.name is not None
        self.fault = _missing(self.name)

    def close(self) -> None:
        """Lets go of the namespace."""
        self.links.close()
        self.memberships.close()
        if self.channel is not None:
            self.channel.close()
        self.channel = self.vmacs = None
        self.sysctls.forget()
        if self._namespace is not None:
            self._namespace.close()
            self._namespace = None

    @property
    def inode(self) -> int:
        """What tells the namespace from others that have had the name; 0 of the daemon's own."""
        return 0 if self._namespace is None else self._namespace.inode

    def inside(self) -> AbstractContextManager[None]:
        """Has what this thread opens meanwhile be of this namespace, which must be open."""
        if self.number == 0:
            return _AT_HOME
        if self._namespace is None:
            raise OSError(f"{self.where} is not open")
        return self._namespace.inside()

    def run_elsewhere(self, run: Callable[[], None], then: Callable[[], None]) -> None:
        """Calls `run` inside, in the one other thread, then `then` in ours."""
        if self.number == 0:
            self._run_elsewhere(run, then)
            return
        namespace = self._namespace

        def run_inside() -> None:
            if namespace is not None and namespace is self._namespace:
                with namespace.inside():
                    run()

        self._run_elsewhere(run_inside, then)

    def number_of(self, ifindex: int) -> int:
        """By which the engine knows an interface, or ANYWHERE."""
        if ifindex == ANYWHERE:
            return number_anywhere(self.number)
        return interface_number(self.number, ifindex) if ifindex else 0

    def has_number(self, ifindex: int) -> bool:
        """Whether the engine can know that interface."""
        return self.number == 0 or ifindex <= HIGHEST_INDEX

    @property
    def where(self) -> str:
        """The namespace, for a person."""
        return "the daemon's network namespace" if self.name is None else _named(self.name)

    def called(self, interface: str) -> str:
        """An interface, for a person."""
        return interface if self.name is None else f"{interface} in {_named(self.name)}"


def _named(name: str) -> str:
    return f"network namespace {name}"


def _missing(name: str) -> str:
    return f"{_named(name)} does not exist"
