"""What goes wrong with load balancing is said once, with the remedy; all else goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab import Fastvrrp, Laboratory, Router, ipvsadm, wait_until
from lab.servers import WebServer

pytestmark = pytest.mark.timeout(330)  # the guest is slow
FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
PATIENCE = 90.0
"""Seconds; the guest is slow."""
HEAD = """
vrrp_instance V {
  interface eth0
  virtual_router_id 7
  priority 200
  advert_int 1
  virtual_ipaddress {
    10.0.0.100/24
  }
}
"""
VIRTUAL = """
virtual_server 10.0.0.{number} 80 {{
  lvs_sched {scheduler}
  lvs_method DR
  protocol TCP
  delay_loop 1
  retry 1
  delay_before_retry 0.5
  {more}
  real_server {server} 80 {{
    {checker}
  }}
}}
"""
TCP = "TCP_CHECK {\n connect_timeout 2\n }"


def virtual(
    number: int, server: str, scheduler: str = "rr", checker: str = TCP, more: str = ""
) -> str:
    return VIRTUAL.format(
        number=number, server=server, scheduler=scheduler, checker=checker, more=more
    )


def modprobe(*arguments: str) -> None:
    subprocess.run(["modprobe", "-d", "/run/modules", *arguments], check=True)


def director(lab: Laboratory) -> tuple[Router, str]:
    """A director, and the address of a web server beside it."""
    router, host = lab.router("director"), lab.router("host")
    (link,) = lab.connect(router, host)
    WebServer(host).start()
    return router, link.address(host)


def wait_for_rules(router: Router, daemon: Fastvrrp, rules: Sequence[str]) -> None:
    wait_until(
        lambda: ipvsadm.rules(router) == sorted(rules),
        PATIENCE,
        what=lambda: f"{rules}, not {ipvsadm.rules(router)}:\n{daemon.log()}",
        interval=0.3,
    )


def in_table(number: int, server: str, scheduler: str = "rr") -> list[str]:
    service = f"-t 10.0.0.{number}:80"
    return [f"-A {service} -s {scheduler}", f"-a {service} -r {server}:80 -g -w 1"]


def said(daemon: Fastvrrp, word: str) -> list[str]:
    """What the log says of IPVS with a word in it."""
    return [line for line in daemon.log().splitlines() if "IPVS: " in line and word in line]


def test_what_the_kernel_refuses(lab: Laboratory) -> None:
    """A scheduler whose module is missing, and a real server with the address of a broadcast."""
    router, server = director(lab)
    broadcast = "10.0.0.255"
    modprobe("-r", "ip_vs_ovf")
    try:
        text = (
            virtual(101, server, "ovf") + virtual(102, broadcast, checker="") + virtual(103, server)
        )
        daemon = Fastvrrp(router, HEAD + text).start()
        rest = ["-A -t 10.0.0.102:80 -s rr", *in_table(103, server)]
        wait_for_rules(router, daemon, rest)
        daemon.wait_log("Entering MASTER STATE", PATIENCE)
        (module,) = said(daemon, "ip_vs_ovf")
        assert "10.0.0.101" in module
        assert "install or load that module" in module
        (address,) = said(daemon, broadcast)
        assert "10.0.0.102" in address
        assert "no broadcast" in address
    finally:
        modprobe("ip_vs_ovf")
    # Both are tried again: the one comes by itself, and of the other nothing more is said.
    wait_for_rules(router, daemon, [*in_table(101, server, "ovf"), *rest])
    assert said(daemon, "ip_vs_ovf") == [module]
    assert said(daemon, broadcast) == [address]
    daemon.stop()
    assert ipvsadm.rules(router) == []


def test_a_kernel_without_ipvs(lab: Laboratory) -> None:
    router, server = director(lab)
    schedulers = [
        line.split()[0]
        for line in subprocess.run(
            ["lsmod"], check=True, text=True, stdout=subprocess.PIPE
        ).stdout.splitlines()
        if line.startswith("ip_vs_")
    ]
    modprobe("-r", *schedulers, "ip_vs")
    try:
        daemon = Fastvrrp(router, HEAD + virtual(101, server)).start()
        daemon.wait_log("the module ip_vs", PATIENCE)
        daemon.wait_log("Entering MASTER STATE", PATIENCE)
        assert daemon.is_running()
    finally:
        modprobe("-a", "ip_vs", *schedulers)
    wait_for_rules(router, daemon, in_table(101, server))
    assert daemon.log().count("the module ip_vs") == 1
    daemon.stop()


def test_a_certificate_and_an_expression_that_are_none(lab: Laboratory) -> None:
    router, server = director(lab)
    none = router.folder / "none.pem"
    none.write_text("no certificate\n")
    expression = 'HTTP_GET {\n url {\n path /\n regex "(" \n }\n }'
    secure = "SSL_GET {\n url {\n path /\n status_code 200\n }\n }"
    head = f"SSL {{\n ca {none}\n certificate {none}\n key {none}\n}}\n"
    text = (
        HEAD
        + head
        + virtual(101, server, checker=expression)
        + virtual(102, server, checker=secure)
        + virtual(103, server)
    )
    daemon = Fastvrrp(router, text)
    check = router.run([FASTVRRP, "check", str(daemon.configuration_file)], check=False)
    assert check.returncode
    assert str(none) in check.stdout
    assert "regex" in check.stdout
    daemon.start()
    wait_until(
        lambda: set(in_table(103, server)) <= set(ipvsadm.rules(router)),
        PATIENCE,
        what=daemon.log,
        interval=0.3,
    )
    daemon.wait_log("Entering MASTER STATE", PATIENCE)
    daemon.stop()
