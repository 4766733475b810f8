"""A configuration with every word that routes, rules and addresses have, as keepalived 2.2.7 takes
them. Gateways exist on no router, so that two may have it.

What keepalived 2.2.7 cannot do, or does not survive, is in `OURS_ROUTES` and `OURS_RULES` and not
compared: routes by `or` and by gateways of the other family are refused, `encap` in a next hop and
`encap ip6` in a route of IPv6 are dropped, `flags` of `encap` are in another byte order than the
kernel's, types of IPv4 that need a scope have none, and `ip_proto`, `sup_group` and `sup_pl` are
later spellings. A static default route ends keepalived when its link goes down, and an address with
a `peer` is not removed by it.
"""

from __future__ import annotations

STATIC = """
track_group G {
  group {
    V4
  }
}
static_ipaddress {
  192.0.2.1/24 dev eth1 track_group G
  192.0.2.2/24 brd + dev eth1 label eth1:1 noprefixroute
  192.0.2.3/32 dev eth1 scope link
  192.0.3.1/24 brd 192.0.3.200 dev eth1 home no_track
  192.0.4.1/24 brd - scope site
  2001:db8::1/64 dev eth1 -nodad preferred_lft 1000
  2001:db8:7::1/64 dev eth1 mngtmpaddr
  2001:db8::2/128 dev eth1 home
  2001:db8::3/128 dev eth1 preferred_lft forever
  239.1.1.1/32 dev eth1 autojoin
}
static_routes {
  198.51.100.0/24 via 10.0.1.9 dev eth1 track_group G
  198.51.101.0/24 no_track table 6909 nexthop via 10.0.1.9 dev eth1 onlink weight 1 nexthop via \
10.0.1.8 dev eth1 onlink weight 2
  198.51.102.0/24 dev eth1 table 6909 tos 0x04 scope link priority 12 mtu 1000 hoplimit 100 advmss \
101 rtt 10200 rttvar 4103 reordering 104 window 105 cwnd 106 ssthresh lock 107 rto_min 1080 \
initcwnd 109 initrwnd 110 features ecn
  2001:db8:1::4 dev eth1 table 6909 priority 12 mtu 1000 hoplimit 100 advmss 101 rtt 10200 rttvar \
4103 reordering 104 window 105 cwnd 106 ssthresh lock 107 rto_min 1080 initcwnd 109 append \
initrwnd 110 features ecn fastopen_no_cookie 1
  blackhole 198.51.103.0/24 no_track
  198.51.104.0/24 via 10.0.1.9 dev eth1
}
static_rules {
  from 198.51.100.0/24 table 1 iif eth1 preference 99 track_group G
  to 198.51.100.0/24 table 1 preference 100
  from 198.51.100.0/24 to 198.51.101.0/26 table 200 iif eth1 oif eth0 tos 0x10 fwmark 24/12 \
preference 39 realms 30/20
  to 2001:db8::/112 from 2001:db8:1::/96 table 6908 uidrange 10000-19999 preference 101
  from 198.51.104.0/24 table 3
  from 2001:db8:4::/64 table 3
  from 198.51.105.0/24 table 4
}
"""

ADDRESSES_4 = """
    10.0.0.100/24
    10.0.0.101/32 brd 10.0.0.255 label eth0:v scope link
    10.0.1.100/32 dev eth1 noprefixroute
    10.0.1.101/32 dev eth1 preferred_lft 500
    10.0.1.104/24 dev eth1 brd + no_track
"""

EXCLUDED = """
    2001:db8:2::1/64 dev eth1 home
    2001:db8:2::2/128 dev eth1
    2001:db8:2::3/128 dev eth1 preferred_lft forever
    2001:db8:2::4/64 dev eth1 -nodad mngtmpaddr
    2001:db8:2::5/64 dev eth1 noprefixroute
    239.1.1.2/32 dev eth1 autojoin
"""

