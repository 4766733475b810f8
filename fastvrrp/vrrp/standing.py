"""Addresses of masters in one network namespace: where they stand, and what is on its way there."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from weakref import WeakSet

from fastvrrp.kernel.addresses import AddressBatch, AddressQueue, Applied, Placed, Span
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place, Survey

SLICE = 2_000_000
"""Nanoseconds of addresses at a time, once the daemon stops."""


class _Later:
    """Of whom something was given to the kernel since the dump of a survey was asked for."""

    def __init__(self) -> None:
        self.keys: set[Hashable] = set()


class Standing:
    """What stands, and a queue of what is to."""

    def __init__(
        self,
        place: Place,
        on_applied: Callable[[Applied], None],
        on_queued: Callable[[Standing], None],
        wake: Callable[[], None],
    ) -> None:
        """`on_queued` is called with this when `send` has something to do, and `wake` when the
        kernel has carried something out."""
        self.place = place
        self.queue = AddressQueue(place.channel, on_applied)
        self._on_queued = on_queued
        self._wake = wake
        self._owners: dict[int, dict[bytes, int]] = {}
        """Addresses by ifindex: the index of the master whose they are, or its complement (`~`)
        where nobody is to miss the address (`no_track`)."""
        self._on_its_way: Span | None = None
        self._surveys: WeakSet[_Later] = WeakSet()
        """Of those surveys that somebody still has."""

    def master_of(self, ifindex: int, address: bytes) -> int | None:
        """The index of the master whose address stands on an interface."""
        index = self._owners.get(ifindex, {}).get(address)
        return ~index if index is not None and index < 0 else index

    def loser_of(self, ifindex: int, address: bytes) -> int | None:
        """The index of the master that loses an address which it tracks, if one does."""
        index = self._owners.get(ifindex, {}).get(address)
        return None if index is None or index < 0 else index

    def survey(self, gone: Callable[[int, bytes], None]) -> Survey:
        """Looks for what should stand since before a dump that is about to be made; `gone` is
        called with what is not there. What was on its way to the kernel then, or was added later,
        need not be in it."""
        later = _Later()
        self._surveys.add(later)

        def compare(found: set[tuple[int, bytes]]) -> Iterator[None]:
            for ifindex, addresses in list(self._owners.items()):
                for address in list(addresses):
                    index = addresses.get(address, -1)
                    is_missing = index >= 0 and (ifindex, address) not in found
                    if is_missing and index not in later.keys and index not in self.queue:
                        gone(ifindex, address)
                    yield

        return compare

    def stand(self, instance: Instance) -> None:
        """Adds a master's addresses, and knows them from now on."""
        self._know(instance)
        self.put(instance.index, instance.batch, add=True)

    def take_over(self, instance: Instance, found: Mapping[Placed, bool]) -> bool:
        """Knows the addresses of a master whom another process has left, and adds them all if any
        is missing; True where none is. `found` are those that stood at the start, and whether each
        has our mark."""
        batch = instance.batch
        placed = [
            Placed(ifindex, address.family, address.address, address.prefixlen)
            for address, ifindex in batch.placed
        ]
        if batch.found is not None:
            # Without our mark it is the machine's own.
            batch.found.update(
                (i, not found[place]) for i, place in enumerate(placed) if place in found
            )
        if not all(place in found for place in placed):
            self.stand(instance)
            return False
        self._know(instance)
        return True

    def _know(self, instance: Instance) -> None:
        """Knows where a master's addresses are to be as those that stand."""
        self.forget(instance.index, instance.standing)
        instance.standing = instance.batch
        for address, ifindex in instance.standing.placed:
            index = instance.index if address.is_tracked else ~instance.index
            self._owners.setdefault(ifindex, {})[address.address] = index

    def forget(self, index: int, batch: AddressBatch) -> None:
        """Knows the addresses of a batch no more as those of a master."""
        for address, ifindex in batch.placed:
            # Another one may have taken it over meanwhile.
            owners = self._owners.get(ifindex, {})
            if owners.get(address.address) in (index, ~index):
                del owners[address.address]

    def put(self, key: Hashable, batch: AddressBatch, add: bool) -> None:
        """Queues the addition or removal of a batch."""
        self.queue.put(key, batch, add)
        self._on_queued(self)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits or is on its way."""
        return not self.queue and self._on_its_way is None

    def send(self) -> None:
        """Hands the next addresses to the other thread, one span at a time."""
        if self._on_its_way is None:
            self._on_its_way = self.queue.take()
            if self._on_its_way is not None:
                for later in self._surveys:
                    later.keys |= self._on_its_way.keys
                self.place.run_elsewhere(self._on_its_way.run, self._take_back)

    def take_back(self) -> None:
        """The other thread has ended."""
        if self._on_its_way is not None:
            self.queue.finish(self._on_its_way)

    def finish(self) -> None:
        """Does everything that is queued, however long it takes."""
        if self.queue:
            with self.place.inside():
                while self.queue.drain(SLICE):
                    pass

    def _take_back(self) -> None:
        span, self._on_its_way = self._on_its_way, None
        if span is not None:
            self.queue.finish(span)
        self._on_queued(self)
        self._wake()
