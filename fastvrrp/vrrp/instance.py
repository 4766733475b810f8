"""One virtual router as it stands on this machine: its interface, its addresses' places.

The configuration says what a virtual router is (model.VirtualRouter), the engine when its state
changes. Between them stands the machine: the interface may be missing or down, have no address yet,
or change its MAC. An `Instance` knows whether everything the router needs is there, and hands the
engine what its frames are made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from ipaddress import ip_address
from socket import AF_INET, AF_INET6
from types import MappingProxyType

from fastvrrp._engine import Engine
from fastvrrp.kernel.addresses import AddressBatch
from fastvrrp.kernel.links import Link, Links
from fastvrrp.kernel.macvlan import ipv6_gate
from fastvrrp.kernel.sysctl import path_of, read
from fastvrrp.model import AddressVmac, VirtualAddress, VirtualRouter
from fastvrrp.vrrp.place import ANYWHERE, Place

PRIORITY_OWNER = 255  # RFC 9568 section 5.2.4


class Lack(Enum):
    """Why a virtual router cannot take part."""

    NAMESPACE = "{namespace}"
    INTERFACE = "interface {interface} does not exist"
    DOWN = "interface {interface} is down"
    VRF = "VRF {vrf} is down or missing"
    NUMBER = "the ifindex of interface {interface} is above 1048575, too high for fastvrrp"
    MAC = "interface {interface} is not an Ethernet interface"
    ADDRESS = "interface {interface} has no {kind} address to send from"
    SOURCE = "src address {source} not configured"
    VMAC = "VMAC interface {vmac} does not exist"
    VMAC_DOWN = "VMAC interface {vmac} is down"
    OTHER_LINK = "another interface that is to have an address is down or missing"
    GROUP = "the multicast group cannot be joined on {interface}"
    IPVLAN = (
        "IPv4 ipvlan requires a source ip address to be configured. setting instance to fault state"
    )
    PEER = "Cannot use unicast without any peers - going to fault state"
    HELD = "{faults}"


_NO_MAC = bytes(6)
"""Of adverts that are routed."""
NO_ADDRESSES = AddressBatch((), ())
NO_FAULTS: Mapping[str, str] = MappingProxyType({})
VMAC_IS_COMING = -1
"""Instead of an ifindex: the VMAC is being made, and will be told of."""


class Pending(str):
    """Why an instance does not begin yet, though nothing has failed. One that has begun goes on."""

    __slots__ = ()


def link_of(model: VirtualRouter, address: VirtualAddress) -> str:
    """Name of the link on which an address stands, when it does."""
    # An ipvlan has an address of its own, for adverts, and no other.
    own = model.vmac.name if model.vmac is not None and model.vmac.mac else model.interface
    if address.use_vmac:
        vmac = _vmac_of(model, address)
        return vmac.name if vmac is not None else own
    if address.interface is None and address.family == model.family:
        return own
    return address.interface or model.interface


def _vmac_of(model: VirtualRouter, address: VirtualAddress) -> AddressVmac | None:
    """The VMAC of an address that uses one; None where that is the virtual router's own."""
    interface = address.interface or model.interface
    for vmac in model.options.address_vmacs:
        if (vmac.interface, vmac.family) == (interface, address.family):
            return vmac
    return None


