"""The live picture of one network namespace's links and addresses.

`Links` hears the kernel's notifications and tells its subscribers of *changes*: what the kernel
says twice is told once. The monitor is opened before the first dump is read, so nothing falls
between them; what is then heard a second time is no change. When the kernel drops notifications
(ENOBUFS), the picture is compared with a new dump, and the differences are told as if they had been
heard. With thousands of links that takes longer than adverts can wait, so whoever has a loop asks
for the dump in another thread and compares in steps (`on_overrun`). Nothing is read then until that
is over, nor before the first picture.

An error in one who is told of a change is logged. The others are told all the same, and the picture
is what the kernel has said.

A rename is told as VANISHED under the old name and APPEARED under the new one, since a
configuration knows interfaces by name; the link and its addresses stand under the same ifindex all
the while.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from enum import Enum
from errno import EBADF
from socket import AF_INET, AF_INET6
from typing import TypeVar

from fastvrrp._rtmessage import AddressEvent, LinkEvent
from fastvrrp._rtnetlink import Channel, Monitor, Overrun
from fastvrrp.kernel.addresses import PROTOCOL
from fastvrrp.kernel.link_dump import AddressKey, Dump, dump_of, key_of
from fastvrrp.kernel.primary_address import IFA_F_SECONDARY, primary_of

log = logging.getLogger(__name__)

# linux/if.h
IFF_UP = 0x1
IFF_RUNNING = 0x40
VRF = "vrf"
"""The kind of a link whose ports have a routing table of their own."""

Opened = TypeVar("Opened", Channel, Monitor)

FAMILIES: tuple[int, int] = (AF_INET, AF_INET6)

# Notifications handled in one `read`; the rest leaves the descriptor readable, so that a storm of
# them does not keep the event loop from its adverts.
READ_LIMIT = 512
BACKLOG = 65_536
"""Notifications: no receive buffer of a Monitor holds more."""

Address = tuple[int, bytes]
"""A family and an address in network order."""


class Change(Enum):
    """What has become different about a link."""

    APPEARED = "appeared"
    """It is new, or new under this name; whether it is up is in the link, and not told apart."""
    VANISHED = "vanished"
    """It is gone, or gone under this name; `Link.name` is still the old one."""
    UP = "up"
    DOWN = "down"
    MAC = "mac"
    PRIMARY_ADDRESS = "primary address"
    """`Links.primary_address` answers otherwise than before, for IPv4 or for IPv6."""


class Link:
    """A link as it is now; the object stays the same for as long as the kernel has the link."""

    __slots__ = (
        "addresses",
        "flags",
        "group",
        "index",
        "is_up",
        "kind",
        "mac",
        "master",
        "mode",
        "mtu",
        "name",
        "operstate",
        "parent",
        "primary",
    )

    def __init__(self, event: LinkEvent) -> None:
        self.addresses: dict[AddressKey, AddressEvent] = {}
        """Oldest first, as the kernel keeps them. Without those that carry our mark: they are never
        primary, and there may be thousands."""
        self.primary: dict[int, bytes | None] = dict.fromkeys(FAMILIES)
        """By family: the primary address that subscribers know of."""
        self.index = event.ifindex
        self.take(event)
        self.is_up = self.is_running
        """Whether a virtual router can work on it. It follows `is_running`, unless `Links.judge`
        says otherwise."""

    def take(self, event: LinkEvent) -> None:
        """Takes over what an event says."""
        self.name = event.name
        self.flags = event.flags
        self.operstate = event.operstate
        self.mac = event.mac
        self.parent = event.parent
        self.kind = event.kind
        self.mtu = event.mtu
        self.group = event.group
        self.mode = event.mode
        self.master = event.master

    @property
    def is_running(self) -> bool:
        """IFF_UP and IFF_RUNNING, which is keepalived's question too. A veth whose peer is down, a
        cable pulled out and a bond without a port are up and not running."""
        return self.flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING

    def has(self, address: Address) -> bool:
        """Whether it has an address, with any length of its prefix and without our mark."""
        return any((key.family, key.address) == address for key in self.addresses)

    def __repr__(self) -> str:
        return f"<Link {self.index} {self.name} {'up' if self.is_up else 'down'}>"


Subscriber = Callable[[Change, Link], None]


class Expected:
    """An address that somebody expects on any link."""

    def __init__(self) -> None:
        self.links: set[int] = set()
        """ifindexes of those that have it."""
        self.subscribers: dict[Hashable, Callable[[], None]] = {}
        """What to call, by who expects it."""


def _attempt(step: Callable[..., object], *arguments: object) -> None:
    """Does one thing of many, which are done also where this one fails."""
    try:
        step(*arguments)
    except Exception:
        log.exception("a change of a link or an address was not followed by all that it should be")


def by_flags(link: Link) -> bool:
    """The ordinary judge: a link counts as what the kernel says it is."""
    return link.is_running


class Links:
    """Every link and address of the namespace in which `start`, or `open`, is called."""

    def __init__(self, virtual_addresses: Collection[Address] = frozenset()) -> None:
        """`virtual_addresses` are never primary. The collection is asked at every address event and
        may change meanwhile; addresses that carry our protocol mark need not be in it."""
        self.virtual_addresses = virtual_addresses
        self.on_virtual_address_gone: Callable[[int, int, bytes], None] = lambda *_: None
        """Called with ifindex, family and address, whoever removed it. No Change: thousands go at
        once with a change of state."""
        self.static_addresses: Collection[Address] = frozenset()
        """Addresses of ours that stay, asked as `virtual_addresses` are."""
        self.on_static_address_gone: Callable[[int, int, bytes], None] = lambda *_: None
        """Called with ifindex, family and address, whoever removed it."""
        self.judge: Callable[[Link], bool] = by_flags
        """Whether a link counts as up, asked whenever the kernel has told of it; `is_up` is still
        what it counted as, or `is_running` of a link that has just appeared."""
        self.on_master: Callable[[], None] = lambda: None
        """Called when a link has become a port of a bridge, bond or VRF, or is none any more, and
        when a VRF has come."""
        self._expected: dict[Address, Expected] = {}
        self.on_overrun: Callable[[], None] = self.catch_up
        """Called when the kernel has dropped notifications: `dump` is to be called then, `compare`
        with what it gives, and `caught_up` at the end, whatever has failed. Until then nothing is
        read."""
        self.is_behind = False
        """What is known is not what the kernel has said: that was called and is not done yet, or
        there is no first picture yet."""
        self._by_index: dict[int, Link] = {}
        self._by_name: dict[str, Link] = {}
        self._subscribers: dict[str | None, list[Subscriber]] = {}
        self._monitor: Monitor | None = None
        self._channel: Channel | None = None

    def start(self) -> None:
        """Opens the sockets and reads the first picture; every link is told as APPEARED."""
        self.open()
        self.begin()

    def open(self) -> None:
        """Opens the sockets, in the namespace of the calling thread."""
        self._monitor = Monitor()
        self._channel = Channel()
        self.is_behind = True

    def begin(self) -> None:
        """Reads the first picture, by the open sockets. OSError as of `dump`."""
        for _ in self.compare(dump_of(self._opened(self._channel))):
            pass
        self.caught_up()

    def close(self) -> None:
        """Closes the sockets; the picture stays as it is."""
        if self._monitor is not None and self._channel is not None:
            self._monitor.close()
            self._channel.close()
        self._monitor = self._channel = None

    def forget(self) -> None:
        """Knows no link any more: every one is told as VANISHED. To be called after `close`."""
        for link in list(self._by_index.values()):
            self._vanish(link)

    def fileno(self) -> int:
        """The descriptor that is readable when `read` has something to do; -1 when not started."""
        return -1 if self._monitor is None else self._monitor.fileno()

    def subscribe(self, subscriber: Subscriber, name: str | None = None) -> None:
        """Tells `subscriber` of changes of the link called `name`, which need not exist, or of
        every link. A change costs a look-up, however many links have subscribers."""
        self._subscribers.setdefault(name, []).append(subscriber)

    def unsubscribe(self, subscriber: Subscriber, name: str | None = None) -> None:
        """Undoes one `subscribe` with the same arguments; ValueError or KeyError without one."""
        self._subscribers[name].remove(subscriber)
        if not self._subscribers[name]:
            del self._subscribers[name]  # names come and go with reloads

    def review(self, link: Link) -> None:
        """Asks the judge again, and tells of the link when it counts as something else now."""
        is_up = self.judge(link)
        if is_up != link.is_up:
            link.is_up = is_up
            self._tell(Change.UP if is_up else Change.DOWN, link)

    def expect(self, address: Address, who: Hashable, on_change: Callable[[], None]) -> None:
        """Calls `on_change` when the first link gets an address, or the last one loses it, from now
        on (`has_address`)."""
        expected = self._expected.get(address)
        if expected is None:
            expected = self._expected[address] = Expected()
            expected.links = {link.index for link in self if link.has(address)}
        expected.subscribers[who] = on_change

    def expect_no_more(self, address: Address, who: Hashable) -> None:
        """Undoes an `expect`."""
        expected = self._expected[address]
        del expected.subscribers[who]
        if not expected.subscribers:
            del self._expected[address]

    def has_address(self, address: Address) -> bool:
        """Whether any link has an address that somebody expects; with our mark it does not
        count."""
        expected = self._expected.get(address)
        return expected is not None and bool(expected.links)

    def by_name(self, name: str) -> Link | None:
        return self._by_name.get(name)

    def by_index(self, ifindex: int) -> Link | None:
        return self._by_index.get(ifindex)

    def __iter__(self) -> Iterator[Link]:
        return iter(self._by_index.values())

    def primary_address(
        self, ifindex: int, family: int, excluding: Collection[Address] | None = None
    ) -> bytes | None:
        """The address that adverts leave with: None where the link has none.

        IPv4: the first address of the widest scope that is not secondary. IPv6: a link-local
        address that is not tentative and has not failed its detection of duplicates, rather one
        that is not deprecated. An address with our mark is never taken, and one in `excluding` (by
        default `virtual_addresses`) only where nothing else is left: without our mark, somebody
        else put it there, and the machine owns it (RFC 9568 section 6.4.1, priority 255).
        """
        link = self._by_index.get(ifindex)
        if link is None:
            return None
        virtual = self.virtual_addresses if excluding is None else excluding
        return primary_of(link.addresses.values(), family, virtual)

    def read(self) -> bool:
        """Takes in what the kernel has told, to be called when `fileno` is readable; True where
        there may be more. See `on_overrun`."""
        if self._monitor is None or self.is_behind:
            return False
        try:
            events = self._monitor.read(READ_LIMIT)
        except Overrun:
            self.is_behind = True
            self.on_overrun()
            return False
        for event in events:
            _attempt(self._take_link if isinstance(event, LinkEvent) else self._take_address, event)
        return len(events) == READ_LIMIT

    def dump(self) -> Dump:
        """Every link and address after an overrun; in any thread. OSError where the kernel's table
        never stood still, or where `close` was called."""
        self._forget_notifications()
        return dump_of(self._opened(self._channel))

    def compare(self, dump: Dump) -> Iterator[None]:
        """Makes the picture that of a dump, and tells the differences. It may stop between any two
        steps, and is not to go on after `close`."""
        for index in list(self._by_index):
            if index not in dump.links:
                _attempt(self._vanish, self._by_index[index])
            yield
        # Links may have swapped names: every old name goes before the first new one comes.
        for event in dump.links.values():
            link = self._by_index.get(event.ifindex)
            if link is not None and link.name != event.name:
                _attempt(self._leave_name, link)
            yield
        for event in dump.links.values():
            self._make_like(event, dump.addresses[event.ifindex])
            yield

    def caught_up(self) -> None:
        """What was asked for after an overrun is over: notifications are read again."""
        self.is_behind = False

    def catch_up(self) -> None:
        """Asks for everything and compares, in one step. OSError as of `dump`."""
        try:
            for _ in self.compare(self.dump()):
                pass
        finally:
            self.caught_up()

    def _forget_notifications(self) -> None:
        """Throws away notifications older than the dump that will follow. Newer ones may come as
        fast as they are read: what a receive buffer holds is enough."""
        for _ in range(BACKLOG // READ_LIMIT):
            try:
                if not self._opened(self._monitor).read(READ_LIMIT):
                    return
            except Overrun:
                continue

    @staticmethod
    def _opened(it: Opened | None) -> Opened:
        if it is None:
            raise OSError(EBADF, "the sockets are closed")
        return it

    def _make_like(self, event: LinkEvent, addresses: dict[AddressKey, AddressEvent]) -> None:
        """Makes one link like that of a dump."""
        link = self._by_index.get(event.ifindex)
        if link is None:
            link = self._by_index[event.ifindex] = Link(event)
        before, link.addresses = link.addresses, addresses
        is_named = self._by_name.get(event.name) is link
        if is_named:
            _attempt(self._take_link, event)
        else:
            link.take(event)
        _attempt(self._look_for_all, link, before.keys() | addresses.keys())
        if is_named:
            self._tell_primaries(link)
        else:
            self._settle_primaries(link)
            _attempt(self._appear, link)

    def _take_link(self, event: LinkEvent) -> None:
        link = self._by_index.get(event.ifindex)
        if event.removed:
            if link is not None:
                self._vanish(link)
            return
        if link is None:
            link = self._by_index[event.ifindex] = Link(event)
            self._appear(link)
            return
        old_mac, old_master = link.mac, link.master
        if link.name != event.name:
            self._leave_name(link)
            link.take(event)
            self._appear(link)
            return
        link.take(event)
        if link.master != old_master:
            _attempt(self.on_master)
        if link.mac != old_mac:
            self._tell(Change.MAC, link)
        self.review(link)

    def _take_address(self, event: AddressEvent) -> None:
        link = self._by_index.get(event.ifindex)
        if link is None:
            return
        key = key_of(event)
        old = link.addresses.get(key)
        if event.protocol == PROTOCOL:
            if event.removed:
                self.on_virtual_address_gone(link.index, event.family, event.address)
            if old is None:
                return
            del link.addresses[key]  # it was somebody else's, and has our mark now
        elif event.removed:
            if old is None:
                return
            del link.addresses[key]
            if self._is_virtual(event.family, event.address):
                self.on_virtual_address_gone(link.index, event.family, event.address)
            if (event.family, event.address) in self.static_addresses:
                self.on_static_address_gone(link.index, event.family, event.address)
        else:
            if old is not None and (old.flags ^ event.flags) & IFA_F_SECONDARY:
                # The kernel puts a secondary address that it promotes behind the primary ones.
                del link.addresses[key]
            link.addresses[key] = event
        if self._expected:
            self._look_for(link, (event.family, event.address))
        # A virtual address comes and goes with every change of state. The link's other addresses,
        # which may be hundreds, need to be looked through for it only where it could be primary.
        primary = link.primary[event.family]
        if (
            primary is not None
            and self._is_virtual(event.family, event.address)
            and not self._is_virtual(event.family, primary)
        ):
            return
        self._tell_primaries(link)

    def _look_for_all(self, link: Link, addresses: Iterable[AddressKey]) -> None:
        """Looks for those that a link has or had: a few, however many are expected."""
        if self._expected:
            for address in {(key.family, key.address) for key in addresses}:
                self._look_for(link, address)

    def _look_for(self, link: Link, address: Address) -> None:
        """Tells those who expect an address when it has come, or is gone from every link."""
        expected = self._expected.get(address)
        if expected is None:
            return
        was_there = bool(expected.links)
        if link.index in self._by_index and link.has(address):
            expected.links.add(link.index)
        else:
            expected.links.discard(link.index)
        if bool(expected.links) != was_there:
            for on_change in tuple(expected.subscribers.values()):
                _attempt(on_change)

    def _is_virtual(self, family: int, address: bytes) -> bool:
        return (family, address) in self.virtual_addresses

    def _settle_primaries(self, link: Link) -> bool:
        """Looks for the primary addresses again; True where one is another than before."""
        primary = {family: self.primary_address(link.index, family) for family in FAMILIES}
        changed = primary != link.primary
        link.primary = primary
        return changed

    def _tell_primaries(self, link: Link) -> None:
        if self._settle_primaries(link):
            self._tell(Change.PRIMARY_ADDRESS, link)

    def _appear(self, link: Link) -> None:
        self._by_name[link.name] = link
        link.is_up = link.is_running
        link.is_up = self.judge(link)
        if link.master or link.kind == VRF:
            _attempt(self.on_master)
        self._tell(Change.APPEARED, link)

    def _vanish(self, link: Link) -> None:
        del self._by_index[link.index]
        self._look_for_all(link, link.addresses)
        link.flags &= ~(IFF_UP | IFF_RUNNING)
        link.is_up = False
        self._leave_name(link)

    def _leave_name(self, link: Link) -> None:
        # A notification older than the last dump can have given the name to another link, for the
        # moment until the notifications that follow it are read.
        if self._by_name.get(link.name) is link:
            del self._by_name[link.name]
            self._tell(Change.VANISHED, link)

    def _tell(self, change: Change, link: Link) -> None:
        for name in (link.name, None):
            for subscriber in tuple(self._subscribers.get(name, ())):
                _attempt(subscriber, change, link)
