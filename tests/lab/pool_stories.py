"""Stories of virtual servers, told of keepalived and of fastvrrp in a kernel with IPVS: what is
seen of both is compared."""

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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PORTS = (8001, 8002, 8003)
TCP_CHECK = "TCP_CHECK {\n connect_timeout 1\n}"
PATIENCE = 40.0
"""Seconds: a guest is slow, and its host may be busy."""
QUIET = 0.4
"""Seconds."""
FOUND = re.compile(
    r"(?:Removing|Adding|Enabling|Disabling|Changing weight|Gained quorum|Lost quorum|Shutting down"
    r"|service \S+ no longer|Suspending healthchecker).*|Starting with quorum down"
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
        self._is_sorted = False
        self._said = 0, 0
        self._said_at = 0.0
        self.options: list[str] = []
        """More of the command line."""
        self.definition = ""
        """In global_defs."""
        fifo = folder / "fifo"
        os.mkfifo(fifo)
        self._fifo = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        script = folder / "note"
        script.write_text(f'#!/bin/sh\necho "$*" >>{folder}/notes\n')
        script.chmod(0o755)

    def write(self, text: str) -> None:
        definitions = (
            f"global_defs {{\n script_user root\n lvs_notify_fifo {self._folder}/fifo\n"
            f" {self.definition}\n}}\n"
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
                [*command, *self.options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def reload(self) -> None:
        assert self._process is not None
        done = "Reload complete" if self.kind == "keepalived" else "Health checks are reloaded"
        before = self.log.count(done)
        self._process.send_signal(signal.SIGHUP)
        self.wait(lambda: self.log.count(done) > before)

    def stop(self) -> None:
        assert self._process is not None
        self.wait(self._is_quiet)
        self._process.terminate()
        assert self._process.wait(PATIENCE) == 0
        end = time.monotonic() + PATIENCE
        while not self._is_noted():
            assert time.monotonic() < end, f"{self.lines}\n{self.notes}"
            time.sleep(0.05)

    def _is_quiet(self) -> bool:
        """All is noted, and nothing new was said for a moment: keepalived changes IPVS before it
        tells of that, and kills the scripts that it has not waited for at its end."""
        said = len(self.lines), len(self.log)
        now = time.monotonic()
        if said != self._said:
            self._said, self._said_at = said, now
        return self._is_noted() and now - self._said_at > QUIET

    def _is_noted(self) -> bool:
        """A script was run for every line; they take their time."""
        return len(self.notes) >= len(self.lines)

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
        lines = self._lines.decode().splitlines()
        return sorted(lines) if self._is_sorted else lines

    @property
    def notes(self) -> list[str]:
        """What scripts were run with. Several run at once, in no order."""
        notes = self._folder / "notes"
        return sorted(notes.read_text().splitlines()) if notes.exists() else []

    @property
    def words(self) -> list[str]:
        """Lines of the log that people grep for."""
        found = [match[0] for line in self.log.splitlines() if (match := FOUND.search(line))]
        return sorted(found) if self._is_sorted else found

    def sort(self) -> None:
        """The order of what was seen does not matter."""
        self._is_sorted = True

    def _hear(self) -> None:
        while select.select([self._fifo], [], [], 0)[0]:
            self._lines += os.read(self._fifo, 65536)


@dataclass(frozen=True)
class Seen:
    """What is seen of one daemon."""

    lines: list[str]
    notes: list[str]
    words: list[str]


Servers = dict[int, Listener]
Story = Callable[[Director, Servers], None]


def told(kind: str, story: Story, folder: Path) -> Seen:
    """Plays a story with one daemon."""
    Path("/run/keepalived").mkdir(exist_ok=True)
    folder.mkdir()
    servers = {port: Listener(port) for port in PORTS}
    for each in servers.values():
        each.up()
    director = Director(kind, folder)
    try:
        story(director, servers)
        return Seen(director.lines, director.notes, director.words)
    finally:
        director.end()
        for each in servers.values():
            each.down()
        subprocess.run(["ipvsadm", "-C"], check=True)


def same(story: Story, folder: Path) -> Seen:
    """Plays a story with keepalived, then with fastvrrp: what is seen of both is the same."""
    theirs = told("keepalived", story, folder / "keepalived")
    ours = told("fastvrrp", story, folder / "fastvrrp")
    assert ours.lines == theirs.lines
    assert ours.notes == theirs.notes
    assert ours.words == theirs.words
    return ours


def real(port: int, more: str = "", *, weight: int = 2, checker: str = TCP_CHECK) -> str:
    return f"""
    real_server 127.0.0.1 {port} {{
        weight {weight}
        notify_up "NOTE up {port}"
        notify_down "NOTE down {port}"
        {checker}
        {more}
    }}"""


def virtual(what: str = "10.0.0.1 80", more: str = "protocol TCP", *reals: str) -> str:
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
    {" ".join(reals)}
}}
"""


SERVICE = "TCP 0A000001:0050"
NAME = "[10.0.0.1]:tcp:80"
