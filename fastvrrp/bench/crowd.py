"""Whom `fastvrrp bench load` plays: virtual routers on interfaces of this machine, and their
adverts as Ethernet frames."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastvrrp._rtnetlink import Channel
from fastvrrp._wire import encode, ethernet, multicast_mac
from fastvrrp.bench.case import VRIDS, CaseError

# RFC 9568 sections 5.1.1.2 and 5.1.2.2
GROUPS = {4: bytes([224, 0, 0, 18]), 6: b"\xff\x02" + bytes(13) + b"\x12"}
AF = {4: socket.AF_INET, 6: socket.AF_INET6}
ETHERTYPES = {4: 0x0800, 6: 0x86DD}
IP_HEADERS = {4: 20, 6: 40}
IFF_UP = 1
RT_SCOPE_LINK = 253
SECOND = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Port:
    """An interface to speak on."""

    name: str
    ifindex: int
    mac: bytes
    sources: dict[int, bytes]
    """Our own address there, packed, by family (4 or 6); the link-local one for 6."""


def ports_of(names: Sequence[str]) -> list[Port]:
    """In the order of the names. Raises CaseError where there is no such interface in this
    namespace, or it is down."""
    channel = Channel()
    try:
        links = {link.name: link for link in channel.dump_links()}
        sources: dict[int, dict[int, bytes]] = {}
        for address in channel.dump_addresses():
            found = sources.setdefault(address.ifindex, {})
            if address.family == socket.AF_INET:
                found.setdefault(4, address.address)
            elif address.scope == RT_SCOPE_LINK:
                found.setdefault(6, address.address)
    finally:
        channel.close()
    ports = []
    for name in names:
        link = links.get(name)
        if link is None:
            raise CaseError(f"there is no interface {name}")
        if not link.flags & IFF_UP:
            raise CaseError(f"{name} is down: ip link set {name} up")
        ports.append(Port(name, link.ifindex, link.mac, sources.get(link.ifindex, {})))
    return ports


@dataclass(frozen=True)
class VirtualRouter:
    """One whom we play, or who answers."""

    port: Port
    number: int
    """Of the interface, counted from 0 as they were named."""
    family: int
    vrid: int

    @property
    def key(self) -> int:
        """As in Recording."""
        return self.port.ifindex << 16 | self.family << 8 | self.vrid

    @property
    def name(self) -> str:
        return f"{self.port.name} IPv{self.family} {self.vrid}"


def spread(ports: Sequence[Port], families: Sequence[int], count: int) -> list[VirtualRouter]:
    """`count` virtual routers, evenly over interfaces, then families; VRIDs from 1 on. Raises
    CaseError where there are not so many VRIDs."""
    most = len(ports) * len(families) * VRIDS
    if not 1 <= count <= most:
        raise CaseError(
            f"{count} virtual routers: it must be 1 to {most}, {VRIDS} an interface and family;"
            " name more interfaces with -i"
        )
    places = [(port, number, family) for family in families for number, port in enumerate(ports)]
    return [
        VirtualRouter(*places[each % len(places)], each // len(places) + 1) for each in range(count)
    ]


@dataclass(frozen=True)
class Speech:
    """What the adverts say."""

    version: int
    interval: float
    """Seconds."""
    addresses: Mapping[int, str]
    """The virtual address by family, with {interface} (its number) and {vrid} in it."""

    def frame(
        self,
        router: VirtualRouter,
        priority: int,
        *,
        vrid: int | None = None,
        addresses: Sequence[bytes] | None = None,
        ttl: int = 255,
        password: bytes = b"",
        interval: float | None = None,
        version: int | None = None,
    ) -> bytes:
        """A right advert, but for what is said otherwise. Raises CaseError where the virtual router
        cannot speak."""
        family = router.family
        source = router.port.sources.get(family)
        if source is None:
            raise CaseError(f"{router.port.name} has no IPv{family} address to speak from")
        packet = encode(
            family=family,
            version=version or self.version,
            vrid=vrid or router.vrid,
            priority=priority,
            interval=round((interval or self.interval) * SECOND),
            source=source,
            destination=GROUPS[family],
            addresses=[self.virtual_address(router)] if addresses is None else addresses,
            auth_type=1 if password else 0,
            password=password,
            ttl=ttl,
        )
        return framed(router, packet)

    def virtual_address(self, router: VirtualRouter) -> bytes:
        """Packed. Raises CaseError where the text is no address of the family."""
        template = self.addresses[router.family]
        try:
            text = template.format(interface=router.number, vrid=router.vrid)
            return socket.inet_pton(AF[router.family], text)
        except (KeyError, IndexError, ValueError, OSError):
            raise CaseError(
                f"{template}: no virtual address of IPv{router.family} comes of it; it may have"
                " {interface} and {vrid} in it, or {vrid:x} for its hexadecimal digits"
            ) from None


def framed(router: VirtualRouter, packet: bytes) -> bytes:
    group = multicast_mac(GROUPS[router.family])
    return ethernet(group, router.port.mac, ETHERTYPES[router.family]) + packet
