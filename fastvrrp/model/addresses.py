"""Addresses that move with a master, or stay, and the peers that adverts go to."""

from __future__ import annotations

from fastvrrp.model.frozen import dataclass
from fastvrrp.model.units import Address, Family, Nanoseconds


@dataclass(frozen=True, slots=True)
class VirtualAddress:
    """An address that moves with the master (`virtual_ipaddress`, `virtual_ipaddress_excluded`).

    Also one that stays (`static_ipaddress`).
    """

    family: Family
    address: Address
    prefixlen: int
    interface: str | None = None
    """`dev`: None is the virtual router's own interface (its VMAC when it has one). A static
    address always has one."""
    broadcast: Address | None = None
    scope: int | None = None
    """rtnetlink scope (RT_SCOPE_*); None lets the kernel's default for the address stand."""
    label: str | None = None
    peer: Address | None = None
    """Address of the other end of a point-to-point link; `prefixlen` is that address's."""
    flags: int = 0
    """IFA_F_* of linux/if_addr.h that were written (`home`, ...). IFA_F_NODAD is `-nodad`: that
    flag, which an IPv6 address has otherwise, is not wanted."""
    preferred_lifetime: Nanoseconds | None = None
    """`preferred_lft`; None is for ever. An IPv6 /128 has 0 unless written otherwise: it is
    deprecated, so that it is not chosen as a source address."""
    is_tracked: bool = True
    """False with `no_track`: the address may vanish without consequence."""
    use_vmac: bool = False
    """The address is on a VMAC of `interface` that is not the virtual router's own."""
    track_group: str | None = None
    """Of a static address: the group of instances that track it."""


@dataclass(frozen=True, slots=True)
class UnicastPeer:
    """One entry of `unicast_peer`."""

    address: Address
    min_ttl: int = 0
    max_ttl: int = 255


@dataclass(frozen=True, slots=True)
class Prefix:
    """A network, or with a whole prefix length one address."""

    address: Address
    prefixlen: int
