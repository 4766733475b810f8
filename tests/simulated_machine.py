"""A machine of the simulation with links of its own, a roster and sync groups: all but a kernel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from socket import AF_INET
from typing import cast

from fastvrrp._rtmessage import AddressEvent, LinkEvent
from fastvrrp._rtnetlink import Channel
from fastvrrp.kernel.links import IFF_RUNNING, IFF_UP, Links
from fastvrrp.kernel.macvlan import Refusal, Vmacs, Wanted
from fastvrrp.kernel.sysctl import Sysctls
from fastvrrp.model import Configuration, State, SyncGroup, VirtualAddress, VirtualRouter
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.roster import Roster
from fastvrrp.vrrp.sync_groups import GroupNews, SyncGroups
from simulation import GROUP4, Router


def virtual_router(name: str, number: int, **fields: object) -> VirtualRouter:
    """One on the interface `eth<number>`, with the VRID `number + 1`."""
    return VirtualRouter(
        name=name,
        interface=f"eth{number}",
        vrid=number + 1,
        family=AF_INET,
        addresses=(VirtualAddress(AF_INET, bytes((10, number, 0, 100)), 24),),
        multicast_group=GROUP4,
        **fields,  # type: ignore[arg-type]
    )


class SimulatedLinks(Links):
    """Interfaces as we say they are: `eth<n>` has the index n + 1."""

    def set(self, number: int, machine: int, *, is_up: bool) -> None:
        flags = IFF_UP | IFF_RUNNING if is_up else IFF_UP
        mac = bytes((2, 0, 0, 0, number, machine))
        self._take_link(
            LinkEvent(False, number + 1, f"eth{number}", flags, 0, mac, 0, "", 1500, 0, 0, "", 0)
        )

    def add_address(self, number: int, address: bytes) -> None:
        self._take_address(AddressEvent(False, AF_INET, number + 1, address, 24, 0, 0, "", 0))


class NoVmacs(Vmacs):
    """The VMACs of a machine on which nobody wants one."""

    def settle(self, wanted: Iterable[Wanted]) -> list[Refusal]:
        assert not list(wanted)
        return []


class SimulatedRoster(Roster):
    """A roster that joins no group of the kernel's."""

    def _listen(self, instance: Instance, ifindex: int) -> bool:
        if ifindex != instance.listens_on:
            self._table.move(instance.index, ifindex)
            instance.listens_on = ifindex
        return True


class Machine(Router):
    """Router number `number` on the wires 0 to `wires - 1`."""

    def __init__(self, name: str, number: int, wires: int) -> None:
        super().__init__(name, number, capacity=128)
        self.now = 0
        self.changes: list[tuple[str, str]] = []
        """What followers hear: names of virtual routers or groups, and states."""
        self.place = Place(lambda run, then: None)
        self.place.links = self.links = SimulatedLinks()
        self.place.vmacs = NoVmacs(cast(Channel, None), Sysctls())
        for wire in range(wires):
            self.links.set(wire, number, is_up=True)
            self.links.add_address(wire, ip_address(f"10.{wire}.0.{number}").packed)
        self.roster = SimulatedRoster(
            self.table,
            self.engine,
            lambda _: self.place,
            lambda _: None,
            lambda: self.now,
        )
        self.groups = SyncGroups(self.engine, self.table, self.roster, lambda: self.now)
        self.groups.on_group_change = lambda group, before, after: self.changes.append(
            (group.name, after.name)
        )
        self.followers = (self.groups, GroupNews(self.groups))
        self.roster.follow(self.followers)

    def begin(self, models: Sequence[VirtualRouter], groups: Sequence[SyncGroup]) -> None:
        self.groups.configure(Configuration(sync_groups=tuple(groups)))
        self.roster.add(models)
        self.finish()

    def reload(
        self,
        groups: Sequence[SyncGroup],
        added: Sequence[VirtualRouter] = (),
        removed: Sequence[str] = (),
    ) -> None:
        """As daemon/reload.py does it: what goes, what changes, what comes."""
        self.groups.configure(Configuration(sync_groups=tuple(groups)))
        for name in removed:
            self.roster.remove(self.instance(name))
            self.settle()
            self.roster.forget(self.instance(name).index)
        for instance in [self.roster.enter(model) for model in added]:
            self.roster.begin(instance)
            self.settle()
        self.finish()

    def finish(self) -> None:
        for _ in self.groups.settle():
            self.settle()
        self.settle()

    def plug(self, wire: int, *, is_in: bool) -> None:
        """Its interface on that wire has a link, or none."""
        self.links.set(wire, self.number, is_up=is_in)
        self.settle()

    def settle(self) -> None:
        """As the driver and vrrpd do it."""
        self.engine.flush()
        while notes := self.engine.take_notes():
            for note in self.groups.react(notes):
                instance = self.roster.instances[note.router]
                if note.before != note.after:
                    self.changes.append((instance.model.name, State(note.after).name))
                for follower in self.followers:
                    follower.take(instance, note)
            self.engine.flush()

    def run(self, now: int) -> int | None:
        self.now = now
        self.engine.run(now)
        self.settle()
        return self.engine.run(now)

    def hear(self, ifindex: int, frame: bytes, now: int) -> None:
        self.now = now
        self.engine.receive_frame(ifindex, frame, now)
        self.settle()

    def instance(self, name: str) -> Instance:
        return next(each for each in self.roster.instances.values() if each.model.name == name)

    def states(self) -> dict[str, str]:
        return {
            each.model.name: State(self.state(each.index)).name
            for each in self.roster.instances.values()
        }
