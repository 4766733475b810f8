"""Several daemons, each several times, in turns: what else the machine does hits all of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastvrrp.bench.case import Case
from fastvrrp.bench.disturbances import DISTURBANCES
from fastvrrp.bench.figures import Figures, median
from fastvrrp.bench.kinds import KINDS
from fastvrrp.bench.lab import run
from fastvrrp.bench.setting import Say


def measure(
    case: Case,
    kinds: Sequence[str],
    runs: int,
    duration: float,
    say: Say,
    *,
    disturbances: Collection[str] = tuple(DISTURBANCES),
    disturbed_runs: int | None = None,
    undisturbed: Collection[str] = (),
) -> dict[str, list[Figures]]:
    """The single runs, by daemon. Each of them, or the first `disturbed_runs`, has the
    `disturbances`, but for daemons that are `undisturbed`. A daemon that failed is not tried again,
    and the other one goes on.

    Raises DaemonError where one is not installed.
    """
    for kind in kinds:
        KINDS[kind].version()
    done: dict[str, list[Figures]] = {kind: [] for kind in kinds}
    if disturbed_runs is None:
        disturbed_runs = runs
    for number in range(runs):
        for kind in kinds:
            if any(figures.failure for figures in done[kind]):
                continue
            head = f"{case.name}: {kind}, run {number + 1} of {runs}: "
            is_disturbed = kind not in undisturbed and number < disturbed_runs
            done[kind].append(
                run(
                    case,
                    KINDS[kind],
                    duration,
                    lambda text, head=head: say(head + text),  # type: ignore[misc]
                    disturbances if is_disturbed else (),
                )
            )
    return done


def compare(
    case: Case,
    kinds: Sequence[str],
    runs: int,
    duration: float,
    say: Say,
    disturbances: Collection[str],
) -> list[Figures]:
    """Medians, a daemon each; as `measure`."""
    done = measure(case, kinds, runs, duration, say, disturbances=disturbances)
    return [median(each) for each in done.values()]


def to_json(case: Case, machine: dict[str, str], measured: Sequence[Figures]) -> dict[str, Any]:
    return {
        "machine": machine,
        "case": asdict(case),
        "daemons": [each.to_json() for each in measured],
    }


def write_json(
    file: Path, case: Case, machine: dict[str, str], measured: Sequence[Figures]
) -> None:
    """Raises OSError."""
    file.write_text(json.dumps(to_json(case, machine, measured), indent=2) + "\n")
