"""The kernel's table and what is told, side by side with keepalived, with one configuration."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from lab import Daemon, Fastvrrp, Laboratory, Router
from lab.directors import KeepalivedDirector
from lab.servers import Certificate, MailServer, NameServer, WebServer
from lab.side_by_side import SideBySide

pytestmark = pytest.mark.timeout(330)  # the guest is slow
PATIENCE = 60.0
"""Seconds; the guest is slow."""
SUBJECT: type[Daemon] = Fastvrrp
CONFIGURATIONS = Path(__file__).parents[2] / "configs"
NETWORKS = (
    *("192.0.2.0/24", "192.0.3.0/24", "192.0.4.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    *("10.20.0.0/24", "2001:db8::/32"),
)
"""Where the servers of the configurations are."""
FIRST = (
    *("guide_lvs_dr", "guide_lvs_tunnel", "guide_lvs_firewall_marks", "sample_quorum"),
    *("sample_misc", "sample_ping_and_udp", "sample_status_code", "manual_virtual_server"),
    *("virtual_server_weight", "virtual_server_options"),
)
SECOND = (
    *("guide_lvs_nat", "sample_server_group", "sample_ipv6_server"),
    *("manual_virtual_server_fwmark", "manual_virtual_server_group", "all_virtual_servers"),
)
"""Two configurations of many: those of one have no virtual server in common."""
NEWER = re.compile(r"^ *[\d.]+(-\d+\.\d+\.\d+\.\d+|/\d+) \d+$\n", re.MULTILINE)
"""Ranges of groups that keepalived 2.2 takes for others."""


def adapted(names: Sequence[str]) -> str:
    """Configurations of the corpus, with times for those who wait, and without virtual routers."""
    text = "\n".join((CONFIGURATIONS / f"{name}.conf").read_text() for name in names)
    for keyword, value in (
        ("delay_before_retry", "0.2"),
        ("connect_timeout", "3"),
        ("misc_timeout", "5"),
        ("retry", "1"),
        ("warmup", "0"),
    ):
        text = re.sub(rf"^(\s*){keyword} [\d.]+", rf"\g<1>{keyword} {value}", text, flags=re.M)
    text = re.sub(r"^ *(bindto|bind_if|bind_port|delay_loop) .*\n", "", text, flags=re.M)
    text = re.sub(r"^(virtual_server .*\{)$", r"\1\n  delay_loop 0.5", text, flags=re.M)
    text = re.sub(r"^ *(notification|smtp)_.*?(\{[^}]*\})?$", "", NEWER.sub("", text), flags=re.M)
    return re.sub(r"^vrrp_\w+ \w+ \{$.*?^\}$", "", text, flags=re.M | re.S)


def begin(lab: Laboratory, networks: Sequence[str] = NETWORKS) -> SideBySide:
    return SideBySide(lab, (KeepalivedDirector, SUBJECT), networks, PATIENCE)


def test_the_samples_of_every_guide(lab: Laboratory) -> None:
    both = begin(lab)
    WebServer(both.host, ports=(80, 81, 443, 8000, 8001)).start()
    NameServer(both.host, {}, port=5000).start()
    for number, names in enumerate((FIRST, SECOND)):
        text = adapted(names)
        both.both(lambda side, text=text: side.configure(text))  # type: ignore[misc]
        if number == 0:
            both.both(lambda side: side.daemon.start())
        else:
            both.both(lambda side: side.daemon.signal(signal.SIGHUP))
        served = both.settled()
        both.refuse()
        assert both.settled() != served
        both.serve()
        assert both.settled() == served
    both.both(lambda side: side.daemon.stop())
    assert both.settled() == []


POOL = """
virtual_server 192.0.2.{address} 80 {{
  lvs_sched wrr
  lvs_method NAT
  protocol TCP
  delay_loop 0.4
  retry 1
  delay_before_retry 0.2
  quorum 3
  hysteresis 1
  quorum_up "@FOLDER@/script {address} quorum up"
  quorum_down "@FOLDER@/script {address} quorum down"
  sorry_server 192.0.2.99 80
  {virtual}
  {servers}
}}
"""
SERVER = """
  real_server 192.0.2.{number} 80 {{
    weight {weight}
    notify_up "@FOLDER@/script {address} server {number} up"
    notify_down "@FOLDER@/script {address} server {number} down"
    TCP_CHECK {{
      connect_port {port}
    }}
    {extra}
  }}
