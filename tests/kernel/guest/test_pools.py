"""Virtual servers under fastvrrp and under keepalived: the same configuration, the same failures, and
what is seen of them: IPVS, FIFO lines, scripts, and the lines of the log that people grep for."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)

PATIENCE = 40.0
"""Seconds: a guest is slow, and its host may be busy."""
FOUND = re.compile(
    r"(?:Removing|Adding|Enabling|Disabling|Changing weight|Gained quorum|Lost quorum|Shutting down"
    r"|Starting with quorum|service \S+ no longer|Suspending healthchecker).*"
)
"""Lines of the log that are compared."""


class Listener:
    """A real server: it accepts connections on loopback, and closes them."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None

    def up(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", self._port), reuse_port=True)
        threading.Thread(target=self._serve, args=(self._socket,), daemon=True).start()

    def down(self) -> None:
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._socket = None

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                listening.accept()[0].close()
            except OSError:
                return


def table() -> dict[str, dict[int, int]]:
    """Weights by port of the destination, by service."""
    found: dict[str, dict[int, int]] = {}
    of: dict[int, int] = {}
    for line in Path("/proc/net/ip_vs").read_text().splitlines()[3:]:
        words = line.split()
        if words[0] == "->":
            of[int(words[1].rpartition(":")[2], 16)] = int(words[3])
        else:
            of = found.setdefault(f"{words[0]} {words[1]}", {})
    return found


class Director:
    """One daemon, and all that is seen of it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self._folder = folder
        self._configuration = folder / "director.conf"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._lines = bytearray()
        fifo = folder / "fifo"
        os.mkfifo(fifo)
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        script = folder / "note"
        script.write_text(f'#!/bin/sh\necho "$*" >>{folder}/notes\n')
        script.chmod(0o755)

    def write(self, text: str) -> None:
        definitions = (
            f"global_defs {{\n script_user root\n lvs_notify_fifo {self._folder}/fifo\n}}\n"
        )
        self._configuration.write_text(definitions + text.replace("NOTE", f"{self._folder}/note"))

    def start(self) -> None:
        path = str(self._configuration)
        if self.kind == "keepalived":
            command = ["keepalived", "-n", "-l", "-D", "-f", path]
        else:
            module = [sys.executable, "-P", "-m", "fastvrrp", "run", "-n", "-l", "-D"]
            command = [*module, "-f", path, "-p", str(self._folder / "pid")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def reload(self) -> None:
        assert self._process is not None
        done = "Reload complete" if self.kind == "keepalived" else "Health checks are reloaded"
        before = self.log.count(done)
        self._process.send_signal(signal.SIGHUP)
        self.wait(lambda: self.log.count(done) > before)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(PATIENCE) == 0
        self._hear()

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._fifo)

    def wait(self, until: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not until():
            assert self._process is not None
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, f"{table()}\n{self.log}\n{self.lines}"
            self._hear()
            time.sleep(0.05)

    def until_table(self, wanted: dict[str, dict[int, int]]) -> None:
        self.wait(lambda: table() == wanted)

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def lines(self) -> list[str]:
        """What the FIFO was told."""
        self._hear()
        return self._lines.decode().splitlines()

    @property
    def notes(self) -> list[str]:
        """What scripts were run with. Several run at once, in no order."""
        notes = self._folder / "notes"
        return sorted(notes.read_text().splitlines()) if notes.exists() else []

    @property
    def words(self) -> list[str]:
        """Lines of the log that people grep for."""
        return [found[0] for line in self.log.splitlines() if (found := FOUND.search(line))]

    def _hear(self) -> None:
        while select.select([self._fifo], [], [], 0)[0]:
            self._lines += os.read(self._fifo, 65536)


@pytest.fixture
def servers() -> Iterator[dict[int, Listener]]:
    made = {port: Listener(port) for port in (8001, 8002)}
    for each in made.values():
        each.up()
    yield made
    for each in made.values():
        each.down()


@pytest.fixture(params=["keepalived", "fastvrrp"])
def director(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Director]:
    yield from directed(request.param, tmp_path)


def directed(kind: str, folder: Path) -> Iterator[Director]:
    Path("/run/keepalived").mkdir(exist_ok=True)
    director = Director(kind, folder)
    yield director
    director.end()
    subprocess.run(["ipvsadm", "-C"], check=True)


def real(port: int, *, more: str = "") -> str:
    return f"""
    real_server 127.0.0.1 {port} {{
        weight 2
        notify_up "NOTE up {port}"
        notify_down "NOTE down {port}"
        TCP_CHECK {{
            connect_timeout 1
        }}
        {more}
    }}"""


def virtual(what: str = "10.0.0.1 80", *, more: str = "", reals: str = "") -> str:
    return f"""
virtual_server {what} {{
    delay_loop 1
    retry 1
    delay_before_retry 0.2
    warmup 0
    lvs_sched rr
    lvs_method NAT
    quorum_up "NOTE quorum up"
    quorum_down "NOTE quorum down"
    {more}
    {reals}
}}
"""


SERVICE = "TCP 0A000001:0050"
NAME = "[10.0.0.1]:tcp:80"
QUORUM = "protocol TCP\n quorum 3\n hysteresis 1\n sorry_server 127.0.0.9 9\n"


@pytest.mark.keywords(
    *(f"virtual_server/{name}" for name in ("alpha", "omega", "quorum", "hysteresis")),
    *(f"virtual_server/{name}" for name in ("quorum_up", "quorum_down", "sorry_server")),
    *("real_server/notify_up", "real_server/notify_down", "real_server/inhibit_on_failure"),
    "global_defs/lvs_notify_fifo",
)
def test_quorum_and_sorry_server(director: Director, servers: dict[int, Listener]) -> None:
    reals = real(8001) + real(8002, more="inhibit_on_failure")
    director.write(virtual(more=f"{QUORUM} alpha\n omega\n", reals=reals))
    director.start()
    director.until_table({SERVICE: {8001: 2, 8002: 2}})
    servers[8002].down()
    director.until_table({SERVICE: {8001: 2, 8002: 0}})
    servers[8001].down()
    director.until_table({SERVICE: {9: 1, 8002: 0}})
    servers[8002].up()
    director.wait(
        lambda: f"Enabling service [127.0.0.1]:tcp:8002 of VS {NAME}" in director.words[-1]
    )
    assert table() == {SERVICE: {9: 1, 8002: 0}}
    servers[8001].up()
    director.until_table({SERVICE: {8001: 2, 8002: 2}})
    director.wait(lambda: director.lines[-1] == f"VS {NAME} UP")
    director.stop()
    assert table() == {}
    one, two = (f"RS [127.0.0.1]:tcp:{port} {NAME}" for port in (8001, 8002))
    lines = director.lines
    # Which of the two is checked first at the start is nobody's business.
    assert sorted(lines[1:3]) == [f"{one} UP", f"{two} UP"]
    assert [lines[0], *lines[3:]] == [
        *(f"VS {NAME} DOWN", f"VS {NAME} UP", f"{two} DOWN", f"{one} DOWN", f"VS {NAME} DOWN"),
        *(f"{two} UP", f"{one} UP", f"VS {NAME} UP"),
        *(f"{one} DOWN", f"{two} DOWN", f"VS {NAME} DOWN"),
    ]
    assert [
        *director.words[4:7],
    ] == [
        f"Gained quorum 3+1=4 <= 4 for VS {NAME}",
        f"Removing sorry server [127.0.0.9]:tcp:9 from VS {NAME}",
        f"Adding alive servers to the pool for VS {NAME}",
    ] or director.words[3].startswith("Starting")
    ups = ["quorum down"] * 3 + ["quorum up"] * 2
    assert director.notes == sorted(
        [*ups, *("up 8001", "up 8002", "down 8001", "down 8002") * 2, "down 8001", "down 8002"]
    )
