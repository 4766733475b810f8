"""What a client gets through each kind of virtual server: not the table of IPVS, but the packets.

        +-- client      for NAT from networks that the servers reach through the director alone;
        |               otherwise from this one: nobody takes packets from its own address
 eth0 --+-- director    every virtual address
        +-- s1, s2      the addresses of direct routing on lo, those of tunnels on the tunnels

The guest's kernel has nf_tables without a family for IP (CONFIG_NF_TABLES_IPV4, _IPV6 and _INET are
not set), so packets get their marks from tc here; that nftables_ipvs marks them is shown on the
host's kernel (tests/test_kernel_group_marks.py).
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import lab as laboratory_room
from lab import Fastvrrp, Laboratory, ipvsadm, wait_until
from lab.network import Link, Router

pytestmark = pytest.mark.timeout(330)  # the guest is slow
PATIENCE = 60.0
PROGRAM = Path(laboratory_room.__file__).with_name("answering.py")
AFAR = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
"""Addresses of the client for NAT."""
SECOND_CLIENT = 90
"""Number of its other address on the link."""
MARK = 5
GUE_PORT = 6080
OWN_GRE = 20
"""So much higher is a server's address for GRE with checksums: a tunnel takes packets either with
them or without."""


class Service(NamedTuple):
    """One virtual server: its number is that of its address."""

    number: int
    method: str
    version: int = 4
    protocol: str = "TCP"
    port: int = 80
    more: str = ""
    mark: int = 0

    def vip(self, link: Link) -> str:
        return link.host(self.number, self.version)

    @property
    def tunnel(self) -> str | None:
        """Where a server has its address, when it comes by a tunnel."""
        if not self.method.startswith("TUN"):
            return None
        if "gre" in self.method:
            return "gre1" if "csum" in self.method else "gre0"
        return "tunl0" if self.version == 4 else "six"

    def server(self, link: Link, server: Router) -> str:
        """The address of a real server."""
        offset = OWN_GRE if self.tunnel == "gre1" else 0
        return link.host(server.index + offset, self.version)

    def text(self, link: Link, servers: list[Router]) -> str:
        real = "".join(
            f"  real_server {self.server(link, server)} {self.port} {{\n  }}\n"
            for server in servers
        )
        head = f"fwmark {self.mark}" if self.mark else f"{self.vip(link)} {self.port}"
        protocol = "" if self.mark else f"  protocol {self.protocol}\n"
        return (
            f"virtual_server {head} {{\n  lvs_sched rr\n  lvs_method {self.method}\n{protocol}"
            f"{self.more}{real}}}\n"
        )


SERVICES = {
    "NAT, TCP": Service(101, "NAT"),
    "NAT, UDP": Service(102, "NAT", protocol="UDP"),
    "NAT, SCTP": Service(103, "NAT", protocol="SCTP"),
    "NAT, TCP over IPv6": Service(104, "NAT", 6),
    "NAT, UDP over IPv6": Service(105, "NAT", 6, protocol="UDP"),
    "DR, TCP": Service(111, "DR"),
    "DR, UDP": Service(112, "DR", protocol="UDP"),
    "DR, SCTP": Service(113, "DR", protocol="SCTP"),
    "DR, TCP over IPv6": Service(114, "DR", 6),
    "DR, UDP over IPv6": Service(115, "DR", 6, protocol="UDP"),
    "TUN, ipip": Service(121, "TUN"),
    "TUN, UDP by ipip": Service(122, "TUN", protocol="UDP"),
    "TUN, ip6ip6": Service(123, "TUN", 6),
    "TUN, gue": Service(124, f"TUN type gue port {GUE_PORT}"),
    "TUN, gue with checksums": Service(125, f"TUN type gue port {GUE_PORT} csum"),
    "TUN, gue with remote checksums": Service(126, f"TUN type gue port {GUE_PORT} remcsum"),
    "TUN, gre": Service(127, "TUN type gre"),
    "TUN, gre with checksums": Service(128, "TUN type gre csum"),
    "a mark": Service(131, "DR", mark=MARK),
}
PERSISTENT = Service(141, "DR", more="  persistence_timeout 60\n")
ONE_PACKET = Service(142, "DR", protocol="UDP", more="  ops\n")
ALL = (*SERVICES.values(), PERSISTENT, ONE_PACKET)


class Site(NamedTuple):
    client: Router
    link: Link


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A director with all of the services, and its servers."""
    with Laboratory() as lab:
        client, director = lab.router("client"), lab.router("director")
        servers = [lab.router("s1"), lab.router("s2")]
        (link,) = lab.connect(client, director, *servers)
        _route(client, director, servers, link)
        for server in servers:
            _serve(server, director, link)
        director.ip(
            *(
                # As keepalived adds them: nothing is to leave from an IPv6 address by itself.
                f"address add {each.vip(link)}/{32 if each.version == 4 else 128} dev eth0"
                f"{' preferred_lft 0' if each.version == 6 else ''}"
                for each in ALL
            )
        )
        _mark(director, SERVICES["a mark"].vip(link))
        daemon = Fastvrrp(director, "".join(each.text(link, servers) for each in ALL)).start()
        wait_until(lambda: len(ipvsadm.rules(director)) == 3 * len(ALL), PATIENCE, what=daemon.log)
        yield Site(client, link)
        assert "IPVS:" not in daemon.log()
        assert daemon.stop() == 0


