"""Virtual addresses put on links and taken off them, many at a time and never for long.

What a change of state asks for is queued, a batch a virtual router, and drained in slices between
the daemon's ticks, so that a thousand addresses do not keep an advert waiting. A request is encoded
when it is about to be sent: that takes less than a microsecond, where the kernel needs 16 to 20 to
carry it out, and the requests of 65,280 virtual routers would take 28 MB to keep.

What we add carries PROTOCOL in IFA_PROTO (Linux 5.18 and newer; older kernels leave it unread),
which `ip -d address` shows as `proto 112`. That is how it is found again after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from errno import EADDRNOTAVAIL, EEXIST, EIO, ENODEV
from functools import lru_cache
from itertools import islice
from socket import AF_INET6
from time import monotonic_ns
from typing import NamedTuple

from fastvrrp._rtmessage import AddressEvent, encode_address
from fastvrrp._rtnetlink import Channel
from fastvrrp.kernel import sysctl
from fastvrrp.model import SECOND, VirtualAddress

PROTOCOL = 112
"""Our mark on an address (IFA_PROTO): VRRP's number among the protocols of IP."""
STATIC_PROTOCOL = 113
"""Our mark on an address that stays, and from which adverts may leave."""

# linux/if_addr.h
IFA_F_NODAD = 0x02

# Answers that mean the address is as it should be.
_GOOD_ANSWERS = {True: (EEXIST,), False: (EADDRNOTAVAIL, ENODEV)}

# Requests in one span: enough that handing it to a thread costs little, and few enough that what
# is asked for meanwhile need not wait long.
_SPAN = 256
# The same for `drain`, which looks at the clock between two spans.
_SLICE = 16
_UNBOUNDED_NS = 1 << 62


def encode(address: VirtualAddress, ifindex: int, add: bool, protocol: int = PROTOCOL) -> bytes:
    """One request, as keepalived would make it; the address carries `protocol`.

    No IPv4 broadcast address unless one is configured. No detection of duplicates for IPv6: the
    old master may be alive still, and the address has to work at once. `-nodad` says otherwise.
    """
    lifetime = address.preferred_lifetime
    is_ipv6 = address.family == AF_INET6
    return encode_address(
        add,
        address.family,
        ifindex,
        address.address,
        address.prefixlen,
        broadcast=address.broadcast,
        peer=address.peer,
        scope=address.scope,
        label=address.label,
        preferred_lifetime=None if lifetime is None else lifetime // SECOND,
        flags=address.flags ^ (IFA_F_NODAD if is_ipv6 else 0),
        protocol=protocol,
    )


class AddressBatch:
    """The addresses of one virtual router where they belong, to be added and removed together."""

    __slots__ = ("addresses", "found", "gates", "ifindexes")

    def __init__(
        self,
        addresses: Iterable[VirtualAddress],
        ifindexes: Iterable[int],
        gates: tuple[str, ...] = (),
        *,
        spares_found: bool = False,
    ) -> None:
        """Each address has the ifindex of its link. `gates` are the parameters that disable
        IPv6 on VMACs (`macvlan.ipv6_gate`) where IPv6 addresses are on some: they are opened before
        these are added, and shut before they are removed, which takes them off without a sound.
        An address that was there already when we came is removed all the same, as keepalived
        does; but not with `spares_found`: an address owner's are the machine's own."""
        self.gates = gates
        self.addresses = tuple(addresses)
        self.ifindexes = _shared(tuple(ifindexes))
        self.found: dict[int, bool] | None = {} if spares_found else None
        """By position: whether an address was there already when we came, where that matters."""

    def follow(self, other: AddressBatch) -> None:
        """Takes over what is known of the addresses of `other`, which it replaces while they stand:
        what we have added ourselves is not found."""
        if self.found is not None and other is not self:
            known = other.found or {}
            before = {place: known.get(i, False) for i, place in enumerate(other.placed)}
            for position, place in enumerate(self.placed):
                if place in before:
                    self.found.setdefault(position, before[place])

    @property
    def placed(self) -> Iterator[tuple[VirtualAddress, int]]:
        """Each address with the ifindex of its link."""
        return zip(self.addresses, self.ifindexes, strict=True)

    def request(self, position: int, add: bool) -> bytes:
        """What adds or removes the address at `position`."""
        return encode(self.addresses[position], self.ifindexes[position], add)

    def without(self, other: AddressBatch) -> AddressBatch:
        """Those of its addresses, with their links, that `other` does not have."""
        theirs = set(other.placed)
        ours = [item for item in enumerate(self.placed) if item[1] not in theirs]
        left = AddressBatch([place[0] for _, place in ours], [place[1] for _, place in ours])
        if self.found is not None:
            found = self.found
            left.found = {n: found.get(position, False) for n, (position, _) in enumerate(ours)}
        return left


