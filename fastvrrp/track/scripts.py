"""Scripts as the daemon has them: what is run, and the news of it.

The scripts run in a process of their own (`runner`), which is started when the first one is wanted
and started again should it end.
"""

from __future__ import annotations

import json
import logging
import pickle
import socket
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress

from fastvrrp.track.runner import LONGEST_MESSAGE
from fastvrrp.track.script import Check, Command, Inspection, News, Resident

log = logging.getLogger(__name__)

LAST_WORDS = 5.0
"""Seconds that the other process gets at the end to take what waits."""


class Scripts:
    """The scripts of one daemon."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._residents: dict[str, Resident] = {}
        self._waiting: list[bytes] = []
        """Messages for which there was no room yet."""
        self._process: subprocess.Popen[bytes] | None = None
        self._open()

    def fileno(self) -> int:
        """The descriptor that is readable when there is news. `read` may change it."""
        return self._runner.fileno()

    @property
    def is_behind(self) -> bool:
        """True while something waits for room: `flush` when the descriptor can be written."""
        return bool(self._waiting)

    def check(self, wanted: Iterable[Check]) -> None:
        """Runs these scripts from now on, and no others. One that runs already goes on with what it
        has counted."""
        checks = {check.name: check for check in wanted}
        for name in self._checks.keys() - checks.keys():
            self._send(name)
        for name, check in checks.items():
            if self._checks.get(name) != check:
                self._send(check)
        self._checks = checks

    def house(self, wanted: Iterable[Resident]) -> None:
        """Has these scripts run from now on, and no others: one that runs already goes on, one that
        has ended is started again."""
        residents = {resident.name: resident for resident in wanted}
        for name in self._residents.keys() - residents.keys():
            self._send(Resident(name, None))
        for resident in residents.values():
            self._send(resident)
        self._residents = residents

    def run(self, command: Command) -> None:
        """Runs a command once, whatever comes of it: it is not ended when we are. The log says why
        one is not run."""
        self._send(command)

    def inspect(self, command: Command) -> None:
        """Has the log say what would keep a command from being run."""
        self._send(Inspection(command))

    def read(self) -> list[News]:
        """What has become good or bad. A process that has ended is started again."""
        news: list[News] = []
        while True:
            try:
                message = self._runner.recv(LONGEST_MESSAGE, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionError:
                message = b""
            if not message:
                self._restart()
                break
            said = json.loads(message)
            if len(said) == 1:
                log.warning("%s", said[0])
            elif said[0] in self._checks:
                news.append(News(*said))
        return news

    def flush(self) -> None:
        """Sends what there is room for."""
        sent = 0
        for message in self._waiting:
            try:
                self._runner.send(message, socket.MSG_DONTWAIT)
            except (BlockingIOError, ConnectionError):
                break
            sent += 1
        del self._waiting[:sent]

    def close(self) -> None:
        """Ends the other process when it has taken what waits, and with it every check and resident
        that runs."""
        if self._process is None:
            self._theirs.close()
            self._runner.close()
            return
        self._runner.settimeout(LAST_WORDS)
        with suppress(OSError):  # it has ended, or it does not listen
            for message in self._waiting:
                self._runner.send(message)
        self._runner.close()
        self._process.wait()

    def _open(self) -> None:
        self._runner, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def _start(self) -> None:
        with self._theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fastvrrp.track.runner", str(self._theirs.fileno())],
                pass_fds=[self._theirs.fileno()],
                stdin=subprocess.DEVNULL,
                # Whoever started the daemon and reads what it says is not to wait for this one.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
            )

    def _restart(self) -> None:
        self._runner.close()
        assert self._process is not None
        log.error("the process that runs scripts ended: %s", self._process.wait())
        self._waiting.clear()
        self._open()
        self._start()
        for check in self._checks.values():
            self._send(check)
        for resident in self._residents.values():
            self._send(resident)

    def _send(self, message: Check | Command | Inspection | Resident | str) -> None:
        if self._process is None:
            self._start()
        self._waiting.append(pickle.dumps(message))
        self.flush()
