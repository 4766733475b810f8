"""What goes along with the virtual routers: whoever has something to do when one comes, changes its
state or goes, besides what every virtual router does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from fastvrrp._engine import Note
from fastvrrp.model import Configuration, State, VirtualRouter
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place


class Rival(NamedTuple):
    """Who is master beside ours."""

    source: bytes | None
    """The address its adverts come from, packed; None where it was found by its MAC."""
    mac: bytes | None
    """Six bytes, where it is known."""
    since: int
    """Nanoseconds of the engine's clock."""
    address: bytes | None = None
    """The virtual address that it answers for, packed, where it was found so."""


class Follower:
    """Hears of everything in the order in which it happens; each of these does nothing by itself.

    It is called in the loop, between adverts: what takes longer than some microseconds goes to the
    other thread or another process. There may be 65,280 instances: a follower remembers those that
    concern it.
    """

    def configure(self, configuration: Configuration) -> None:
        """Everything but the virtual routers is like this from now on: at the start before the
        first instance enters, and at a reload before the instances change. The configuration's
        `virtual_routers` are empty."""

    def arrive(self, place: Place) -> None:
        """A network namespace can be used from now on; its links are not known yet. At the start
        that is so before `configure`."""

    def depart(self, place: Place) -> None:
        """A network namespace is about to be let go of: its instances have failed, or have gone,
        and their addresses too. It may come again."""

    def drop(self, place: Place) -> None:
        """Nobody uses that network namespace any more."""

    def enter(self, instance: Instance) -> None:
        """One more, in state INIT: it is started, or fails, afterwards."""

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        """A reload gave it another model instead of `old`; it stays in its state."""

    def lacks(self, instance: Instance) -> None:
        """What it lacks (`lack`) or is held by (`faults`) has changed. Where it has begun it is in
        FAULT, or in FAULT no more, already."""

    def leave(self, instance: Instance) -> None:
        """A reload removed it. Its last note, and its last `applied`, come afterwards."""

    def settle(self) -> Iterator[None]:
        """All have entered and changed that were to; it may stop between any two steps."""
        return iter(())

    def moved(self, instance: Instance, before: int) -> None:
        """Its effective priority was another one `before`."""

    def heard_lower_priority(self, instance: Instance) -> None:
        """A master was sent an advert of lower priority; each of them is told, however many."""

    def take(self, instance: Instance, note: Note) -> None:
        """Its state has changed. The log says so already; its addresses are as they were before."""

    def resume(self, instance: Instance, state: State) -> None:
        """It has entered, and goes on in the state in which a process that has died has left it
        (vrrp/adoption.py). No note says so; the addresses of a MASTER are `applied` afterwards."""

    def applied(self, instance: Instance, added: bool) -> None:
        """The kernel has added, or removed, its addresses."""

    def split_brain(self, instance: Instance, is_over: bool, who: Rival) -> None:
        """Somebody else is master too, and does not yield; or that is over. Once each."""

    def stop(self) -> None:
        """The daemon ends: every instance has stopped, its notes were taken and its addresses are
        gone."""


def hearers(followers: Iterable[Follower], hook: str) -> tuple[Callable[..., None], ...]:
    """The methods `hook` of those followers that have something to do there, in their order."""
    return tuple(
        getattr(follower, hook)
        for follower in followers
        if getattr(type(follower), hook) is not getattr(Follower, hook)
    )
