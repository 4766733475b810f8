"""The same configuration under keepalived and under fastvrrp, in the same kernel: `ipvsadm -S` is
equal. Servers are not checked here, so that all of them are there."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastvrrp.lvs.services import Services
from fastvrrp.model import FlushOnStop
from ipvs_table import configured, ipvsadm, saved, thresholds, want
from kernel_namespace import inside_namespace, ip
from lab.waiting import wait_until

PATIENCE = 30.0

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh", "fo", "ovf", "sed", "nq")
FLAGS = ("flag-1", "flag-2", "flag-3")


def server(head: str, *lines: str) -> str:
    """A virtual server."""
    return "\n".join((f"virtual_server {head} {{", *lines, "}", ""))


def real(address: str, *lines: str) -> str:
    """A real server."""
    return "\n".join((f"real_server {address} {{", *lines, "}", ""))


def of_each_scheduler() -> str:
    return "".join(
        server(f"10.1.0.{number} 80", "protocol TCP", f"lvs_sched {name}", real("10.0.0.1 80"))
        for number, name in enumerate(SCHEDULERS, 1)
    )


def of_each_flag() -> str:
    text = "".join(
        server(f"10.1.0.{number} 80", "protocol TCP", "lvs_sched mh", name, real("10.0.0.1 80"))
        for number, name in enumerate(FLAGS, 1)
    )
    for number, name in enumerate(("sh", "mh"), 11):
        flags = (f"{name}-port", f"{name}-fallback")
        head = f"10.1.0.{number} 80"
        text += server(head, "protocol UDP", f"lvs_sched {name}", *flags, real("10.0.0.1 80"))
    return text + server("10.1.0.21 80", "lvs_sched sh", "hashed", real("10.0.0.1 80"))


def of_each_method() -> str:
    methods = (
        "NAT",
        "DR",
        "TUN",
        "TUN type ipip",
        "TUN type gue port 6080",
        "TUN type gue port 6080 csum",
        "TUN type gue port 6080 nocsum",
        "TUN type gue port 6080 remcsum",
        "TUN type gre",
        "TUN type gre csum",
        "TUN type gre nocsum",
    )
    text = "".join(
        server(f"10.1.0.{number} 80", "protocol TCP", f"lvs_method {name}", real("10.0.0.1 80"))
        + server(f"fd01::{number} 80", "protocol TCP", f"lvs_method {name}", real("fd00::1 80"))
        for number, name in enumerate(methods, 1)
    )
    own = (real(f"10.0.0.{n} 80", f"lvs_method {name}") for n, name in enumerate(methods, 1))
    return text + server("10.1.1.1 80", "protocol TCP", "lvs_method DR", *own)


def of_each_persistence() -> str:
    choices = (
        ("persistence_timeout 50",),
        ("persistence_timeout",),
        ("persistence_timeout 50", "persistence_granularity {mask}"),
        ("persistence_granularity {mask}",),
        ("persistence_timeout 50", "persistence_engine sip"),
        ("persistence_engine sip",),
    )
    text = ""
    for number, lines in enumerate(choices, 1):
        for address, mask, to in (
            ("10.1.0.", "255.255.0.0", "10.0.0.1"),
            ("fd01::", "64", "fd00::1"),
        ):
            written = [line.format(mask=mask) for line in lines]
            head = f"{address}{number} 5060"
            text += server(head, "protocol UDP", *written, real(f"{to} 5060"))
    return text


def of_each_protocol() -> str:
    text = "".join(
        server(f"10.1.0.1 {port}", *lines, real(f"10.0.0.1 {port}"))
        for port, lines in (
            (80, ("protocol TCP",)),
            (81, ("protocol SCTP",)),
            (82, ("protocol UDP",)),
            (83, ()),
            (84, ("protocol UDP", "ops")),
        )
    )
    return text + server("10.1.0.2", "protocol TCP", "lvs_method DR", real("10.0.0.1"))


def of_weights() -> str:
    servers = (
        real("10.0.0.1 80", "weight 0"),
        real("10.0.0.2 80", "weight 65535"),
        real("10.0.0.3 80", "uthreshold 100", "lthreshold 10"),
        real("10.0.0.4 80", "uthreshold 100"),
        real("10.0.0.5 81"),
        real("10.0.0.6"),
    )
    return server("10.1.0.1 80", "protocol TCP", "lvs_method NAT", "weight 7", *servers)


def of_marks() -> str:
    both = (real("10.0.0.1 80"), real("fd00::1 80"))
    return (
        server("fwmark 5", "lvs_method NAT", real("10.0.0.1 80"), real("10.0.0.2"))
        + server("fwmark 6", "lvs_method DR", "lvs_sched sh", real("fd00::1 80"))
        + server("fwmark 7", "lvs_method TUN", "ip_family inet6", *both)
        + server("fwmark 8", "lvs_method TUN", *both)
        + server("fwmark 9", "lvs_method DR", "persistence_timeout 9", real("10.0.0.1"))
    )


def of_families() -> str:
    """Only tunnels lead to the other family; what cannot be had is left out."""
    tunnel = "lvs_method TUN"
    behind = real("fd00::1 80", tunnel)
    text = (
        server("10.1.0.1 80", "protocol TCP", "lvs_method NAT", behind, real("10.0.0.2 80"))
        + server("10.1.0.2 80", "protocol TCP", tunnel, real("fd00::1 80", "lvs_method DR"), behind)
        + server("fd01::1 80", "protocol TCP", tunnel, real("10.0.0.1 80"), real("fd00::2 80"))
    )
    six, four = real("fd00::1"), real("10.0.0.1")
    of_marks: tuple[tuple[str, ...], ...] = (
        (tunnel, six, real("fd00::2")),
        (tunnel, six, "sorry_server fd00::9"),
        (tunnel, six, "sorry_server 10.0.0.9"),
        (tunnel, six, four),
        (tunnel, six, "persistence_timeout 5", "persistence_granularity 255.255.255.0"),
        (tunnel, four, "persistence_timeout 5", "persistence_granularity 64"),
        (tunnel, four, "ip_family inet6"),
        (tunnel, six, "ip_family inet"),
        ("lvs_method NAT", real("fd00::1 80"), four),
        ("lvs_method NAT", real("fd00::1", tunnel), real("10.0.0.1 80"), real("fd00::2")),
        ("lvs_method NAT", real("10.0.0.1", tunnel), real("fd00::1 80")),
        ("lvs_method NAT", real("fd00::1", tunnel)),
        (tunnel, real("fd00::1", "lvs_method DR"), four),
        ("persistence_granularity 64", "ip_family inet", six, four),
        (four, "ip_family inet6", six),
        (six, "ip_family inet", four),
    )
    for number, lines in enumerate(of_marks, 20):
        text += server(f"fwmark {number}", "lvs_sched rr", *lines)
    return text


def of_groups_of_other_families() -> str:
    six = real("fd00::1 80")
    return """
