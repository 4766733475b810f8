"""What load balancing costs: `fastvrrp bench balancing`.

All is in one network namespace: the daemon, and a program that accepts on every address of 127/8.
Who connects over loopback pays also for what the kernel does for the one who accepts.

- Checks: TCP_CHECK of many real servers, each every second. Processor time is that of all of the
  daemon's processes; how many connections there were is what the kernel has counted (PassiveOpens).
  It needs no IPVS: without it, fastvrrp only checks. keepalived does nothing without it.
- Table: many virtual servers whose real servers are not checked. How long the kernel's IPVS takes
  to have all of it after the start, to have one weight that a reload changes, and to have nothing
  after a stop. It is read from /proc/net/ip_vs (PERIOD).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastvrrp.bench.case import CaseError
from fastvrrp.bench.figures import Metric
from fastvrrp.bench.kinds import KINDS, Daemon, Keepalived
from fastvrrp.bench.network import Namespace
from fastvrrp.bench.processes import processor_time, tree
from fastvrrp.bench.setting import Say
from fastvrrp.bench.workspace import workspace

PORT = 18_080
ACCEPTING = f"""
import select, socket
listener = socket.create_server(("0.0.0.0", {PORT}), backlog=4096)
listener.setblocking(False)
print("ready", flush=True)
poll = select.epoll()
poll.register(listener, select.EPOLLIN)
taken = {{}}
while True:
    for number, _ in poll.poll():
        if number != listener.fileno():
            taken.pop(number).close()
            continue
        try:
            made, _ = listener.accept()
        except BlockingIOError:
            continue
        taken[made.fileno()] = made
        poll.register(made, select.EPOLLIN)