ROUTES_4 = """
    10.20.0.0/16 via 10.0.1.9 dev eth1
    to 10.20.1.0/24 gw 10.0.1.9 dev eth1 src 10.0.0.100
    10.20.2.0/24 dev eth1
    10.20.3.0/24 dev eth1 scope host
    10.20.4.1 dev eth1 src 10.0.1.100 metric 7
    unicast 10.20.5.0/24 oif eth1 via 10.0.1.9 priority 8 preference 9
    unreachable 10.20.6.0/24 no_track
    prohibit 10.20.7.0/24 no_track
    throw 10.20.8.0/24 table 120 no_track
    blackhole 10.20.9.0/24 metric 300 no_track
    multicast 224.5.5.0/24 dev eth1 table 121
    10.20.13.0/24 via 10.0.1.9 dev eth1 table 122 tos 0x10 protocol 77 no_track
    10.20.14.0/24 via 10.0.1.9 dev eth1 dsfield 0x08 realms 5/6
    10.20.15.0/24 via 10.0.1.9 dev eth1 mtu lock 1400 advmss 1300 hoplimit 64 congctl reno
    10.20.16.0/24 via 10.0.1.9 dev eth1 congctl lock cubic rtt 1s rttvar 550ms rto_min 2s
    10.20.17.0/24 via 10.0.1.9 dev eth1 quickack 1 fastopen_no_cookie 1 features ecn
    10.20.18.0/24 via 10.0.1.9 dev eth1 window 1000 cwnd lock 12 ssthresh 20 reordering 5 \
initcwnd 10 initrwnd 20
    10.20.19.0/24 via 172.31.0.1 dev eth1 onlink
    10.20.20.0/24 nexthop via 10.0.1.9 dev eth1 weight 3 nexthop via 10.0.0.9 dev eth0 weight 2 \
no_track
    10.20.21.0/24 nexthop via 172.31.0.1 dev eth1 onlink weight 3 realms 3 nexthop via 10.0.0.9 \
dev eth0 no_track
    10.20.22.0/24 via 10.0.1.9 dev eth1
    10.20.22.0/24 via 10.0.1.8 dev eth1 append
    10.20.22.0/24 via 10.0.1.7 dev eth1 prepend
    10.20.22.0/24 via 10.0.1.6 dev eth1 add
    10.20.23.0/24 via 10.0.1.9 dev eth1 ttl-propagate enabled
    10.20.24.0/24 encap ip id 12 dst 10.0.1.9 src 10.0.1.1 tos 4 ttl 30 via 10.0.1.9 dev eth1
    10.20.25.0/24 encap ip6 id 13 dst fd00:1::9 tc 5 hoplimit 31 via 10.0.1.9 dev eth1
    10.20.28.0/24 via 10.0.1.9 no_track
    default via 10.0.1.9 dev eth1 table 123
    0.0.0.0/0 gw 10.0.1.8 dev eth1 table 124
"""

RULES_4 = """
    from 10.20.1.0/24 table 130 priority 500
    not from 10.20.2.0/24 to 10.20.3.0/24 lookup 131 preference 501
    to 10.20.3.0/24 table 1000 order 502
    iif eth1 table 132 priority 503
    oif eth1 table 133 priority 504
    fwmark 7 table 134 priority 505
    fwmark 0x10/0xf0 table 134 priority 506
    tos 0x10 table 134 priority 507
    dsfield 0x08 table 134 priority 507
    realms 3/4 table 134 priority 508
    from 10.20.4.0/24 goto 600 priority 509
    nop priority 510
    blackhole from 10.20.5.0/24 priority 511
    type prohibit from 10.20.6.0/24 priority 512
    unreachable from 10.20.7.0/24 priority 513
    from 10.20.8.0/24 l3mdev priority 514
    uidrange 5-10 table 135 priority 515
    ipproto tcp sport 10-20 dport 30-40 table 136 priority 516
    suppress_prefixlength 8 table 137 priority 518
    suppress_ifgroup 5 table 137 priority 519
    from 10.20.9.0/24 table 138 priority 520 protocol 88 no_track
    from 10.20.10.0/24 table 138
    tunnel-id 77 table 139 priority 521
    dev eth1 table 140 priority 522
    from all table 141 priority 523
    from default to default table 142 priority 524
    from 10.20.11.1 table 143 priority 600 no_track
"""

ADDRESSES_6 = """
    fe80::100/64
    fd00::100/64
    fd00::101/128
    fd00:1::101/64 dev eth1
    fd00:1::102/64 dev eth1 preferred_lft 1000
"""

ROUTES_6 = """
    2001:db8:20::/64 via fd00:1::9 dev eth1
    2001:db8:21::/64 via fd00:1::9 dev eth1 src fd00::100
    2001:db8:22::/64 dev eth1
    2001:db8:23::/64 from 2001:db8:24::/64 via fd00:1::9 dev eth1
    2001:db8:25::/64 via fd00:1::9 dev eth1 metric 77 mtu 1400 advmss 1300 hoplimit 64
    2001:db8:26::/64 via fd00:1::9 dev eth1 pref high
    2001:db8:27::/64 via fd00:1::9 dev eth1 pref low expires 1000
    2001:db8:28::/64 nexthop via fd00:1::9 dev eth1 weight 3 nexthop via fd00::9 dev eth0 weight 2 \
no_track
    unreachable 2001:db8:29::/64 no_track
    prohibit 2001:db8:2a::/64 no_track
    blackhole 2001:db8:2b::/64 metric 300 no_track
    throw 2001:db8:2c::/64 table 120 no_track
    local 2001:db8:2d::1 dev eth1 table 121
    anycast 2001:db8:2d::2 dev eth1 table 121
    default6 via fd00:1::9 dev eth1 table 122
    default via fd00:1::8 dev eth1 table 123 inet6
    2001:db8:2e::/64 via fe80::9 dev eth1 onlink
    2001:db8:2f::/64 via fd00:1::9 dev eth1
    2001:db8:2f::/64 via fd00:1::8 dev eth1 append
    2001:db8:30::/64 via fd00:1::9 dev eth1
    2001:db8:30::/64 via fd00:1::8 dev eth1
    2001:db8:32::/64 via fd00:1::9 dev eth1 protocol 77 no_track
    2001:db8:33::/64 via fd00:1::9 dev eth1 congctl cubic rtt 3s
    unicast 2001:db8:34::/64 gw fd00:1::9 oif eth1
"""

