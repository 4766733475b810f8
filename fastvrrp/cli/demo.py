"""`fastvrrp demo`: two routers, an election, a dead master and its successor, in a quarter minute.

Everything is real: two network namespaces joined by a virtual cable, two daemons, packets taken off
the wire with the kernel's time stamps. Everything is removed afterwards, also when a signal ends
the demonstration: it is let in only while we wait, where nothing is half made, and never while we
tidy up.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Self

from fastvrrp.bench.processes import kill_tree
from fastvrrp.kernel.netns import NetnsError, addresses_in, cabled_pair
from fastvrrp.observe.wire import Wire

INTERFACE = "eth0"
ELECTION_TIMEOUT = 20.0
TAKEOVER_TIMEOUT = 8.0
STOP_TIMEOUT = 10.0
ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass(frozen=True)
class Case:
    """One virtual router of the demonstration."""

    vrid: int
    family: int
    version: int
    interval: float
    """Seconds."""

    @property
    def name(self) -> str:
        return f"VI_{self.vrid}"

    @property
    def address(self) -> str:
        return f"192.0.2.{100 + self.vrid}" if self.family == 4 else f"2001:db8::{100 + self.vrid}"

    def minimum(self, priority: int) -> float:
        """Master_Down_Interval in seconds (RFC 9568 section 6.1, RFC 3768 section 6.1)."""
        skew_of = self.interval if self.version == 3 else 1.0
        return 3 * self.interval + (256 - priority) / 256 * skew_of

    def block(self, priority: int) -> str:
        prefix = 24 if self.family == 4 else 64
        link_local = "" if self.family == 4 else f"fe80::{100 + self.vrid}/64\n        "
        return (
            f"vrrp_instance {self.name} {{\n    interface {INTERFACE}\n"
            f"    virtual_router_id {self.vrid}\n    version {self.version}\n"
            f"    priority {priority}\n    advert_int {self.interval:g}\n"
            f"    virtual_ipaddress {{\n        {link_local}{self.address}/{prefix}\n    }}\n}}\n"
        )


CASES = (
    *(Case(vrid, 4, 2, 1.0) for vrid in (1, 2, 3, 4)),
    *(Case(vrid, 4, 3, 0.5) for vrid in (5, 6, 7)),
    *(Case(vrid, 6, 3, 0.2) for vrid in (8, 9)),
    Case(10, 4, 3, 0.05),
)
PRIORITIES = {"amber": 200, "blue": 100}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="show two routers electing a master, and what happens when it dies",
        description="Make two network namespaces, run two routers with ten virtual routers in"
        " them, kill the master and show how fast the other one took over. Needs root.",
        epilog="example: sudo fastvrrp demo",
    )
    parser.set_defaults(run=run)


class DemoFailed(Exception):
    """Something that the demonstration should show did not happen."""


class Ended(Exception):
    """A signal of ENDING has come."""


class Signals:
    """The signals that end the demonstration, held back except inside `let_in`.

    A context manager; afterwards they do what they did before.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._are_let_in = False
        self._before = {number: signal.getsignal(number) for number in ENDING}

    def __enter__(self) -> Self:
        for number in ENDING:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def let_in(self) -> Iterator[None]:
        """Raises Ended at once where a signal has come before, and else when one comes."""
        self._are_let_in = True
        try:
            if self.received is not None:
                raise Ended
            yield
        finally:
            self._are_let_in = False

    def ignore(self) -> None:
        """From now on they do nothing, in the processes that we start neither: a terminal sends
        them to all of us."""
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self.received is None:
            self.received = signal.Signals(number)
        if self._are_let_in:
            self._are_let_in = False
            raise Ended


def run(_: argparse.Namespace) -> int:
    """Exit status: 0 only if all of it happened; 128 and its number where a signal came."""
    if os.geteuid() != 0:
        print("fastvrrp demo makes network namespaces: run it as root (sudo)", file=sys.stderr)
        return 1
    failure: Exception | None = None
    with Signals() as signals:
        try:
            with ExitStack() as stack:
                try:
                    _demonstrate(stack, signals)
                finally:
                    signals.ignore()
        except (Ended, DemoFailed, NetnsError, OSError) as reason:
            failure = reason
    if signals.received is not None and failure is not None:
        # Whatever failed: a terminal's signal also ends the commands and the daemons we started.
        what = "everything is removed" if isinstance(failure, Ended) else failure
        print(f"\nEnded by {signals.received.name}: {what}", file=sys.stderr)
        return 128 + signals.received
    if failure is not None:
        print(f"\nThe demonstration failed: {failure}", file=sys.stderr)
        return 1
    return 0


