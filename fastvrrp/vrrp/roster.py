"""All virtual routers of one network namespace, and whether each can take part.

The links' changes come in here. A router whose interface goes down or disappears fails at once;
when everything it needs is back it starts again. What depends on an interface (frames, the places
of addresses, the multicast membership, the VMAC) is made anew when the interface changes.

A reload comes in here too, one virtual router at a time: `enter`, `change`, `remove` and, when the
addresses are gone, `forget`. VMACs are settled once, after all of that (`settle_vmacs`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence, Set
from socket import AF_INET6

from fastvrrp._engine import Engine
from fastvrrp._table import Table
from fastvrrp.kernel.links import IFF_UP, Change, Link, Links
from fastvrrp.kernel.macvlan import Refusal, Vmacs, Wanted
from fastvrrp.kernel.memberships import Memberships
from fastvrrp.model import HmacMode, State, VirtualRouter, Vmac
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import NO_FAULTS, PRIORITY_OWNER, VMAC_IS_COMING, Instance, Lack
from fastvrrp.vrrp.own_links import wanted_by

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
        self.followers: Sequence[Follower] = ()
        """Who hears of instances that come, change and go, in this order."""
        self.reporter: Callable[[str], str] = lambda _: "Netlink"
        """Who says whether the link of that name is up, for the log."""
        self.on_changed: Callable[[], None] = lambda: None
        """Called when instances were started or failed outside of a call to the roster."""
        self._vmacs_are_stale = False
        self._vmacs_are_settling = False
        self._vmacs_are_asked_for = False
        """Somebody waits for them to be settled once more."""
        self._refused_vmacs: set[Refusal] = set()
        """What is said already."""
        self._leaving: set[int] = set()
        """Indexes of instances that were removed, and whose addresses are not gone yet."""
        self._by_link: dict[str, list[Instance]] = {}
        """Instances that use an interface of that name, for adverts or for an address."""

    def add(self, models: Collection[VirtualRouter]) -> None:
        """Adds virtual routers: afterwards each is BACKUP, MASTER or FAULT."""
        added = [self._enter(model) for model in models]
        # Also where none is wanted: a crash may have left some.
        self._take_vmacs(self._vmacs.settle(self._wanted_vmacs()))
        for instance in added:
            self._look_around(instance)
        for instance in added:
            self.begin(instance)

    def enter(self, model: VirtualRouter) -> Instance:
        """Adds one more while the others run, which is to `begin` when all have entered that come
        with it. It takes part before its VMAC has been made."""
        instance = self._enter(model)
        if model.vmac is not None:
            instance.vmac_ifindex = VMAC_IS_COMING
        self._vmacs_are_stale |= model.has_vmacs
        self._look_around(instance)
        return instance

    def begin(self, instance: Instance) -> None:
        """Starts one that has entered, or says what it lacks."""
        instance.is_coming = False
        self.review(instance)

    def change(self, instance: Instance, model: VirtualRouter) -> bool:
        """Gives an instance another configuration with the same identity (config/diff.py). It stays
        in its state, and a master says at once what is new. True where the addresses of a master
        are to be put again, or announced in another way."""
        old = instance.model
        self._unwatch(instance)
        instance.model = model
        self._watch(instance)
        if model.priority != old.priority:
            instance.priority = model.priority
        self._table.update(instance.index, model.name, model.priority, instance.priority)
        self._configure(instance)
        self._attach_again(instance)
        for follower in self.followers:
            follower.change(instance, old)
        is_other_ipvlan = model.options.ipvlan != old.options.ipvlan
        if model.vmac != old.vmac or is_other_ipvlan:
            if model.vmac is None:
                instance.vmac_ifindex = 0
            elif old.vmac is None or is_other_ipvlan or _made_of(model.vmac) != _made_of(old.vmac):
                # The adverts need no VMAC: they go on while it is made.
                instance.vmac_ifindex = VMAC_IS_COMING
            instance.vmac_is_down = False
        self._vmacs_are_stale |= model.has_vmacs or old.has_vmacs
        instance.place(self._engine, self._links)
        self.review(instance)
        self._engine.hurry(instance.index, self._clock())
        return _looks(model) != _looks(old)

    @property
    def interfaces(self) -> Set[str]:
        """Names of the interfaces that instances use; their changes are logged."""
        return self._by_link.keys()

    def set_priority(self, instance: Instance, priority: int) -> None:
        """Gives an instance another effective priority (1-254) until its model changes. Its next
        advert has it."""
        if priority != instance.priority:
            log.info(
                "(%s) Changing effective priority from %d to %d",
                instance.model.name,
                instance.priority,
                priority,
            )
            before, instance.priority = instance.priority, priority
            self._engine.set_priority(instance.index, priority)
            for follower in self.followers:
                follower.moved(instance, before)

    def hold(self, instance: Instance, cause: str, why: str | None) -> None:
        """Lets an instance fail, for as long as any cause holds it; with None that cause is over.
        `why` is for a person; as Pending it keeps an instance from beginning, and no more."""
        if instance.faults.get(cause) == why:
            return
        faults = {name: text for name, text in instance.faults.items() if name != cause}
        if why is not None:
            faults[cause] = why
        instance.faults = faults or NO_FAULTS
        if instance.index in self._leaving:
            return
        if instance.index in self.instances and not instance.is_coming:
            before = instance.lack
            self.review(instance)
            if instance.lack is before:
                self._tell_of_lack(instance)  # which of its causes have changed

    def resign(self, instance: Instance) -> None:
        """Lets a master become a backup, which says so with priority 0; nothing else changes."""
        self._engine.resign(instance.index, self._clock())

    def on_address_lost(self, instance: Instance, ifindex: int) -> None:
        """Somebody has removed an address that a master tracks: it resigns, and whoever wins the
        election has all addresses. Where that came with its link, that is all that counts."""
        link = self._links.by_index(ifindex)
        if link is not None and link.is_up:
            self.resign(instance)
        else:
            self.on_moved(instance)

    def remove(self, instance: Instance) -> None:
        """Ends an instance: a master resigns. It is to be forgotten when its addresses are gone."""
        for follower in self.followers:
            follower.leave(instance)
        self._engine.stop(instance.index, self._clock())
        self._engine.detach(instance.index)
        self._unwatch(instance)
        self._listen(instance, 0)
        self._leaving.add(instance.index)
        self._vmacs_are_stale |= instance.model.has_vmacs

    def forget(self, index: int) -> None:
        """Gives back what a removed instance had in the table and in the engine."""
        self._leaving.discard(index)
        self._engine.forget(index)
        self._table.remove(index)
        del self.instances[index]

    def settle_vmacs(self) -> None:
        """Makes and removes VMACs in the other thread, where a change made that necessary."""
        if self._vmacs_are_stale:
            self._vmacs_are_asked_for = True
            self.catch_up()

    def review(self, instance: Instance) -> None:
        """Compares what the router needs with what there is, and starts or fails it."""
        before = instance.lack
        instance.lack = self._find_lack(instance)
        if not instance.is_coming:
            if instance.lack is None and not self._take_part(instance):
                instance.lack = Lack.GROUP
            if instance.lack is not None:
                self._stand_aside(instance, before)
        if instance.lack is not before:
            self._tell_of_lack(instance)

    def _attach_again(self, instance: Instance) -> None:
        """Gives one that takes part its frames back, so that it can resign if it fails now."""
        link = self._links.by_name(instance.model.interface)
        if instance.lack is not None or link is None or len(link.mac) != 6:
            return
        if instance.source(self._links, link) is not None:
            instance.attach(self._engine, self._links)

    def _find_lack(self, instance: Instance) -> Lack | None:
        """What it lacks; None where that only keeps it from beginning, and it has begun."""
        lack = instance.find_lack(self._links)
        if lack is Lack.HELD and instance.only_waits:
            has_begun = self._table.state(instance.index) in (State.BACKUP, State.MASTER)
            return None if has_begun else lack
        return lack

    def _take_part(self, instance: Instance) -> bool:
        """Starts one that lacks nothing. False where its group cannot be joined."""
        link = self._links.by_name(instance.model.interface)
        assert link is not None
        if not self._listen(instance, link.index):
            return False
        instance.attach(self._engine, self._links)
        if self._table.state(instance.index) in (State.INIT, State.FAULT):
            self._engine.start(instance.index, self._clock())
        return True

    def _stand_aside(self, instance: Instance, before: Lack | None) -> None:
        """Fails one that lacks something, and says what if that is news."""
        state = self._table.state(instance.index)
        if instance.lack is not before or state != State.FAULT:
            log.info("(%s) %s", instance.model.name, instance.describe_lack())
        if instance.lack is Lack.HELD and instance.only_waits:
            return
        if state != State.FAULT:
            self._engine.fail(instance.index, self._clock())
        self._engine.detach(instance.index)
        if instance.lack is Lack.INTERFACE:
            self._listen(instance, 0)

    def _tell_of_lack(self, instance: Instance) -> None:
        for follower in self.followers:
            follower.lacks(instance)

    def is_leaving(self, instance: Instance) -> bool:
        """Whether it was removed, and is there only until its addresses are gone."""
        return instance.index in self._leaving

    def catch_up(self) -> None:
        """Makes anew what links took with them, once for many links that changed together."""
        if self._vmacs_are_stale and not self._vmacs_are_settling:
            self._vmacs_are_stale, self._vmacs_are_settling = False, True
            self._vmacs_are_asked_for = False
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

            made = {(vmac.name, vmac.mac) for vmac in wanted}
            self._run_elsewhere(settle, lambda: self._on_vmacs_settled(refusals, made))

    def _on_vmacs_settled(self, refusals: list[Refusal], made: set[tuple[str, bytes]]) -> None:
        self._vmacs_are_settling = False
        for instance in self._take_vmacs(refusals, made):
            instance.place(self._engine, self._links)
            self.review(instance)
            if self._table.state(instance.index) == State.MASTER:
                self.on_moved(instance)
        self.on_changed()
        if self._vmacs_are_asked_for:
            self.catch_up()

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
        instance = Instance(model, index)
        self.instances[index] = instance
        self._configure(instance)
        for follower in self.followers:
            follower.enter(instance)
        return instance

    def _configure(self, instance: Instance) -> None:
        model = instance.model
        hmac = model.options.hmac
        self._engine.configure(
            instance.index,
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
            expired_priority=model.options.timer_expired_priority or 0,
            ignores_adverts=model.options.is_strict and model.priority == PRIORITY_OWNER,
            auth_type=model.authentication,
            password=model.password,
            ttl=model.unicast_ttl if model.unicast_peers else 255,
            checksum_as_v2=model.v3_checksum_as_v2,
            old_checksum=model.options.old_checksum,
            skips_known_addresses=model.skips_known_addresses,
            checks_source=model.checks_unicast_source,
            # Adverts with AH come a second or more apart, so that the clock stays ahead of them.
            ah_sequence=int(time.time()) & 0xFFFFFFFF,
            signs=hmac is not None and hmac.mode is not HmacMode.RECEIVE_ONLY,
        )

    def _look_around(self, instance: Instance) -> None:
        """Finds what there is for it, and what it will lack when it begins."""
        instance.place(self._engine, self._links)
        self._watch(instance)
        self.review(instance)

    def _watch(self, instance: Instance) -> None:
        """Hears of changes of every link that concerns it."""
        for name in _interfaces(instance.model):
            if name not in self._by_link:
                self._links.subscribe(self._on_link, name)
                self._by_link[name] = []
            self._by_link[name].append(instance)
        if instance.expected_source is not None:
            self._links.expect(
                instance.expected_source, instance.index, lambda: self.review(instance)
            )

    def _unwatch(self, instance: Instance) -> None:
        if instance.expected_source is not None:
            self._links.expect_no_more(instance.expected_source, instance.index)
        for name in _interfaces(instance.model):
            watching = self._by_link[name]
            watching.remove(instance)
            if not watching:
                del self._by_link[name]
                self._links.unsubscribe(self._on_link, name)

    def _wanted_vmacs(self) -> list[Wanted]:
        """The VMACs of every instance whose interface exists."""
        wanted: list[Wanted] = []
        for instance in self.instances.values():
            if instance.index in self._leaving:
                continue
            wanted += wanted_by(instance.model, self._links)
        return wanted

    def _take_vmacs(
        self, refusals: list[Refusal], made: set[tuple[str, bytes]] | None = None
    ) -> list[Instance]:
        """Tells the instances what VMACs there are; returns those for whom that is news. `made` are
        the names and MACs of those that were wanted when they were settled, if not all of now."""
        if refusals:
            # Where the parent has just gone, its own message says what is wrong.
            wanted = {each.name for each in self._wanted_vmacs()}
            for refusal in refusals:
                if refusal.name in wanted and refusal not in self._refused_vmacs:
                    log.error("%s", refusal.reason)
        self._refused_vmacs = set(refusals)
        changed: list[Instance] = []
        for instance in self.instances.values():
            if instance.model.vmac is None or instance.index in self._leaving:
                continue
            ifindex = self._vmacs.indexes.get(instance.model.vmac.name, 0)
            is_coming = instance.vmac_ifindex == VMAC_IS_COMING
            if is_coming and made is not None and _made_of(instance.model.vmac) not in made:
                continue  # this was not the time when it was made
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
            log.info("%s reports %s %s", self.reporter(link.name), link.name, change.value)
        if change in (Change.APPEARED, Change.VANISHED):
            self._vmacs_are_stale |= any(each.model.has_vmacs for each in instances)
        for instance in instances:
            vmac = instance.model.vmac
            if vmac is not None and vmac.name == link.name and instance.vmac_ifindex == link.index:
                # Another one of that name may have gone to make room for it, and goes down first.
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
    names = {model.interface, *(vmac.name for vmac in model.options.address_vmacs)}
    if model.vmac is not None:
        names.add(model.vmac.name)
    for address in model.all_addresses:
        if address.interface is not None:
            names.add(address.interface)
    return names


def _looks(model: VirtualRouter) -> tuple[object, ...]:
    """Where a master's addresses are, and how they are announced."""
    links = (model.vmac, model.options.address_vmacs, model.options.ipvlan)
    return model.all_addresses, model.announcements, links


def _made_of(vmac: Vmac) -> tuple[str, bytes]:
    """What cannot be changed without making it anew."""
    return vmac.name, vmac.mac
