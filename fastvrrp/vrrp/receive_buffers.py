"""`vrrp_rx_bufs_policy`, `vrrp_rx_bufs_multiplier` and `kernel_rx_buf_size`: how much of what is
heard may wait until it is read.

The sizes are keepalived's, which has a socket an interface, and adds up the virtual routers that
share it. One socket hears a whole family here, so all virtual routers of the family share it. Where
nothing is written the buffer is large (ext/sockets.pyx); memory is taken only by what waits.
Each network namespace has sockets of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from socket import AF_INET, AF_INET6

from fastvrrp.model import BufferPolicy, Buffers, Configuration, VirtualRouter
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.roster import Roster

LEAST = 2048
"""Bytes of a virtual router, whatever is written: the kernel takes twice the number, and counts
some 1,000 for the shortest packet, so this is room for four adverts."""
USUAL_MTU = 1500
"""Of an interface that is not there yet."""
STRIDE = 500
"""Instances that are looked at in one step of a reload."""


class ReceiveBuffers(Follower):
    """Gives the receivers of a family, in each network namespace, the size that its virtual routers
    want.

    `resize(place, family, size)` sets them, in bytes; None is the size where nothing is written.
    """

    def __init__(
        self,
        roster: Roster,
        resize: Callable[[Place, int, int | None], None],
    ) -> None:
        self._roster = roster
        self._resize = resize
        self._buffers = Buffers()
        self._is_stale = False

    def configure(self, configuration: Configuration) -> None:
        buffers = configuration.definitions.buffers
        if buffers != self._buffers:
            self._buffers = buffers
            self._is_stale = True

    def enter(self, instance: Instance) -> None:
        self._is_stale |= self._is_written(instance.model)

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        self._is_stale |= self._is_written(instance.model) or self._is_written(old)

    def leave(self, instance: Instance) -> None:
        self._is_stale |= self._is_written(instance.model)

    def settle(self) -> Iterator[None]:
        if not self._is_stale:
            return
        self._is_stale = False
        wanted: dict[tuple[Place, int], int] = {}
        are_any = self._buffers.adverts != BufferPolicy.SYSTEM
        instances = iter(list(self._roster.instances.values()))
        while some := list(islice(instances, STRIDE)):
            for instance in some:
                if self._roster.is_leaving(instance):
                    continue
                key = instance.place, AF_INET6 if instance.model.family == AF_INET6 else AF_INET
                wanted[key] = wanted.get(key, 0) + max(self._size(instance), LEAST)
                are_any |= self._is_written(instance.model)
            yield
        for (place, family), size in wanted.items():
            self._resize(place, family, size if are_any else None)

    def _is_written(self, model: VirtualRouter) -> bool:
        return (
            model.options.receive_buffer is not None or self._buffers.adverts != BufferPolicy.SYSTEM
        )

    def _size(self, instance: Instance) -> int:
        """Bytes for one virtual router; 0 where nothing is written."""
        model = instance.model
        if model.options.receive_buffer is not None:
            return model.options.receive_buffer
        if self._buffers.adverts == BufferPolicy.BYTES:
            return self._buffers.adverts_size or 0
        if self._buffers.adverts == BufferPolicy.MTU:
            link = instance.place.links.by_name(model.interface)
            mtu = USUAL_MTU if link is None else link.mtu
            return mtu * self._buffers.adverts_multiplier
        if self._buffers.adverts == BufferPolicy.ADVERT:
            return advert_size(model) * self._buffers.adverts_multiplier
        return 0


def advert_size(model: VirtualRouter) -> int:
    """Bytes of an advert with its IP header."""
    header, address = (40, 16) if model.family == AF_INET6 else (20, 4)
    authentication = 8 if model.version == 2 else 0
    return header + 8 + address * len(model.addresses) + authentication
