"""One virtual router (`vrrp_instance`).

There may be 65,280 of them, so what most do not write is in objects that they share: equal ones are
one object.
"""

from __future__ import annotations

from enum import IntEnum

from fastvrrp.model.addresses import UnicastPeer, VirtualAddress
from fastvrrp.model.frozen import dataclass
from fastvrrp.model.hmac import Hmac
from fastvrrp.model.notification import Notifications
from fastvrrp.model.routes import Route, Rule
from fastvrrp.model.tracking import Tracked
from fastvrrp.model.units import SECOND, Address, Family, Mac, Nanoseconds, Secret

MOST_NAMESPACES = 2047
"""Network namespaces in which one daemon can be, beside its own (ext/sockets.pyx)."""


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
class Vmac:
    """`use_vmac`: a macvlan that carries the virtual MAC; or what `use_ipvlan` makes, which carries
    its parent's."""

    name: str
    """Name of the interface, chosen by keepalived's rules when the configuration gives none."""
    mac: Mac
    """Six bytes: 00:00:5e:00:01:VRID (IPv4) or 00:00:5e:00:02:VRID (IPv6) unless configured. None
    of an ipvlan."""
    transmit_on_parent: bool = False
    """`vmac_xmit_base`: adverts leave with the parent interface's own MAC."""


@dataclass(frozen=True, slots=True)
class AddressVmac:
    """A macvlan of addresses alone: on another interface than the virtual router's, or of the other
    family (`use_vmac` of an address, `use_vmac_addr`)."""

    name: str
    interface: str
    """The link below."""
    family: Family
    mac: Mac


@dataclass(frozen=True, slots=True)
class Announcements:
    """Gratuitous ARP and unsolicited neighbour advertisements of one virtual router (`garp_*`)."""

    master_delay: Nanoseconds = 5 * SECOND
    """Until the second set after becoming master; 0 is no second set."""
    master_repeat: int = 5
    """Messages an address in one set."""
    lower_prio_delay: Nanoseconds = 5 * SECOND
    """Until the second set after an advert of lower priority; 0 is none."""
    lower_prio_repeat: int = 5
    master_refresh: Nanoseconds = 0
    """Between refreshes while master; 0 is no refreshing."""
    master_refresh_repeat: int = 1
    extra_interface_interval: Nanoseconds = 0
    """`garp_extra_if`: between messages on interfaces other than the virtual
    router's; 0 is none."""
    extra_interface_all: bool = False
    """`garp_extra_if all`: also where that interface is no VMAC."""


class OldChecksum(IntEnum):
    """`old_unicast_checksum`: checksum of unicast VRRPv3 adverts as before keepalived 1.3.6."""

    DETECTED = 0
    """Taken where a peer's adverts have it."""
    ALWAYS = 1
    NEVER = 2


class IpvlanMode(IntEnum):
    """IPVLAN_F_* of linux/if_link.h."""

    BRIDGE = 0
    PRIVATE = 1
    VEPA = 2


@dataclass(frozen=True, slots=True)
class Ipvlan:
    """`use_ipvlan`: an ipvlan instead of a VMAC."""

    address: Address | None = None
    """Its own, which adverts leave with. None is its link-local address (IPv6), or none (IPv4)."""
    prefixlen: int = 0
    mode: IpvlanMode = IpvlanMode.BRIDGE


