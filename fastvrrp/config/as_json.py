"""The model as JSON: addresses as text, times in seconds, enumerations by name.

What a plain value means is in the annotation of its field (`model.units`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum, IntFlag
from typing import Any

from fastvrrp.config.arguments import address_text, seconds_text
from fastvrrp.model import Configuration, Prefix

FAMILY_NAMES = {2: "IPv4", 10: "IPv6"}
UNITS = frozenset({"Address", "Family", "Mac", "Nanoseconds", "Octets", "Secret", "SecretText"})
"""Names in an annotation that say what an integer, bytes or text is."""
_units: dict[type, dict[str, str]] = {}
SECRETS = frozenset({"Secret", "SecretText"})


def as_json(configuration: Configuration) -> Iterator[str]:
    """Text of the model in pieces, indented for reading."""
    return json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(plain(configuration))


def plain(value: object, unit: str = "") -> object:
    """A value of the model as what JSON has; `unit` is that of the field that holds it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Prefix):
        return f"{address_text(value.address)}/{value.prefixlen}"
    if is_dataclass(value) and not isinstance(value, type):
        kind = getattr(value, "keyword", None)
        shown = {} if kind is None else {"keyword": kind}
        for name, own_unit in units_of(type(value)).items():
            shown[name] = plain(getattr(value, name), own_unit)
        return shown
    if isinstance(value, tuple):
        return [plain(item, unit) for item in value]
    if isinstance(value, IntFlag):
        return [flag.name for flag in type(value) if flag in value]
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, str) else value.name
    if isinstance(value, bytes):
        return _bytes_text(value, unit)
    if isinstance(value, int):
        return _number(value, unit)
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    raise TypeError(f"the model has no values of type {type(value).__name__}")


def units_of(model: Any) -> dict[str, str]:
    """The fields of a class of the model, in their order, each with its unit or nothing."""
    known = _units.get(model)
    if known is None:
        known = _units[model] = {
            field.name: next(iter(UNITS.intersection(re.findall(r"\w+", str(field.type)))), "")
            for field in fields(model)
        }
    return known


def _number(value: int, unit: str) -> object:
    if unit == "Family":
        return FAMILY_NAMES[value]
    if unit == "Nanoseconds":
        text = seconds_text(value)
        return float(text) if "." in text else int(text)
    return value


def _bytes_text(value: bytes, unit: str) -> str:
    if unit == "Mac":
        return value.hex(":")
    if unit == "Octets":
        return value.hex()
    if unit in SECRETS:
        return value.decode("utf-8", "backslashreplace")
    return address_text(value) if value else ""
