"""What systemd is told: a datagram socket plays systemd."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import Counter
from pathlib import Path

import pytest

from fastvrrp.daemon.service_state import ServiceState
from fastvrrp.daemon.summary import words
from fastvrrp.model import State


def listen(address: str) -> socket.socket:
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(address)
    systemd.settimeout(60.0)
    return systemd


def hear(systemd: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in systemd.recv(4096).decode().split("\n"))


@pytest.mark.parametrize("is_abstract", [False, True])
def test_each_message_is_a_datagram(tmp_path: Path, is_abstract: bool) -> None:
    path = f"@{tmp_path}" if is_abstract else str(tmp_path / "notify")
    with listen("\0" + path[1:] if is_abstract else path) as systemd:
        environment = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "3000000", "OTHER": "stays"}
        state = ServiceState.of_environment(environment)
        assert environment == {"OTHER": "stays"}
        assert state.pause == 1.5
        state.takes(2.5)
        assert hear(systemd) == {"EXTEND_TIMEOUT_USEC": "2500000"}
        state.ready()
        assert hear(systemd) == {"READY": "1", "MAINPID": str(os.getpid())}
        state.say("virtual routers: 1 MASTER")
        state.say("virtual routers: 1 MASTER")
        assert hear(systemd) == {"STATUS": "virtual routers: 1 MASTER"}
        state.alive()
        assert hear(systemd) == {"WATCHDOG": "1"}
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        state.reloading()
        said = hear(systemd)
        assert said["RELOADING"] == "1"
        assert 0 <= int(said["MONOTONIC_USEC"]) - before // 1000 < 60_000_000
        state.stopping(60.0)
        assert hear(systemd) == {"STOPPING": "1", "EXTEND_TIMEOUT_USEC": "60000000"}
        state.close()
        state.alive()


@pytest.mark.parametrize(("pid", "pause"), [(None, 10.0), (str(os.getpid()), 10.0), ("1", None)])
def test_the_watchdog_of_another_process_is_not_ours(pid: str | None, pause: float | None) -> None:
    environment = {"NOTIFY_SOCKET": "@nobody", "WATCHDOG_USEC": "20000000"}
    if pid is not None:
        environment["WATCHDOG_PID"] = pid
    state = ServiceState.of_environment(environment)
    assert state.pause == pause
    state.close()


def test_without_systemd_nothing_is_told() -> None:
    state = ServiceState.of_environment({"WATCHDOG_USEC": "20000000"})
    assert state.pause is None
    state.ready()
    state.stopping(1.0)


def test_a_systemd_that_does_not_listen_costs_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with listen(str(tmp_path / "notify")):
        state = ServiceState(str(tmp_path / "notify"), 1.0)
        with caplog.at_level(logging.WARNING):
            for _ in range(2000):  # more than a socket that nobody reads has room for
                state.alive()
        assert [record.getMessage() for record in caplog.records] == [
            "systemd cannot be told WATCHDOG=1: Resource temporarily unavailable"
        ]
        state.close()


def test_the_summary_counts_states() -> None:
    counts = Counter[int]({State.MASTER: 4000, State.FAULT: 2, State.INIT: -4002})
    assert words(counts) == "virtual routers: 4000 MASTER, 0 BACKUP, 2 FAULT"
