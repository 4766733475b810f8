"""What systemd is told: a datagram socket plays systemd."""

from __future__ import annotations

import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from fastvrrp.daemon.service_state import ServiceState
from fastvrrp.daemon.summary import words
from fastvrrp.model import State
from lab import Fastvrrp, Laboratory
from tracking_pair import instance


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


@pytest.mark.parametrize(("whose", "pause"), [("nobody's", 10.0), ("ours", 10.0), ("1", None)])
def test_the_watchdog_of_another_process_is_not_ours(whose: str, pause: float | None) -> None:
    environment = {"NOTIFY_SOCKET": "@nobody", "WATCHDOG_USEC": "20000000"}
    if whose != "nobody's":
        environment["WATCHDOG_PID"] = str(os.getpid()) if whose == "ours" else whose
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


class Serviced(Fastvrrp):
    """The daemon as systemd starts it."""

    def commands(self) -> Iterable[Sequence[str]]:
        told = [f"NOTIFY_SOCKET={self.folder}/notify", "WATCHDOG_USEC=1000000"]
        return [["env", *told, *command] for command in super().commands()]


def hear_until(systemd: socket.socket, name: str) -> list[dict[str, str]]:
    """What is said, without signs of life, until something of that name is."""
    said: list[dict[str, str]] = []
    while not said or name not in said[-1]:
        message = hear(systemd)
        if message != {"WATCHDOG": "1"}:
            said.append(message)
    return said


def test_a_daemon_says_what_it_does_in_order(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    mark = "notify \"/bin/sh -c 'env >{}'\""
    daemon = Serviced(a, "")
    saying = mark.format(daemon.folder / "environment")
    conf = "global_defs {\n    script_user root\n}\n" + instance(1, saying)
    daemon.configure(conf)
    with listen(str(daemon.folder / "notify")) as systemd:
        daemon.start()
        extension, ready, status = hear_until(systemd, "STATUS")
        assert int(extension["EXTEND_TIMEOUT_USEC"]) > 90_000_000
        assert ready == {"READY": "1", "MAINPID": str(daemon.processes[0].pid)}
        while "1 MASTER" not in status["STATUS"]:
            (status,) = hear_until(systemd, "STATUS")
        assert status == {"STATUS": "virtual routers: 1 MASTER, 0 BACKUP, 0 FAULT"}
        daemon.configure(conf + instance(2))
        daemon.signal(signal.SIGHUP)
        reloading, *between, ready = hear_until(systemd, "READY")
        assert set(reloading) == {"RELOADING", "MONOTONIC_USEC"}
        assert all(set(message) == {"STATUS"} for message in between)
        daemon.configure("nonsense")
        daemon.signal(signal.SIGHUP)
        hear_until(systemd, "RELOADING")
        hear_until(systemd, "READY")  # it goes on as it was
        os.kill(daemon.vrrpd, signal.SIGTERM)  # it is started again
        assert not any("STOPPING" in message for message in hear_until(systemd, "READY"))
        while hear(systemd) != {"WATCHDOG": "1"}:
            pass
        environment = (daemon.folder / "environment").read_text()
        assert "NOTIFY_SOCKET" not in environment
        assert "WATCHDOG_USEC" not in environment
        daemon.signal(signal.SIGTERM)
        (*_, stopping) = hear_until(systemd, "STOPPING")
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 0
        assert daemon.wait() == 0


def test_a_daemon_that_hangs_says_so_by_its_silence(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Serviced(a, instance(1))
    with listen(str(daemon.folder / "notify")) as systemd:
        daemon.start()
        hear_until(systemd, "READY")
        daemon.signal(signal.SIGSTOP)
        systemd.settimeout(2.0)
        with pytest.raises(TimeoutError):  # noqa: PT012 - what was said before is read first
            while True:
                hear(systemd)
        daemon.signal(signal.SIGCONT)
        systemd.settimeout(60.0)
        while hear(systemd) != {"WATCHDOG": "1"}:
            pass
        assert daemon.stop() == 0
