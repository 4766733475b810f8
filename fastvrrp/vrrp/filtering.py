"""Which packets virtual routers do not take or send: `no_accept`, and VMACs of backups.

The addresses of a virtual router that accepts no data are refused in every state, since a backup
does not have them: its change of state costs nothing here. A VMAC is shut as long as its virtual
router is not master. What is wanted is kept here, and what becomes different goes to the kernel in
the other thread, where all that has come together until then is one transaction. That thread keeps
the order, so a VMAC is open before its master's addresses are added, and shut before they go.

A firewall that starts anew flushes the whole ruleset, ours too: the table is put back at once.
Without nftables the daemon goes on, and says once what that means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from errno import ENOENT
from threading import RLock

from fastvrrp._engine import Note
from fastvrrp.kernel.nfnetlink import RulesetMonitor
from fastvrrp.kernel.nftables import (
    TABLE,
    Element,
    PacketFilter,
    Shape,
    has_word_for,
    idle,
    refused,
    solicits_nothing,
)
from fastvrrp.model import Configuration, State, VirtualRouter
from fastvrrp.vrrp.apart import Local
from fastvrrp.vrrp.instance import Instance, link_of
from fastvrrp.vrrp.place import Place

log = logging.getLogger(__name__)

LOCAL_REPORTS = "ipv4/igmp_link_local_mcast_reports"
"""Whether the kernel reports groups of 224.0.0.0/24 (Linux, ip-sysctl)."""


class Filter(Local):
    """Keeps the table of nftables in step with the virtual routers of one network namespace."""

    def __init__(
        self,
        place: Place,
        is_master: Callable[[int], bool],
        loop: asyncio.AbstractEventLoop,
        on_sysctls_changed: Callable[[Place], None],
    ) -> None:
        """`is_master` answers for an index of the table."""
        self._place = place
        self._sysctls = place.sysctls
        self._is_master = is_master
        self._loop = loop
        self._on_sysctls_changed = on_sysctls_changed
        self._is_open = False
        self._table = PacketFilter()
        self._shape: Shape | None = None
        self._disables_local_igmp = False
        self._refused: dict[Element, int] = {}
        """Addresses that are refused, and how many virtual routers want that."""
        self._refusing = 0
        """Virtual routers that accept no data."""
        self._vmacs: dict[str, int] = {}
        """Names of VMACs, and how many virtual routers want them."""
        self._open: set[str] = set()
        """Those of masters."""
        self._changes: dict[Element, bool] = {}
        """What the kernel does not know yet. The other thread takes it away."""
        self._lock = RLock()
        """Around them: what belongs together is taken away together."""
        self._is_asked_for = False
        """The other thread is to take the changes."""
        self._made: tuple[bool, bool] | None = None
        """Whether the table has rules for addresses and for VMACs; None where it is to be made."""
        self._failure: OSError | None = None
        self._is_broken = False
        """nftables has refused; a reload tries again."""
        self._monitor: RulesetMonitor | None = None
        self._is_looking = False

    def configure(self, configuration: Configuration) -> None:
        shape = _shape_of(configuration)
        disables = configuration.definitions.vrrp.disables_local_igmp
        if not self._is_open:
            pass
        elif self._shape is None:
            # The first group is joined, and reported, as soon as the first instance begins.
            with self._place.inside():
                self._settle_igmp(disables)
        elif disables != self._disables_local_igmp:
            self._place.run_elsewhere(
                lambda: self._settle_igmp(disables),
                lambda: self._on_sysctls_changed(self._place),
            )
        if shape != self._shape or self._is_broken:
            self._made = None
        self._shape, self._disables_local_igmp, self._is_broken = shape, disables, False

    def arrive(self, place: Place) -> None:
        self._is_open = True
        # What was asked of another namespace of that name may never have been done.
        self._is_broken = self._is_asked_for = self._is_looking = False
        self._failure = None
        self._watch()
        if self._shape is not None:
            with place.inside():
                self._settle_igmp(self._disables_local_igmp)
            self._make()

    def depart(self, place: Place) -> None:
        self._is_open = False
        self._unwatch()
        # The table itself goes after the VMACs.
        place.run_elsewhere(self._table.close, lambda: None)

    def enter(self, instance: Instance) -> None:
        self._add(instance.model)

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        with self._lock:
            self._add(instance.model)
            self._withdraw(old)
            if instance.model.has_vmacs and self._is_master(instance.index):
                for vmac in instance.model.vmac_names:
                    self._shut(vmac, False)

    def leave(self, instance: Instance) -> None:
        self._withdraw(instance.model)

    def settle(self) -> Iterator[None]:
        if self._is_open and self._made != (bool(self._refused), bool(self._vmacs)):
            self._make()
        elif self._changes:
            self._ask()
        yield

    def take(self, instance: Instance, note: Note) -> None:
        if not instance.model.has_vmacs:
            return
        # One that has stopped loses its VMAC soon.
        if note.acquires or (note.releases and note.after != State.INIT):
            for vmac in instance.model.vmac_names:
                self._shut(vmac, not note.acquires)
            if self._made is not None:
                self._ask()

    def resume(self, instance: Instance, state: State) -> None:
        if state == State.MASTER:
            for vmac in instance.model.vmac_names:
                self._shut(vmac, False)

    def _watch(self) -> None:
        """Hears of changes of the ruleset, where the kernel says."""
        self._unwatch()
        try:
            with self._place.inside():
                self._monitor = RulesetMonitor()
        except OSError:
            return
        self._loop.add_reader(self._monitor.fileno(), self._on_ruleset)

    def _unwatch(self) -> None:
        if self._monitor is not None:
            self._loop.remove_reader(self._monitor.fileno())
            self._monitor.close()
            self._monitor = None

    def _on_ruleset(self) -> None:
        """Somebody, or we, changed the ruleset: a firewall that starts anew flushes all of it."""
        if self._monitor is not None:
            self._monitor.read()
            if self._made is not None and not self._is_looking:
                self._is_looking = True
                self._place.run_elsewhere(self._look, self._look_back)

    def _look(self) -> None:
        """In the other thread."""
        self._is_looking = False
        if not self._table.stands():
            self._failure = OSError(ENOENT, "nftables: somebody removed the table")

    def stop(self) -> None:
        # The table goes after the VMACs: one that is shut stays so for as long as it is there.
        self._unwatch()

    def _add(self, model: VirtualRouter) -> None:
        if model.accept and not model.has_vmacs:
            return
        for element in _refused_of(model):
            self._refused[element] = self._refused.get(element, 0) + 1
            self._want(element, True)
        self._refusing += not model.accept
        for vmac in model.vmac_names:
            if not has_word_for(vmac):
                log.error("(%s) nftables has no word for %s: it is not shut", model.name, vmac)
                continue
            self._vmacs[vmac] = self._vmacs.get(vmac, 0) + 1
            self._want(solicits_nothing(vmac), True)
            self._shut(vmac, True)

    def _withdraw(self, model: VirtualRouter) -> None:
        if model.accept and not model.has_vmacs:
            return
        for element in _refused_of(model):
            self._refused[element] -= 1
            if not self._refused[element]:
                del self._refused[element]
                self._want(element, False)
        self._refusing -= not model.accept
        for vmac in model.vmac_names:
            if vmac in self._vmacs:
                self._vmacs[vmac] -= 1
                if not self._vmacs[vmac]:
                    self._shut(vmac, False)
                    self._open.discard(vmac)
                    del self._vmacs[vmac]
                    self._want(solicits_nothing(vmac), False)

    def _shut(self, vmac: str, is_shut: bool) -> None:
        if vmac in self._vmacs:
            (self._open.discard if is_shut else self._open.add)(vmac)
            self._want(idle(vmac), is_shut)

    def _want(self, element: Element, is_in: bool) -> None:
        with self._lock:
            self._changes[element] = is_in

    def _ask(self) -> None:
        """Lets the other thread take what has changed, once for all until it does."""
        if not self._is_asked_for and not self._is_broken and self._is_open:
            self._is_asked_for = True
            self._place.run_elsewhere(self._apply, self._look_back)

    def _apply(self) -> None:
        """In the other thread."""
        with self._lock:
            self._is_asked_for = False
            changes, self._changes = self._changes, {}
        if changes:
            self._try(lambda: self._table.change(changes))

    def _look_back(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None and not self._is_broken and self._is_open:
            log.warning("%s; the table is made anew", failure)
            self._make()

    def _make(self) -> None:
        """Makes the table of all that is wanted now."""
        with self._lock:
            self._changes = {}
        self._made = (bool(self._refused), bool(self._vmacs))
        elements = [
            *self._refused,
            *map(solicits_nothing, self._vmacs),
            *(idle(vmac) for vmac in self._vmacs if vmac not in self._open),
        ]
        shape = self._shape or Shape()
        self._place.run_elsewhere(
            lambda: self._try(lambda: self._table.make(shape, elements)), self._give_up
        )

    def _give_up(self) -> None:
        """Says what it means that there is no table, if so."""
        failure, self._failure = self._failure, None
        if failure is None:
            return
        self._is_broken = True
        means = []
        if self._refusing:
            routers = "virtual router" if self._refusing == 1 else "virtual routers"
            means.append(f"the addresses of {self._refusing} {routers} with no_accept answer")
        if self._vmacs:
            means.append("what is sent to the VMACs of backups comes in")
        where = "" if self._place.is_own else f" in {self._place.where}"
        means_what = ", and ".join(means)
        log.error("Packets cannot be filtered%s: %s. So %s", where, failure.strerror, means_what)

    def _try(self, change: Callable[[], None]) -> None:
        try:
            change()
        except OSError as error:
            self._failure = error

    def _settle_igmp(self, disables: bool) -> None:
        if disables:
            self._sysctls.change(LOCAL_REPORTS, "0")
        elif LOCAL_REPORTS in self._sysctls.originals:
            self._sysctls.restore([LOCAL_REPORTS])


def _shape_of(configuration: Configuration) -> Shape:
    firewall = configuration.definitions.firewall
    return Shape(
        firewall.table if firewall.uses_nftables else TABLE, firewall.priority, firewall.counts
    )


def _refused_of(model: VirtualRouter) -> Iterator[Element]:
    """What is refused of a virtual router."""
    if not model.accept:
        for address in model.all_addresses:
            link = link_of(model, address)
            if has_word_for(link):
                yield refused(address.address, link)