class Instance:
    """Runtime side of one `vrrp_instance`."""

    __slots__ = (
        "batch",
        "extra_targets",
        "faults",
        "index",
        "is_coming",
        "lack",
        "listens_on",
        "model",
        "place",
        "priority",
        "quiet_until",
        "standing",
        "term",
        "vmac_ifindex",
        "vmac_is_down",
    )

    def __init__(self, model: VirtualRouter, index: int, place: Place) -> None:
        self.model = model
        self.place = place
        """The network namespace where it is."""
        self.index = index
        """In the table."""
        self.is_coming = True
        """It has not begun: what holds it now does so from its start."""
        self.priority = model.priority
        """The effective one, which is what its adverts have."""
        self.faults = NO_FAULTS
        """What holds it in FAULT although the machine has all it needs: why, for a person, by
        cause."""
        self.lack: Lack | None = None
        """What keeps it from taking part."""
        self.listens_on = 0
        """ifindex whose multicast group is joined for it; 0 is none."""
        self.vmac_ifindex = 0
        """0 while there is no VMAC, or none is wanted; or VMAC_IS_COMING."""
        self.vmac_is_down = False
        """Somebody set it down."""
        self.batch = NO_ADDRESSES
        """Where its addresses belong, as things are."""
        self.standing = NO_ADDRESSES
        """What was last added to the kernel."""
        self.extra_targets: tuple[int, ...] = ()
        """Positions of the engine's targets to repeat for `garp_extra_if`."""
        self.term = 0
        """Counts changes to and from master, so that what waits for one term ends with it."""
        self.quiet_until = 0
        """Until when another master of lower priority is not answered with announcements again, in
        nanoseconds of the engine's clock."""

    def describe_lack(self) -> str:
        """What is missing, for a person."""
        if self.lack is None:
            return "nothing is missing"
        return self.lack.value.format(
            interface=self.place.called(self.model.interface),
            namespace=self.place.fault,
            faults="; ".join(self.faults.values()),
            source=ip_address(self.model.source_address or b"\0\0\0\0"),
            kind="link-local" if self.model.family == AF_INET6 else "IPv4",
            vrf=self.place.called(self.model.options.vrf or ""),
            vmac=self.model.vmac.name if self.model.vmac else "",
        )

    @property
    def essential_links(self) -> tuple[str, ...]:
        """Names of the links without which the router cannot take part."""
        own = self.model.vmac
        return (
            self.home,
            *(() if own is None else (own.name,)),
            *self.other_links(),
        )

    @property
    def home(self) -> str:
        """Name of the link on which its adverts come and go; empty where that is no one link."""
        return self.model.interface or self.model.options.vrf or ""

    def other_links(self) -> Iterator[str]:
        """Names of interfaces that are to have its addresses, but for those with `no_track`."""
        for address in self.model.all_addresses:
            if address.interface is not None and address.is_tracked:
                yield address.interface

    def find_lack(self, links: Links) -> Lack | None:
        """What the router lacks now; None where it can take part."""
        if self.model.options.faults_without_peer and not self.model.unicast_peers:
            return Lack.PEER
        if self.place.fault is not None:
            return Lack.NAMESPACE
        if self.is_ipvlan_without_source:
            return Lack.IPVLAN
        lack = self._find_lack_of_link(links)
        if lack is not None:
            return lack
        if self.model.vmac is not None and self.vmac_ifindex == 0:
            return Lack.VMAC
        if self.vmac_is_down:
            return Lack.VMAC_DOWN
        if self.source(links) is None:
            return Lack.ADDRESS
        expected = self.expected_source
        if expected is not None and not links.has_address(expected):
            return Lack.SOURCE
        if any(_is_down(links, name) for name in self.other_links()):
            return Lack.OTHER_LINK
        return Lack.HELD if self.faults else None

    def _find_lack_of_link(self, links: Links) -> Lack | None:
        """What the link lacks on which its adverts come and go."""
        link = links.by_name(self.home)
        if not self.model.interface:
            is_there = link is not None and link.is_up
            return None if is_there or not self.home else Lack.VRF
        if link is None:
            return Lack.INTERFACE
        if not link.is_up and self.model.tracks_interface:
            return Lack.DOWN
        if not self.place.has_number(link.index):
            return Lack.NUMBER
        return Lack.MAC if len(link.mac) != 6 else None

    def listening(self, links: Links) -> int:
        """ifindex of the link on which its adverts come, or ANYWHERE; 0 while there is none."""
        link = links.by_name(self.home)
        if link is not None:
            return link.index
        return 0 if self.home else ANYWHERE

    @property
    def is_ipvlan_without_source(self) -> bool:
        """Only an IPv6 one has an address by itself."""
        return (
            self.model.options.ipvlan is not None
            and self.model.family == AF_INET
            and self.model.source_address is None
        )

    @property
    def expected_source(self) -> tuple[int, bytes] | None:
        """The address without which it cannot take part (`track_src_ip`), with its family."""
        if not self.model.options.tracks_source or self.model.source_address is None:
            return None
        return self.model.family, self.model.source_address

    @property
    def only_waits(self) -> bool:
        """What holds it is nothing but what is not known yet."""
        return all(isinstance(why, Pending) for why in self.faults.values())

    def source(self, links: Links) -> bytes | None:
        """The address that adverts leave with, packed."""
        if self.model.source_address is not None:
            return self.model.source_address
        if self.model.options.ipvlan is not None:
            return links.primary_address(self.vmac_ifindex, self.model.family)
        link = links.by_name(self.model.interface)
        return None if link is None else links.primary_address(link.index, self.model.family)

    def attach(self, engine: Engine, links: Links) -> None:
        """Gives the engine what it needs to send for the router, which must lack nothing."""
        ifindex, source = self.listening(links), self.source(links)
        if not ifindex or source is None:
            raise ValueError(f"({self.model.name}) {self.describe_lack()}")
        vmac = self.model.vmac
        mac = _NO_MAC if vmac is None or vmac.transmit_on_parent else vmac.mac
        link = links.by_name(self.model.interface)
        if mac is _NO_MAC and link is not None:
            mac = link.mac
        engine.attach(self.index, self.place.number_of(ifindex), mac, source)

    def settle_addresses(self, engine: Engine, links: Links) -> None:
        """Finds the interface of every address, for adding and announcing; an address whose
        interface is missing is left out until it appears."""
        placed: list[VirtualAddress] = []
        ifindexes: list[int] = []
        targets: list[tuple[int, bytes, int, bytes, bool]] = []
        extra: dict[int, int] = {}
        wanted = self.model.all_addresses
        own = self._own_ifindex(links)
        for address in wanted:
            link, ifindex, mac, on_vmac = self._home(address, links)
            if link is None:
                continue
            placed.append(address)
            ifindexes.append(ifindex)
            if len(mac) != 6 or not self.place.has_number(link.index):
                continue
            if ifindex != own and (self.model.announcements.extra_interface_all or on_vmac):
                # One frame is enough for the switch to remember where the MAC is.
                extra.setdefault(ifindex, len(targets))
            targets.append(
                (
                    6 if address.family == AF_INET6 else 4,
                    address.address,
                    self.place.number_of(link.index),
                    mac,
                    address.family == AF_INET6 and self._forwards_ipv6(link.name),
                )
            )
        self.batch = AddressBatch(
            # Where none is left out the model's own tuple does: there may be 65,280 of them.
            wanted if len(placed) == len(wanted) else placed,
            ifindexes,
            self._gates(placed),
            spares_found=self.model.priority == PRIORITY_OWNER,
        )
        self.extra_targets = tuple(extra.values())
        engine.set_targets(self.index, targets)

    def _forwards_ipv6(self, link: str) -> bool:
        if not self.place.is_open:
            return False  # its links are told anew when it is
        with self.place.inside():
            return read(path_of("ipv6", link, "forwarding")) not in (None, "0")

    def _own_ifindex(self, links: Links) -> int:
        """Of the link that has the addresses for which nothing else is said."""
        if self.model.vmac is not None and self.model.vmac.mac:
            return self.vmac_ifindex
        link = links.by_name(self.model.interface)
        return link.index if link is not None else 0

    def _gates(self, addresses: Iterable[VirtualAddress]) -> tuple[str, ...]:
        """What has to be opened before VMACs can have IPv6 addresses."""
        if not self.model.has_vmacs:
            return ()
        names = {
            link_of(self.model, address) for address in addresses if address.family == AF_INET6
        }
        return tuple(ipv6_gate(name) for name in self.model.vmac_names if name in names)

    def _home(self, address: VirtualAddress, links: Links) -> tuple[Link | None, int, bytes, bool]:
        """The link on which an address is announced, the ifindex on which it stands, the MAC that
        hosts shall believe, and whether that is a VMAC's."""
        name = link_of(self.model, address)
        own = self.model.vmac
        if own is not None and name == own.name:
            # The VMAC has the address; the frames leave through its parent.
            parent = links.by_name(self.model.interface) if self.vmac_ifindex > 0 else None
            return parent, self.vmac_ifindex, own.mac, True
        link = links.by_name(name)
        vmac = _vmac_of(self.model, address) if address.use_vmac else None
        parent = link if vmac is None else links.by_name(vmac.interface)
        if link is None or parent is None or (vmac is not None and link.mac != vmac.mac):
            return None, 0, b"", False
        return parent, link.index, link.mac, vmac is not None


def _is_down(links: Links, name: str) -> bool:
    link = links.by_name(name)
    return link is None or not link.is_up
