"""The vocabulary of the whole house: what a configuration says, as frozen values.

Units are in the names' docstrings: every time is an integer of nanoseconds, every address is packed
in network order (4 bytes for IPv4, 16 for IPv6), every family is AF_INET or AF_INET6. A value
that the configuration did not give carries its default already, so that no reader needs to know
defaults.

The words are those of keepalived.conf(5) and RFC 9568.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

NANOSECOND = 1
MILLISECOND = 1_000_000
SECOND = 1_000_000_000


class State(IntEnum):
    """State of a virtual router; the numbers are those of keepalived's dumps."""

    INIT = 0
    BACKUP = 1
    MASTER = 2
    FAULT = 3


class Authentication(IntEnum):
    """Authentication of VRRPv2, numbered as on the wire (RFC 2338 section 5.3.6)."""

    NONE = 0
    PASS = 1
    AH = 2


@dataclass(frozen=True, slots=True)
class VirtualAddress:
    """An address that moves with the master (`virtual_ipaddress`, `virtual_ipaddress_excluded`)."""

    family: int
    address: bytes
    prefixlen: int
    interface: str | None = None
    """`dev`: None is the virtual router's own interface (its VMAC when it has one)."""
    broadcast: bytes | None = None
    scope: int | None = None
    """rtnetlink scope (RT_SCOPE_*); None lets the kernel's default for the address stand."""
    label: str | None = None
    peer: bytes | None = None
    """Address of the other end of a point-to-point link; `prefixlen` is that address's."""
    flags: int = 0
    """IFA_F_* of linux/if_addr.h that were written (`home`, `-nodad`, ...)."""
    preferred_lifetime: int | None = None
    """Nanoseconds (`preferred_lft`); None is for ever. An IPv6 /128 has 0 unless written otherwise:
    it is deprecated, so that it is not chosen as a source address."""
    is_tracked: bool = True
    """False with `no_track`: the address may vanish without consequence."""
    use_vmac: bool = False
    """The address has a VMAC of its own on `interface`."""
    track_group: str | None = None
    """Of a static address: the group of instances that track it."""


@dataclass(frozen=True, slots=True)
class UnicastPeer:
    """One entry of `unicast_peer`."""

    address: bytes
    min_ttl: int = 0
    max_ttl: int = 255


@dataclass(frozen=True, slots=True)
class Vmac:
    """`use_vmac`: a macvlan that carries the virtual MAC."""

    name: str
    """Name of the interface, chosen by keepalived's rules when the configuration gives none."""
    mac: bytes
    """Six bytes: 00:00:5e:00:01:VRID (IPv4) or 00:00:5e:00:02:VRID (IPv6) unless configured."""
    transmit_on_parent: bool = False
    """`vmac_xmit_base`: adverts leave with the parent interface's own MAC."""


@dataclass(frozen=True, slots=True)
class Announcements:
    """Gratuitous ARP and unsolicited neighbour advertisements of one virtual router (`garp_*`)."""

    master_delay: int = 5 * SECOND
    """Nanoseconds until the second set after becoming master; 0 is no second set."""
    master_repeat: int = 5
    """Messages an address in one set."""
    lower_prio_delay: int = 5 * SECOND
    """Nanoseconds until the second set after an advert of lower priority; 0 is none."""
    lower_prio_repeat: int = 5
    master_refresh: int = 0
    """Nanoseconds between refreshes while master; 0 is no refreshing."""
    master_refresh_repeat: int = 1
    extra_interface_interval: int = 0
    """`garp_extra_if`: nanoseconds between messages on interfaces other than the virtual
    router's; 0 is none."""
    extra_interface_all: bool = False
    """`garp_extra_if all`: also where that interface is no VMAC."""


@dataclass(frozen=True, slots=True)
class VirtualRouter:
    """One `vrrp_instance`."""

    name: str
    interface: str
    vrid: int
    family: int
    version: int = 2
    priority: int = 100
    state: State = State.BACKUP
    """Configured initial state: MASTER or BACKUP."""
    advert_interval: int = SECOND
    """Nanoseconds (`advert_int`): whole seconds for VRRPv2, hundredths for VRRPv3."""
    preempt: bool = True
    preempt_delay: int = 0
    """Nanoseconds."""
    down_timer_adverts: int = 3
    authentication: Authentication = Authentication.NONE
    password: bytes = b""
    """`auth_pass`, at most eight bytes."""
    addresses: tuple[VirtualAddress, ...] = ()
    """Advertised addresses, in the order of the configuration."""
    excluded_addresses: tuple[VirtualAddress, ...] = ()
    """Addresses that move with the master but are not in the advert."""
    source_address: bytes | None = None
    """`mcast_src_ip` or `unicast_src_ip`; None is the interface's primary address (IPv4) or its
    link-local address (IPv6)."""
    multicast_group: bytes = b""
    """Where adverts go when there is no unicast peer."""
    unicast_peers: tuple[UnicastPeer, ...] = ()
    unicast_ttl: int = 255
    vmac: Vmac | None = None
    accept: bool = True
    tracks_interface: bool = True
    """False with `dont_track_primary`."""
    lower_prio_no_advert: bool = False
    higher_prio_send_advert: bool = False
    skips_known_addresses: bool = False
    """`skip_check_adv_addr`: the address list is compared only when the master changes."""
    checks_unicast_source: bool = False
    v3_checksum_as_v2: bool = False
    """The checksum of an IPv4 VRRPv3 advert leaves out the pseudo-header."""
    announcements: Announcements = field(default_factory=Announcements)

    @property
    def all_addresses(self) -> tuple[VirtualAddress, ...]:
        """Every address that moves with the master, advertised or not."""
        return self.addresses + self.excluded_addresses


@dataclass(frozen=True, slots=True)
class GlobalDefinitions:
    """What `global_defs` says to the whole daemon; defaults of instances are applied already."""

    router_id: str = ""
    garp_interval: int = 0
    """Nanoseconds between two gratuitous ARPs on one interface; 0 is none."""
    gna_interval: int = 0
    """Nanoseconds between two unsolicited neighbour advertisements on one interface."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A whole configuration that was read without an error."""

    definitions: GlobalDefinitions = field(default_factory=GlobalDefinitions)
    virtual_routers: tuple[VirtualRouter, ...] = ()