"""
"""Accepts, and closes what the other side has closed."""
SERVERS = 8
"""Real servers of a virtual server."""
WARM_UP = 10.0
"""Seconds of checks before those that are measured."""
PATIENCE = 600.0
PERIOD = 0.25
"""Seconds between two looks at the table, which is long."""
METRICS = (
    Metric("share", "processor time of its checks", "% of a core", 1),
    Metric("cost", "processor time, a check", "us", 1),
    Metric("rate", "checks a second", "", 0),
    Metric("load", "from the start to the whole table", "s", 1),
    Metric("reload", "from SIGHUP to the one new weight", "s", 1),
    Metric("unload", "from SIGTERM to its end", "s", 1),
    Metric("left", "lines left in the table after its end", "", 0),
)


class WholeKeepalived(Keepalived):
    """The installed keepalived, with its checkers alone."""

    def running(self) -> list[str]:
        return [
            *(self._command(), "-n", "-l", "-G", "--check", "-f", str(self.configuration)),
            *("-p", str(self.folder / "parent.pid"), "-c", str(self.folder / "checkers.pid")),
        ]


DAEMONS: dict[str, type[Daemon]] = {**KINDS, "keepalived": WholeKeepalived}


@dataclass(frozen=True)
class BalancingCase:
    """So many virtual servers with SERVERS real servers each."""

    services: int
    is_checked: bool
    """Every real server is checked once a second."""

    def __post_init__(self) -> None:
        """Raises CaseError."""
        if not 1 <= self.services <= 8000:
            raise CaseError(f"{self.services} virtual servers are outside 1-8000")

    @property
    def name(self) -> str:
        if self.is_checked:
            return f"{self.services * SERVERS:,} real servers checked every second"
        return f"{self.services:,} virtual servers with {SERVERS} real servers each"

    def text(self, weight: int = 1) -> str:
        """The configuration; `weight` is that of the very last real server."""
        last = self.services - 1
        return "".join(self._service(n, weight if n == last else 1) for n in range(self.services))

    def rows(self) -> int:
        """Lines of the whole table."""
        return self.services * (1 + SERVERS)

    def _service(self, number: int, weight: int) -> str:
        check = f" TCP_CHECK {{\n connect_port {PORT}\n }}\n" if self.is_checked else ""
        real = "".join(
            f" real_server {_address(127, number * SERVERS + each)} 80 {{\n"
            f" weight {weight if each == SERVERS - 1 else 1}\n{check} }}\n"
            for each in range(SERVERS)
        )
        return (
            f"virtual_server {_address(10, number)} 80 {{\n lvs_sched rr\n lvs_method DR\n"
            f" protocol TCP\n delay_loop 1\n{real}}}\n"
        )


def _address(network: int, number: int) -> str:
    number += 1 << 16
    return f"{network}.{number >> 16}.{number >> 8 & 255}.{number & 255}"


CHECKED = BalancingCase(625, is_checked=True)
CHECKED_BESIDE = BalancingCase(63, is_checked=True)
"""Fewer, for a kernel that is slow."""
TABLE = BalancingCase(2000, is_checked=False)
SHARE_GOAL = 60.0
"""Percent of a core for CHECKED: issue 6."""


@dataclass(frozen=True)
class Balanced:
    """What one daemon needed for one case."""

    case: str
    kind: str
    version: str
    kernel: str
    values: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "kind": self.kind,
            "version": self.version,
            "kernel": self.kernel,
            "values": dict(self.values),
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Balanced:
        """Raises KeyError."""
        values = {key: float(value) for key, value in found["values"].items()}
        return cls(found["case"], found["kind"], found["version"], found["kernel"], values)


def has_ipvs() -> bool:
    """Whether this kernel has IPVS, loaded."""
    return Path("/proc/net/ip_vs").exists()


def measure(case: BalancingCase, kind: str, seconds: float, say: Say) -> Balanced:
    """One case with one daemon; checks are measured for so many seconds. Raises DaemonError where
    it is not installed, or does not get there."""
    daemon_class = DAEMONS[kind]
    version = daemon_class.version()
    say(f"{case.name}: {kind}")
    with ExitStack() as stack:
        folder = stack.enter_context(workspace())
        file = folder / "balancing.conf"
        file.write_text(case.text())
        side = Namespace()
        stack.callback(side.close)
        with side.entered():
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        daemon = daemon_class(side, "lvs", folder, file)
        if case.is_checked:
            stack.enter_context(_accepting(side))
            values = _measure_checks(side, daemon, case, seconds)
        else:
            values = _measure_table(side, daemon, case)
    return Balanced(case.name, kind, version, _kernel(), values)


@contextmanager
def _accepting(side: Namespace) -> Iterator[None]:
    with side.entered():
        program = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-I", "-S", "-c", ACCEPTING],
            stdout=subprocess.PIPE,
            text=True,
        )
    assert program.stdout is not None
    try:
        program.stdout.readline()
        yield
    finally:
        program.kill()
        program.wait()
        program.stdout.close()


def _measure_checks(
    side: Namespace, daemon: Daemon, case: BalancingCase, seconds: float
) -> dict[str, float]:
    with daemon.started() as began:
        wanted = case.services * SERVERS * WARM_UP / 2
        while _connections(side) < wanted:
            _go_on(daemon, began, "half of the checks of its first seconds")
        before, at = (_connections(side), processor_time(tree(daemon.pid))), time.monotonic()
        time.sleep(seconds)
        after, end = (_connections(side), processor_time(tree(daemon.pid))), time.monotonic()
    checks, spent = after[0] - before[0], after[1] - before[1]
    return {
        "share": spent / 1e7 / (end - at),
        "cost": spent / 1e3 / checks,
        "rate": checks / (end - at),
    }


def _measure_table(side: Namespace, daemon: Daemon, case: BalancingCase) -> dict[str, float]:
    values = {}
    with daemon.started() as began:
        while len(_table(side)) < case.rows():
            _go_on(daemon, began, f"{case.rows()} lines in the table, not {len(_table(side))}")
        values["load"] = time.monotonic() - began
        daemon.configuration.write_text(case.text(weight=7))
        last = f"{_hexadecimal(_address(127, case.services * SERVERS - 1))}:0050 Route 7"
        told = time.monotonic()
        os.kill(daemon.pid, signal.SIGHUP)
        while not any(last in " ".join(line.split()) for line in _table(side)):
            _go_on(daemon, told, "the new weight")
        values["reload"] = time.monotonic() - told
        values["unload"], _, processes = daemon.stop(PATIENCE)
        if processes:
            raise daemon.error(f"its end, not processes {processes}")
        # keepalived's parent kills a child that takes long, and leaves what it had not come to.
        values["left"] = float(len(_table(side)))
    return values


def _go_on(daemon: Daemon, began: float, what: str) -> None:
    """Waits a moment for `what`. Raises DaemonError where that is in vain."""
    if daemon.has_ended() or time.monotonic() - began > PATIENCE:
        raise daemon.error(f"expected {what}")
    time.sleep(PERIOD)


def _connections(side: Namespace) -> int:
    """Connections that somebody in the namespace has accepted, since it is there."""
    with side.entered():
        lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
    names, counts = (line.split() for line in lines if line.startswith("Tcp:"))
    return int(counts[names.index("PassiveOpens")])


def _table(side: Namespace) -> list[str]:
    """A line for each virtual server and each real server."""
    with side.entered():
        return Path("/proc/thread-self/net/ip_vs").read_text().splitlines()[3:]


def _hexadecimal(address: str) -> str:
    return "".join(f"{int(part):02X}" for part in address.split("."))


def _kernel() -> str:
    return Path("/proc/sys/kernel/osrelease").read_text().strip()


def write_json(file: Path, measured: Sequence[Balanced]) -> None:
    """Raises OSError."""
    file.write_text(json.dumps([each.to_json() for each in measured], indent=2) + "\n")


def table(measured: Sequence[Balanced]) -> Iterator[str]:
    """The figures in Markdown, a row each; who was measured in one kernel stands side by side."""
    yield "| case | kernel | | unit | fastvrrp | keepalived | ratio |"
    yield "|---|---|---|---|---|---|---|"
    for case, kernel in dict.fromkeys((each.case, each.kernel) for each in measured):
        of = {e.kind: e.values for e in measured if (e.case, e.kernel) == (case, kernel)}
        for metric in METRICS:
            values = [of.get(kind, {}).get(metric.key) for kind in ("fastvrrp", "keepalived")]
            if values == [None, None]:
                continue
            ours, theirs = values
            ratio = f"{ours / theirs:.2f}" if ours is not None and theirs else ""
            cells = " | ".join(metric.text(value) if value is not None else "" for value in values)
            yield f"| {case} | {kernel} | {metric.label} | {metric.unit} | {cells} | {ratio} |"


def verdict(measured: Sequence[Balanced]) -> str:
    """Whether SHARE_GOAL is met; a figure of another kernel than this one is no judge."""
    for each in measured:
        if each.case == CHECKED.name and each.kind == "fastvrrp":
            met = "met" if each.values["share"] <= SHARE_GOAL else "**missed**"
            return f"{each.values['share']:.1f} % of a core, goal {SHARE_GOAL:g} %: {met}"
    return "**not measured**"
