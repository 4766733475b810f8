"""The corpus of configurations under tests/configs, and what each is expected to give.

NAME.conf begins with a comment that says what it shows; NAME.json holds its complaints and the part
of its model that is no default. Where keepalived's verdict is another, a line of the first comment
says `keepalived differs:` and why. `python tests/config_corpus.py` writes NAME.json again from what
the reader says today; read the difference before you commit it.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

from fastvrrp.config import Reading, read
from fastvrrp.config.as_json import plain, units_of
from fastvrrp.model import Prefix

CONFIGS = Path(__file__).parent / "configs"
DIFFERS = "# keepalived differs: "


def paths() -> list[Path]:
    """Every configuration of the corpus."""
    return sorted(CONFIGS.glob("*.conf"))


def reading_of(path: Path) -> Reading:
    """Read one; complaints name files relative to the corpus."""
    with contextlib.chdir(CONFIGS):
        return read(path.name, config_id="main")


def outcome(reading: Reading) -> dict[str, Any]:
    """What is compared with NAME.json: the same wherever the corpus is."""
    told = {
        "complaints": [str(complaint) for complaint in reading.complaints],
        "model": significant(reading.configuration),
    }
    text = json.dumps(told, ensure_ascii=False).replace(str(CONFIGS), "CONFIGS")
    anywhere: dict[str, Any] = json.loads(text)
    return anywhere


def expected(path: Path) -> dict[str, Any]:
    """What NAME.json holds."""
    loaded: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
    return loaded


def difference_explained(path: Path) -> str:
    """Why keepalived's verdict is another, or nothing where it is the same."""
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith(DIFFERS):
            return line.removeprefix(DIFFERS)
        if not line.startswith("#"):
            break
    return ""


def significant(value: object, unit: str = "") -> Any:
    """A value of the model as JSON, without what stands at its default."""
    if is_dataclass(value) and not isinstance(value, type | Prefix):
        units = units_of(type(value))
        kind = getattr(value, "keyword", None)
        shown = {} if kind is None else {"keyword": kind}
        return shown | {
            field.name: significant(getattr(value, field.name), units[field.name])
            for field in fields(value)
            if getattr(value, field.name) != _default(field)
        }
    if isinstance(value, tuple):
        return [significant(item, unit) for item in value]
    return plain(value, unit)


def _default(field: Field[Any]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


if __name__ == "__main__":
    for path in paths():
        text = json.dumps(outcome(reading_of(path)), indent=1, ensure_ascii=False)
        path.with_suffix(".json").write_text(text + "\n")
