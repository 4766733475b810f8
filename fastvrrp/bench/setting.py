"""What the stages of a run share: two sides, their cables, an observer and two daemons."""

from __future__ import annotations

import compileall
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import fastvrrp
from fastvrrp.bench.case import BACKUP_PRIORITY, MASTER_PRIORITY, Case
from fastvrrp.bench.figures import METRIC, Figures
from fastvrrp.bench.kinds import Daemon
from fastvrrp.bench.network import Namespace, Network
from fastvrrp.bench.recording import Recording
from fastvrrp.bench.workspace import workspace

Say = Callable[[str], None]


@dataclass
class Setting:
    """The daemons do not run yet when it is made."""

    case: Case
    figures: Figures
    network: Network
    recording: Recording
    a: Daemon
    b: Daemon
    duration: float
    say: Say
    stack: ExitStack
    """The daemons are killed when it closes."""

    @property
    def steady(self) -> float:
        """Processor time of the master a second, ns, when nothing happens, once it is measured."""
        return self.figures.values["master_load"] * 1e7


def not_measured(figures: Figures, name: str, why: str) -> None:
    """Says of all figures whose key begins so why there are none."""
    for key in METRIC:
        if key.startswith(f"{name}_") and key not in figures.values:
            figures.reasons[key] = why


def prepare(
    case: Case,
    kind: type[Daemon],
    figures: Figures,
    duration: float,
    say: Say,
    stack: ExitStack,
) -> Setting:
    """All of it is there until `stack` closes. Raises NetworkError, or PermissionError without
    root."""
    folder = stack.enter_context(workspace())
    _compile()
    say(f"making {case.interfaces:,} cables")
    network = stack.enter_context(Network.made(case))
    recording = stack.enter_context(Recording.of(network.b.entered(), network.last_ifindex))

    def daemon(name: str, side: Namespace, priority: int) -> Daemon:
        file = folder / f"{name}.conf"
        file.write_text(case.configuration(priority))
        return kind(side, name, folder, file)

    a = daemon("a", network.a, MASTER_PRIORITY)
    b = daemon("b", network.b, BACKUP_PRIORITY)
    return Setting(case, figures, network, recording, a, b, duration, say, stack)


def _compile() -> None:
    """Gives our sources bytecode, as an installation has it. A checkout may have none
    (PYTHONDONTWRITEBYTECODE), and compile everything at each start of a process."""
    compileall.compile_dir(Path(fastvrrp.__file__).parent, quiet=2)
