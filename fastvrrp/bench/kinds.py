"""The daemons that are measured: all are started, stopped and read alike."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from fastvrrp import __version__
from fastvrrp._table import Segment
from fastvrrp.bench.network import Namespace
from fastvrrp.bench.processes import kill_tree, tree

LOG_TAIL = 1500  # characters


class DaemonError(Exception):
    """A daemon did not do what a run needs; has its name, what was expected and its log's end."""


class Daemon(ABC):
    """A daemon on one side, while it runs. Its log is what it writes to stdout and stderr."""

    kind: ClassVar[str]
    reloads: ClassVar[bool]
    """Whether SIGHUP lets it read its configuration again."""
    upgrades: ClassVar[bool]
    """Whether another version can take its place while it runs."""

    def __init__(self, side: Namespace, name: str, folder: Path, configuration: Path) -> None:
        self.name = f"{self.kind} on side {name}"
        self.folder = folder / f"{self.kind}-{name}"
        self.folder.mkdir()
        self.configuration = configuration
        self.log_file = self.folder / "log"
        self._side = side
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abstractmethod
    def version(cls) -> str:
        """Raises DaemonError where it is not installed."""

    @classmethod
    @abstractmethod
    def reading(cls, configuration: Path) -> list[str]:
        """The command that only reads the configuration."""

    @abstractmethod
    def running(self) -> list[str]:
        """The command that stays in the foreground and logs to the console."""

    def upgrading(self) -> list[str]:
        """The command that lets another version take the place of the one that runs."""
        raise NotImplementedError(f"{self.kind} cannot be upgraded while it runs")

    @abstractmethod
    def worker(self) -> int:
        """The process that speaks VRRP, while it runs."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @contextmanager
    def started(self) -> Iterator[float]:
        """Starts it, and kills what is left of it at the end. Gives the time of the start (seconds
        of the monotonic clock)."""
        with self.log_file.open("wb") as log, self._side.entered():
            began = time.monotonic()
            self._process = subprocess.Popen(
                # It dies with this process, however this process dies.
                ["setpriv", "--pdeathsig", "KILL", "--", *self.running()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a terminal's interrupt is not for it
            )
        try:
            yield began
        finally:
            self.kill()

    def kill(self) -> int:
        """SIGKILL to the whole tree; the time when it stopped acting (ns since 1970)."""
        assert self._process is not None
        killed = kill_tree(self.pid)
        self._process.wait()
        return killed

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def stop(self, timeout: float) -> tuple[float, int | None, list[int]]:
        """SIGTERM to the parent. How many seconds it took until the last process had gone, the
        parent's exit status (None when it had to be killed), and who then still lived."""
        assert self._process is not None
        pids = tree(self.pid)
        began = time.monotonic()
        self._process.terminate()
        try:
            status: int | None = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = None
        left = pids
        while left and time.monotonic() - began < timeout:
            left = [pid for pid in left if _lives(pid)]
            time.sleep(0.002)
        took = time.monotonic() - began
        for pid in left:
            kill_tree(pid)
        return took, status, left

    def log_count(self, text: str) -> int:
        """In how many places of its log a text stands."""
        return self.log_file.read_bytes().count(text.encode())

    def error(self, expected: str) -> DaemonError:
        log = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        return DaemonError(f"{self.name}: {expected}; its log ends with\n{log[-LOG_TAIL:]}")


def _lives(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


class Fastvrrp(Daemon):
    """This installation's daemon, with the interpreter that runs this."""

    kind = "fastvrrp"
    reloads = True
    upgrades = True

    @classmethod
    def version(cls) -> str:
        return __version__

    @classmethod
    def reading(cls, configuration: Path) -> list[str]:
        return [sys.executable, "-m", "fastvrrp", "run", "-t", "-f", str(configuration)]

    def running(self) -> list[str]:
        return [
            *(sys.executable, "-m", "fastvrrp", "run", "-n", "-l"),
            *("-f", str(self.configuration), "-p", str(self.folder / "fastvrrp.pid")),
        ]

    def upgrading(self) -> list[str]:
        command = [sys.executable, "-m", "fastvrrp", "upgrade"]
        return [*command, "-p", str(self.folder / "fastvrrp.pid")]

    def worker(self) -> int:
        return Segment(self.folder / "fastvrrp.state").pid


class Keepalived(Daemon):
    """The installed keepalived, with VRRP alone."""

    kind = "keepalived"
    reloads = True
    upgrades = False

    @classmethod
    def _command(cls) -> str:
        path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))
        found = shutil.which("keepalived", path=path)
        if found is None:
            raise DaemonError("keepalived is not installed: apt-get install keepalived")
        return found

    @classmethod
    def version(cls) -> str:
        said = subprocess.run(
            [cls._command(), "--version"], capture_output=True, text=True, check=False
        )
        found = re.search(r"Keepalived v(\S+)", said.stdout + said.stderr)
        return found[1] if found else "of unknown version"

    @classmethod
    def reading(cls, configuration: Path) -> list[str]:
        return [cls._command(), "-t", "-f", str(configuration)]

    def running(self) -> list[str]:
        return [
            # Without -G it also logs to syslog, which where there is none writes to the console:
            # half a millisecond a line on a serial one, and the next virtual router waits.
            *(self._command(), "-n", "-l", "-G", "--vrrp", "-f", str(self.configuration)),
            *("-p", str(self.folder / "parent.pid"), "-r", str(self.folder / "vrrp.pid")),
        ]

    def worker(self) -> int:
        return int((self.folder / "vrrp.pid").read_text())


KINDS: dict[str, type[Daemon]] = {kind.kind: kind for kind in (Fastvrrp, Keepalived)}
