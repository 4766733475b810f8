"""rtnetlink's messages about addresses and links: requests encoded, what is heard decoded.

Families are AF_INET and AF_INET6, addresses are packed in network order (4 or 16 bytes), interfaces
are ifindexes of the namespace in which the socket was opened, flags are those of linux/if.h (links)
and linux/if_addr.h (addresses). Sources: rtnetlink(7), linux/if_link.h.
"""

from typing import NamedTuple

class LinkEvent(NamedTuple):
    """A link as the kernel tells of it, in a dump (`removed` is False) or in a notification."""

    removed: bool
    ifindex: int
    name: str
    flags: int
    """IFF_*, with IFF_LOWER_UP and IFF_DORMANT."""
    operstate: int
    """IF_OPER_* (RFC 2863)."""
    mac: bytes
    """Link-layer address, usually six bytes; empty where the link has none."""
    parent: int
    """ifindex of the link below (IFLA_LINK); 0 is none, or one in another namespace."""
    kind: str
    """"macvlan", "vlan", "veth" and so on; empty for hardware."""
    mtu: int
    group: int
    mode: int
    """MACVLAN_MODE_*, or IPVLAN_MODE_* and, 16 bits above, IPVLAN_F_*; 0 for every other kind."""
    alias: str
    """A name for people; empty where nobody gave one."""
    master: int
    """ifindex of the bridge, bond or VRF whose port it is (IFLA_MASTER); 0 is none."""

class AddressEvent(NamedTuple):
    """An address as the kernel tells of it, in a dump (`removed` is False) or in a notification."""

    removed: bool
    family: int
    ifindex: int
    address: bytes
    """The local address; not the peer's of a point-to-point address."""
    prefixlen: int
    scope: int
    """RT_SCOPE_*."""
    flags: int
    """All 32 bits of IFA_F_*."""
    label: str
    """IPv4 only."""
    protocol: int
    """IFA_PROTO: who made it; 0 where nobody said, and always 0 before Linux 5.18."""

def encode_address(
    add: bool,
    family: int,
    ifindex: int,
    address: bytes,
    prefixlen: int,
    *,
    broadcast: bytes | None = None,
    peer: bytes | None = None,
    scope: int | None = None,
    label: str | None = None,
    preferred_lifetime: int | None = None,
    flags: int = 0,
    protocol: int = 0,
) -> bytes:
    """One request to add or remove an address, to be sent by `Channel.apply` any number of times.

    An address that is there already is left as it is and answered with EEXIST; one that is not is
    answered with EADDRNOTAVAIL. `preferred_lifetime` is in seconds (0: deprecated; the address
    stays valid for ever), `flags` are IFA_F_*, `protocol` is IFA_PROTO. A removal names the
    address, its length and its interface only. ValueError where an address, length or label is
    none.
    """

def encode_macvlan(name: str, parent: int, mac: bytes, mode: int, group: int) -> bytes:
    """A request to make a macvlan on the link `parent`, down; `mode` is MACVLAN_MODE_*."""

def encode_ipvlan(name: str, parent: int, flags: int, group: int) -> bytes:
    """A request to make an ipvlan of mode L2 on the link `parent`, down; `flags` are IPVLAN_F_*."""

def encode_link(
    ifindex: int,
    *,
    up: bool | None = None,
    group: int | None = None,
    addr_gen_mode: int | None = None,
    alias: str | None = None,
) -> bytes:
    """A request to change a link; None leaves a thing as it is. `addr_gen_mode` is
    IN6_ADDR_GEN_MODE_*. One request brings a link up before it sets the mode."""

def encode_link_removal(*, ifindex: int = 0, group: int = 0) -> bytes:
    """A request to remove one link, or every link of a group. ValueError unless exactly one is
    named: the kernel would take group 0 for every link of the machine."""

def decode(data: bytes) -> list[LinkEvent | AddressEvent]:
    """The events in any bytes; what is malformed or about something else is left out."""
