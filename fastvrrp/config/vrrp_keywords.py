"""Rows of the table for VRRP: what fastvrrp acts on of `global_defs`, and `vrrp_instance`."""

from __future__ import annotations

import socket

from fastvrrp.config.arguments import (
    NAMESPACE,
    Address,
    Boolean,
    Choice,
    HostAddress,
    Integer,
    MulticastAddress,
    MulticastDestination,
    Prefix,
    Seconds,
    Text,
    WholeSeconds,
)
from fastvrrp.config.commands import Script
from fastvrrp.config.grammar import (
    INTERFACE,
    GarpExtraInterfaces,
    Password,
    UnicastPeerLine,
    UseVmac,
    VirtualAddressLine,
)
from fastvrrp.config.iproute_names import IprouteName
from fastvrrp.config.keywords import FLAG, INNER_BLOCK, Keyword, Table
from fastvrrp.config.options import OptionLine
from fastvrrp.config.route_keywords import VIRTUAL
from fastvrrp.config.syntax import One, Optional, Several, Switch
from fastvrrp.config.tracking_keywords import NOTIFICATIONS, TRACKS
from fastvrrp.model import MILLISECOND, SECOND, Authentication, State

BOOLEAN = Boolean()
SWITCH = Switch(BOOLEAN)
ADDRESS = Address()
HOST = HostAddress()
VERSION = Integer(2, 3)
REPEAT = Integer(1, 2**32 - 1, raised=True)
LOWER_PRIO_REPEAT = One(Integer(0, 2**31 - 1))
DELAY = WholeSeconds(0, 4294)
"""keepalived counts microseconds in 32 bits."""
REFRESH = WholeSeconds(0, 2**32 - 1)
GAP = Seconds(0, 4_294_967_295_000)
"""Guides write 0 for no gap; keepalived calls that out of range and uses none."""
ADVERT_INTERVAL = Seconds(10 * MILLISECOND, 255 * SECOND)
ADVERTS = Integer(1, 100)
STATES = Choice({"MASTER": State.MASTER, "BACKUP": State.BACKUP})
AUTHENTICATIONS = Choice({"PASS": Authentication.PASS, "AH": Authentication.AH})

GLOBAL_DEFINITIONS = Table().add(
    Keyword(
        "router_id",
        One(Text("NAME")),
        "Name of this router in messages.",
        fallback="the host's name",
        since="1.1.8",
    ),
    Keyword("vrrp_version", One(VERSION), "Version of VRRP for IPv4 instances.", "2"),
    Keyword(
        "vrrp_mcast_group4",
        One(MulticastAddress(socket.AF_INET)),
        "Multicast group of IPv4 adverts.",
        "224.0.0.18",
        since="1.2.10",
    ),
    Keyword(
        "vrrp_mcast_group6",
        One(MulticastAddress(socket.AF_INET6)),
        "Multicast group of IPv6 adverts.",
        "ff02::12",
        since="1.2.10",
    ),
    Keyword(
        "vrrp_garp_master_delay",
        One(DELAY),
        "Time from becoming master to the second set of announcements; 0 is no second set.",
        "5",
        since="1.2.20",
    ),
    Keyword(
        "vrrp_garp_master_repeat",
        One(REPEAT),
        "Announcements an address in one set.",
        "5",
        since="1.2.20",
    ),
    Keyword(
        "vrrp_garp_lower_prio_delay",
        One(DELAY),
        "The same after an advert of lower priority.",
        fallback="vrrp_garp_master_delay",
        since="1.2.20",
    ),
    Keyword(
        "vrrp_garp_lower_prio_repeat",
        LOWER_PRIO_REPEAT,
        "Announcements an address after an advert of lower priority.",
        fallback="vrrp_garp_master_repeat",
        since="1.2.20",
    ),
    Keyword(
        "vrrp_garp_master_refresh",
        One(REFRESH),
        "Time between announcements while master; 0 is none.",
        "0",
        since="1.2.20",
    ),
    Keyword(
        "vrrp_garp_master_refresh_repeat",
        One(REPEAT),
        "Announcements an address at such a refresh.",
        "1",
        since="1.2.20",
    ),
    Keyword(
        "vrrp_garp_interval", One(GAP), "Gap between two gratuitous ARPs on an interface.", "0"
    ),
    Keyword(
        "vrrp_gna_interval",
        One(GAP),
        "Gap between two unsolicited neighbour advertisements on an interface.",
        "0",
    ),
    Keyword(
        "vrrp_min_garp",
        SWITCH,
        "One announcement an address on becoming master, and no second set.",
        "off",
        since="2.0.12",
    ),
    Keyword(
        "vrrp_garp_extra_if",
        GarpExtraInterfaces(1),
        "Time between announcements on interfaces other than the instance's.",
        fallback="none",
    ),
    Keyword(
        "vrrp_vmac_garp_intvl",
        GarpExtraInterfaces(1),
        "Time between announcements on interfaces other than the instance's.",
        replaced_by="vrrp_garp_extra_if",
        is_discouraged=True,
    ),
    Keyword(
        "vrrp_skip_check_adv_addr",
        FLAG,
        "Compare the addresses of an advert only when the master changes.",
        since="1.2.20",
    ),
    Keyword(
        "vrrp_lower_prio_no_advert",
        SWITCH,
        "A master does not answer an advert of lower priority at once.",
        "off",
    ),
    Keyword(
        "vrrp_higher_prio_send_advert",
        SWITCH,
        "A master that hears a higher priority sends an advert before it becomes backup.",
        "off",
        since="1.3.5",
    ),
    Keyword(
        "vrrp_check_unicast_src",
        FLAG,
        "Take unicast adverts only from configured peers.",
    ),
    Keyword(
        "vrrp_down_timer_adverts",
        One(ADVERTS),
        "Advert intervals without an advert until a backup takes over.",
        "3",
    ),
    Keyword("vmac_prefix", One(Text("PREFIX")), "Beginning of names chosen for VMACs.", "vrrp"),
    Keyword(
        "v3_checksum_as_v2",
        SWITCH,
        "Leave the pseudo-header out of the checksum of IPv4 VRRPv3 adverts.",
        "off",
        since="2.2.8",
    ),
)

