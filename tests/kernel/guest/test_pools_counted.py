"""What IPVS counts, as Prometheus and `fastvrrp show` are told of it."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)

CONFIGURATION = """
global_defs {
  metrics_listen 127.0.0.1:9165
}
virtual_server 127.0.0.9 80 {
  delay_loop 1
  warmup 0
  lvs_sched rr
  lvs_method NAT
  protocol TCP
  real_server 127.0.0.1 8001 {
    TCP_CHECK {
    }
  }
  real_server 127.0.0.1 8002 {
  }
}
"""
VIRTUAL = 'virtual_server="[127.0.0.9]:tcp:80"'
CONNECTIONS = 6


def serve(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)) as listening:

        def answer() -> None:
            while True:
                try:
                    listening.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=answer, daemon=True).start()
        yield
        listening.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def servers() -> Iterator[None]:
    for _ in serve(8001):
        yield from serve(8002)


def wait(until: Callable[[], object], log: Path) -> None:
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def scrape() -> str:
    with urllib.request.urlopen("http://127.0.0.1:9165/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def value(name: str, *labels: str) -> list[float]:
    """Of every series of that name with these labels."""
    return [
        float(line.rsplit(maxsplit=1)[1])
        for line in scrape().splitlines()
        if re.match(rf"{name}{{", line) and all(label in line for label in labels)
    ]


@pytest.mark.usefixtures("servers")
def test_connections_are_counted_while_metrics_are_on(tmp_path: Path) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "address", "add", "127.0.0.9/32", "dev", "lo"], check=True)
    configuration, log = tmp_path / "router.conf", tmp_path / "log"
    configuration.write_text(CONFIGURATION)
    command = [sys.executable, "-P", "-m", "fastvrrp"]
    pid = ["-p", str(tmp_path / "pid")]
    with log.open("wb") as written:
        daemon = subprocess.Popen(
            [*command, "run", "-n", "-l", "-f", str(configuration), *pid],
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
        )
    try:
        wait(lambda: "Serving metrics" in log.read_text(), log)
        wait(lambda: value("fastvrrp_real_server_up", VIRTUAL) == [1, 1], log)
        wait(lambda: "0050" in Path("/proc/net/ip_vs").read_text(), log)
        for _ in range(CONNECTIONS):
            with socket.create_connection(("127.0.0.9", 80), timeout=10) as client:
                client.recv(1)
        name = "fastvrrp_virtual_server_connections_total"
        wait(lambda: value(name, VIRTUAL) == [CONNECTIONS], log)
        each = value("fastvrrp_real_server_connections_total", VIRTUAL)
        assert each == [CONNECTIONS / 2, CONNECTIONS / 2]
        (packets,) = value("fastvrrp_virtual_server_incoming_packets_total", VIRTUAL)
        (size,) = value("fastvrrp_virtual_server_incoming_bytes_total", VIRTUAL)
        assert size / 40 > packets > 2 * CONNECTIONS
        shown = subprocess.run(
            [*command, "show", "--json", "127.0.0.9:80", *pid],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(shown.stdout)["counters"]["connections"] == CONNECTIONS
    finally:
        daemon.terminate()
        assert daemon.wait(40) == 0, log.read_text()
    assert "Traceback" not in log.read_text()
