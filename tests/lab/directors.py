"""Sites with a pair of directors: a client, the directors, real servers and one who says sorry.

front --+-- client            DR: the servers are on the front, with the VIP on their loopback
        +-- first             NAT: they are behind, and the directors are their gateway
        +-- second            TUN: they are behind another router (core), with the VIP on tunl0
"""

from __future__ import annotations

from lab.daemons import Keepalived
from lab.network import Laboratory, Link, Router
from lab.servers import WebServer

VIP_NUMBER = 100
GATEWAY_NUMBER = 101
METHODS = ("DR", "NAT", "TUN")


class KeepalivedDirector(Keepalived):
    """Debian's keepalived whole: its VRRP process, its checkers, and their parent."""

    parts = ()


class Site:
    """A laboratory's hosts around a virtual server."""

    def __init__(self, laboratory: Laboratory, method: str, servers: int = 2) -> None:
        """`method` is one of METHODS."""
        self.method = method
        self.laboratory = laboratory
        self.client = laboratory.router("client")
        self.directors = [laboratory.router(name) for name in ("first", "second")]
        names = [*(f"s{number}" for number in range(1, servers + 1)), "sorry"]
        self.hosts = {name: laboratory.router(name) for name in names}
        self.front, self.back = self._connect()
        self.vip = self.front.host(VIP_NUMBER)
        self.gateway = self.back.host(GATEWAY_NUMBER)
        for host in self.hosts.values():
            self._prepare(host)
        self.web = {name: WebServer(host).start() for name, host in self.hosts.items()}

    def address(self, name: str) -> str:
        """The address of a server."""
        return self.back.address(self.hosts[name])

    @property
    def service(self) -> str:
        """The virtual server on port 80, as lab.ipvsadm.destinations has it."""
        return f"TCP {self.vip}:80"

    @property
    def servers(self) -> list[str]:
        """The names of the real servers."""
        return [name for name in self.hosts if name != "sorry"]

    def instances(self, director: int) -> str:
        """The virtual routers of a director, 0 or 1, the first of which is preferred: they hold
        the VIP and, for NAT, the servers' gateway."""
        wanted = [("OUTER", self.front, self.vip)]
        if self.method == "NAT":
            wanted.append(("INNER", self.back, self.gateway))
        text = ""
        for vrid, (name, link, address) in enumerate(wanted, 51):
            text += (
                f"vrrp_instance {name} {{\n  version 3\n  interface {link.interface}\n"
                f"  virtual_router_id {vrid}\n  priority {200 - 100 * director}\n"
                "  advert_int 0.2\n"
                f"  virtual_ipaddress {{\n    {address}/24\n  }}\n}}\n"
            )
        if len(wanted) > 1:
            text += "vrrp_sync_group BOTH {\n  group {\n    OUTER\n    INNER\n  }\n}\n"
        return text

    def virtual_server(self, extra: str = "") -> str:
        """The virtual server with its real servers: checked every half a second, asked twice."""
        checker = "TCP_CHECK {\n      connect_timeout 1\n    }"
        real = "".join(
            f"  real_server {self.address(name)} 80 {{\n    {checker}\n  }}\n"
            for name in self.servers
        )
        return (
            f"virtual_server {self.vip} 80 {{\n"
            f"  lvs_sched rr\n  lvs_method {self.method}\n  protocol TCP\n"
            "  delay_loop 0.5\n  retry 1\n  delay_before_retry 0.2\n"
            f"  sorry_server {self.address('sorry')} 80\n{extra}{real}}}\n"
        )

    def cut_off(self, director: int) -> None:
        """Takes all links of a director away, as a machine that dies does."""
        router = self.directors[director]
        router.ip(*(f"link set {interface} down" for interface in router.interfaces))

    def _connect(self) -> tuple[Link, Link]:
        hosts = list(self.hosts.values())
        if self.method == "DR":
            (front,) = self.laboratory.connect(self.client, *self.directors, *hosts)
            return front, front
        if self.method == "NAT":
            (front,) = self.laboratory.connect(self.client, *self.directors)
            (back,) = self.laboratory.connect(*self.directors, *hosts)
            return front, back
        core = self.laboratory.router("core")
        (front,) = self.laboratory.connect(self.client, *self.directors, core)
        (back,) = self.laboratory.connect(core, *hosts)
        for router in (self.client, *self.directors):
            router.ip(f"route add default via {front.address(core)}")
        for host in hosts:
            host.ip(f"route add default via {back.address(core)}")
        # The servers answer in the VIP's name, which the core knows to be elsewhere.
        core.set_sysctl("net/ipv4/conf/all/rp_filter", "0")
        return front, back

    def _prepare(self, host: Router) -> None:
        if self.method == "DR":
            host.set_sysctl("net/ipv4/conf/all/arp_ignore", "1")
            host.set_sysctl("net/ipv4/conf/all/arp_announce", "2")
            host.ip(f"address add {self.vip}/32 dev lo")
        elif self.method == "NAT":
            host.ip(f"route add default via {self.gateway}")
        else:
            host.ip("link set tunl0 up", f"address add {self.vip}/32 dev tunl0")
            for scope in ("all", "tunl0"):
                host.set_sysctl(f"net/ipv4/conf/{scope}/rp_filter", "0")