RULES_6 = """
    from 2001:db8:20::/64 table 130 priority 500
    to 2001:db8:20::/64 table 131 priority 501
    iif eth1 table 132 priority 502 inet6
    fwmark 7/0xff lookup 133 priority 503 inet6
    not from 2001:db8:21::/64 oif eth1 table 1340 priority 504
    from 2001:db8:22::/64 l3mdev priority 505
    uidrange 100-200 table 135 priority 506 inet6
    ipproto udp dport 53-53 table 136 priority 507 inet6
    from 2001:db8:23::/64 table 137 suppress_prefixlength 16 priority 508
    from 2001:db8:24::/64 blackhole priority 509
    from 2001:db8:26::/64 tos 0x10 table 138 priority 510
    from 2001:db8:25::/64 table 139
"""

RELOADED = (
    ("10.20.0.0/16 via 10.0.1.9", "10.20.0.0/16 via 10.0.1.8"),
    ("10.20.2.0/24 dev eth1", "10.20.102.0/24 dev eth1"),
    # Not there while there is another; a reload of keepalived would add it all the same.
    ("10.20.22.0/24 via 10.0.1.6 dev eth1 add", ""),
    ("mtu lock 1400", "mtu lock 1300"),
    ("2001:db8:25::/64 via fd00:1::9", "2001:db8:25::/64 via fd00:1::8"),
    ("2001:db8:26::/64 via fd00:1::9 dev eth1 pref high", ""),
    ("from 10.20.1.0/24 table 130", "from 10.20.1.0/24 table 150"),
    ("from 2001:db8:24::/64 blackhole priority 509", ""),
    ("198.51.104.0/24 via 10.0.1.9", "198.51.104.0/24 via 10.0.1.8"),
    ("192.0.2.3/32 dev eth1", "192.0.2.4/32 dev eth1"),
    ("to 198.51.100.0/24 table 1", "to 198.51.100.0/24 table 2"),
)
"""What a reload changes, as the words before and after."""

OURS_ROUTES = """
    local 10.20.10.1 dev eth1 table 121
    broadcast 10.20.11.255 dev eth1 table 121
    brd 10.20.12.255 dev eth1 table 121
    10.20.24.0/24 encap ip id 12 dst 10.0.1.9 flags 1 via 10.0.1.9 dev eth1
    10.20.26.0/24 via 10.0.1.9 or 10.0.1.8 dev eth1
    10.20.27.0/24 via fd00:1::9 dev eth1
    10.20.29.0/24 nexthop via 10.0.1.9 dev eth1 encap ip id 4 dst 10.9.9.9 nexthop via 10.0.0.9 \
dev eth0 encap ip id 5 dst 10.9.9.8 no_track
    2001:db8:31::/64 encap ip6 id 44 dst fd00:1::9 src fd00:1::1 tc 3 hoplimit 20 via fd00:1::9 \
dev eth1
"""

OURS_RULES = """
    ip_proto 17 dport 53-53 table 136 priority 517
    sup_pl 8 table 137 priority 518
    sup_group 5 table 137 priority 519
    tun_id 77 table 139 priority 521
"""


def instance(
    name: str,
    vrid: int,
    addresses: str,
    routes: str = "",
    rules: str = "",
    *,
    more: str = "",
    excluded: str = "",
) -> str:
    """An instance on eth0 with priority 200 that is master after half a second."""
    blocks = {
        "virtual_ipaddress": addresses,
        "virtual_ipaddress_excluded": excluded,
        "virtual_routes": routes,
        "virtual_rules": rules,
    }
    written = "".join(f"  {name} {{\n{lines}\n  }}\n" for name, lines in blocks.items() if lines)
    return (
        f"vrrp_instance {name} {{\n  interface eth0\n  virtual_router_id {vrid}\n  version 3\n"
        f"  advert_int 0.1\n  priority 200\n  {more}\n{written}}}\n"
    )


def everything() -> str:
    """The configuration as a whole."""
    return (
        "global_defs {\n  default_interface eth1\n  dynamic_interfaces\n}\n"
        + STATIC
        + instance("V4", 4, ADDRESSES_4, ROUTES_4, RULES_4, excluded=EXCLUDED)
        + instance("V6", 6, ADDRESSES_6, ROUTES_6, RULES_6)
    )


def reloaded() -> str:
    """The configuration after the reload."""
    text = everything()
    for before, after in RELOADED:
        assert before in text
        text = text.replace(before, after, 1)
    return text