def _demonstrate(stack: ExitStack, signals: Signals) -> None:
    print(
        "A virtual router is an address that several routers share: one of them, the master, has\n"
        "it; the others (backups) listen to its adverts and take over when they stay away.\n"
    )
    amber, blue = (f"fastvrrp-{name}-{os.getpid()}" for name in PRIORITIES)
    stack.enter_context(cabled_pair((amber, blue), INTERFACE))
    prefix = f"fastvrrp-demo-{os.getpid()}-"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=prefix)))
    try:
        wire = stack.enter_context(Wire.on(blue, INTERFACE))
    except OSError as error:
        raise DemoFailed(f"cannot listen on {INTERFACE} in {blue}: {error}") from error

    def watch(done: Callable[[], bool], timeout: float) -> bool:
        with signals.let_in():
            return wire.watch(done, timeout)

    print(f"Two routers, amber and blue, on one cable, with {len(CASES)} virtual routers each.")
    daemons = {
        name: stack.enter_context(_daemon(name, namespace, folder))
        for name, namespace in zip(PRIORITIES, (amber, blue), strict=True)
    }
    began = time.monotonic()
    if not watch(lambda: len(wire.received) == len(CASES), ELECTION_TIMEOUT):
        raise DemoFailed(f"amber is not master of all; the log says:\n{daemons['amber'].log()}")
    print(
        f"Amber has the higher priority (200 against 100): {time.monotonic() - began:.1f} s after "
        f"the start\nit is master of all {len(CASES)}."
    )
    watch(lambda: False, 2.5)
    missing = [case.name for case in CASES if case.address not in addresses_in(amber)]
    if missing:
        raise DemoFailed(f"amber has no addresses for {', '.join(missing)}")
    wire.sent.clear()  # blue may have been master until amber was there
    print("It has their addresses too. Now its power fails (SIGKILL).\n")
    kill_tree(daemons["amber"].process.pid)
    daemons["amber"].process.wait()
    watch(lambda: len(wire.sent) == len(CASES), TAKEOVER_TIMEOUT)
    _report(wire)
    watch(lambda: False, 0.3)
    missing = [case.name for case in CASES if case.address not in addresses_in(blue)]
    if missing:
        raise DemoFailed(f"blue has no addresses for {', '.join(missing)}")
    print(f"\nBlue has all {len(CASES)} addresses. Now it is told to stop (SIGTERM).")
    with signals.let_in():
        status = daemons["blue"].stop()
    watch(lambda: len(wire.resigned) == len(CASES), 1.0)
    left = [case.name for case in CASES if case.address in addresses_in(blue)]
    if status != 0 or left or len(wire.resigned) != len(CASES):
        raise DemoFailed(
            f"blue stopped with {status}, {len(wire.resigned)} resignations, left {left}"
        )
    print(
        f"It said so to the others (an advert of priority 0 for each of {len(CASES)}), gave the "
        "addresses\nback and ended with status 0. Nothing is left behind."
    )


def _report(wire: Wire) -> None:
    print("   virtual router  speaks         advert every   blue took over   earliest allowed")
    for case in CASES:
        if case.vrid not in wire.sent:
            raise DemoFailed(f"blue did not take over {case.name}")
        silence = wire.sent[case.vrid].first - wire.received[case.vrid].last
        minimum = case.minimum(PRIORITIES["blue"])
        print(
            f"   {case.name:<14}  VRRPv{case.version} IPv{case.family}"
            f"  {case.interval * 1000:9.0f} ms"
            f"   after {silence * 1000:7.1f} ms      {minimum * 1000:7.1f} ms"
        )
        if not minimum - 0.002 <= silence <= minimum + 1.0:
            raise DemoFailed(f"{case.name} was taken over {silence:.3f} s after the last advert")
    print(
        "\n(The earliest is three advert intervals and a skew that lets the best backup go first.)"
    )


@dataclass
class _Daemon:
    process: subprocess.Popen[bytes]
    log_file: Path

    def log(self) -> str:
        return self.log_file.read_text()

    def stop(self) -> int:
        """Its exit status after SIGTERM. Raises DemoFailed where it does not end."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise DemoFailed(
                f"{self.log_file.stem} has not ended {STOP_TIMEOUT:g} s after SIGTERM;"
                f" its log says:\n{self.log()}"
            ) from None


@contextmanager
def _daemon(name: str, namespace: str, folder: Path) -> Iterator[_Daemon]:
    configuration = folder / f"{name}.conf"
    configuration.write_text("".join(case.block(PRIORITIES[name]) for case in CASES))
    log_file = folder / f"{name}.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                namespace,
                sys.executable,
                "-m",
                "fastvrrp",
                "run",
                "-n",
                "-l",
                "-D",
                "-f",
                str(configuration),
                "-p",
                str(folder / f"{name}.pid"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield _Daemon(process, log_file)
    finally:
        kill_tree(process.pid)
        process.wait()
