"""How long a configuration takes to read, and how much memory: `fastvrrp bench config`.

Every reading is a process of its own that only checks the file (`-t`) and ends. Its peak memory is
ru_maxrss as wait4(2) tells it of this child. Linux lets a child begin with the peak of whoever
starts it, so it is started by an interpreter that does nothing else (STOPWATCH, 8 MB).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastvrrp.bench.case import CaseError
from fastvrrp.bench.figures import Metric
from fastvrrp.bench.kinds import KINDS, DaemonError
from fastvrrp.bench.setting import Say

STOPWATCH = """
import json, os, subprocess, sys, time
began = time.monotonic()
process = subprocess.Popen(sys.argv[1:], stdin=-3, stdout=-3, stderr=-3)
_, status, usage = os.wait4(process.pid, 0)
took = time.monotonic() - began
print(json.dumps([os.waitstatus_to_exitcode(status), took, usage.ru_maxrss]))
"""
"""Runs a command and says how it ended, in how many seconds, and its peak memory in KiB."""
TIED = ("setpriv", "--pdeathsig", "KILL", "--")
"""Before a command that shall not outlive whoever starts it."""
VRIDS = 254
METRICS = (
    Metric("time", "time, with the start of the process", "s", 2),
    Metric("memory", "peak memory", "MB", 0),
)
HEAD = "global_defs {\n    dynamic_interfaces\n}\n"
"""Without it keepalived would mind every interface that is not there."""
SEQUENCES = """\
$ROUTER= \\
vrrp_instance r4.${PORT}.${VLAN}.${NUMBER} { \\
    interface bond${PORT}.${VLAN} \\
    use_vmac r4.${PORT}.${VLAN}.${NUMBER} \\
    virtual_router_id ${NUMBER} \\
    priority 130 \\
    virtual_ipaddress { \\
        10.${PORT}.${VLAN}.${NUMBER}/24 \\
    } \\
}
"""


@dataclass(frozen=True)
class ReadingCase:
    """So many virtual routers, made by three nested sequences or written out with nine lines."""

    ports: int
    vlans: int
    """Of each port."""
    vrids: int
    """Of each VLAN."""
    is_written_out: bool

    def __post_init__(self) -> None:
        """Raises CaseError."""
        for count, most in ((self.ports, 256), (self.vlans, 256), (self.vrids, VRIDS)):
            if not 1 <= count <= most:
                raise CaseError(f"{count} is outside 1-{most}")

    @property
    def routers(self) -> int:
        return self.ports * self.vlans * self.vrids

    @property
    def name(self) -> str:
        how = "written out" if self.is_written_out else "from three nested sequences"
        return f"{self.routers:,} instances {how}"

    def text(self) -> str:
        """The configuration."""
        if self.is_written_out:
            return HEAD + "".join(self._instances())
        return (
            f"{HEAD}{SEQUENCES}~SEQ(PORT,0,{self.ports - 1}) ~SEQ(VLAN,0,{self.vlans - 1})"
            f" ~SEQ(NUMBER,1,{self.vrids}) $ROUTER\n"
        )

    def _instances(self) -> Iterator[str]:
        lines = [line.removesuffix(" \\") for line in SEQUENCES.splitlines()[1:]]
        template = "\n".join(lines) + "\n"
        for port in range(self.ports):
            for vlan in range(self.vlans):
                of_vlan = template.replace("${PORT}", str(port)).replace("${VLAN}", str(vlan))
                for number in range(1, self.vrids + 1):
                    yield of_vlan.replace("${NUMBER}", str(number))


MANUAL = ReadingCase(8, 32, 254, is_written_out=False)
WRITTEN = ReadingCase(1, 17, 240, is_written_out=True)
CASES = (MANUAL, WRITTEN)


@dataclass(frozen=True)
class ReadingGoal:
    """A figure of fastvrrp, at most `limit`; of keepalived's if `is_ratio`."""

    case: ReadingCase
    key: str
    limit: float
    is_ratio: bool = False

    def text(self) -> str:
        if self.is_ratio:
            return f"at most {self.limit:g} of keepalived's"
        return f"at most {self.limit:g} {_metric(self.key).unit}"

    def verdict(self, readings: Sequence[Readings]) -> str:
        """Whether it is met; what was not measured is said."""
        by_kind = {each.kind: each.values for each in readings}
        measured = by_kind["fastvrrp"][self.key]
        if self.is_ratio:
            if "keepalived" not in by_kind:
                return "not measured"
            measured /= by_kind["keepalived"][self.key]
        return "met" if measured <= self.limit else "missed"


GOALS = (
    ReadingGoal(MANUAL, "time", 5),
    ReadingGoal(MANUAL, "time", 0.1, is_ratio=True),
    ReadingGoal(MANUAL, "memory", 250),
    ReadingGoal(WRITTEN, "time", 0.5),
)
"""Of issue 3."""


