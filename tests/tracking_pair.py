"""A virtual router here and under keepalived with the same configuration, whose priorities are
compared by their adverts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fastvrrp._table import Segment
from lab import Capture, Daemon, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from lab.capture import glance

SECOND = 1_000_000_000
INIT, MASTER, FAULT = 0, 2, 3
RECENT = 0.5
"""Seconds in which each master has spoken at least once."""
HEAD = """
global_defs {
    script_user root
    dynamic_interfaces
}
"""
Priorities = dict[int, int]
"""Of the virtual routers that speak, by VRID."""


def instance(
    vrid: int, *lines: str, interface: str = "eth0", priority: int = 100, interval: str = "0.2"
) -> str:
    body = "\n    ".join(line for text in lines for line in text.split("; "))
    return f"""
vrrp_instance V{vrid} {{
    interface {interface}
    virtual_router_id {vrid}
    version 3
    advert_int {interval}
    priority {priority}
    garp_master_delay 0
    garp_master_repeat 1
    {body}
    virtual_ipaddress {{
        10.9.0.{vrid}/24
    }}
}}
"""


def tracks(block: str, what: str) -> str:
    return f"{block} {{; {what}; }}"


def prepare(router: Router) -> None:
    """Two cables whose other ends nobody listens to."""
    for name, number in (("eth0", 1), ("eth1", 2)):
        router.ip(
            f"link add {name} type veth peer name far-{name}",
            f"link set {name} up",
            f"link set far-{name} up",
            f"address add 10.0.{number}.1/24 dev {name}",
        )


class Side:
    """One daemon in a router of its own, which it does not share with anybody."""

    def __init__(self, laboratory: Laboratory, name: str) -> None:
        self.router = laboratory.router(name)
        prepare(self.router)
        self.capture = Capture(self.router, ["eth0", "eth1"])
        self.daemon: Daemon

    def speaking(self) -> Priorities:
        """Who has sent adverts lately, and with which priority the last time."""
        since = time.time_ns() - int(RECENT * SECOND)
        found: Priorities = {}
        with self.capture.arrival:
            for frame in reversed(self.capture.frames):
                if frame.time < since:
                    break
                sight = glance(frame.data)
                if sight is not None and frame.is_outgoing:
                    found.setdefault(sight.vrid, sight.priority)
        return {vrid: priority for vrid, priority in found.items() if priority}


class Both:
    """fastvrrp and keepalived, to whom the same happens."""

    def __init__(self, laboratory: Laboratory, configuration: str) -> None:
        self.sides = [Side(laboratory, "ours"), Side(laboratory, "theirs")]
        for side, kind in zip(self.sides, (Fastvrrp, Keepalived), strict=True):
            side.capture.start()
            side.daemon = kind(side.router, HEAD + configuration)
        for side in self.sides:
            side.daemon.start()

    def ip(self, *commands: str) -> None:
        for side in self.sides:
            side.router.ip(*commands)

    def expect(self, priorities: Priorities, timeout: float = 15.0) -> None:
        """Waits until both speak with these priorities, and nobody else does."""
        expected = dict(sorted(priorities.items()))
        wait_until(
            lambda: all(side.speaking() == expected for side in self.sides),
            timeout,
            what=lambda: (
                f"{expected}, not "
                + "\n".join(f"{side.speaking()} of\n{side.daemon.log()}" for side in self.sides)
            ),
        )


@pytest.fixture
def both(lab: Laboratory) -> Callable[[str], Both]:
    return lambda configuration: Both(lab, configuration)


@pytest.fixture
def ours(lab: Laboratory) -> Iterator[Callable[[str], Side]]:
    def start(configuration: str) -> Side:
        side = Side(lab, "ours")
        side.capture.start()
        side.daemon = Fastvrrp(side.router, HEAD + configuration).start()
        return side

    return start  # type: ignore[return-value]


def states(side: Side) -> dict[str, int]:
    path = side.daemon.folder / "fastvrrp.state"
    return {router["name"]: router["state"] for router in Segment(path)} if path.exists() else {}


def wait_states(side: Side, expected: dict[str, int]) -> None:
    wait_until(
        lambda: states(side).items() >= expected.items(),
        what=lambda: f"{expected}, not {states(side)}:\n{side.daemon.log()}",
    )


def wait_speaking(side: Side, expected: Priorities) -> None:
    wait_until(
        lambda: side.speaking() == expected,
        what=lambda: f"{expected}, not {side.speaking()}:\n{side.daemon.log()}",
    )


def script(name: str, command: str, *lines: str) -> str:
    body = "\n    ".join(lines)
    return f'vrrp_script {name} {{\n    script "{command}"\n    interval 1\n    {body}\n}}\n'


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