@lru_cache(4096)
def _shared(ifindexes: tuple[int, ...]) -> tuple[int, ...]:
    """The one tuple for all that are equal: most virtual routers of an interface have the same."""
    return ifindexes


class Placed(NamedTuple):
    """An address on a link."""

    ifindex: int
    family: int
    address: bytes
    prefixlen: int


class Failure(NamedTuple):
    """An address that could not be added or removed."""

    address: VirtualAddress
    errno: int


class Applied(NamedTuple):
    """A batch that the kernel has carried out."""

    key: Hashable
    added: bool
    """False: removed."""
    failures: tuple[Failure, ...]


@dataclass(slots=True)
class _Entry:
    key: Hashable
    batch: AddressBatch
    add: bool
    done: int
    failures: list[Failure]

    def must_stay(self, position: int) -> bool:
        """Whether an address is not ours to remove."""
        found = self.batch.found
        return not self.add and found is not None and found.get(position, False)


@dataclass(slots=True)
class Span:
    """Some requests from the head of a queue, on their way to the kernel.

    `run` blocks as long as the kernel does, which may be long: every change of a link or an address
    anywhere on the machine waits for one lock (rtnl). So it may be called in any one thread, and is
    to be given back to `AddressQueue.finish` afterwards.
    """

    channel: Channel
    gates: list[tuple[_Entry, tuple[str, ...]]] = field(default_factory=list)
    """Gates to open or shut, each for a batch of which nothing is done yet."""
    owners: list[tuple[_Entry, int]] = field(default_factory=list)
    """The batches' addresses that this span is about, by their position in the batch."""
    requests: list[bytes] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """Which of `owners` each request is for."""
    errors: list[tuple[int, int]] = field(default_factory=list)
    """(index of the request, errno)."""
    stuck: list[tuple[_Entry, int]] = field(default_factory=list)
    """Batches whose gate did not move, and errno."""

    @property
    def keys(self) -> set[Hashable]:
        """Whose addresses it is about."""
        return {entry.key for entry, _ in self.owners}

    def run(self) -> None:
        """Has the kernel carry out every request."""
        for entry, gates in self.gates:
            try:
                for gate in gates:
                    sysctl.write(gate, "0" if entry.add else "1")
            except OSError as error:
                self.stuck.append((entry, error.errno or EIO))
        try:
            self.channel.apply(self.requests, 0, _UNBOUNDED_NS)
        except OSError as error:
            self.errors += [(i, error.errno or EIO) for i in range(len(self.requests))]
        self.errors += self.channel.take_errors()


