"""What a router's kernel has of IPVS, as ipvsadm(8) shows it, and as it can be watched cheaply."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

from lab.network import Router


def rules(router: Router) -> list[str]:
    """Services and their destinations in the words of `ipvsadm -Sn`, sorted: the kernel's order is
    that of a hash table."""
    return sorted(_ask(router, "-Sn"))


def destinations(router: Router, service: str) -> dict[str, int]:
    """Weights by address and port, of a service as "TCP 10.0.0.100:80" or "FWM 5".

    It is read from a file (/proc/net/ip_vs), not asked with a program: for those who ask often.
    """
    found: dict[str, int] = {}
    text = router.call(Path("/proc/thread-self/net/ip_vs").read_text)
    is_it = False
    for line in text.splitlines()[3:]:
        words = line.split()
        if words[0] != "->":
            mark = words[0] == "FWM"
            name = str(int(words[1], 16)) if mark else _socket(words[1])
            is_it = service == f"{words[0]} {name}"
        elif is_it:
            found[_socket(words[1])] = int(words[3])
    return found


def thresholds(router: Router) -> list[str]:
    """Upper and lower thresholds of the destinations, which rules have not, sorted."""
    return sorted(line for line in _ask(router, "-Ln", "--thresholds") if line.startswith("  "))


def connections(router: Router) -> list[str]:
    """Connections as `STATE CLIENT VIRTUAL DESTINATION`, sorted; templates of persistence too."""
    found = []
    for line in _ask(router, "-Lnc")[2:]:
        _protocol, _expire, state, *addresses = line.split()
        found.append(" ".join((state, *addresses[:3])))
    return sorted(found)


def sync_daemons(router: Router) -> list[str]:
    """The daemons that synchronise connections: "master sync daemon (mcast=eth0, syncid=1 ..."."""
    return sorted(line.strip() for line in _ask(router, "-Ln", "--daemon"))


def timeouts(router: Router) -> str:
    """Timeouts of TCP, of TCP after a FIN, and of UDP."""
    return "\n".join(_ask(router, "-Ln", "--timeout"))


def _ask(router: Router, *arguments: str) -> list[str]:
    return router.run(["ipvsadm", *arguments]).stdout.splitlines()


def _socket(written: str) -> str:
    """0A000001:0050 as 10.0.0.1:80; an IPv6 address is in brackets and legible."""
    address, _, port = written.rpartition(":")
    if not address.startswith("["):
        address = str(IPv4Address(int(address, 16)))
    return f"{address}:{int(port, 16)}"
