"""Split brain: somebody else is master beside ours, or answers for its addresses.

Two things show it. The engine finds two masters in the adverts (contest.pyx) and notes it. And a
master hears ARP or a neighbour advertisement for one of its addresses from a MAC that is not its
machine's (kernel/claims.py). One such claim proves nothing: it may be the last word of the master
before us, or of one who has just come back and is about to yield. So the first that is heard when
the router has been master for two intervals is a suspicion; two intervals later the address is
probed, and what then still claims it is a conflict. It is over when three probes are not answered.

Whatever shows it, one virtual router has one split brain at a time: it is told once when it begins
and once when it is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from fastvrrp._engine import Note
from fastvrrp._table import Table
from fastvrrp.kernel.claims import Claim
from fastvrrp.kernel.closing import close_all
from fastvrrp.model import SECOND, State, VirtualRouter
from fastvrrp.vrrp.follower import Follower, Rival, hearers
from fastvrrp.vrrp.hearing import Hearing
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.standing import Standing

log = logging.getLogger(__name__)

BEGINS = "SPLIT_BRAIN"
INTERVALS = 2
"""Advert intervals in which an ordinary change of the master is over."""
PROBES = 3
"""Unanswered ones after which nobody claims the address any more (RFC 5227 section 1.1)."""
BETWEEN_PROBES = 10 * SECOND
"""While the conflict stands: DEFEND_INTERVAL of RFC 5227 section 1.1."""
SLICE = 2_000_000
"""Nanoseconds of probes at once."""
TICK = 1.0
"""Seconds between two looks at what is suspected."""


@dataclass(slots=True)
class _Suspect:
    """Somebody who claims an address of a master."""

    instance: Instance
    claim: Claim
    since: int
    next_probe: int
    unanswered: int = 0
    is_proven: bool = False


class SplitBrains(Follower):
    """Finds claims of masters' addresses, and tells of every split brain."""

    def __init__(
        self,
        table: Table,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], int],
        instances: Mapping[int, Instance],
        standing: Callable[[Place], Standing],
    ) -> None:
        """`instances` are all, by index; `standing` has the addresses of masters."""
        self._table = table
        self._loop = loop
        self._clock = clock
        self._instances = instances
        self._standing = standing
        self.follow(())
        self._by_adverts: dict[int, Rival] = {}
        """By the table's index, as all of these."""
        self._suspects: dict[int, _Suspect] = {}
        self._told: dict[int, Rival] = {}
        self._hearing: dict[Place, Hearing] = {}
        """In places where there are masters, or were."""
        self._tick: asyncio.Handle | None = None
        self._resumed: list[Instance] = []
        """Masters from the start, for whom nothing is heard yet."""

    def follow(self, followers: Sequence[Follower]) -> None:
        """Tells these, in this order."""
        self._hear = hearers(followers, "split_brain")

    def heard(self, instance: Instance, note: Note) -> None:
        """The engine notes that a split brain begins or is over."""
        if note.event == BEGINS:
            self._by_adverts[instance.index] = Rival(note.source, None, note.since)
        else:
            self._by_adverts.pop(instance.index, None)
        self._tell(instance)

    def take(self, instance: Instance, note: Note) -> None:
        was_master, is_master = note.before == State.MASTER, note.after == State.MASTER
        if is_master and not was_master:
            hearing = self._hearing_in(instance.place)
            hearing.masters += 1
            hearing.listen(instance.model)
        elif was_master and not is_master:
            hearing = self._hearing_in(instance.place)
            hearing.masters -= 1
            if self._suspects.pop(instance.index, None) is not None:
                self._tell(instance)
            if not hearing.masters:
                hearing.rest()

    def resume(self, instance: Instance, state: State) -> None:
        if state == State.MASTER:
            self._hearing_in(instance.place).masters += 1
            self._resumed.append(instance)

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        hearing = self._hearing.get(instance.place)
        if hearing is not None and self._table.state(instance.index) == State.MASTER:
            hearing.listen(instance.model)

    def arrive(self, place: Place) -> None:
        hearing = self._hearing_in(place)
        hearing.refused.clear()
        if not place.is_own:
            for _ in hearing.settle():
                pass

    def depart(self, place: Place) -> None:
        sockets = self._hearing_in(place).stop()
        place.run_elsewhere(lambda: close_all(sockets), lambda: None)

    def drop(self, place: Place) -> None:
        self._hearing.pop(place, None)

    def settle(self) -> Iterator[None]:
        """Lets the kernel hear claims of all addresses that there are now."""
        for hearing in list(self._hearing.values()):
            yield from hearing.settle()
        resumed, self._resumed = self._resumed, []
        for instance in resumed:
            # The kernel's filter is known only now.
            self._hearing_in(instance.place).listen(instance.model)

    def stop(self) -> None:
        close_all(opened for hearing in self._hearing.values() for opened in hearing.stop())
        if self._tick is not None:
            self._tick.cancel()

    # --- claims -----------------------------------------------------------------------------------

    def _hearing_in(self, place: Place) -> Hearing:
        hearing = self._hearing.get(place)
        if hearing is None:
            hearing = self._hearing[place] = Hearing(place, self._loop, self._on_claim)
        return hearing

    def _on_claim(self, place: Place, claim: Claim) -> None:
        link = place.links.by_name(claim.interface)
        standing = self._standing(place)
        index = standing.master_of(link.index, claim.address) if link is not None else None
        if link is None or index is None or claim.mac == link.mac:
            return
        if any(each.mac == claim.mac for each in place.links):
            return  # our machine's, by another of its interfaces
        now = self._clock()
        suspect = self._suspects.get(index)
        if suspect is not None:
            suspect.unanswered = 0
            if not suspect.is_proven and now - suspect.since >= _patience(suspect.instance):
                suspect.is_proven = True
                suspect.claim = claim
                self._tell(suspect.instance)
            return
        instance = self._instances[index]
        patience = _patience(instance)
        record = self._table.read(index)
        if record is None or now - record["changed_at"] < patience:
            return  # the last word of the master before us
        self._suspects[index] = _Suspect(instance, claim, now, now + patience)
        self._look_later()

    def _look_later(self) -> None:
        if self._tick is None and self._suspects:
            self._tick = self._loop.call_later(TICK, self._look)

    def _look(self) -> None:
        """Probes what is suspected, and forgets who answers no more."""
        self._tick = None
        self._look_at(deque(self._suspects.items()))

    def _look_at(self, suspects: deque[tuple[int, _Suspect]]) -> None:
        """Does so for one slice: thousands may be suspected at once."""
        self._tick = None
        now = self._clock()
        while suspects:
            index, suspect = suspects.popleft()
            if self._suspects.get(index) is suspect and now >= suspect.next_probe:
                self._try_again(index, suspect, now)
            if self._clock() - now >= SLICE and suspects:
                self._tick = self._loop.call_soon(self._look_at, suspects)
                return
        self._look_later()

    def _try_again(self, index: int, suspect: _Suspect, now: int) -> None:
        if suspect.unanswered == PROBES:
            del self._suspects[index]
            self._tell(suspect.instance)
            return
        suspect.unanswered += 1
        between = BETWEEN_PROBES if suspect.is_proven else _patience(suspect.instance)
        suspect.next_probe = now + between
        self._hearing_in(suspect.instance.place).probe(suspect.claim)

    # --- who is told ------------------------------------------------------------------------------

    def _tell(self, instance: Instance) -> None:
        """Tells what begins, or is over, where that is news."""
        index = instance.index
        told = self._told.get(index)
        rival = self._by_adverts.get(index)
        suspect = self._suspects.get(index)
        if rival is None and suspect is not None and suspect.is_proven:
            rival = Rival(None, suspect.claim.mac, suspect.since, suspect.claim.address)
        if (rival is None) == (told is None):
            return
        is_over = rival is None
        who = told if rival is None else rival
        assert who is not None
        if rival is None:
            del self._told[index]
            self._table.set_split(index, 0)
            seconds = (self._clock() - who.since) / SECOND
            log.warning("(%s) Split brain is over after %.1f s", instance.model.name, seconds)
        else:
            self._told[index] = rival
            self._table.set_split(index, rival.since)
            log.warning("(%s) Split brain: %s", instance.model.name, _describe(rival))
        for split_brain in self._hear:
            split_brain(instance, is_over, who)


def _describe(rival: Rival) -> str:
    """Who it is, for a person."""
    if rival.source is not None:
        return f"{ip_address(rival.source)} speaks as master too, and does not yield"
    mac = rival.mac.hex(":") if rival.mac else "somebody"
    return f"{mac} answers for {ip_address(rival.address or b'')}"


def _patience(instance: Instance) -> int:
    return INTERVALS * instance.model.advert_interval
