"""What has been measured, kept on disk: who is interrupted goes on later, and a single case can be
measured again without the others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from fastvrrp.bench.case import Case
from fastvrrp.bench.figures import Figures, median


@dataclass(frozen=True)
class Measured:
    """A case with the single runs of its daemons, by kind, and the limit of the machine."""

    case: Case
    duration: float
    """Seconds of each measurement of processor time and of adverts."""
    runs: Mapping[str, Sequence[Figures]]
    floor: tuple[float, float] | None
    """Microseconds of an advert sent and of one received in C; None where it was not measured."""
    machine: Mapping[str, str]
    on: str
    """The day, in ISO format."""

    @property
    def figures(self) -> dict[str, Figures]:
        """The medians, by kind."""
        return {kind: median(runs) for kind, runs in self.runs.items()}

    @property
    def is_whole(self) -> bool:
        """Whether every run came to its end."""
        return all(not run.failure for runs in self.runs.values() for run in runs)

    def joined(self, later: Measured) -> Measured:
        """With the runs of a later measurement added; those that failed before are left out."""
        runs = {
            kind: [*(run for run in self.runs.get(kind, ()) if not run.failure), *added]
            for kind, added in {**self.runs, **later.runs}.items()
        }
        floor = later.floor or self.floor
        return Measured(self.case, later.duration, runs, floor, later.machine, later.on)


def today() -> str:
    return date.today().isoformat()


def save(file: Path, measured: Mapping[Case, Measured]) -> None:
    """Replaces the file as a whole. Raises OSError."""
    write_whole(file, [_to_json(each) for each in measured.values()])


def write_whole(file: Path, found: Any) -> None:
    """Writes JSON; an interrupt leaves the old file or the new one. Raises OSError."""
    draft = file.with_suffix(".part")
    draft.write_text(json.dumps(found, indent=1) + "\n")
    draft.replace(file)


def load(file: Path) -> dict[Case, Measured]:
    """What `save` wrote; nothing where there is no file, or one of another form."""
    try:
        return {each.case: each for each in map(_from_json, json.loads(file.read_text()))}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}


def _to_json(measured: Measured) -> dict[str, Any]:
    return {
        "case": asdict(measured.case),
        "on": measured.on,
        "machine": dict(measured.machine),
        "duration": measured.duration,
        "floor": measured.floor,
        "runs": {kind: [vars(figures) for figures in runs] for kind, runs in measured.runs.items()},
    }


def _from_json(found: Mapping[str, Any]) -> Measured:
    return Measured(
        Case(**found["case"]),
        found["duration"],
        {kind: [Figures(**run) for run in runs] for kind, runs in found["runs"].items()},
        None if found["floor"] is None else (found["floor"][0], found["floor"][1]),
        found["machine"],
        found["on"],
    )
