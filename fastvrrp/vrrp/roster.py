"""All virtual routers of one network namespace, and whether each can take part.

The links' changes come in here. A router whose interface goes down or disappears fails at once;
when everything it needs is back it starts again. What depends on an interface (frames, the places
of addresses, the multicast membership, the VMAC) is made anew when the interface changes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from socket import AF_INET, AF_INET6

from fastvrrp._engine import Engine
from fastvrrp._table import Table
from fastvrrp.kernel.links import IFF_UP, Change, Link, Links
from fastvrrp.kernel.macvlan import Refusal, Vmacs, Wanted
from fastvrrp.kernel.memberships import Memberships
from fastvrrp.model import State, VirtualRouter
from fastvrrp.vrrp.instance import Instance, Lack

log = logging.getLogger(__name__)


class Roster:
    """Adds virtual routers to an engine and keeps them in step with the links."""

    def __init__(
        self,
        table: Table,
        engine: Engine,
        links: Links,
        vmacs: Vmacs,
        clock: Callable[[], int],
        run_elsewhere: Callable[[Callable[[], None], Callable[[], None]], None],
    ) -> None:
        """`run_elsewhere(run, then)` calls `run` in the one other thread, then `then` in ours."""
        self.instances: dict[int, Instance] = {}
        self._table = table
        self._engine = engine
        self._links = links
        self._vmacs = vmacs
        self._clock = clock
        self._run_elsewhere = run_elsewhere
        self._memberships = Memberships()
        self.on_moved: Callable[[Instance], None] = lambda _: None
        """Called when the addresses of a master have got other places."""
        self.on_changed: Callable[[], None] = lambda: None
        """Called when instances were started or failed outside of a call to the roster."""
        self._vmacs_are_stale = False
        self._vmacs_are_settling = False
        self._by_link: dict[str, list[Instance]] = {}
        """Instances that use an interface of that name, for adverts or for an address."""

    def add(self, models: Collection[VirtualRouter]) -> None:
        """Adds virtual routers: afterwards each is BACKUP, MASTER or FAULT."""
        added = [self._enter(model) for model in models]
        if any(model.vmac is not None for model in models):
            self._take_vmacs(self._vmacs.settle(self._wanted_vmacs()))
        for instance in added:
            instance.place(self._engine, self._links)
            for name in _interfaces(instance.model):
                if name not in self._by_link:
                    self._links.subscribe(self._on_link, name)
                self._by_link.setdefault(name, []).append(instance)
            self.review(instance)

    def review(self, instance: Instance) -> None:
        """Compares what the router needs with what there is, and starts or fails it."""
        lack = instance.find_lack(self._links)
        state = self._table.state(instance.index)
        if lack is None:
            link = self._links.by_name(instance.model.interface)
            assert link is not None
            if self._listen(instance, link.index):
                instance.attach(self._engine, self._links)
                instance.lack = None
                if state in (State.INIT, State.FAULT):
                    self._engine.start(instance.index, self._clock())
                return
            lack = Lack.GROUP
        is_news = lack is not instance.lack or state != State.FAULT
        instance.lack = lack
        if is_news:
            log.info("(%s) %s", instance.model.name, instance.describe_lack())
        if state != State.FAULT:
            self._engine.fail(instance.index, self._clock())
        self._engine.detach(instance.index)
        if lack is Lack.INTERFACE:
            self._listen(instance, 0)

    def catch_up(self) -> None:
        """Makes anew what links took with them, once for many links that changed together."""
        if self._vmacs_are_stale and not self._vmacs_are_settling:
            self._vmacs_are_stale, self._vmacs_are_settling = False, True
            wanted = self._wanted_vmacs()
            refusals: list[Refusal] = []

            def settle() -> None:
                try:
                    refusals.extend(self._vmacs.settle(wanted))
                except OSError as error:
                    # The links change faster than they can be read: their next change brings us
                    # here again.
                    log.warning("the VMACs could not be settled: %s", error)
                    self._vmacs_are_stale = True

            self._run_elsewhere(settle, lambda: self._on_vmacs_settled(refusals))

    def _on_vmacs_settled(self, refusals: list[Refusal]) -> None:
        self._vmacs_are_settling = False
        for instance in self._take_vmacs(refusals):
            instance.place(self._engine, self._links)
            self.review(instance)
            if self._table.state(instance.index) == State.MASTER:
                self.on_moved(instance)
        self.on_changed()

    def stop(self) -> None:
        """Ends every virtual router: masters resign."""
        for instance in self.instances.values():
            self._engine.stop(instance.index, self._clock())

    def close(self) -> None:
        """Takes VMACs and memberships back, after the addresses are gone."""
        self._vmacs.settle(())
        self._memberships.close()

    def _enter(self, model: VirtualRouter) -> Instance:
        is_ipv6 = model.family == AF_INET6
        index = self._table.add(
            model.name, model.interface, 0, 6 if is_ipv6 else 4, model.vrid, model.priority
        )
        self._engine.configure(
            index,
            version=model.version,
            advert_interval=model.advert_interval,
            addresses=b"".join(address.address for address in model.addresses),
            group=model.multicast_group,
            peers=[(peer.address, peer.min_ttl, peer.max_ttl) for peer in model.unicast_peers],
            preempt=model.preempt,
            preempt_delay=model.preempt_delay,
            down_timer_adverts=model.down_timer_adverts,
            lower_prio_no_advert=model.lower_prio_no_advert,
            higher_prio_send_advert=model.higher_prio_send_advert,
            starts_backup=model.state != State.MASTER,
            auth_type=model.authentication,
            password=model.password,
            ttl=model.unicast_ttl if model.unicast_peers else 255,
            checksum_as_v2=model.v3_checksum_as_v2,
            skips_known_addresses=model.skips_known_addresses,
            checks_source=model.checks_unicast_source,
            # Adverts with AH come a second or more apart, so that the clock stays ahead of them.
            ah_sequence=int(time.time()) & 0xFFFFFFFF,
        )
        instance = Instance(model, index)
        self.instances[index] = instance
        return instance

    def _wanted_vmacs(self) -> list[Wanted]:
        """The VMACs of every instance whose interface exists."""
        wanted: list[Wanted] = []
        for instance in self.instances.values():
            vmac = instance.model.vmac
            parent = self._links.by_name(instance.model.interface)
            if vmac is not None and parent is not None:
                has_ipv4 = any(
                    address.family == AF_INET and address.interface is None
                    for address in instance.model.all_addresses
                )
                wanted.append(Wanted(vmac.name, vmac.mac, parent.index, has_ipv4))
        return wanted

    def _take_vmacs(self, refusals: list[Refusal]) -> list[Instance]:
        """Tells the instances what VMACs there are; returns those for whom that is news."""
        for refusal in refusals:
            # Where the parent has just gone, its own message says what is wrong.
            if refusal.name in {wanted.name for wanted in self._wanted_vmacs()}:
                log.error("%s", refusal.reason)
        changed: list[Instance] = []
        for instance in self.instances.values():
            if instance.model.vmac is None:
                continue
            ifindex = self._vmacs.indexes.get(instance.model.vmac.name, 0)
            if ifindex != instance.vmac_ifindex:
                instance.vmac_ifindex = ifindex
                changed.append(instance)
        return changed

    def _listen(self, instance: Instance, ifindex: int) -> bool:
        """Hears adverts on an interface; 0 is on none. False where that cannot be: the interface
        has gone again, which its own notification will say."""
        if ifindex == instance.listens_on:
            return True
        group = instance.model.multicast_group
        if not instance.model.unicast_peers:
            if ifindex:
                try:
                    self._memberships.join(group, ifindex)
                except OSError as error:
                    log.warning("(%s) cannot join its group: %s", instance.model.name, error)
                    return False
            if instance.listens_on:
                self._memberships.leave(group, instance.listens_on)
        self._table.move(instance.index, ifindex)
        instance.listens_on = ifindex
        return True

    def _on_link(self, change: Change, link: Link) -> None:
        instances = self._by_link.get(link.name, [])
        if change in (Change.UP, Change.DOWN):
            log.info("Netlink reports %s %s", link.name, change.value)
        if change in (Change.APPEARED, Change.VANISHED):
            self._vmacs_are_stale |= any(each.model.vmac is not None for each in instances)
        for instance in instances:
            vmac = instance.model.vmac
            if vmac is not None and vmac.name == link.name:
                # It comes up with its parent, and is not up yet when it appears.
                instance.vmac_is_down = change is Change.DOWN and not link.flags & IFF_UP
                if change is Change.VANISHED:
                    instance.vmac_ifindex = 0
            if change in (Change.APPEARED, Change.VANISHED, Change.MAC):
                instance.place(self._engine, self._links)
                if self._table.state(instance.index) == State.MASTER:
                    self.on_moved(instance)
            if link.name in instance.essential_links:
                self.review(instance)


def _interfaces(model: VirtualRouter) -> set[str]:
    """Every link whose changes concern a virtual router."""
    names = {model.interface}
    if model.vmac is not None:
        names.add(model.vmac.name)
    for address in model.all_addresses:
        if address.interface is not None:
            names.add(address.interface)
    return names
