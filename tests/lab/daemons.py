"""VRRP daemons that run in a router: each starts, is killed, is stopped and is read alike."""

import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from lab.network import Router
from lab.waiting import wait_until


class Daemon(ABC):
    """A daemon with its configuration, not started yet."""

    kind: ClassVar[str]
    ipv6_unicast_hop_limit: ClassVar[int] = 255
    always_has_vmac: ClassVar[bool] = False
    loses_first_ipv6_advert: ClassVar[bool] = False
    says_backup: ClassVar[bool] = True
    """Whether its log says of each virtual router when it has become a backup."""

    def __init__(self, router: Router, configuration: str) -> None:
        self.router = router
        self.folder = router.folder / f"{self.kind}-{len(list(router.folder.iterdir()))}"
        self.folder.mkdir(mode=0o755)
        self.configuration_file = self.folder / f"{self.kind}.conf"
        self.configure(configuration)
        self.log_file = self.folder / "log"
        self.log_file.touch()
        self.log_start = 0
        self.options: list[str] = []
        """More of the command line."""
        self.processes: list[subprocess.Popen[bytes]] = []

    def __repr__(self) -> str:
        return f"<{self.kind} on {self.router.name}>"

    @abstractmethod
    def commands(self) -> Iterable[Sequence[str]]:
        """What is started, each staying in the foreground; one is asked for when the one before it
        has been started."""

    def configure(self, configuration: str) -> None:
        """Writes the configuration that the next start, or reload, reads."""
        self.configuration_file.write_text(configuration)

    def start(self) -> Self:
        assert not self.processes, f"{self} runs already"
        self.log_start = self.log_file.stat().st_size
        with self.log_file.open("ab") as log:
            for command in self.commands():
                self.processes.append(self.router.start_daemon(command, log))
        return self

    def kill(self) -> None:
        """Kills every process of the daemon at once, as a machine that dies would."""
        kill_trees([process.pid for process in self.processes])
        self.wait()

    def stop(self, timeout: float = 15.0) -> int:
        """Ends the daemon with SIGTERM, and returns its exit status when it has gone."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def signal(self, number: signal.Signals) -> None:
        for process in reversed(self.processes):
            process.send_signal(number)

    def wait(self, timeout: float = 15.0) -> int:
        """Waits until all its processes have ended; the first exit status that is not 0, or 0.

        Raises TimeoutError with the log's end when some do not.
        """
        try:
            statuses = [process.wait(timeout) for process in self.processes]
        except subprocess.TimeoutExpired as expired:
            raise TimeoutError(f"{self} has not ended in {timeout:g} s\n{self.log()}") from expired
        self.processes.clear()
        return next(filter(None, statuses), 0)

    def held_addresses(self) -> set[str]:
        """The addresses that the daemon's router answers for, as Router.addresses gives them."""
        return self.router.addresses()

    def is_running(self) -> bool:
        return bool(self.processes) and all(p.poll() is None for p in self.processes)

    def log(self) -> str:
        """What the daemon printed since its last start."""
        with self.log_file.open("rb") as log:
            log.seek(self.log_start)
            return log.read().decode(errors="replace")

    def entered(self, name: str) -> list[str]:
        """The states that a virtual router has entered since the start, in their order."""
        start = f"({name}) Entering "
        return [
            line.split(start)[1].split()[0] for line in self.log().splitlines() if start in line
        ]

    def wait_log(self, text: str, timeout: float = 10.0, *, count: int = 1) -> Self:
        """Waits until `text` stands `count` times in what was printed since the last start."""
        wait_until(
            lambda: self.log().count(text) >= count or not self.is_running(),
            timeout,
            what=lambda: f"{text!r} in the log of {self}:\n{self.log()}",
        )
        assert self.log().count(text) >= count, f"{self} ended before {text!r}:\n{self.log()}"
        return self


class Keepalived(Daemon):
    """Debian's keepalived, its VRRP process and that one's parent."""

    kind = "keepalived"
    parts: ClassVar[tuple[str, ...]] = ("--vrrp",)
    """Which of its processes it starts; none of these options starts all."""
    # Measured with 2.2.7: it sets the hop limit of multicasts only.
    ipv6_unicast_hop_limit = 64

    def commands(self) -> Iterable[Sequence[str]]:
        # A pid file that a killed keepalived left names a process that may live again.
        for stale in self.folder.glob("*.pid"):
            stale.unlink()
        return [
            [
                *("keepalived", "-n", "-l", "-D", *self.parts),
                *("-f", str(self.configuration_file)),
                *("-p", str(self.folder / "parent.pid")),
                *("-r", str(self.folder / "vrrp.pid")),
                *("-c", str(self.folder / "checkers.pid")),
            ]
        ]


class Fastvrrp(Daemon):
    """This project's daemon, with the interpreter that runs the tests."""

    kind = "fastvrrp"

    def commands(self) -> Iterable[Sequence[str]]:
        return [
            [
                *(str(Path(sys.executable).with_name("fastvrrp")), "run", "-n", "-l", "-D"),
                *("-f", str(self.configuration_file)),
                *("-p", str(self.folder / "fastvrrp.pid")),
                *self.options,
            ]
        ]

    def signal(self, number: signal.Signals) -> None:
        """Who is to stand still, or go on, does so as a whole."""
        super().signal(number)
        if number in (signal.SIGSTOP, signal.SIGCONT):
            os.kill(self.vrrpd, number)

    @property
    def vrrpd(self) -> int:
        """The process that speaks VRRP: a child of the one that was started."""
        found = self.find_child("fastvrrp.daemon.vrrpd_main")
        assert found is not None, f"{self} has no such process\n{self.log()}"
        return found

    def find_child(self, module: str) -> int | None:
        """The child that runs this module, where there is one."""
        for pid in descendants([process.pid for process in self.processes]):
            with suppress(FileNotFoundError, ProcessLookupError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                if module in words[:5]:
                    return pid
        return None


def descendants(roots: Sequence[int]) -> set[int]:
    """The processes of `roots`, their children, and so on."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = entry.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parents[int(entry.parent.name)] = int(stat.rpartition(")")[2].split()[1])
    family = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def kill_trees(roots: Sequence[int]) -> None:
    """Kills processes and all their descendants, none of which can act on the death of another:
    every one is stopped before the first one dies."""
    stopped: set[int] = set()
    while more := descendants(roots) - stopped:
        for pid in more:
            os.kill(pid, signal.SIGSTOP)
        stopped |= more
    for pid in stopped:
        # The kernel kills some of them when their parent dies.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
