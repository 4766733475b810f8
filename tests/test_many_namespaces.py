"""Hundreds of network namespaces with a virtual router each, in one daemon."""

from __future__ import annotations

import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path

import pytest

from fastvrrp._rtmessage import encode_address, encode_link
from fastvrrp._rtnetlink import Channel
from fastvrrp._table import Segment
from fastvrrp.kernel.netns import inside
from lab import Fastvrrp, Laboratory, wait_until
from lab.daemons import kill_trees

BACKUP, MASTER = 1, 2
COUNT = 500
TIMEOUT = 60.0
OPEN_FILES = 10
"""Of a namespace with a master: the namespace itself, a name that keeps others away, a socket that
hears adverts, one that sends them, one for memberships, one for claims, two that tell (of links and
of nftables) and two for requests."""
UNBOUNDED = 1 << 62
VIRTUAL_ADDRESS = ip_address("10.0.0.100").packed


def batch(commands: Sequence[str]) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), check=True, text=True)


def set_up(namespace: str, host: int) -> None:
    """Gives eth0 an address and sets it up."""
    with inside(namespace):
        channel = Channel()
        ifindex = socket.if_nametoindex("eth0")
        address = ip_address(f"10.0.0.{host}").packed
        channel.apply(
            [
                encode_link(ifindex, up=True),
                encode_address(True, socket.AF_INET, ifindex, address, 24),
            ],
            0,
            UNBOUNDED,
        )
        assert not channel.take_errors()
        channel.close()


class Side:
    """One daemon, and its namespaces."""

    def __init__(self, lab: Laboratory, name: str, priority: int) -> None:
        self.home = lab.router(name)
        self.namespaces = [f"{lab.name}-{name}{number}" for number in range(COUNT)]
        self.priority = priority

    def start(self) -> None:
        self.daemon = Fastvrrp(
            self.home,
            "".join(
                f"vrrp_instance V{number} {{\n net_namespace {namespace}\n interface eth0\n"
                f" virtual_router_id 51\n priority {self.priority}\n"
                " virtual_ipaddress {\n  10.0.0.100/24\n }\n}\n"
                for number, namespace in enumerate(self.namespaces)
            ),
        ).start()

    def states(self) -> Counter[int]:
        path = self.daemon.folder / "fastvrrp.state"
        return Counter(router["state"] for router in Segment(path)) if path.exists() else Counter()

    def holding(self) -> int:
        """In how many of its namespaces the virtual address is."""
        count = 0
        for namespace in self.namespaces:
            with inside(namespace):
                channel = Channel()
                count += any(each.address == VIRTUAL_ADDRESS for each in channel.dump_addresses())
                channel.close()
        return count

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.daemon.vrrpd}/fd"))  # noqa: PTH208 (thousands of them)

    def receivers(self) -> int:
        """How many sockets hear VRRP in all its namespaces."""
        count = 0
        for namespace in self.namespaces:
            with inside(namespace):
                count += len(Path("/proc/thread-self/net/raw").read_text().splitlines()) - 1
        return count


@pytest.fixture
def sides() -> Iterator[tuple[Side, Side]]:
    """No other laboratory's links are made or removed meanwhile: that takes the kernel's lock."""
    with Laboratory(alone=True) as lab:
        made = Side(lab, "a", 200), Side(lab, "b", 100)
        pairs = list(zip(made[0].namespaces, made[1].namespaces, strict=True))
        batch([f"netns add {name}" for pair in pairs for name in pair])
        try:
            batch([f"link add eth0 netns {a} type veth peer name eth0 netns {b}" for a, b in pairs])
            for a, b in pairs:
                set_up(a, 1)
                set_up(b, 2)
            yield made
        finally:
            for process in lab.processes:
                process.kill()
                process.wait()
            batch([f"netns del {name}" for pair in pairs for name in pair])


@pytest.mark.keywords("vrrp_instance/net_namespace")
def test_all_are_elected_and_fail_over_and_stop(sides: tuple[Side, Side]) -> None:
    preferred, other = sides
    other.start()
    preferred.start()
    wait_until(
        lambda: (preferred.states(), other.states()) == ({MASTER: COUNT}, {BACKUP: COUNT}),
        TIMEOUT,
        what=lambda: f"an election: {preferred.states()} {other.states()}",
    )
    wait_until(
        lambda: (preferred.holding(), other.holding()) == (COUNT, 0), TIMEOUT, what="the addresses"
    )
    assert preferred.receivers() == COUNT, "one socket that receives in each"
    assert preferred.open_files() < OPEN_FILES * COUNT + 100

    kill_trees([process.pid for process in preferred.daemon.processes])
    wait_until(
        lambda: other.states() == {MASTER: COUNT},
        TIMEOUT,
        what=lambda: f"the successor: {other.states()}",
    )
    wait_until(lambda: other.holding() == COUNT, TIMEOUT, what="all its addresses")
    assert sum(Segment(other.daemon.folder / "fastvrrp.state").totals()["refused"]) == 0

    preferred.daemon.wait(TIMEOUT)  # the kernel closes one packet socket after the other
    preferred.daemon.start()
    wait_until(
        lambda: (preferred.states(), other.states()) == ({MASTER: COUNT}, {BACKUP: COUNT}),
        TIMEOUT,
        what=lambda: f"the way back: {preferred.states()} {other.states()}",
    )
    assert preferred.daemon.stop(TIMEOUT) == 0
    wait_until(lambda: other.states() == {MASTER: COUNT}, TIMEOUT, what="the successor again")
    assert other.daemon.stop(TIMEOUT) == 0
    assert (preferred.holding(), other.holding()) == (0, 0)
    for side in sides:
        assert "Traceback" not in side.daemon.log()
        assert {path.name for path in side.daemon.folder.iterdir()} == {"fastvrrp.conf", "log"}
