"""All virtual routers, and whether each can take part.

The links' changes come in here. A router whose interface goes down or disappears fails at once;
when everything it needs is back it starts again. What depends on an interface (frames, the places
of addresses, the multicast membership, the VMAC) is made anew when the interface changes. What is
of one network namespace is in its `Branch`.

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
from fastvrrp.kernel.links import IFF_UP, Change, Link
from fastvrrp.model import HmacMode, State, VirtualRouter
from fastvrrp.notify.fields import about
from fastvrrp.vrrp.adoption import Predecessor, identity_of
from fastvrrp.vrrp.branch import Branch, made_of
from fastvrrp.vrrp.follower import Follower, hearers
from fastvrrp.vrrp.instance import NO_FAULTS, PRIORITY_OWNER, VMAC_IS_COMING, Instance, Lack
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.reviews import Reviews

log = logging.getLogger(__name__)

STRIDE = 200
"""Instances that begin before adverts of those that have begun are sent."""


class Roster:
    """Adds virtual routers to an engine and keeps them in step with the links."""

    def __init__(
        self,
        table: Table,
        engine: Engine,
        use: Callable[[str | None], Place],
        release: Callable[[Place], None],
        clock: Callable[[], int],
    ) -> None:
        """`use` gives the network namespace of a name, which stays until `release` is called with
        it as often."""
        self.instances: dict[int, Instance] = {}
        self._table = table
        self._engine = engine
        self._use = use
        self._clock = clock
        self._release = release
        self.on_moved: Callable[[Instance], None] = lambda _: None
        """Called when the addresses of a master have got other places."""
        self.follow(())
        self.reporter: Callable[[Place, str], str] = lambda _, __: "Netlink"
        """Who says whether the link of that name is up, for the log."""
        self.on_changed: Callable[[Place], None] = lambda _: None
        """Called when instances were started or failed outside of a call to the roster, with the
        place where that came from."""
        self.reviews = Reviews(clock, self._tell_of_change)
        """Those that are looked at again when the loop gets to it."""
        self._leaving: set[int] = set()
        """Indexes of instances that were removed, and whose addresses are not gone yet."""
        self._branches: dict[Place, Branch] = {}

    def follow(self, followers: Sequence[Follower]) -> None:
        """Tells these, in this order, of instances that come, change and go."""
        self._hear_enter = hearers(followers, "enter")
        self._hear_resume = hearers(followers, "resume")
        self._hear_change = hearers(followers, "change")
        self._hear_lacks = hearers(followers, "lacks")
        self._hear_leave = hearers(followers, "leave")
        self._hear_moved = hearers(followers, "moved")

    def add(
        self, models: Collection[VirtualRouter], before: Predecessor | None = None
    ) -> list[Instance]:
        """Adds virtual routers: afterwards each is BACKUP, MASTER or FAULT. Those that `before` has
        left go on; those of them that went on as MASTER are given back, what they are by now
        aside."""
        added = [self._enter(model) for model in models]
        for branch in self._branches.values():
            branch.make_vmacs()
        for instance in added:
            self._look_around(instance)
        masters = [] if before is None else self._resume(added, before)
        for number, instance in enumerate(added, 1):
            self.begin(instance)
            if masters and number % STRIDE == 0:
                self._engine.send_due(self._clock())
        return masters

    def _resume(self, added: list[Instance], before: Predecessor) -> list[Instance]:
        """Has instances go on as they were left; gives back the masters."""
        before.choose_again(self._clock)
        now = self._clock()
        masters: list[Instance] = []
        indexes: dict[int, int] = {}
        for instance in added:
            left = before.left(instance.model)
            if left is None:
                continue
            indexes[left.at] = instance.index
            as_master = before.goes_on_as_master(instance.model)
            state = State(
                self._engine.resume(instance.index, before.segment, left.at, now, as_master)
            )
            for resume in self._hear_resume:
                resume(instance, state)
            if state == State.MASTER:
                masters.append(instance)
        self._table.inherit(before.segment, indexes)
        before.on_resumed()
        return masters

    def enter(self, model: VirtualRouter) -> Instance:
        """Adds one more while the others run, which is to `begin` when all have entered that come
        with it. It takes part before its VMAC has been made."""
        instance = self._enter(model)
        if model.vmac is not None:
            instance.vmac_ifindex = VMAC_IS_COMING
        self._branches[instance.place].vmacs_are_stale |= model.has_vmacs
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
        if model.unicast_peers != old.unicast_peers:
            self._table.set_identity(instance.index, identity_of(model))
        self._configure(instance)
        self._attach_again(instance)
        for change in self._hear_change:
            change(instance, old)
        is_other_ipvlan = model.options.ipvlan != old.options.ipvlan
        if model.vmac != old.vmac or is_other_ipvlan:
            if model.vmac is None:
                instance.vmac_ifindex = 0
            elif old.vmac is None or is_other_ipvlan or made_of(model.vmac) != made_of(old.vmac):
                # The adverts need no VMAC: they go on while it is made.
                instance.vmac_ifindex = VMAC_IS_COMING
            instance.vmac_is_down = False
        self._branches[instance.place].vmacs_are_stale |= model.has_vmacs or old.has_vmacs
        instance.settle_addresses(self._engine, instance.place.links)
        self.review(instance)
        self._engine.hurry(instance.index, self._clock())
        return _looks(model) != _looks(old)

    def interfaces(self, place: Place) -> Set[str]:
        """Names of the interfaces that instances use in a place; their changes are logged."""
        branch = self._branches.get(place)
        return branch.by_link.keys() if branch is not None else frozenset()

    def set_priority(self, instance: Instance, priority: int) -> None:
        """Gives an instance another effective priority (1-254) until its model changes. Its next
        advert has it."""
        if priority != instance.priority:
            log.info(
                "(%s) Changing effective priority from %d to %d",
                instance.model.name,
                instance.priority,
                priority,
                extra=about(instance.model.name),
            )
            before, instance.priority = instance.priority, priority
            self._engine.set_priority(instance.index, priority)
            for moved in self._hear_moved:
                moved(instance, before)

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
        link = instance.place.links.by_index(ifindex)
        if link is not None and link.is_up:
            self.resign(instance)
        else:
            self.on_moved(instance)

    def remove(self, instance: Instance) -> None:
        """Ends an instance: a master resigns. It is to be forgotten when its addresses are gone."""
        self.reviews.forget(instance)
        for leave in self._hear_leave:
            leave(instance)
        self._engine.stop(instance.index, self._clock())
        self._engine.detach(instance.index)
        self._unwatch(instance)
        self._listen(instance, 0)
        self._leaving.add(instance.index)
        self._branches[instance.place].vmacs_are_stale |= instance.model.has_vmacs

    def forget(self, index: int) -> None:
        """Gives back what a removed instance had in the table and in the engine."""
        self._leaving.discard(index)
        self._engine.forget(index)
        self._table.remove(index)
        self._release(self.instances.pop(index).place)

    def settle_all_vmacs(self) -> None:
        """The same, whatever they were: somebody else may have changed them."""
        for branch in self._branches.values():
            branch.vmacs_are_stale = True
        self.settle_vmacs()

    def settle_vmacs(self) -> None:
        """Makes and removes VMACs in the other thread, where a change made that necessary."""
        for branch in self._branches.values():
            branch.ask_for_vmacs(self._on_vmacs_settled)

    def arrive(self, place: Place) -> None:
        """A network namespace has come, and its links are known."""
        branch = self._branch(place)
        branch.vmacs_are_stale = True  # also where none is wanted: a crash may have left some
        for instance in branch:
            instance.vmac_is_down = False
        self.reviews.add(branch, self._look_again)
        branch.catch_up(self._on_vmacs_settled)

    def depart(self, place: Place) -> None:
        """Nothing can be done in a network namespace any more, or not yet: `fault` says why."""
        branch = self._branch(place)
        for instance in branch:
            instance.vmac_ifindex = 0
        self.reviews.add(branch, self._look_in)

    def _tell_of_change(self, place: Place) -> None:
        self.on_changed(place)

    def _look_again(self, instance: Instance) -> None:
        """Where its addresses belong may have changed."""
        if not instance.is_coming:
            instance.settle_addresses(self._engine, instance.place.links)
            self.review(instance)

    def _look_in(self, instance: Instance) -> None:
        if not instance.is_coming:
            self.review(instance)

    def drop(self, place: Place) -> None:
        """Nobody uses a network namespace any more."""
        self._branches.pop(place, None)

    def _branch(self, place: Place) -> Branch:
        branch = self._branches.get(place)
        if branch is None:
            branch = self._branches[place] = Branch(place, self._on_link)
        return branch

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
        links = instance.place.links
        if instance.lack is not None or not instance.listening(links):
            return
        link = links.by_name(instance.model.interface)
        if link is not None and len(link.mac) != 6:
            return
        if instance.source(links) is not None:
            instance.attach(self._engine, links)

    def _find_lack(self, instance: Instance) -> Lack | None:
        """What it lacks; None where that only keeps it from beginning, and it has begun."""
        lack = instance.find_lack(instance.place.links)
        if lack is Lack.HELD and instance.only_waits:
            has_begun = self._table.state(instance.index) in (State.BACKUP, State.MASTER)
            return None if has_begun else lack
        return lack

    def _take_part(self, instance: Instance) -> bool:
        """Starts one that lacks nothing. False where its group cannot be joined."""
        if not self._listen(instance, instance.listening(instance.place.links)):
            return False
        instance.attach(self._engine, instance.place.links)
        if self._table.state(instance.index) in (State.INIT, State.FAULT):
            self._engine.start(instance.index, self._clock())
        return True

    def _stand_aside(self, instance: Instance, before: Lack | None) -> None:
        """Fails one that lacks something, and says what if that is news."""
        state = self._table.state(instance.index)
        if instance.lack is not before or state != State.FAULT:
            name = instance.model.name
            log.info("(%s) %s", name, instance.describe_lack(), extra=about(name))
        if instance.lack is Lack.HELD and instance.only_waits:
            return
        if state != State.FAULT:
            self._engine.fail(instance.index, self._clock())
        self._engine.detach(instance.index)
        if instance.lack in (Lack.INTERFACE, Lack.VRF, Lack.NAMESPACE):
            self._listen(instance, 0)

    def _tell_of_lack(self, instance: Instance) -> None:
        for lacks in self._hear_lacks:
            lacks(instance)

    def is_leaving(self, instance: Instance) -> bool:
        """Whether it was removed, and is there only until its addresses are gone."""
        return instance.index in self._leaving

    def catch_up(self, place: Place) -> None:
        """Makes anew what links of a place took with them, once for many that changed together."""
        branch = self._branches.get(place)
        if branch is not None:
            branch.catch_up(self._on_vmacs_settled)

    def _on_vmacs_settled(self, branch: Branch, changed: list[Instance]) -> None:
        self.reviews.add(changed, self._look_at_vmac)
        self.on_changed(branch.place)

    def _look_at_vmac(self, instance: Instance) -> None:
        instance.settle_addresses(self._engine, instance.place.links)
        self.review(instance)
        if self._table.state(instance.index) == State.MASTER:
            self.on_moved(instance)

    def stop(self) -> None:
        """Ends every virtual router: masters resign."""
        self.reviews.clear()
        for instance in self.instances.values():
            self._engine.stop(instance.index, self._clock())

    def _enter(self, model: VirtualRouter) -> Instance:
        is_ipv6 = model.family == AF_INET6
        index = self._table.add(
            model.name, model.interface, 0, 6 if is_ipv6 else 4, model.vrid, model.priority
        )
        self._table.set_identity(index, identity_of(model))
        place = self._use(model.namespace)
        instance = Instance(model, index, place)
        self.instances[index] = instance
        self._watch(instance)
        self._configure(instance)
        for enter in self._hear_enter:
            enter(instance)
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
        instance.settle_addresses(self._engine, instance.place.links)
        self.review(instance)

    def _watch(self, instance: Instance) -> None:
        """Hears of what concerns it."""
        self._branch(instance.place).watch(instance)
        if instance.expected_source is not None:
            instance.place.links.expect(
                instance.expected_source, instance.index, lambda: self.review(instance)
            )

    def _unwatch(self, instance: Instance) -> None:
        if instance.expected_source is not None:
            instance.place.links.expect_no_more(instance.expected_source, instance.index)
        self._branches[instance.place].unwatch(instance)

    def _listen(self, instance: Instance, ifindex: int) -> bool:
        """Hears adverts on an interface; 0 is on none. False where that cannot be: the interface
        has gone again, which its own notification will say."""
        if ifindex == instance.listens_on:
            return True
        group = instance.model.multicast_group
        if not instance.model.unicast_peers:
            if ifindex:
                try:
                    with instance.place.inside():
                        instance.place.memberships.join(group, ifindex)
                except OSError as error:
                    log.warning("(%s) cannot join its group: %s", instance.model.name, error)
                    return False
            if instance.listens_on:
                instance.place.memberships.leave(group, instance.listens_on)
        self._table.move(instance.index, instance.place.number_of(ifindex))
        instance.listens_on = ifindex
        return True

    def _on_link(self, branch: Branch, change: Change, link: Link) -> None:
        place = branch.place
        instances = branch.by_link.get(link.name, [])
        if change in (Change.UP, Change.DOWN):
            log.info(
                "%s reports %s %s",
                self.reporter(place, link.name),
                place.called(link.name),
                change.value,
            )
        if change in (Change.APPEARED, Change.VANISHED):
            branch.vmacs_are_stale |= any(each.model.has_vmacs for each in instances)
        for instance in instances:
            vmac = instance.model.vmac
            if vmac is not None and vmac.name == link.name and instance.vmac_ifindex == link.index:
                # Another one of that name may have gone to make room for it, and goes down first.
                # It comes up with its parent, and is not up yet when it appears.
                instance.vmac_is_down = change is Change.DOWN and not link.flags & IFF_UP
                if change is Change.VANISHED:
                    instance.vmac_ifindex = 0
            if change in (Change.APPEARED, Change.VANISHED, Change.MAC):
                instance.settle_addresses(self._engine, instance.place.links)
                if self._table.state(instance.index) == State.MASTER:
                    self.on_moved(instance)
            if link.name in instance.essential_links:
                self.review(instance)


def _looks(model: VirtualRouter) -> tuple[object, ...]:
    """Where a master's addresses are, and how they are announced."""
    links = (model.vmac, model.options.address_vmacs, model.options.ipvlan)
    return model.all_addresses, model.announcements, links
