"""What is looked up and queued: timers, virtual routers, requests to the kernel. 65,280 of each."""

from itertools import count
from socket import AF_INET
from typing import Any

import pytest

from fastvrrp._rtmessage import decode, encode_address
from fastvrrp._table import Table
from fastvrrp._wheel import Wheel

ROUTERS = 65_280
SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def table() -> Table:
    made = Table(None, ROUTERS)
    for number in range(ROUTERS):
        made.add(f"VI_{number}", "eth0", 2 + number // 255, 4, number % 255 + 1, 100)
    return made


def test_table_lookup(benchmark: Any, table: Table) -> None:
    numbers = count()

    def look_up() -> None:
        number = next(numbers) * 7919 % ROUTERS  # not in the order of memory
        table.lookup(2 + number // 255, 4, number % 255 + 1)

    benchmark(look_up)


def test_wheel_schedule_and_cancel(benchmark: Any) -> None:
    wheel = Wheel(ROUTERS)
    numbers = count()

    def move() -> None:
        timer = next(numbers) % ROUTERS
        wheel.schedule_at(timer, 3 * SECOND + timer)
        wheel.cancel_timer(timer)

    benchmark(move)


def test_wheel_expires_all(benchmark: Any) -> None:
    """One operation is 65,280 timers that were set and expire."""
    wheel = Wheel(ROUTERS)
    now = 0

    def turn() -> None:
        nonlocal now
        for timer in range(ROUTERS):
            wheel.schedule_at(timer, now + SECOND + timer * 1000)
        now += 2 * SECOND
        expired = 0
        while found := wheel.expired(now, 4096):
            expired += len(found)
        assert expired == ROUTERS

    benchmark(turn)


def test_netlink_encode(benchmark: Any) -> None:
    benchmark(encode_address, True, AF_INET, 2, bytes([10, 64, 0, 51]), 32, protocol=112)


def test_netlink_decode(benchmark: Any) -> None:
    message = encode_address(True, AF_INET, 2, bytes([10, 64, 0, 51]), 32, protocol=112)
    assert benchmark(decode, message)
