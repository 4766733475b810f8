"""Everything that the kernel says of the links and addresses of a network namespace at once."""

from __future__ import annotations

from typing import NamedTuple

from fastvrrp._rtmessage import AddressEvent, LinkEvent
from fastvrrp._rtnetlink import Channel
from fastvrrp.kernel.addresses import PROTOCOL


class AddressKey(NamedTuple):
    """What tells two addresses of one link apart."""

    family: int
    address: bytes
    prefixlen: int


class Dump(NamedTuple):
    """Every link and address of a namespace at one moment."""

    links: dict[int, LinkEvent]
    """By ifindex."""
    addresses: dict[int, dict[AddressKey, AddressEvent]]
    """By the ifindex of their link, oldest first; without those that carry our mark."""
    placed: set[tuple[int, bytes]]
    """The ifindex and the address of all that there are, with or without our mark."""


def dump_of(channel: Channel) -> Dump:
    """Asks for it. OSError where the kernel's table never stood still."""
    links = {link.ifindex: link for link in channel.dump_links()}
    addresses: dict[int, dict[AddressKey, AddressEvent]] = {index: {} for index in links}
    placed = set()
    for address in channel.dump_addresses():
        placed.add((address.ifindex, address.address))
        # An address on a link that is younger than the dump of links will be told of again.
        if address.ifindex in addresses and address.protocol != PROTOCOL:
            addresses[address.ifindex][key_of(address)] = address
    return Dump(links, addresses, placed)


def key_of(event: AddressEvent) -> AddressKey:
    """What tells the address of an event apart from others of its link."""
    return AddressKey(event.family, event.address, event.prefixlen)