"""
POOLS = {
    101: ("", ""),
    102: ("alpha\n  omega\n  sorry_server_inhibit", "inhibit_on_failure"),
}
"""Virtual servers by the end of their address: what each has written, and its real servers."""


def pools(*weights: int) -> str:
    """The pools, of servers that are checked on ports of their own, from 8001 on."""
    text = ""
    for address, (virtual, extra) in POOLS.items():
        servers = "".join(
            SERVER.format(
                address=address, number=number, weight=weight, port=8000 + number, extra=extra
            )
            for number, weight in enumerate(weights, 1)
        )
        text += POOL.format(address=address, virtual=virtual, servers=servers)
    return text


class Ports:
    """What listens for the checks, a port a server, so that each fails alone."""

    def __init__(self, both: SideBySide, count: int = 3) -> None:
        self.servers = {
            number: WebServer(both.host, ports=(8000 + number,)).start()
            for number in range(1, count + 1)
        }

    def stop(self, *numbers: int) -> None:
        for number in numbers:
            self.servers[number].stop()

    def start(self, *numbers: int) -> None:
        for number in numbers:
            self.servers[number].start()


class Listener:
    """What is told of the pools, step by step."""

    def __init__(self, both: SideBySide) -> None:
        self.both = both
        self.heard: dict[tuple[int, int, str], int] = {}

    def compare(self, *, ordered: bool = True) -> None:
        """Of each pool both have told the same since the last call, in the same order if
        `ordered`."""
        for address in POOLS:
            lines = [self.news(side, address, "fifo") for side in (0, 1)]
            calls = [self.news(side, address, "scripts") for side in (0, 1)]
            if not ordered:
                for told in (*lines, *calls):
                    told.sort()
            assert lines[0] == lines[1]
            assert calls[0] == calls[1]

    def news(self, number: int, address: int, kind: str) -> list[str]:
        side = self.both.sides[number]
        if kind == "fifo":
            told = [line for line in side.fifo.lines() if f"[192.0.2.{address}]" in line]
        else:
            told = [call for call in side.called() if call.startswith(f"{address} ")]
        key = (number, address, kind)
        new = told[self.heard.get(key, 0) :]
        self.heard[key] = len(told)
        return new


def test_pools_in_good_days_and_bad_ones(lab: Laboratory) -> None:
    both = begin(lab, ["192.0.2.0/24"])
    ports = Ports(both, 4)
    both.both(lambda side: side.configure(pools(2, 1, 1)))
    both.both(lambda side: side.daemon.start())
    both.settled(lambda rules: len(rules) == 2 * 4 + 1)
    listener = Listener(both)
    listener.compare(ordered=False)  # who is checked first is left to chance
    steps: list[Callable[[], None]] = [
        lambda: ports.stop(2),
        lambda: ports.stop(1),  # the quorum is lost
        lambda: ports.stop(3),
        lambda: ports.start(2),
        lambda: ports.start(1),
        lambda: ports.start(3),
        lambda: ports.stop(1),
    ]
    for step in steps:
        step()
        both.settled()
        listener.compare()
    # Server 1 is down: it stays so over a reload that changes weights and adds a server, and over
    # one that takes some away.
    for weights in ((3, 2, 1, 1), (3, 2)):
        both.both(lambda side, weights=weights: side.configure(pools(*weights)))  # type: ignore[misc]
        both.both(lambda side: side.daemon.signal(signal.SIGHUP))
        both.settled()
        listener.compare()
    ports.start(1)
    both.settled()
    both.both(lambda side: side.daemon.stop())
    both.settled()
    listener.compare(ordered=False)


CHECKED = """
virtual_server 192.0.2.100 {port} {{
  lvs_sched rr
  lvs_method NAT
  protocol {protocol}
  delay_loop 1
  connect_timeout 10
  retry 1
  delay_before_retry 0.2
  real_server 192.0.2.1 {port} {{
    weight 10
    {checker}
  }}
}}
"""


class Checked:
    """A host that every checker finds well, until `fail`, and again after `mend`."""

    PAGES: ClassVar = {"/a": (200, "all is well"), "/b": (404, "gone")}

    def __init__(self, lab: Laboratory, host: Router) -> None:
        certificate = Certificate(lab, "www.example.org")
        self.web = WebServer(
            host, ports=(80,), tls_ports=(443,), certificate=certificate, pages=self.PAGES
        )
        self.mail = MailServer(host)
        self.names = NameServer(host, {"www.example.org": "192.0.2.7"})
        self.drain, self.status = host.folder / "drain", host.folder / "status"
        self.script = host.folder / "exits"
        self.script.write_text(f"#!/bin/sh\nexit $(cat {self.status})\n")
        self.script.chmod(0o755)
        self.web.start()
        self.mend()

    def fail(self) -> None:
        self.web.serve({"/a": (500, "no"), "/b": (200, "here")})
        self.mail.stop()
        self.names.stop()
        self.status.write_text("1\n")
        self.drain.write_text("-254\n")

    def mend(self) -> None:
        self.web.serve(self.PAGES)
        self.mail.start()
        self.names.start()
        self.status.write_text("7\n")
        self.drain.write_text("-3\n")

    def configuration(self) -> str:
        """A virtual server for each checker, told apart by their ports."""
        good = "url {\n path /a\n status_code 200\n }\n url {\n path /b\n status_code 404\n }"
        matched = 'url {\n path /a\n regex "ALL .* WELL"\n regex_options caseless\n }'
        checkers = (
            ("TCP", "TCP_CHECK {\n connect_port 80\n }"),
            ("TCP", f"HTTP_GET {{\n connect_port 80\n {good}\n }}"),
            ("TCP", f"HTTP_GET {{\n connect_port 80\n {matched}\n }}"),
            ("TCP", f"SSL_GET {{\n connect_port 443\n enable_sni\n {good}\n }}"),
            ("TCP", 'SMTP_CHECK {\n helo_name "edge"\n host {\n connect_port 25\n }\n }'),
            ("UDP", "DNS_CHECK {\n connect_port 53\n type A\n name www.example.org\n }"),
            ("UDP", "UDP_CHECK {\n connect_port 53\n }"),
            ("TCP", "PING_CHECK {\n }"),
            (
                "TCP",
                f"MISC_CHECK {{\n misc_path {self.script}\n misc_timeout 10\n misc_dynamic\n }}",
            ),
            ("TCP", "FILE_CHECK {\n track_file drain\n weight 1\n }"),
        )
        return f"track_file drain {{\n file {self.drain}\n}}\n" + "".join(
            CHECKED.format(port=port, protocol=protocol, checker=checker)
            for port, (protocol, checker) in enumerate(checkers, 1)
        )


def served(rules: list[str]) -> set[int]:
    """The ports of those virtual servers whose real server is in."""
    return {
        int(rule.split()[2].rpartition(":")[2])
        for rule in rules
        if rule.startswith("-a") and not rule.endswith("-w 0")
    }


def test_every_checker(lab: Laboratory) -> None:
    both = begin(lab, ["192.0.2.0/24"])
    host = Checked(lab, both.host)
    everything = set(range(1, 11))
    both.both(lambda side: side.configure(host.configuration()))
    both.both(lambda side: side.daemon.start())
    both.settled(lambda rules: served(rules) == everything)
    host.fail()
    both.settled(lambda rules: served(rules) == {1, 8})  # TCP_CHECK and PING_CHECK
    host.mend()
    both.settled(lambda rules: served(rules) == everything)
    both.refuse()
    # MISC_CHECK and FILE_CHECK; and UDP_CHECK, for which a silent server is well.
    both.settled(lambda rules: served(rules) == {7, 9, 10})
    both.serve()
    both.settled(lambda rules: served(rules) == everything)
