"""4,080 virtual routers on 16 interfaces: that it works. How fast it does is the bench's to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from fastvrrp._table import Segment
from lab import Fastvrrp, Laboratory, wait_until

INTERFACES = 16
VRIDS = 255
BACKUP, MASTER = 1, 2


@pytest.fixture
def quiet_lab() -> Iterator[Laboratory]:
    """No other laboratory's links are made or removed meanwhile: that takes the kernel's lock."""
    with Laboratory(alone=True) as laboratory:
        yield laboratory


def configuration(priority: int) -> str:
    return "".join(
        f"vrrp_instance V{number}_{vrid} {{\n interface eth{number}\n virtual_router_id {vrid}\n"
        f" priority {priority}\n virtual_ipaddress {{\n  10.100.{number}.{vrid}/32\n }}\n}}\n"
        for number in range(INTERFACES)
        for vrid in range(1, VRIDS + 1)
    )


def states(daemon: Fastvrrp) -> Counter[int]:
    path = daemon.folder / "fastvrrp.state"
    return Counter(router["state"] for router in Segment(path)) if path.exists() else Counter()


def virtual_addresses(daemon: Fastvrrp) -> int:
    return sum(" 10.100." in address for address in daemon.router.addresses())


def test_all_are_elected_and_fail_over(quiet_lab: Laboratory) -> None:
    total = INTERFACES * VRIDS
    a, b = quiet_lab.router("a"), quiet_lab.router("b")
    quiet_lab.connect(a, b, count=INTERFACES)
    other = Fastvrrp(b, configuration(100)).start()
    preferred = Fastvrrp(a, configuration(200)).start()
    wait_until(
        lambda: (states(preferred), states(other)) == ({MASTER: total}, {BACKUP: total}),
        30.0,
        what=lambda: f"an election: {states(preferred)} {states(other)}",
    )
    wait_until(lambda: virtual_addresses(preferred) == total, 30.0, what="all addresses")
    assert all(router["became_master"] == 1 for router in Segment(segment(preferred)))

    preferred.kill()
    wait_until(lambda: states(other) == {MASTER: total}, 30.0, what="the successor")
    wait_until(lambda: virtual_addresses(other) == total, 30.0, what="all its addresses")
    assert sum(Segment(segment(other)).totals()["refused"]) == 0

    assert other.stop() == 0
    assert virtual_addresses(other) == 0
    assert "Traceback" not in other.log()


def segment(daemon: Fastvrrp) -> str:
    return str(daemon.folder / "fastvrrp.state")
