"""What is measured only in a checkout of the source: the limit in C, single operations, and what
needs another kernel."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import fastvrrp
from fastvrrp.bench.case import Case
from fastvrrp.bench.kinds import DaemonError
from fastvrrp.bench.network import Network
from fastvrrp.bench.workspace import workspace
from fastvrrp.kernel.memberships import Memberships

FOLDER = Path(fastvrrp.__file__).parent.parent / "bench"
GROUP = bytes([224, 0, 0, 18])  # RFC 9568 section 5.1.1.2
SECONDS = 6
HEAD_START = 1
"""Seconds that the receiver waits before and after the sender sends."""


def run_micro(json: Path | None) -> int:
    """Runs the micro benchmarks and returns pytest's exit status. Raises DaemonError where there is
    no checkout."""
    command = [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--benchmark-only"),
        *("--benchmark-columns=ops,median,iqr,rounds", "--benchmark-sort=name"),
        *("-o", "python_files=micro_*.py", str(_folder())),
    ]
    if json is not None:
        command.append(f"--benchmark-json={json}")
    return subprocess.run(command, check=False).returncode


def _folder() -> Path:
    if not (FOLDER / "floor.c").exists():
        raise DaemonError(f"{FOLDER} is missing: this needs a checkout of the source")
    return FOLDER


def measure_floor(case: Case) -> tuple[float, float] | None:
    """Microseconds of an advert sent and of one received, on a network like the case's, at 1 s.

    None where there is no checkout or no compiler. Raises NetworkError.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not (FOLDER / "floor.c").exists():
        return None
    with ExitStack() as stack:
        folder = stack.enter_context(workspace())
        program = folder / "floor"
        subprocess.run([compiler, "-O2", "-o", program, FOLDER / "floor.c"], check=True)
        # Group membership on side b is what lets its IP layer take the adverts at all.
        network = stack.enter_context(Network.made(replace(case, has_vmac=False, interval=1.0)))
        with network.b.entered():
            memberships = Memberships()
            stack.callback(memberships.close)
            for number in range(case.interfaces):
                memberships.join(GROUP, socket.if_nametoindex(f"eth{number}"))
            receiver = stack.enter_context(
                subprocess.Popen(
                    [program, "receive", str(SECONDS + 2 * HEAD_START)],
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        stack.callback(receiver.kill)
        assert receiver.stdout is not None
        receiver.stdout.readline()
        with network.a.entered():
            sender = subprocess.run(
                [program, "send", str(case.routers), str(case.interfaces), str(SECONDS)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        received = receiver.stdout.read().split()
        sent = sender.stdout.split()
    return float(sent[1]) / 1000, float(received[1]) / 1000


def run_in_guest(command: list[str], results: Path, timeout: float) -> str:
    """Runs a command in user-mode Linux, a kernel with IPVS, where it may write into the folder
    `results` as /run/results. Returns its output. Raises DaemonError where there is no checkout, or
    the command fails."""
    file = _folder().parent / "tests/kernel/machine.py"
    specification = importlib.util.spec_from_file_location("fastvrrp_bench_machine", file)
    assert specification is not None
    assert specification.loader is not None
    machine = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = machine  # its dataclass looks itself up
    specification.loader.exec_module(machine)
    outcome = machine.run(command, results, memory=2048, timeout=timeout)
    if outcome.status != 0:
        raise DaemonError(f"in user-mode Linux: {outcome.output or outcome.console}")
    return str(outcome.output)
