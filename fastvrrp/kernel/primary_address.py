"""Which of a link's addresses adverts leave with."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from socket import AF_INET

from fastvrrp._rtmessage import AddressEvent

# linux/if_addr.h
IFA_F_SECONDARY = 0x01
IFA_F_OPTIMISTIC = 0x04
IFA_F_DADFAILED = 0x08
IFA_F_DEPRECATED = 0x20
IFA_F_TENTATIVE = 0x40


def primary_of(
    addresses: Iterable[AddressEvent], family: int, virtual: Collection[tuple[int, bytes]]
) -> bytes | None:
    """That address of a family, or None; see `Links.primary_address`. `virtual` are families and
    addresses that are taken only where nothing else is left."""
    best: AddressEvent | None = None
    best_rank = (2, 0)
    for address in addresses:
        if address.family != family:
            continue
        if not (_is_ipv4_primary(address) if family == AF_INET else _is_link_local(address)):
            continue
        is_virtual = (family, address.address) in virtual
        preference = (
            address.scope if family == AF_INET else int(bool(address.flags & IFA_F_DEPRECATED))
        )
        rank = (int(is_virtual), preference)
        if rank < best_rank:
            best, best_rank = address, rank
    return None if best is None else best.address


def _is_ipv4_primary(address: AddressEvent) -> bool:
    return not address.flags & IFA_F_SECONDARY


def _is_link_local(address: AddressEvent) -> bool:
    if address.address[0] != 0xFE or address.address[1] & 0xC0 != 0x80:  # RFC 4291 section 2.5.6
        return False
    if address.flags & IFA_F_DADFAILED:
        return False
    return not address.flags & IFA_F_TENTATIVE or bool(address.flags & IFA_F_OPTIMISTIC)
