"""Which virtual routers go on where a process that has died has left them, and how.

The rule, for each of them:

- A MASTER goes on as MASTER as long as none of its backups can have become one, which is for the
  shortest Master_Down_Interval that a backup can have since its last advert, less a margin
  (`may_go_on` of ext/fsm.pyx). After that it begins anew, as a BACKUP. An advert
  that was on its way to the kernel when the process died does not count.
- Members of a sync group go on as MASTER when every one that is known may; otherwise none does.
- A BACKUP goes on as BACKUP, and waits for a whole Master_Down_Interval from now: it has not heard
  what was said meanwhile.
- What was in FAULT is in FAULT until it is known to lack nothing, and INIT is INIT.

A virtual router is the same as before by what config/diff.py says. Of a unicast one at least one
peer must remain, for those who have never heard of it may have a master; the one of the lowest
address is remembered, and where it has gone the virtual router begins anew. Nobody is told of one
that goes on in its state: for those around nothing has happened.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from hashlib import blake2b

from fastvrrp._table import Left, Segment, kept_name
from fastvrrp.model import State, SyncGroup, VirtualRouter

IDENTITY_SIZE = 8
"""Bytes of an identity."""


def identity_of(model: VirtualRouter) -> int:
    """A number that stays where a virtual router stays the same (config/diff.py), and is hardly
    ever another one's. A unicast one has that of its lowest peer."""
    return min(_identities_of(model))[1]


def _identities_of(model: VirtualRouter) -> list[tuple[bytes, int]]:
    """The numbers that it may have been left with, each with the address where the adverts went."""
    heard_by = [peer.address for peer in model.unicast_peers] or [model.multicast_group]
    return [(address, _identity(model, address)) for address in heard_by]


def _identity(model: VirtualRouter, heard_by: bytes) -> int:
    parts = (
        model.namespace,
        model.where,
        model.family,
        model.vrid,
        bool(model.unicast_peers),
        heard_by,
    )
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=IDENTITY_SIZE).digest())


class Predecessor:
    """What the writer of a segment has left, which has died or stands still."""

    def __init__(
        self, segment: Segment, is_there: Callable[[str | None], bool] = lambda _: True
    ) -> None:
        """`is_there` says of a network namespace whether it is the one of that name in which the
        predecessor was."""
        self.segment = segment
        self.is_there = is_there
        self.lives: Callable[[], object] | None = None
        """Called when the segment is read for the last time, where its writer lives and stands
        still from then on; None where it has died."""
        self.on_resumed: Callable[[], object] = lambda: None
        """Called when all who go on do; nothing is sent before."""
        self.leftovers: list[Callable[[], object]] = []
        """What is to be removed from the kernel then, where the writer lives until then: in small
        steps, in this order."""
        self._left: dict[str, Left] = {}
        """By the name of the virtual router as it is now."""
        self.too_late: set[str] = set()
        """Names of those that were to go on as master when `choose` looked, and do not."""
        self._groups: tuple[SyncGroup, ...] = ()
        self._masters: set[str] = set()

    def choose(
        self, models: Iterable[VirtualRouter], groups: Iterable[SyncGroup], now: int
    ) -> None:
        """Finds out who goes on at `now` (nanoseconds of the segment's clock), and how."""
        by_identity: defaultdict[int, list[Left]] = defaultdict(list)
        for left in self.segment.left(now):
            by_identity[left.identity].append(left)
        self._left = {}
        for model in models:
            candidates = [
                left for _, number in _identities_of(model) for left in by_identity.get(number, ())
            ]
            if candidates and self.is_there(model.namespace):
                if len(candidates) > 1 or model.unicast_peers:
                    name = kept_name(model.name)
                    candidates = [each for each in candidates if each.name == name]
                if len(candidates) == 1:
                    self._left[model.name] = candidates[0]
        self._groups = tuple(groups)
        self._judge()

    def choose_again(self, clock: Callable[[], int]) -> None:
        """Looks whether the time is over for some of those who were to go on as master."""
        if self.lives is not None:
            self.lives()
        now = clock()
        before = self._masters
        by_index = {left.at: left for left in self.segment.left(now)}
        self._left = {name: by_index[left.at] for name, left in self._left.items()}
        self._judge()
        self.too_late = before - self._masters

    def _judge(self) -> None:
        self._masters = {name for name, left in self._left.items() if left.may_go_on}
        for group in self._groups:
            known = [self._left[name] for name in group.members if name in self._left]
            if not all(left.may_go_on for left in known):
                self._masters.difference_update(group.members)

    def left(self, model: VirtualRouter) -> Left | None:
        """What was left of a virtual router; None where it is a new one."""
        return self._left.get(model.name)

    def goes_on_as_master(self, model: VirtualRouter) -> bool:
        """Whether it is master still."""
        return model.name in self._masters

    def describe(self) -> str:
        """What was found, for a person."""
        masters = sum(left.state == State.MASTER for left in self._left.values())
        late = masters - len(self._masters)
        said = (
            f"Process {self.segment.pid} has {'died' if self.lives is None else 'handed over'}:"
            f" {len(self._left)} virtual routers go on as they were left, {len(self._masters)} of"
            " them as MASTER"
        )
        if late:
            said += f"; {late} were MASTER, and for too long without an advert, and begin anew"
        return said
