"""What is an ipvlan's own (`use_ipvlan`), beside what it has in common with VMACs (macvlan.py).

An ipvlan has the address from which adverts are sent, and nothing else: the virtual addresses are
on the link below, as keepalived has it. It has that link's MAC, so a switch never has to learn
another place of it, and nothing has to be kept from speaking or hearing while its virtual router is
backup. What comes in is told apart by its address: in mode L2 the link below takes multicast
itself, so adverts are heard there.

The flags are those of all ipvlans of one link: the last one that is made sets them. A link cannot
have macvlans besides; Linux refuses that.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastvrrp._rtmessage import LinkEvent, encode_address, encode_ipvlan
from fastvrrp.kernel.addresses import IFA_F_NODAD, PROTOCOL

IPVLAN_MODE_L2 = 0  # linux/if_link.h


@dataclass(frozen=True, slots=True)
class Ipvlan:
    """An ipvlan of mode L2."""

    flags: int
    """IPVLAN_F_* of linux/if_link.h; 0 is a bridge of its own."""
    family: int
    address: bytes | None
    """Packed; None is the link-local address that the kernel gives it."""
    prefixlen: int

    def encode(self, name: str, parent: int, group: int) -> bytes:
        """A request to make it on the link `parent`, down."""
        return encode_ipvlan(name, parent, self.flags, group)

    def encode_address(self, ifindex: int) -> bytes:
        """A request to add its own address, which must be there."""
        assert self.address is not None
        return encode_address(
            True,
            self.family,
            ifindex,
            self.address,
            self.prefixlen,
            flags=IFA_F_NODAD if len(self.address) == 16 else 0,
            protocol=PROTOCOL,
        )

    def is_right(self, link: LinkEvent) -> bool:
        """Whether a link is such an ipvlan, whatever flags another one gave it."""
        return link.kind == "ipvlan" and link.mode & 0xFFFF == IPVLAN_MODE_L2