class AddressQueue:
    """What is still to be added and removed, in the order in which it was asked for.

    `take` gives the next requests, `finish` takes them back when the kernel has carried them out;
    `drain` does both. One span is on its way at a time.
    """

    def __init__(self, channel: Channel | None, on_applied: Callable[[Applied], None]) -> None:
        """`on_applied` hears of every batch that was carried out, once, from within `finish`; it
        may `put` more. Without a channel there is nothing to be put but what is empty."""
        self.channel = channel
        self._on_applied = on_applied
        self._entries: dict[Hashable, _Entry] = {}
        self._gates: dict[Hashable, tuple[_Entry, tuple[str, ...]]] = {}

    def __len__(self) -> int:
        """Batches not carried out yet."""
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        """Whether something of a key is not carried out yet."""
        return key in self._entries

    def put(self, key: Hashable, batch: AddressBatch, add: bool) -> None:
        """Queues the addition or removal of a batch. What the same key still has in the queue is
        left undone, since the newer wish holds; so a queue is never longer than its keys."""
        self.discard(key)
        if batch.addresses:
            entry = self._entries[key] = _Entry(key, batch, add, 0, [])
            if batch.gates:
                self._gates[key] = (entry, batch.gates)
        else:
            self._on_applied(Applied(key, add, ()))

    def discard(self, key: Hashable) -> None:
        """Leaves undone what `key` still has in the queue."""
        self._entries.pop(key, None)
        self._gates.pop(key, None)

    def take(self, limit: int = _SPAN) -> Span | None:
        """The next requests, at most `limit`; None where there are none.

        All gates come before the first address. Linux walks every IPv6 route when IPv6 is enabled
        on a link: for 4,080 that takes 0.3 s, and with the addresses in between 1.4 s.
        """
        if not self._entries:
            return None
        assert self.channel is not None
        span = Span(self.channel)
        if self._gates:
            for key in list(islice(self._gates, limit)):
                span.gates.append(self._gates.pop(key))
            return span
        for entry in self._entries.values():
            end = min(len(entry.batch.addresses), entry.done + limit - len(span.owners))
            for position in range(entry.done, end):
                span.owners.append((entry, position))
                if not entry.must_stay(position):
                    span.asked.append(len(span.owners) - 1)
                    span.requests.append(entry.batch.request(position, entry.add))
            if len(span.owners) == limit:
                break
        return span if span.owners else None

    def finish(self, span: Span) -> None:
        """Takes note of what became of a span.

        An address that was there already counts as added; one that was not, or whose link is gone,
        counts as removed.
        """
        for entry, errno in span.stuck:
            entry.failures += [Failure(address, errno) for address in entry.batch.addresses]
        for index, errno in span.errors:
            entry, position = span.owners[span.asked[index]]
            if entry.add and errno == EEXIST and entry.batch.found is not None:
                entry.batch.found.setdefault(position, True)
            if errno not in _GOOD_ANSWERS[entry.add]:
                entry.failures.append(Failure(entry.batch.addresses[position], errno))
        failed = {span.asked[index] for index, _ in span.errors}
        for asked in span.asked:
            entry, position = span.owners[asked]
            if entry.batch.found is None:
                continue
            if not entry.add:
                entry.batch.found.pop(position, None)
            elif asked not in failed:
                entry.batch.found.setdefault(position, False)
        finished: list[_Entry] = []
        for entry, position in span.owners:
            entry.done = position + 1
            if entry.done == len(entry.batch.addresses):
                finished.append(entry)
        for entry in finished:
            # `put` may have put something newer in its place.
            if self._entries.get(entry.key) is entry:
                del self._entries[entry.key]
                self._on_applied(Applied(entry.key, entry.add, tuple(entry.failures)))
        if not self._entries:
            self._entries = {}  # one that was emptied keeps the room for all that were in it

    def drain(self, budget_ns: int) -> bool:
        """Works for about `budget_ns` nanoseconds; True where something is left to do."""
        deadline = monotonic_ns() + budget_ns
        while (span := self.take(_SLICE)) is not None:
            span.run()
            self.finish(span)
            if monotonic_ns() >= deadline:
                break
        return bool(self._entries)


def found_in(dump: Iterable[AddressEvent]) -> dict[Placed, bool]:
    """Every address, and whether it has our mark."""
    return {
        Placed(event.ifindex, event.family, event.address, event.prefixlen): event.protocol
        == PROTOCOL
        for event in dump
    }


def leftovers(
    wanted: Collection[Placed], dump: Iterable[AddressEvent], unmarked: Collection[Placed] = ()
) -> list[bytes]:
    """Requests that remove what a crash has left: every address with a mark of ours that is not
    `wanted`.

    `unmarked` are addresses that are taken for ours without a mark, unless they are wanted: what
    keepalived left when we take its place, or we ourselves before Linux 5.18. keepalived takes
    every configured virtual address for its own and removes it when it starts.
    """
    requests: list[bytes] = []
    for event in dump:
        placed = Placed(event.ifindex, event.family, event.address, event.prefixlen)
        is_marked = event.protocol in (PROTOCOL, STATIC_PROTOCOL)
        if placed in wanted or not (is_marked or placed in unmarked):
            continue
        requests.append(
            encode_address(False, event.family, event.ifindex, event.address, event.prefixlen)
        )
    return requests
