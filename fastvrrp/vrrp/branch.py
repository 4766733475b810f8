"""The virtual routers of one network namespace: which of its links concern them, and the links that
are made for them there (VMACs, ipvlans)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from fastvrrp.kernel.links import Change, Link
from fastvrrp.kernel.macvlan import Refusal, Wanted
from fastvrrp.model import Vmac
from fastvrrp.vrrp.instance import VMAC_IS_COMING, Instance
from fastvrrp.vrrp.own_links import wanted_by
from fastvrrp.vrrp.place import Place

log = logging.getLogger(__name__)


class Branch:
    """Instances of one place, by the interfaces that concern them."""

    def __init__(self, place: Place, on_link: Callable[[Branch, Change, Link], None]) -> None:
        self.place = place
        self.by_link: dict[str, list[Instance]] = {}
        """Instances that use an interface of that name, for adverts or for an address."""
        self.vmacs_are_stale = False
        self._vmacs_are_settling = False
        self._vmacs_are_asked_for = False
        """Somebody waits for them to be settled once more."""
        self._refused_vmacs: set[Refusal] = set()
        """What is said already."""
        self._hear: Callable[[Change, Link], None] = lambda change, link: on_link(
            self, change, link
        )

    def watch(self, instance: Instance) -> None:
        """Hears of changes of every link that concerns an instance."""
        for name in _interfaces(instance):
            if name not in self.by_link:
                self.place.links.subscribe(self._hear, name)
                self.by_link[name] = []
            self.by_link[name].append(instance)

    def unwatch(self, instance: Instance) -> None:
        """Undoes a `watch`."""
        for name in _interfaces(instance):
            watching = self.by_link[name]
            watching.remove(instance)
            if not watching:
                del self.by_link[name]
                self.place.links.unsubscribe(self._hear, name)

    def __iter__(self) -> Iterator[Instance]:
        """Every instance that is watched."""
        for name, instances in self.by_link.items():
            for instance in instances:
                if instance.home == name:
                    yield instance

    # --- VMACs ------------------------------------------------------------------------------------

    def make_vmacs(self) -> None:
        """Makes VMACs, in this thread, before the first instance begins; also where none is
        wanted: a crash may have left some."""
        if self.place.vmacs is not None and self.place.fault is None:
            wanted = self._wanted_vmacs()
            with self.place.inside():
                refusals = self.place.vmacs.settle(wanted)
            self._take_vmacs(refusals)

    def catch_up(self, on_settled: Callable[[Branch, list[Instance]], None]) -> None:
        """Settles VMACs in the other thread where they are stale; afterwards `on_settled` is called
        with the instances for whom there is news."""
        vmacs = self.place.vmacs
        if not self.vmacs_are_stale or self._vmacs_are_settling:
            return
        if vmacs is None or self.place.fault is not None:
            return
        self.vmacs_are_stale, self._vmacs_are_settling = False, True
        self._vmacs_are_asked_for = False
        wanted = self._wanted_vmacs()
        refusals: list[Refusal] = []

        def settle() -> None:
            try:
                refusals.extend(vmacs.settle(wanted))
            except OSError as error:
                # The links change faster than they can be read: their next change brings us here
                # again.
                log.warning("the VMACs could not be settled: %s", error)
                self.vmacs_are_stale = True

        made = {(vmac.name, vmac.mac) for vmac in wanted}

        def take_back() -> None:
            self._vmacs_are_settling = False
            on_settled(self, self._take_vmacs(refusals, made))
            if self._vmacs_are_asked_for:
                self.catch_up(on_settled)

        self.place.run_elsewhere(settle, take_back)

    def ask_for_vmacs(self, on_settled: Callable[[Branch, list[Instance]], None]) -> None:
        """The same, and once more if they are being settled now."""
        if self.vmacs_are_stale:
            self._vmacs_are_asked_for = True
            self.catch_up(on_settled)

    def _wanted_vmacs(self) -> list[Wanted]:
        """The VMACs of every instance whose interface exists."""
        wanted: list[Wanted] = []
        for instance in self:
            wanted += wanted_by(instance.model, self.place.links)
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
                    log.error("%s", self._said(refusal.reason))
        self._refused_vmacs = set(refusals)
        indexes = self.place.vmacs.indexes if self.place.vmacs is not None else {}
        changed: list[Instance] = []
        for instance in self:
            if instance.model.vmac is None:
                continue
            ifindex = indexes.get(instance.model.vmac.name, 0)
            is_coming = instance.vmac_ifindex == VMAC_IS_COMING
            if is_coming and made is not None and made_of(instance.model.vmac) not in made:
                continue  # this was not the time when it was made
            if ifindex != instance.vmac_ifindex:
                instance.vmac_ifindex = ifindex
                changed.append(instance)
        return changed

    def _said(self, reason: str) -> str:
        return reason if self.place.is_own else f"in {self.place.where}: {reason}"


def _interfaces(instance: Instance) -> set[str]:
    """Every link whose changes concern a virtual router."""
    model = instance.model
    names = {instance.home, *(vmac.name for vmac in model.options.address_vmacs)}
    if model.vmac is not None:
        names.add(model.vmac.name)
    for address in model.all_addresses:
        if address.interface is not None:
            names.add(address.interface)
    return names


def made_of(vmac: Vmac) -> tuple[str, bytes]:
    """What of a VMAC cannot be changed without making it anew."""
    return vmac.name, vmac.mac
