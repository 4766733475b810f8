"""The kernel's table and what is told, side by side with keepalived, with one configuration."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from lab import Daemon, Laboratory
from lab.directors import KeepalivedDirector
from lab.servers import WebServer
from lab.side_by_side import SideBySide

PATIENCE = 40.0
"""Seconds; the guest is slow."""
SUBJECT: type[Daemon] = KeepalivedDirector
CONFIGURATIONS = Path(__file__).parents[2] / "configs"
NETWORKS = (
    *("192.0.2.0/24", "192.0.3.0/24", "192.0.4.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    *("10.20.0.0/24", "2001:db8::/32"),
)
"""Where the servers of the configurations are."""
FIRST = (
    *("guide_lvs_dr", "guide_lvs_tunnel", "guide_lvs_firewall_marks", "sample_quorum"),
    *("sample_misc", "sample_ping_and_udp", "sample_status_code", "manual_virtual_server"),
    *("virtual_server_weight", "virtual_servers_of_one_address"),
)
SECOND = (
    *("guide_lvs_nat", "sample_server_group", "sample_ipv6_server", "virtual_server_options"),
    *("manual_virtual_server_fwmark", "manual_virtual_server_group", "all_virtual_servers"),
)
"""Two configurations of many: those of one have no virtual server in common."""
NEWER = re.compile(r"^ *[\d.]+(-\d+\.\d+\.\d+\.\d+|/\d+) \d+$\n", re.MULTILINE)
"""Ranges of groups that keepalived 2.2 takes for others."""


def adapted(names: Sequence[str]) -> str:
    """Configurations of the corpus, with times for those who wait, and without virtual routers."""
    text = "\n".join((CONFIGURATIONS / f"{name}.conf").read_text() for name in names)
    for keyword, value in (
        ("delay_loop", "0.5"),
        ("delay_before_retry", "0.2"),
        ("connect_timeout", "1"),
        ("misc_timeout", "2"),
        ("retry", "1"),
        ("warmup", "0"),
    ):
        text = re.sub(rf"^(\s*){keyword} [\d.]+", rf"\g<1>{keyword} {value}", text, flags=re.M)
    text = re.sub(r"^ *(bindto|bind_if|bind_port) .*\n", "", NEWER.sub("", text), flags=re.M)
    return re.sub(r"^vrrp_\w+ \w+ \{$.*?^\}$", "", text, flags=re.M | re.S)


@pytest.mark.timeout(400)
def test_every_sample_is_in_the_kernel_as_keepalived_has_it(lab: Laboratory) -> None:
    both = SideBySide(lab, (KeepalivedDirector, SUBJECT), NETWORKS, PATIENCE)
    WebServer(both.host, ports=(80, 81, 443, 5000, 8000, 8001)).start()
    import time

    for turn, names in enumerate((FIRST, SECOND)):
        t = time.monotonic()
        text = adapted(names)
        both.both(lambda side, text=text: side.configure(text))
        if turn:
            both.both(lambda side: side.daemon.signal(signal.SIGHUP))
        else:
            both.both(lambda side: side.daemon.start())
        served = both.settled()
        t2 = time.monotonic()
        both.refuse()
        lost = both.settled()
        t3 = time.monotonic()
        both.serve()
        back = both.settled()
        print(len(served), len(lost), len(back), t2 - t, t3 - t2, time.monotonic() - t3)
        print("\n".join(served))
        print("---")
        print("\n".join(lost))
        print("--")
        print(back == served)
    print(both.referee.daemon.log())
    for side in both.sides:
        print("\n".join(side.fifo.lines()))
        print(side.called())
    both.both(lambda side: side.daemon.stop())
    assert both.settled() == []