@dataclass(frozen=True)
class Readings:
    """One daemon's medians for one case."""

    kind: str
    version: str
    runs: int
    values: dict[str, float]
    """By a metric's key: seconds, and megabytes."""


@dataclass(frozen=True)
class MeasuredCase:
    """A case with what every daemon needed."""

    case: ReadingCase
    readings: list[Readings]

    def ratio(self, key: str) -> float | None:
        """fastvrrp's figure in keepalived's; None where only one was measured."""
        if len(self.readings) < 2:
            return None
        ours, theirs = (each.values[key] for each in self.readings)
        return ours / theirs

    def goals(self) -> list[ReadingGoal]:
        return [goal for goal in GOALS if goal.case == self.case]

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> MeasuredCase:
        """What `to_json` made of one of CASES. Raises KeyError, StopIteration."""
        return cls(
            next(case for case in CASES if case.name == found["case"]),
            [
                Readings(
                    each["kind"],
                    each["version"],
                    each["runs"],
                    {key: figure["value"] for key, figure in each["figures"].items()},
                )
                for each in found["daemons"]
            ],
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case.name,
            "routers": self.case.routers,
            "daemons": [
                {
                    "kind": each.kind,
                    "version": each.version,
                    "runs": each.runs,
                    "figures": {
                        metric.key: {"value": each.values[metric.key], "unit": metric.unit}
                        for metric in METRICS
                    },
                }
                for each in self.readings
            ],
            "ratios": {metric.key: self.ratio(metric.key) for metric in METRICS},
            "goals": [
                {
                    "figure": goal.key,
                    "goal": goal.text(),
                    "verdict": goal.verdict(self.readings),
                }
                for goal in self.goals()
            ],
        }


def measure(
    cases: Sequence[ReadingCase], kinds: Sequence[str], runs: int, say: Say
) -> list[MeasuredCase]:
    """Medians of every case and daemon, the daemons in turns. Raises DaemonError where one is not
    installed or does not end as one that has read a file."""
    versions = {kind: KINDS[kind].version() for kind in kinds}
    measured = []
    with tempfile.TemporaryDirectory(prefix="fastvrrp-bench-") as folder:
        for number, case in enumerate(cases):
            file = Path(folder, f"{number}.conf")
            file.write_text(case.text())
            values: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
            for run in range(runs):
                for kind in kinds:
                    say(f"{case.name}: {kind}, run {run + 1} of {runs}")
                    values[kind].append(_read(kind, KINDS[kind].reading(file)))
            measured.append(
                MeasuredCase(
                    case,
                    [
                        Readings(kind, versions[kind], runs, _medians(values[kind]))
                        for kind in kinds
                    ],
                )
            )
    return measured


def _medians(values: Sequence[dict[str, float]]) -> dict[str, float]:
    return {
        metric.key: statistics.median(each[metric.key] for each in values) for metric in METRICS
    }


def _read(kind: str, command: list[str]) -> dict[str, float]:
    """One reading in a fresh process. Whether the daemon complains is not asked here."""
    finished = subprocess.run(
        [*TIED, sys.executable, "-I", "-S", "-c", STOPWATCH, *TIED, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=True,
    )
    status, took, peak = json.loads(finished.stdout)
    if status not in (0, 5):
        raise DaemonError(f"{kind}: reading ended with status {status}")
    return {"time": took, "memory": peak * 1024 / 1e6}


def _metric(key: str) -> Metric:
    return next(metric for metric in METRICS if metric.key == key)


def write_json(file: Path, machine: dict[str, str], measured: Sequence[MeasuredCase]) -> None:
    """Raises OSError."""
    content = {"machine": machine, "cases": [each.to_json() for each in measured]}
    file.write_text(json.dumps(content, indent=2) + "\n")


def table(measured: Sequence[MeasuredCase]) -> Iterator[str]:
    """The figures in Markdown, a row each."""
    kinds = [each.kind for each in measured[0].readings] if measured else []
    yield f"| case | | unit | {' | '.join(kinds)} | ratio | goals |"
    yield f"|---|---|---|{'---|' * len(kinds)}---|---|"
    for each in measured:
        for metric in METRICS:
            cells = [metric.text(reading.values[metric.key]) for reading in each.readings]
            goals = [
                f"{goal.text()}: {goal.verdict(each.readings)}"
                for goal in each.goals()
                if goal.key == metric.key
            ]
            yield (
                f"| {each.case.name} | {metric.label} | {metric.unit} | {' | '.join(cells)} |"
                f" {ratio_text(each.ratio(metric.key))} | {'; '.join(goals)} |"
            )


def ratio_text(ratio: float | None) -> str:
    """A ratio as tables have it; nothing where there is none."""
    return "" if ratio is None else f"{ratio:.2f}"
