"""Which interfaces are in which VRF: there come adverts for virtual routers without an interface.

The kernel hands a packet to us with the interface by which it came in, whatever VRF that is in. The
table of virtual routers looks for one of that interface first, and then for one of its VRF, or of
no VRF; so it has to know. Only where there is such a virtual router is anything kept here.

A socket that is bound to no device hears what comes in on interfaces of VRFs where
net.ipv4.raw_l3mdev_accept is 1, as it is unless somebody says otherwise; IPv6 follows it, too.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator

from fastvrrp._table import Table
from fastvrrp.kernel.links import VRF, Links
from fastvrrp.kernel.sysctl import read
from fastvrrp.model import VirtualRouter
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place

log = logging.getLogger(__name__)

ACCEPT = "ipv4/raw_l3mdev_accept"


class Domains(Follower):
    """Tells the table of VRFs in the network namespaces of virtual routers without an interface."""

    def __init__(self, table: Table, places: Iterable[Place]) -> None:
        self._table = table
        self._places = places
        self._roaming: Counter[Place] = Counter()
        """How many there are in each place."""
        self._is_stale = False
        self._is_deaf: set[Place] = set()
        """Where it has been said that nothing is heard in VRFs."""

    def enter(self, instance: Instance) -> None:
        self._count(instance.place, instance.model, 1)

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        self._count(instance.place, old, -1)
        self._count(instance.place, instance.model, 1)

    def leave(self, instance: Instance) -> None:
        self._count(instance.place, instance.model, -1)

    def drop(self, place: Place) -> None:
        self._roaming.pop(place, None)
        self._is_deaf.discard(place)

    def settle(self) -> Iterator[None]:
        if self._is_stale:
            self._tell()
            yield
        for place in list(self._places):
            if place not in self._is_deaf and any(link.kind == VRF for link in place.links):
                self._say_if_deaf(place)
                yield

    def _say_if_deaf(self, place: Place) -> None:
        if place.is_open:
            with place.inside():
                is_deaf = read(ACCEPT) == "0"
            if is_deaf:
                self._is_deaf.add(place)
                log.warning(
                    "In %s adverts on interfaces of a VRF are not heard:"
                    " net.ipv4.raw_l3mdev_accept is 0; set it to 1",
                    place.where,
                )

    def _count(self, place: Place, model: VirtualRouter, step: int) -> None:
        if model.interface:
            return
        self._roaming[place] += step
        if not self._roaming[place]:
            del self._roaming[place]
        place.links.on_master = self._tell if place in self._roaming else _nothing
        self._is_stale = True

    def _tell(self) -> None:
        self._is_stale = False
        members = [
            (place.number_of(ifindex), place.number_of(vrf))
            for place in self._roaming
            for ifindex, vrf in members_of(place.links)
        ]
        self._table.roam(self._roaming.total(), members)


def members_of(links: Links) -> Iterator[tuple[int, int]]:
    """Interfaces that are in a VRF, with it; both by ifindex."""
    for link in links:
        master = links.by_index(link.master) if link.master else None
        if master is not None and master.kind == VRF:
            yield link.index, master.index


def _nothing() -> None:
    pass
