"""Fuzzes the control socket, and the requests that vrrpd carries out, with coverage: `make fuzz`.

Every input is what one client sends. Whatever that is, the client gets an answer that is whole, or
none, and is gone afterwards, and the virtual routers are in the states in which they may be. The
arguments are libFuzzer's, as -max_total_time=300.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["fastvrrp.daemon", "fastvrrp.vrrp.maintenance"]):
    from fastvrrp.daemon import requests
    from fastvrrp.daemon.control import Control
    from fastvrrp.daemon.orders import Answer, Order, Orders, Progress

from simulation import Link
from test_maintenance import started

SEEDS = (
    {"request": "resign", "arguments": {"name": "VI_*", "for": 60, "rate": 250}},
    {"request": "drain", "arguments": {"rate": 1e6}},
    {"request": "undrain", "arguments": {"rate": 250}},
    {"request": "dance"},
)
STEP = 100_000_000


class Target:
    """A daemon's socket, and virtual routers on a simulated link behind it."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._fail)
        self.path = folder / "fastvrrp.control"
        self.control = Control(self.loop, self.path, self._carry_out)
        self.control.open()
        self.machine = started(folder, "a", 1, 3, 200)
        self.link = Link([self.machine])
        self._numbers = count()
        self._asking: dict[int, Callable[[Answer], object]] = {}
        self._orders = Orders(self._take)
        requests.register_maintenance(self._orders, self.machine.maintenance)

    def _fail(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        raise context["exception"]

    def _carry_out(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        on_answer: Callable[[Answer], object],
        on_line: Callable[[str], object],
    ) -> None:
        number = next(self._numbers)
        self._asking[number] = on_answer
        self._orders.carry_out(Order(number, kind, arguments))

    def _take(self, message: Answer | Progress) -> None:
        if isinstance(message, Answer):
            self._asking.pop(message.number)(message)

    def feed(self, data: bytes) -> None:
        """Sends what one client sends, and looks at everything afterwards."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.path))
            client.setblocking(False)
            client.send(data)
            client.shutdown(socket.SHUT_WR)
            while self.control.count or not self.loop.run_until_complete(self._turn()):
                self.link.run_until(self.link.now + STEP)
                self.loop.run_until_complete(self._turn())
            client.setblocking(True)
            answer = client.makefile("rb").read().splitlines() if data else []
        said = [json.loads(line) for line in answer]
        assert not said or "ok" in said[-1]
        assert {router["restraint"] for router in self.machine.table} <= {0, 1, 2}

    async def _turn(self) -> bool:
        """Lets the loop do what is to be done."""
        for _ in range(3):
            await asyncio.sleep(0)
        return not self.control.count


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="fastvrrp-fuzz-") as folder:
        seeds = Path(folder, "seeds")
        seeds.mkdir()
        for number, request in enumerate(SEEDS):
            (seeds / str(number)).write_bytes(json.dumps(request).encode() + b"\n")
        target = Target(Path(folder))
        arguments = [*sys.argv, "-max_len=4096", "-timeout=10", str(seeds)]
        atheris.Setup(arguments, target.feed)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
