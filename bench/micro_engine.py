"""What the engine does to an ordinary advert: 4,080 that are sent, and one that is heard."""

from itertools import count
from typing import Any

import pytest

from fastvrrp._engine import Engine
from fastvrrp._sockets import Recorder
from fastvrrp._table import Table
from fastvrrp._wire import encode

ROUTERS = 4_080
SECOND = 1_000_000_000
GROUP = bytes([224, 0, 0, 18])
OURS, THEIRS = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 2])
MAC = bytes([2, 0, 0, 0, 0, 1])


def engine_of(priority: int) -> tuple[Engine, Recorder]:
    table = Table(None, ROUTERS)
    recorder = Recorder()
    engine = Engine(table, recorder, 0)
    for number in range(ROUTERS):
        ifindex = 2 + number // 255
        index = table.add(f"VI_{number}", "eth0", ifindex, 4, number % 255 + 1, priority)
        engine.configure(
            index,
            version=3,
            advert_interval=SECOND,
            addresses=bytes([10, 64, number // 255, number % 255 + 1]),
            group=GROUP,
        )
        engine.attach(index, ifindex, MAC, OURS)
        engine.start(index, 0)
    engine.take_notes()
    recorder.take_frames()
    return engine, recorder


def test_adverts_sent(benchmark: Any) -> None:
    """One operation is a second of 4,080 masters."""
    engine, recorder = engine_of(255)
    seconds = count(1)

    def turn() -> None:
        until = next(seconds) * SECOND
        wake = engine.run(until - SECOND // 2)
        while wake is not None and wake <= until:
            wake = engine.run(wake)
        recorder.take_frames()

    benchmark(turn)


@pytest.mark.parametrize("priority", [200])
def test_advert_heard(benchmark: Any, priority: int) -> None:
    engine, _ = engine_of(100)
    packet = encode(
        family=4,
        version=3,
        vrid=51,
        priority=priority,
        interval=SECOND,
        source=THEIRS,
        destination=GROUP,
        addresses=[bytes([10, 64, 0, 51])],
    )
    frame = bytes(12) + b"\x08\x00" + packet
    times = count(1)
    benchmark(lambda: engine.receive_frame(2, frame, next(times)))
    assert engine.table.read(50)["adverts_received"]  # type: ignore[index]