virtual_server_group BOTH {
    10.5.0.1 80
    fd05::1 80
}
virtual_server_group FOUR {
    10.6.0.1 80
}
virtual_server_group MARKS {
    fwmark 81
}
virtual_server_group SIX_MARKS {
    fwmark 82
}
""" + (
        server("group BOTH", "protocol TCP", "lvs_method NAT", six, real("10.0.0.2 80"))
        + server("group FOUR", "protocol TCP", "lvs_method NAT", six)
        + server("group MARKS", "lvs_method TUN", real("fd00::1"))
        + server("group FOUR", "protocol UDP", "lvs_method TUN", six)
        + server("group SIX_MARKS", "lvs_method TUN", "ip_family inet6", real("10.0.0.1"))
    )


def of_what_keepalived_leaves_out() -> str:
    both = (real("10.0.0.1 80"), real("fd00::1 80"))
    tunnel = "lvs_method TUN"
    return """
virtual_server_group BOTH {
    10.7.0.1 80
    fd07::1 80
}
virtual_server_group MARKS {
    fwmark 84
}
""" + (
        server("group BOTH", "protocol TCP", tunnel, "ip_family inet6", *both)
        + server("group BOTH", "protocol UDP", tunnel, "persistence_granularity 64", *both)
        + server("group MARKS", "lvs_method NAT", both[0])
        + server("group MARKS", "lvs_method NAT", both[1])
    )


def of_groups() -> str:
    ports = (real("10.0.0.1 80"), real("10.0.0.2 8080"), real("10.0.0.3"))
    return """
virtual_server_group FOUR {
    10.1.0.1 80
    10.1.0.4-6 80
    10.1.1.0/30 80
    10.1.2.250-10.1.2.253 80
    fwmark 7
}
virtual_server_group SIX {
    fd01::1 80
    fd01::a-c 80
    fd01:2::/126 80
    fd01:3::fffd-fd01:3::ffff 80
    fwmark 8
}
virtual_server_group PORTS {
    10.4.0.1 80
    10.4.0.2 8080
}
virtual_server_group PORTS_AND_MARK {
    10.5.0.1 80
    10.5.0.2 8080
    fwmark 11
}
virtual_server_group PAIR {
    10.3.0.1-3 80
}
virtual_server_group BOTH {
    10.2.0.1 80
    fd02::1 80
    fwmark 9 inet
    fwmark 10 inet6
}
""" + (
        server("group FOUR", "protocol TCP", "lvs_method DR", real("10.0.0.1 80"))
        + server("group PAIR", "protocol TCP", "lvs_method NAT", real("10.0.0.1 80"))
        + server("group PAIR", "protocol UDP", "lvs_method NAT", real("10.0.0.1 80"))
        + server("group PORTS", "protocol TCP", "lvs_method NAT", *ports)
        + server("group PORTS", "protocol UDP", "lvs_method DR", *ports)
        + server("group PORTS_AND_MARK", "protocol TCP", "lvs_method DR", *ports)
        + server("group SIX", "protocol TCP", "lvs_method NAT", real("fd00::1 80"))
        + server(
            "group BOTH",
            "protocol TCP",
            "lvs_method TUN",
            real("10.0.0.1 80"),
            real("fd00::1 80", "lvs_method TUN type gue port 6080"),
        )
    )


def of_marked_groups() -> str:
    return (
        """
