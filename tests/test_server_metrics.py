"""What Prometheus is told of virtual servers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fastvrrp.observe import server_metrics, servers
from fastvrrp.observe.servers import Counters, Layout, Servers

COUNTERS = Counters(5, 50, 40, 5000, 4000, 2, 1)
CHECKERS = (
    ("TCP_CHECK", "[10.0.0.1]:80"),
    ("HTTP_GET", '[10.0.0.1]:80 /"a"\\'),
    ("TCP_CHECK", "[10.0.0.1]:81"),
)
REAL = ("[10.0.0.1]:tcp:80", "10.0.0.1", 80, 4, "DR", CHECKERS)
POOLS = (
    *(
        ("[G]:0", protocol, "", None, 0, None, "G", "rr", "DR", 2, 1, None, (REAL,))
        for protocol in ("tcp", "udp")
    ),
    *(
        ("FWM 7", "none", family, None, 0, 7, None, "wlc", "NAT", 1, 0, None, ())
        for family in ("ipv4", "ipv6")
    ),
)


def shown(path: Path, *, is_counted: bool = True, pid: int | None = None) -> Servers:
    """Two virtual servers of a group and two of marks; the first one's real server is down, for
    its second checker, and both share their checks."""
    layout = Layout(len(POOLS), 2, 6, 3)
    numbers = b"".join(
        servers.VIRTUAL.pack(number != 0, number == 0, number == 1, 4 * number, 2_000_000_000)
        + servers.COUNTERS.pack(*COUNTERS)
        for number in range(len(POOLS))
    )
    for is_up in (False, True):
        numbers += servers.REAL.pack(is_up, 3, 1_500_000_000) + servers.COUNTERS.pack(*COUNTERS)
    numbers += b"".join(servers.LINK.pack(number) for number in (0, 1, 2, 0, 1, 2))
    for state, failed in ((1, 0), (0, 3), (servers.UNKNOWN, 1)):
        numbers += servers.CHECK.pack(state, 10, failed, 1_000_000_000)
    with path.open("w+b") as file:
        reasons = json.dumps({1: "status 500"}).encode()
        words = json.dumps(POOLS).encode()
        servers.write(file.fileno(), layout, numbers, words, reasons, int(is_counted))
        found = servers.read(file.fileno())
    return found if pid is None else Servers(found.virtual_servers, pid, found.counted_at)


def text_of(found: Servers) -> str:
    return b"".join(server_metrics.pages(found, 10**9)).decode()


def test_everything_that_is_documented_is_told_once(tmp_path: Path) -> None:
    text = text_of(shown(tmp_path / "servers"))
    families = list(text_string_to_metric_families(text))
    told = {family.name for family in families}
    documented = set(server_metrics.NAMES)
    assert told == {name.removesuffix("_total") for name in documented}
    series = [(each.name, *each.labels.items()) for family in families for each in family.samples]
    assert len(series) == len(set(series))


def test_servers_are_told_as_they_are(tmp_path: Path) -> None:
    text = text_of(shown(tmp_path / "servers"))
    tcp = 'virtual_server="[G]:0",protocol="tcp",family=""'
    udp = 'virtual_server="[G]:0",protocol="udp",family=""'
    real = 'real_server="[10.0.0.1]:tcp:80"'
    for line in (
        f'virtual_server_info{{{tcp},scheduler="rr",forwarding="DR"}} 1',
        f"virtual_server_quorum_up{{{tcp}}} 0",
        f"virtual_server_quorum_up{{{udp}}} 1",
        f"virtual_server_quorum{{{tcp}}} 2",
        f"virtual_server_sorry_server_in_use{{{tcp}}} 1",
        f"virtual_server_suspended{{{udp}}} 1",
        f"virtual_server_weight{{{udp}}} 4",
        f"virtual_server_real_servers{{{udp}}} 1",
        f"virtual_server_real_servers_up{{{tcp}}} 0",
        f"virtual_server_last_transition_timestamp_seconds{{{tcp}}} 3.0",
        f"virtual_server_connections_total{{{tcp}}} 5",
        f"virtual_server_outgoing_bytes_total{{{tcp}}} 4000",
        f"real_server_up{{{tcp},{real}}} 0",
        f"real_server_up{{{udp},{real}}} 1",
        f"real_server_weight{{{tcp},{real}}} 3",
        f"real_server_configured_weight{{{tcp},{real}}} 4",
        f"real_server_last_transition_timestamp_seconds{{{tcp},{real}}} 2.5",
        f"real_server_active_connections{{{tcp},{real}}} 2",
        f"real_server_inactive_connections{{{tcp},{real}}} 1",
        f"real_server_incoming_packets_total{{{tcp},{real}}} 50",
        f'real_server_checker_up{{{tcp},{real},checker="TCP_CHECK"}} -1',
        f'real_server_checker_up{{{tcp},{real},checker="HTTP_GET"}} 0',
        f'real_server_checks_total{{{tcp},{real},checker="TCP_CHECK"}} 20',
        f'real_server_check_failures_total{{{tcp},{real},checker="HTTP_GET"}} 3',
    ):
        assert f"fastvrrp_{line}\n" in text


def test_what_is_not_known_has_no_lines(tmp_path: Path) -> None:
    text = text_of(shown(tmp_path / "servers", is_counted=False))
    assert "_connections" not in text
    assert "incoming" not in text
    assert "fastvrrp_real_server_up" in text
    assert text_of(Servers()) == ""
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert text_of(shown(tmp_path / "servers", pid=ended.pid)) == ""
    assert text_of(shown(tmp_path / "servers", pid=os.getpid())) != ""


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's package prometheus")
def test_promtool_finds_no_fault(tmp_path: Path) -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=text_of(shown(tmp_path / "servers")),
        capture_output=True,
        check=False,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