AUTHENTICATION = Table().add(
    Keyword("auth_type", One(AUTHENTICATIONS), "Kind of authentication."),
    Keyword("auth_pass", Password(), "Password; the first eight characters count."),
)

HMAC = Table().add(
    Keyword(
        "key", Several(Integer(1, 255), Text("KEY")), "A key and its number.", is_repeatable=True
    ),
    Keyword("active_key", One(Integer(1, 255)), "Number of the key that signs."),
    Keyword(
        "anti_replay",
        One(Choice({"time": "time", "monotonic": "monotonic"})),
        "What makes an advert new.",
        "time",
    ),
    Keyword(
        "time_window",
        One(Seconds(SECOND, 300 * SECOND)),
        "How old an advert may be.",
        fallback="three times advert_int, 5 at least",
    ),
    Keyword(
        "mode",
        One(Choice({name: name for name in ("enforce", "permissive", "receive-only")})),
        "Whether adverts without are taken.",
        "enforce",
    ),
)

INSTANCE = Table().add(
    Keyword("state", One(STATES), "State in which the instance starts.", "BACKUP"),
    Keyword(
        "interface",
        One(INTERFACE),
        "Interface on which adverts are sent and heard.",
        fallback="by the routing table, where there are unicast peers",
    ),
    Keyword("virtual_router_id", One(Integer(1, 255)), "The VRID: which virtual router this is."),
    Keyword(
        "priority",
        One(Integer(1, 255)),
        "Highest is master; 255 is the owner of the addresses.",
        "100",
        fallback="255 with state MASTER",
    ),
    Keyword("advert_int", One(ADVERT_INTERVAL), "Time between adverts.", "1"),
    Keyword("version", One(VERSION), "Version of VRRP; IPv6 is always 3.", fallback="vrrp_version"),
    Keyword(
        "authentication",
        INNER_BLOCK,
        "Authentication of VRRPv2.",
        fallback="none",
        block=AUTHENTICATION.rows,
        is_repeatable=True,
    ),
    Keyword("nopreempt", FLAG, "Do not take over from a master of lower priority.", since="1.1.8"),
    Keyword("preempt", FLAG, "Take over from a master of lower priority.", fallback="on"),
    Keyword(
        "preempt_delay",
        One(Seconds(0, 1000 * SECOND)),
        "Time to wait before taking over.",
        "0",
        since="1.1.8",
    ),
    Keyword(
        "virtual_ipaddress",
        INNER_BLOCK,
        "Addresses that the master has, and that its adverts name.",
        items=VirtualAddressLine(),
        is_repeatable=True,
    ),
    Keyword(
        "virtual_ipaddress_excluded",
        INNER_BLOCK,
        "Addresses that the master has, and that its adverts do not name.",
        items=VirtualAddressLine(),
        is_repeatable=True,
        since="0.5.9",
    ),
    Keyword(
        "unicast_src_ip",
        One(HOST),
        "Source address of unicast adverts.",
        fallback="the interface's first address",
        since="1.2.10",
    ),
    Keyword(
        "mcast_src_ip",
        One(HOST),
        "Source address of multicast adverts.",
        fallback="the interface's first address",
        since="0.6.1",
    ),
    Keyword(
        "unicast_peer",
        INNER_BLOCK,
        "Adverts go to these addresses instead of the multicast group.",
        items=UnicastPeerLine(),
        is_repeatable=True,
        since="1.2.8",
    ),
    Keyword("unicast_ttl", One(Integer(0, 255)), "TTL or hop limit of unicast adverts.", "255"),
    Keyword("use_vmac", UseVmac(), "Carry the virtual MAC on a macvlan of its own."),
    Keyword("vmac_xmit_base", FLAG, "Send and receive adverts on the parent of the VMAC."),
    Keyword(
        "garp_master_delay",
        One(DELAY),
        "Time from becoming master to the second set of announcements; 0 is no second set.",
        fallback="vrrp_garp_master_delay",
        since="0.7.1",
    ),
    Keyword(
        "garp_master_repeat",
        One(REPEAT),
        "Announcements an address in one set.",
        fallback="vrrp_garp_master_repeat",
        since="1.2.14",
    ),
    Keyword(
        "garp_lower_prio_delay",
        One(DELAY),
        "The same after an advert of lower priority.",
        fallback="vrrp_garp_lower_prio_delay",
        since="1.2.20",
    ),
    Keyword(
        "garp_lower_prio_repeat",
        LOWER_PRIO_REPEAT,
        "Announcements an address after an advert of lower priority.",
        fallback="vrrp_garp_lower_prio_repeat",
        since="1.2.20",
    ),
    Keyword(
        "garp_master_refresh",
        One(REFRESH),
        "Time between announcements while master; 0 is none.",
        fallback="vrrp_garp_master_refresh",
        since="1.2.10",
    ),
    Keyword(
        "garp_master_refresh_repeat",
        One(REPEAT),
        "Announcements an address at such a refresh.",
        fallback="vrrp_garp_master_refresh_repeat",
        since="1.2.14",
    ),
    Keyword(
        "garp_extra_if",
        GarpExtraInterfaces(0),
        "Time between announcements on interfaces other than the instance's.",
        fallback="vrrp_garp_extra_if",
    ),
    Keyword(
        "vmac_garp_intvl",
        GarpExtraInterfaces(0),
        "Time between announcements on interfaces other than the instance's.",
        replaced_by="garp_extra_if",
        is_discouraged=True,
    ),
    Keyword("accept", FLAG, "Take packets to the addresses without owning them.", fallback="on"),
    Keyword(
        "dont_track_primary",
        FLAG,
        "Faults of the interface do not stop the instance.",
        since="1.1.8",
    ),
    Keyword(
        "skip_check_adv_addr",
        SWITCH,
        "Compare the addresses of an advert only when the master changes.",
        fallback="vrrp_skip_check_adv_addr",
    ),
    Keyword(
        "lower_prio_no_advert",
        SWITCH,
        "A master does not answer an advert of lower priority at once.",
        fallback="vrrp_lower_prio_no_advert",
    ),
    Keyword(
        "higher_prio_send_advert",
        SWITCH,
        "A master that hears a higher priority sends an advert before it becomes backup.",
        fallback="vrrp_higher_prio_send_advert",
        since="1.3.5",
    ),
    Keyword(
        "check_unicast_src",
        FLAG,
        "Take unicast adverts only from configured peers.",
        fallback="vrrp_check_unicast_src",
    ),
    Keyword(
        "down_timer_adverts",
        One(ADVERTS),
        "Advert intervals without an advert until a backup takes over.",
        fallback="vrrp_down_timer_adverts",
        since="2.2.3",
    ),
    Keyword(
        "v3_checksum_as_v2",
        SWITCH,
        "Leave the pseudo-header out of the checksum of IPv4 VRRPv3 adverts.",
        fallback="v3_checksum_as_v2 of global_defs",
        since="2.2.8",
    ),
    Keyword(
        "native_ipv6",
        FLAG,
        "The instance is IPv6; its addresses say so by themselves.",
        since="1.2.1",
    ),
    Keyword("debug", One(Integer(0, 4)), "Level of debugging; without effect.", "0"),
    Keyword(
        "net_namespace",
        One(NAMESPACE),
        "Network namespace that it is in, if not in the daemon's.",
        is_ours=True,
    ),
    Keyword("vrf", One(INTERFACE), "VRF of unicast adverts where no interface is written."),
    Keyword("use_vmac_addr", FLAG, "VMACs also on the interfaces of addresses."),
    Keyword(
        "use_ipvlan",
        OptionLine(
            {
                "name": Text("NAME"),
                "bridge": None,
                "private": None,
                "vepa": None,
                "group": IprouteName("group", "group of interfaces", 2**32 - 1),
            },
            {"address": Prefix(), "name": INTERFACE},
        ),
        "An ipvlan instead of a VMAC.",
        fallback="bridge where no mode is written",
        since="2.0.17",
    ),
    *TRACKS,
    Keyword(
        "mcast_dst_ip",
        One(MulticastDestination()),
        "Multicast group of adverts.",
        fallback="vrrp_mcast_group4 or vrrp_mcast_group6",
    ),
    Keyword("track_src_ip", FLAG, "A missing source address is a fault."),
    Keyword("unicast_fault_no_peer", FLAG, "An instance without unicast peers is in FAULT."),
    Keyword(
        "old_unicast_checksum",
        Optional(Choice({"never": "never"})),
        "Checksum of unicast VRRPv3 adverts as before 1.3.6; never does not take it from peers.",
        fallback="as the master's adverts have it",
        since="1.3.7",
    ),
    Keyword(
        "timer_expired_backup",
        Optional(Integer(1, 255)),
        "With nopreempt: a master silent for so long that this priority took over becomes backup.",
        fallback="254 where no priority is written",
        since="2.2.8",
    ),
    Keyword(
        "auth_hmac",
        INNER_BLOCK,
        "Authentication by HMAC-SHA256.",
        block=HMAC.rows,
        since="2.4.0",
    ),
    Keyword("no_virtual_ipaddress", FLAG, "No address is meant.", since="2.2.8"),
    Keyword(
        "promote_secondaries",
        FLAG,
        "Keep addresses when the first of a network goes.",
        since="1.3.0",
    ),
    *VIRTUAL,
    Keyword("no_accept", FLAG, "Drop packets to the addresses.", since="1.3.0"),
    Keyword("strict_mode", SWITCH, "Refuse what the RFC does not have.", fallback="vrrp_strict"),
    *NOTIFICATIONS,
    Keyword(
        "notify_master_rx_lower_pri",
        Script(),
        "Script run on an advert of lower priority.",
        since="2.0.6",
    ),
    Keyword(
        "notify_split_brain",
        Script(),
        "Script run when another master does not yield, and when that is over.",
        fallback="notify_split_brain of global_defs",
        is_ours=True,
    ),
    Keyword(
        "kernel_rx_buf_size",
        One(Integer(0, 2**32 - 1), is_alone=True),
        "Bytes of the receive buffer for this instance; all of one family share one socket.",
        fallback="vrrp_rx_bufs_policy",
        since="2.0.3",
    ),
    Keyword(
        "lvs_sync_daemon_interface",
        One(INTERFACE),
        "Share the connections of IPVS.",
        replaced_by="lvs_sync_daemon in global_defs",
        is_discouraged=True,
    ),
    Keyword(
        "linkbeat_use_polling",
        FLAG,
        "Ask the interface for its link.",
        replaced_by="linkbeat_interfaces",
        is_discouraged=True,
        since="2.0.0",
    ),
)
