"""Virtual addresses put on links and taken off them, many at a time and never for long.

Every request is encoded once, when the configuration is loaded. What a change of state asks for is
queued, a batch a virtual router, and drained in slices between the daemon's ticks, so that a
thousand addresses do not keep an advert waiting.

What we add carries PROTOCOL in IFA_PROTO (Linux 5.18 and newer; older kernels leave it unread),
which `ip -d address` shows as `proto 112`. That is how it is found again after a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from errno import EADDRNOTAVAIL, EEXIST, ENODEV
from socket import AF_INET6
from time import monotonic_ns
from typing import NamedTuple

from fastvrrp._rtnetlink import AddressEvent, Channel, encode_address
from fastvrrp.kernel import sysctl
from fastvrrp.model import VirtualAddress

PROTOCOL = 112
"""Our mark on an address (IFA_PROTO): VRRP's number among the protocols of IP."""

# linux/if_addr.h
IFA_F_NODAD = 0x02

# Answers that mean the address is as it should be.
_GOOD_ANSWERS = {True: (EEXIST,), False: (EADDRNOTAVAIL, ENODEV)}

# Requests given to the channel in one go. It looks at the clock itself; this bounds only the list
# that is made for it.
_SPAN = 256


def encode(address: VirtualAddress, ifindex: int, add: bool) -> bytes:
    """One request, as keepalived would make it.

    No IPv4 broadcast address unless one is configured. No detection of duplicates for IPv6: the
    old master may be alive still, and the address has to work at once. An IPv6 address of full
    length is deprecated, so that the machine does not choose it for connections of its own.
    """
    is_ipv6 = address.family == AF_INET6
    return encode_address(
        add,
        address.family,
        ifindex,
        address.address,
        address.prefixlen,
        broadcast=address.broadcast,
        scope=address.scope,
        label=address.label,
        preferred_lifetime=0 if is_ipv6 and address.prefixlen == 128 else None,
        flags=IFA_F_NODAD if is_ipv6 else 0,
        protocol=PROTOCOL,
    )


class AddressBatch:
    """The requests of one virtual router, both ways, ready to be sent any number of times."""

    __slots__ = ("additions", "addresses", "gate", "removals")

    def __init__(
        self, addresses: Iterable[tuple[VirtualAddress, int]], gate: str | None = None
    ) -> None:
        """Each address comes with the ifindex of its link. `gate` is the parameter that disables
        IPv6 on a VMAC (`macvlan.ipv6_gate`) where IPv6 addresses are on one: it is opened before
        they are added, and shut before they are removed, which takes them off without a sound."""
        self.gate = gate
        placed = tuple(addresses)
        self.addresses = tuple(address for address, _ in placed)
        self.additions = tuple(encode(address, ifindex, True) for address, ifindex in placed)
        self.removals = tuple(encode(address, ifindex, False) for address, ifindex in placed)


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

    @property
    def requests(self) -> Sequence[bytes]:
        return self.batch.additions if self.add else self.batch.removals


class AddressQueue:
    """What is still to be added and removed, in the order in which it was asked for."""

    def __init__(self, channel: Channel, on_applied: Callable[[Applied], None]) -> None:
        """`on_applied` hears of every batch that was carried out, once, from within `drain`; it may
        `put` more."""
        self._channel = channel
        self._on_applied = on_applied
        self._entries: dict[Hashable, _Entry] = {}

    def __len__(self) -> int:
        """Batches not carried out yet."""
        return len(self._entries)

    def put(self, key: Hashable, batch: AddressBatch, add: bool) -> None:
        """Queues the addition or removal of a batch. What the same key still has in the queue is
        left undone, since the newer wish holds; so a queue is never longer than its keys."""
        self._entries.pop(key, None)
        if batch.addresses:
            self._entries[key] = _Entry(key, batch, add, 0, [])
        else:
            self._on_applied(Applied(key, add, ()))

    def discard(self, key: Hashable) -> None:
        """Leaves undone what `key` still has in the queue."""
        self._entries.pop(key, None)

    def drain(self, budget_ns: int) -> bool:
        """Works for about `budget_ns` nanoseconds; True where something is left to do.

        An address that is there already counts as added; one that is not, or whose link is gone,
        counts as removed.
        """
        deadline = monotonic_ns() + budget_ns
        while self._entries:
            self._apply_span(deadline)
            if monotonic_ns() >= deadline:
                break
        return bool(self._entries)

    def _apply_span(self, deadline: int) -> None:
        """Carries out the requests at the head of the queue."""
        requests: list[bytes] = []
        owners: list[tuple[_Entry, int]] = []
        for entry in self._entries.values():
            if entry.done == 0 and entry.batch.gate is not None:
                if requests and monotonic_ns() >= deadline:
                    break
                sysctl.write(entry.batch.gate, "0" if entry.add else "1")
            wanted = entry.requests[entry.done : entry.done + _SPAN - len(requests)]
            requests += wanted
            owners += [(entry, entry.done + i) for i in range(len(wanted))]
            if len(requests) == _SPAN:
                break
        sent = self._channel.apply(requests, 0, deadline - monotonic_ns())
        for index, errno in self._channel.take_errors():
            entry, position = owners[index]
            if errno not in _GOOD_ANSWERS[entry.add]:
                entry.failures.append(Failure(entry.batch.addresses[position], errno))
        finished: list[_Entry] = []
        for entry, position in owners[:sent]:
            entry.done = position + 1
            if entry.done == len(entry.requests):
                finished.append(entry)
        for entry in finished:
            # `on_applied` may have put something newer in the place of one that follows.
            if self._entries.get(entry.key) is entry:
                del self._entries[entry.key]
                self._on_applied(Applied(entry.key, entry.add, tuple(entry.failures)))


def leftovers(
    wanted: Collection[Placed], dump: Iterable[AddressEvent], unmarked: Collection[Placed] = ()
) -> list[bytes]:
    """Requests that remove what a crash has left: every address with our mark that is not `wanted`.

    `unmarked` are addresses that are taken for ours without a mark, unless they are wanted: what
    keepalived left when we take its place, or we ourselves before Linux 5.18. keepalived takes
    every configured virtual address for its own and removes it when it starts.
    """
    requests: list[bytes] = []
    for event in dump:
        placed = Placed(event.ifindex, event.family, event.address, event.prefixlen)
        if placed in wanted or not (event.protocol == PROTOCOL or placed in unmarked):
            continue
        requests.append(
            encode_address(False, event.family, event.ifindex, event.address, event.prefixlen)
        )
    return requests