global_defs {
    nftables_ipvs
    nftables_ipvs_start_fwmark 500
}
virtual_server_group FOUR {
    10.1.0.1-9 80
    10.1.1.1 81
}
virtual_server_group BOTH {
    10.2.0.1 80
    fd02::1 80
}
virtual_server_group OWN {
    10.3.0.1 80
    fwmark 9
}
"""
        + server("group FOUR", "protocol TCP", "lvs_method DR", real("10.0.0.1 80"))
        + server("group FOUR", "protocol UDP", "lvs_method NAT", real("10.0.0.1 8080"))
        + server("group BOTH", "protocol TCP", "lvs_method TUN", real("10.0.0.1 80"))
        + server("group OWN", "protocol TCP", "lvs_method DR", real("10.0.0.1 80"))
        + server("10.4.0.1 80", "protocol TCP", "lvs_method DR", real("10.0.0.1 80"))
    )


CONFIGURATIONS = {
    "schedulers": of_each_scheduler,
    "flags": of_each_flag,
    "methods": of_each_method,
    "persistence": of_each_persistence,
    "protocols": of_each_protocol,
    "weights": of_weights,
    "marks": of_marks,
    "families": of_families,
    "groups of other families": of_groups_of_other_families,
    "groups": of_groups,
    "marked groups": of_marked_groups,
}


@pytest.fixture(autouse=True)
def namespace() -> Iterator[None]:
    with inside_namespace():
        ip("link set lo up")
        yield


@contextmanager
def keepalived(text: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """keepalived's checkers, when they have made the table."""
    file, log = folder / "keepalived.conf", folder / "log"
    file.write_text(text)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *("keepalived", "-n", "-l", "-D", "--check", "-f", str(file)),
                *("-p", str(folder / "parent.pid"), "-c", str(folder / "checkers.pid")),
            ],
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(
            lambda: "Startup complete" in log.read_text(),
            PATIENCE,
            what=lambda: f"keepalived to have begun:\n{log.read_text()}",
        )
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


async def fastvrrp(text: str, folder: Path) -> tuple[list[str], list[str], list[str]]:
    """What fastvrrp makes of a configuration: services and destinations, thresholds, and what it
    leaves behind."""
    services = Services()
    configuration = configured(text, folder)
    await services.adopt(configuration)
    want(services, configuration)
    await services.settle()
    found = saved(), thresholds()
    await services.close(FlushOnStop.EACH)
    return *found, saved()


@pytest.mark.keywords(
    "virtual_server/lvs_sched",
    "virtual_server/lvs_method",
    "virtual_server/protocol",
    "virtual_server/ops",
    "virtual_server/flag-1",
    "virtual_server/flag-2",
    "virtual_server/flag-3",
    "virtual_server/sh-port",
    "virtual_server/sh-fallback",
    "virtual_server/mh-port",
    "virtual_server/mh-fallback",
    "virtual_server/hashed",
    "virtual_server/ip_family",
    "virtual_server/persistence_engine",
    "virtual_server/persistence_timeout",
    "virtual_server/persistence_granularity",
    "virtual_server/weight",
    "real_server/lvs_method",
    "real_server/weight",
    "virtual_server_group",
    "global_defs/nftables_ipvs",
)
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_table_is_the_same(name: str, tmp_path: Path) -> None:
    text = CONFIGURATIONS[name]()
    with keepalived(text, tmp_path):
        theirs = saved(), thresholds()
    assert theirs[0]
    ipvsadm("-C")
    *ours, left = asyncio.run(fastvrrp(text, tmp_path))
    assert ours[0] == theirs[0]
    assert ours[1] == theirs[1]
    assert left == []


def test_a_group_is_served_where_keepalived_leaves_it_out(tmp_path: Path) -> None:
    """Against its manual: with tunnels alone a group may be of both families, and its marks may be
    of each."""
    text = of_what_keepalived_leaves_out()
    of_four = {"-A -f 84 -s wlc", "-a -f 84 -r 10.0.0.1:80 -m -w 1"}
    with keepalived(text, tmp_path):
        theirs = saved()
    assert set(theirs) == of_four
    ipvsadm("-C")
    ours, _, left = asyncio.run(fastvrrp(text, tmp_path))
    assert set(ours) == {
        *of_four,
        *("-A -f 84 -6 -s wlc", "-a -f 84 -6 -r [fd00::1]:80 -m -w 1"),
        *("-A -t 10.7.0.1:80 -s wlc", "-A -t [fd07::1]:80 -s wlc"),
        *("-A -u 10.7.0.1:80 -s wlc -p 360", "-A -u [fd07::1]:80 -s wlc -p 360 -M 64"),
        *(
            f"-a {service}:80 -r {to}:80 -i -w 1 --tun-type ipip"
            for service in ("-t 10.7.0.1", "-t [fd07::1]", "-u 10.7.0.1", "-u [fd07::1]")
            for to in ("10.0.0.1", "[fd00::1]")
        ),
    }
    assert left == []