@dataclass(frozen=True, slots=True)
class InstanceOptions:
    """What few instances write; equal ones are one object."""

    notifications: Notifications = Notifications()
    routes: tuple[Route, ...] = ()
    """`virtual_routes`: routes that the master has."""
    rules: tuple[Rule, ...] = ()
    """`virtual_rules`: rules that the master has."""
    is_strict: bool = False
    """`strict_mode`, by default `vrrp_strict`."""
    promotes_secondaries: bool = False
    tracks_source: bool = False
    """`track_src_ip`: a source address that is not there is a fault."""
    faults_without_peer: bool = False
    """`unicast_fault_no_peer`."""
    old_checksum: OldChecksum = OldChecksum.DETECTED
    timer_expired_priority: int | None = None
    """`timer_expired_backup`: a master that finds its process stood still becomes backup to
    whoever has this priority at least; None stays master."""
    namespace: str | None = None
    """`net_namespace`: where it is, if not in the daemon's own network namespace."""
    vrf: str | None = None
    """Where its adverts come and go, if it has no interface; None is where no VRF is."""
    ipvlan: Ipvlan | None = None
    address_vmacs: tuple[AddressVmac, ...] = ()
    """VMACs of those addresses that use one of their own; one for an interface and family."""
    vmac_group: int | None = None
    """`group` of `use_vmac` or `use_ipvlan`: the kernel's number of a group of interfaces."""
    notifies_of_vmac: bool = False
    """`netlink_notify_msg` of `use_vmac`."""
    hmac: Hmac | None = None
    receive_buffer: int | None = None
    """`kernel_rx_buf_size`, in bytes; None follows `vrrp_rx_bufs_policy`."""
    sync_daemon_interface: str | None = None
    """`lvs_sync_daemon_interface`: that of a sync daemon which follows this virtual router, where
    `lvs_sync_daemon` gives no other."""
    polls_link: bool = False
    """`linkbeat_use_polling`."""
    debug: int = 0


@dataclass(frozen=True, slots=True)
class VirtualRouter:
    """One `vrrp_instance`."""

    name: str
    interface: str
    """Empty where the routing table decides, as it may for adverts to unicast peers."""
    vrid: int
    family: Family
    version: int = 2
    priority: int = 100
    state: State = State.BACKUP
    """Configured initial state: MASTER or BACKUP."""
    advert_interval: Nanoseconds = SECOND
    """`advert_int`: whole seconds for VRRPv2, hundredths for VRRPv3."""
    preempt: bool = True
    preempt_delay: Nanoseconds = 0
    down_timer_adverts: int = 3
    authentication: Authentication = Authentication.NONE
    password: Secret = b""
    """`auth_pass`, at most eight bytes."""
    addresses: tuple[VirtualAddress, ...] = ()
    """Advertised addresses, in the order of the configuration."""
    excluded_addresses: tuple[VirtualAddress, ...] = ()
    """Addresses that move with the master but are not in the advert."""
    source_address: Address | None = None
    """`mcast_src_ip` or `unicast_src_ip`; None is the interface's primary address (IPv4) or its
    link-local address (IPv6)."""
    multicast_group: Address = b""
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
    announcements: Announcements = Announcements()
    tracked: tuple[Tracked, ...] = ()
    """What it tracks, in the order of the configuration."""
    options: InstanceOptions = InstanceOptions()
    """What is written rarely."""

    @property
    def notifications(self) -> Notifications:
        """Who is told of its changes of state."""
        return self.options.notifications

    @property
    def namespace(self) -> str | None:
        """Name of its network namespace; None is the daemon's own."""
        return self.options.namespace

    @property
    def where(self) -> str:
        """Where its adverts come and go, for a person; no two places are called alike."""
        if self.interface:
            return self.interface
        vrf = self.options.vrf
        return "any interface" if vrf is None else f"any interface of {vrf}"

    @property
    def has_vmacs(self) -> bool:
        """Whether there are links that are made for it."""
        return self.vmac is not None or bool(self.options.address_vmacs)

    @property
    def vmac_names(self) -> tuple[str, ...]:
        """Names of its links that have a virtual MAC."""
        own = () if self.vmac is None or not self.vmac.mac else (self.vmac.name,)
        names = dict.fromkeys((*own, *(vmac.name for vmac in self.options.address_vmacs)))
        return tuple(names)

    @property
    def all_addresses(self) -> tuple[VirtualAddress, ...]:
        """Every address that moves with the master, advertised or not."""
        return self.addresses + self.excluded_addresses
