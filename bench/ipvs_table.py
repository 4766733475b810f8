"""IPVS tables of 2,000 services with 8 real servers each: loaded, reloaded and unloaded, by
fastvrrp's rooms and by keepalived's checkers in the same kernel.

    python bench/ipvs_table.py [SERVICES] [SERVERS]

Without IPVS in this kernel it boots user-mode Linux (tests/kernel/machine.py), whose system calls
are slow: compare figures of one run. No real server is checked. For keepalived it is the time from
its start to "Startup complete", less that of reading the configuration alone (keepalived -t), from
SIGHUP to "Reload complete", and from SIGTERM to its end; for fastvrrp that of settling alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

from fastvrrp.config import read  # noqa: E402
from fastvrrp.lvs.services import Services  # noqa: E402
from fastvrrp.model import FlushOnStop  # noqa: E402
from ipvs_table import want  # noqa: E402
from kernel_namespace import inside_namespace, ip  # noqa: E402

PATIENCE = 300.0


def configuration(services: int, servers: int) -> str:
    """A configuration of that size."""
    blocks = ["child_wait_time 120\n"]
    # keepalived kills checkers that have not ended after five seconds.
    for number in range(services):
        address = f"10.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
        real = "".join(
            f"    real_server 10.200.{server}.{number & 255} 80 {{\n        weight 3\n    }}\n"
            for server in range(servers)
        )
        head = "    protocol TCP\n    lvs_sched wrr\n    lvs_method DR\n"
        blocks.append(f"virtual_server {address} 80 {{\n{head}{real}}}\n")
    return "".join(blocks)


def entries() -> int:
    """Services and destinations in the kernel."""
    return len(Path("/proc/thread-self/net/ip_vs").read_text().splitlines()) - 3


async def fastvrrp(path: Path) -> dict[str, float]:
    found = {}
    services = Services()
    began = time.monotonic()
    read_once = read(str(path), "bench").configuration
    found["read"] = time.monotonic() - began
    await services.adopt(read_once)

    async def settle(name: str) -> None:
        began = time.monotonic()
        want(services, read_once)
        await services.settle()
        found[name] = time.monotonic() - began

    await settle("load")
    loaded = entries()
    await settle("reload, nothing changed")
    successor = Services()
    await successor.adopt(read_once)
    began = time.monotonic()
    want(successor, read_once)
    await successor.settle()
    found["adopt what a crash has left"] = time.monotonic() - began
    began = time.monotonic()
    await services.close(FlushOnStop.EACH)
    found["unload"] = time.monotonic() - began
    assert entries() == 0
    found["entries"] = loaded
    return found


def keepalived(path: Path, folder: Path) -> dict[str, float]:
    found = {}
    command = ["keepalived", "-n", "-l", "-D", "--check", "-f", str(path)]
    began = time.monotonic()
    subprocess.run([*command, "-t"], check=False, capture_output=True)
    found["read"] = time.monotonic() - began
    log = folder / "log"
    pids = ["-p", str(folder / "parent.pid"), "-c", str(folder / "checkers.pid")]
    with log.open("wb") as output:
        began = time.monotonic()
        process = subprocess.Popen([*command, *pids], stdout=output, stderr=output)
        wait(lambda: "Startup complete" in log.read_text(errors="replace"))
        found["load"] = time.monotonic() - began - found["read"]
        found["entries"] = entries()
        began = time.monotonic()
        process.send_signal(signal.SIGHUP)
        wait(lambda: "Reload complete" in log.read_text(errors="replace"))
        found["reload, nothing changed"] = time.monotonic() - began
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
        found["unload"] = time.monotonic() - began
        if entries():
            print(f"keepalived has left {entries()} entries")
    return found


def wait(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError("keepalived is not ready")
        time.sleep(0.01)


def measure(services: int, servers: int) -> None:
    with tempfile.TemporaryDirectory() as name, inside_namespace():
        ip("link set lo up")
        path = Path(name, "keepalived.conf")
        path.write_text(configuration(services, servers))
        ours = asyncio.run(fastvrrp(path))
        theirs = keepalived(path, Path(name))
        print(f"{services} services of {servers} servers: {ours['entries']} entries")
        assert ours.pop("entries") == theirs.pop("entries")
        for what, seconds in ours.items():
            other = f"{theirs[what]:8.3f} s" if what in theirs else "         -"
            print(f"{what:28} fastvrrp {seconds:8.3f} s   keepalived {other}")


def boot() -> None:
    """Runs this script in a kernel that has IPVS."""
    from kernel.machine import run  # noqa: PLC0415 (only where it is needed)

    with tempfile.TemporaryDirectory() as results:
        outcome = run([sys.executable, *sys.argv], Path(results), timeout=600)
    print(outcome.output, end="")
    if outcome.status != 0:
        sys.exit(outcome.console)


if __name__ == "__main__":
    if Path("/proc/net/ip_vs").exists() or os.environ.get("FASTVRRP_GUEST"):
        sizes = [int(word) for word in sys.argv[1:3]]
        measure(*(sizes or (2000, 8)))
    else:
        boot()