def _route(client: Router, director: Router, servers: list[Router], link: Link) -> None:
    """Answers of servers go by the director; nobody is told of a shorter way."""
    director.set_sysctl("net/ipv4/conf/all/send_redirects", "0")
    director.set_sysctl("net/ipv4/conf/eth0/send_redirects", "0")
    for version, length in ((4, 24), (6, 64)):
        client.ip(f"address add {link.host(SECOND_CLIENT, version)}/{length} dev eth0")
        own, other = (f"{address}/{length}" for address in AFAR[version])
        client.ip(f"address add {own} dev lo", f"address add {other} dev lo")
        network = "192.0.2.0/24" if version == 4 else "2001:db8::/64"
        director.ip(f"route add {network} via {link.address(client, version)}")
        for server in servers:
            server.ip(f"route add {network} via {link.address(director, version)}")
            server.set_sysctl("net/ipv6/conf/all/accept_redirects", "0")


def _serve(server: Router, director: Router, link: Link) -> None:
    """Has a server answer for every service."""
    server.set_sysctl("net/ipv4/conf/all/arp_ignore", "1")
    server.set_sysctl("net/ipv4/conf/all/arp_announce", "2")
    server.run(["ip", "fou", "add", "port", str(GUE_PORT), "gue"])
    own = link.host(server.index + OWN_GRE)
    server.ip(
        f"address add {own}/24 dev eth0",
        f"link add gre1 type gre local {own} icsum",
        f"link add six type ip6tnl mode ip6ip6 local {link.address(server, 6)}"
        f" remote {link.address(director, 6)}",
        *(f"link set {name} up" for name in ("tunl0", "gre0", "gre1", "six")),
    )
    for name in ("all", "default", "tunl0", "gre0", "gre1", "eth0"):
        server.set_sysctl(f"net/ipv4/conf/{name}/rp_filter", "0")
    # The kernel would sign its cookies by an algorithm that is a module of its own.
    server.set_sysctl("net/sctp/cookie_hmac_alg", "none")
    served: dict[tuple[str, str, str], None] = {}
    for each in ALL:
        address = each.vip(link)
        if each.method == "NAT":
            address = link.address(server, each.version)
        else:
            length = 32 if each.version == 4 else 128
            server.ip(f"address add {address}/{length} dev {each.tunnel or 'lo'}")
        served[each.protocol.lower(), address, str(each.port)] = None
    words = [word for three in served for word in three]
    log = server.folder / "answering"
    with log.open("wb") as output:
        process = server.start_daemon([sys.executable, str(PROGRAM), server.name, *words], output)
    wait_until(
        lambda: log.read_text() == "ready\n" or process.poll() is not None,
        PATIENCE,
        what=log.read_text,
    )
    assert process.poll() is None, log.read_text()


def _mark(director: Router, address: str) -> None:
    director.run(["tc", "qdisc", "add", "dev", "eth0", "ingress"])
    director.run(
        [
            *("tc", "filter", "add", "dev", "eth0", "parent", "ffff:", "protocol", "ip", "flower"),
            *("dst_ip", address, "action", "skbedit", "mark", str(MARK)),
        ]
    )


def ask(site: Site, service: Service, client: int = 0, times: int = 1) -> list[str]:
    """Who answers a client's datagrams from one port, or each of its connections."""

    def by_datagrams() -> list[str]:
        with _opened(site, service, client) as opened:
            answers = []
            for _ in range(times):
                opened.sendto(b"?", (service.vip(site.link), service.port))
                answers.append(opened.recv(64).decode())
            return answers

    def by_connections() -> list[str]:
        answers = []
        for _ in range(times):
            with _opened(site, service, client) as opened:
                opened.connect((service.vip(site.link), service.port))
                answers.append(opened.recv(64).decode())
        return answers

    return site.client.call(by_datagrams if service.protocol == "UDP" else by_connections)


def _opened(site: Site, service: Service, client: int) -> socket.socket:
    near = [
        site.link.host(number, service.version) for number in (site.client.index, SECOND_CLIENT)
    ]
    opened = socket.socket(
        socket.AF_INET if service.version == 4 else socket.AF_INET6,
        socket.SOCK_DGRAM if service.protocol == "UDP" else socket.SOCK_STREAM,
        socket.IPPROTO_SCTP if service.protocol == "SCTP" else 0,
    )
    opened.settimeout(PATIENCE / 4)
    addresses = AFAR[service.version] if service.method == "NAT" else near
    opened.bind((addresses[client], 0))
    return opened


@pytest.mark.keywords(
    "virtual_server/lvs_method", "virtual_server/protocol", "virtual_server/ip_family"
)
@pytest.mark.parametrize("name", SERVICES)
def test_clients_get_to_every_server_by_turns(site: Site, name: str) -> None:
    answers = [ask(site, SERVICES[name])[0] for _ in range(4)]
    assert answers in (["s1", "s2", "s1", "s2"], ["s2", "s1", "s2", "s1"])


@pytest.mark.keywords("virtual_server/persistence_timeout")
def test_a_client_stays_with_its_server_where_that_is_wanted(site: Site) -> None:
    first = ask(site, PERSISTENT, 0, times=4)
    second = ask(site, PERSISTENT, 1, times=4)
    assert {*first, *second} == {"s1", "s2"}
    assert len(set(first)) == len(set(second)) == 1
    assert ask(site, PERSISTENT, 0) == first[:1]


@pytest.mark.keywords("virtual_server/ops")
def test_each_datagram_is_scheduled_by_itself_with_ops(site: Site) -> None:
    assert len(set(ask(site, SERVICES["DR, UDP"], times=4))) == 1
    assert sorted(ask(site, ONE_PACKET, times=4)) == ["s1", "s1", "s2", "s2"]
