"""A machine with a kernel of its own: Debian's user-mode Linux, a kernel that runs as a process.

It has what this host's kernel may lack (IPVS, VLAN, bond, VRF, ipvlan, dummy, netem) and sees this
host's files, which it cannot write; what comes out of it goes to one folder.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KERNEL = "linux.uml"
BOOT = Path(__file__).parent / "boot.sh"
MODULES = (
    *("dummy", "8021q", "bonding", "vrf", "ipvlan", "macvlan", "veth", "bridge", "sch_netem"),
    *("mpls_iptunnel", "ila"),
    *("nf_tables", "ipip", "ip6_tunnel", "fou", "ip_gre", "ip_vs", "ip_vs_pe_sip"),
    *("sctp", "sch_ingress", "cls_flower", "act_skbedit"),
    *(f"ip_vs_{name}" for name in ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "mh")),
    *(f"ip_vs_{name}" for name in ("fo", "ovf", "sed", "nq")),
)
"""What the guest loads; their dependencies come by themselves."""


@dataclass(frozen=True)
class Outcome:
    """What a command in the guest gave."""

    status: int | None
    """Its exit status; None where the guest ended before the command did."""
    output: str
    """Its stdout and stderr."""
    console: str
    """What the guest's kernel and its first process said."""


def run(
    command: Sequence[str],
    results: Path,
    *,
    environment: Mapping[str, str] | None = None,
    memory: int = 1024,
    timeout: float = 360.0,
) -> Outcome:
    """Boots a guest, runs `command` in it as root, in this directory, and waits until it is off.

    `results` is a folder of this host that the guest has, and may write, at /run/results. `memory`
    is in MiB, `timeout` in seconds, after which the guest is killed.
    """
    variables = {
        "HOME": "/run/tmp",
        "TMPDIR": "/run/tmp",
        "PATH": os.environ["PATH"],
        **(environment or {}),
    }
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    script = [*exports, f"cd {shlex.quote(str(Path.cwd()))}", f"exec {shlex.join(command)}"]
    (results / "command").write_text("\n".join(script) + "\n")
    with tempfile.TemporaryFile() as console:
        guest = subprocess.Popen(
            [
                # Politely: others measure milliseconds meanwhile.
                *("nice", "-n", "10", "setpriv", "--pdeathsig", "KILL", "--"),
                *(KERNEL, f"mem={memory}M", "quiet"),
                *("rootfstype=hostfs", "rootflags=/", "ro", f"init={BOOT}"),
                *(f"RESULTS={results}", f"MODULES={','.join(MODULES)}"),
                *("con=null", "con0=fd:0,fd:1"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            guest.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(guest.pid, signal.SIGKILL)
            guest.wait()
        console.seek(0)
        said = console.read().decode(errors="replace")
    return Outcome(_status(results), _text(results / "output"), said)


def _status(results: Path) -> int | None:
    text = _text(results / "status").strip()
    return int(text) if text else None


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
