"""What the processor does while all is quiet: the functions of the master and of the backup.

perf looks 1,999 times a second of processor time which function runs (the cpu-clock event, which
virtual machines have too), in the daemon and in the kernel on its behalf. The share of a function
in these looks, times the cost of an advert in the same seconds, is what it costs an advert.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fastvrrp.bench.case import Case
from fastvrrp.bench.kinds import Daemon, DaemonError
from fastvrrp.bench.lab import steady
from fastvrrp.bench.processes import Sample, tree
from fastvrrp.bench.workspace import workspace

FREQUENCY = 1999
"""Looks a second of processor time; no multiple of anything that happens in whole milliseconds."""
MOST = 20
"""Functions shown of each."""
LIBRARIES = {"loop": "uvloop", "libpython3": "python", "python3": "python"}
"""What a file's name would not tell."""
_MANGLED = re.compile(r"__pyx_(?:f|pw|pf)_(.*)")


@dataclass(frozen=True)
class Function:
    name: str
    place: str
    """The kernel, a module of fastvrrp, or a library."""
    share: float
    """Part of the samples, 0 to 1."""


@dataclass(frozen=True)
class Profile:
    """Of one daemon."""

    role: str
    """master or backup."""
    cost: float
    """Microseconds an advert sent (master) or received (backup)."""
    functions: tuple[Function, ...]
    """All that were seen, the costliest first."""

    def places(self) -> list[tuple[str, float]]:
        """The shares by place, the largest first."""
        shares: dict[str, float] = {}
        for function in self.functions:
            shares[function.place] = shares.get(function.place, 0.0) + function.share
        return sorted(shares.items(), key=lambda item: -item[1])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Profile:
        functions = tuple(Function(**each) for each in found["functions"])
        return cls(found["role"], found["cost"], functions)


def profile(
    case: Case, kind: type[Daemon], seconds: float, say: Callable[[str], None]
) -> list[Profile]:
    """The master's and the backup's. Raises DaemonError where perf is missing or sees nothing, and
    what `lab.run` raises."""
    perf = shutil.which("perf")
    if perf is None:
        raise DaemonError("perf is not installed: apt-get install linux-perf")
    with workspace() as folder, steady(case, kind, say) as daemons:
        say(f"watching the functions for {seconds:g} s")
        before = [Sample.of(daemon.pid) for daemon in daemons]
        running = [
            subprocess.Popen(
                [
                    *(perf, "record", "-q", "-e", "cpu-clock", "-F", str(FREQUENCY)),
                    *("-o", str(folder / f"{number}.data")),
                    *("-p", ",".join(map(str, tree(daemon.pid))), "--", "sleep", str(seconds)),
                ],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for number, daemon in enumerate(daemons)
        ]
        for recorder in running:
            said = recorder.communicate()[1]
            if recorder.returncode != 0:
                raise DaemonError(f"perf record failed: {said.strip()[-300:]}")
        after = [Sample.of(daemon.pid) for daemon in daemons]
        spent = [
            later.processor - first.processor for first, later in zip(before, after, strict=True)
        ]
        adverts = after[0].sent - before[0].sent, after[1].received - before[1].received
        return [
            Profile(
                role,
                spent[number] / 1000 / max(1, adverts[number]),
                tuple(_functions(perf, folder / f"{number}.data")),
            )
            for number, role in enumerate(("master", "backup"))
        ]


def _functions(perf: str, data: Path) -> Iterator[Function]:
    """Raises DaemonError where there is none."""
    said = subprocess.run(
        [
            *(perf, "report", "-i", str(data), "--no-children", "--stdio", "-q", "-t", "|"),
            *("-F", "sample,dso,symbol"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [line.split("|") for line in said.stdout.splitlines() if line.count("|") >= 2]
    if not rows:
        raise DaemonError(f"perf report shows nothing: {said.stderr.strip()[-300:]}")
    total = sum(int(row[0]) for row in rows)
    seen: dict[tuple[str, str], int] = {}
    for samples, library, symbol in (row[:3] for row in rows):
        key = readable(symbol.strip().partition("] ")[2]), _place(library.strip(), symbol)
        seen[key] = seen.get(key, 0) + int(samples)
    for (name, place), count in sorted(seen.items(), key=lambda item: -item[1]):
        yield Function(name, place, count / total)


def _place(library: str, symbol: str) -> str:
    if symbol.strip().startswith("[k]"):
        return "kernel"
    name = library.partition(".")[0]
    return f"fastvrrp.{name}" if library.startswith("_") else LIBRARIES.get(name, name)


def readable(symbol: str) -> str:
    """A function's own name, where Cython has put its module and class before it."""
    found = _MANGLED.match(symbol)
    if found is None:
        return symbol if not symbol.startswith("0x") else "without a name"
    rest = found[1]
    parts = []
    while (number := re.match(r"\d+", rest)) and len(rest) > number.end() + int(number[0]):
        start = number.end()
        end = start + int(number[0])
        if rest[end] != "_":
            break
        parts.append(rest[start:end])
        rest = rest[end + 1 :]
    return ".".join([*parts[2:], rest.lstrip("0123456789")])


def lines(profiles: Iterable[Profile], most: int = MOST) -> Iterator[str]:
    """Markdown: a table for each."""
    for each in profiles:
        named: Sequence[Function] = each.functions[:most]
        yield ""
        yield f"The {each.role}, {each.cost:.2f} us an advert:"
        yield ""
        yield "| function | where | share | us an advert |"
        yield "|---|---|---|---|"
        for function in named:
            yield (
                f"| `{function.name}` | {function.place} | {function.share:.1%} |"
                f" {function.share * each.cost:.2f} |"
            )
        rest = 1 - sum(function.share for function in named)
        count = len(each.functions) - len(named)
        yield f"| {count} others | | {rest:.1%} | {rest * each.cost:.2f} |"
        yield ""
        yield (
            "By place: " + ", ".join(f"{place} {share:.1%}" for place, share in each.places()) + "."
        )
