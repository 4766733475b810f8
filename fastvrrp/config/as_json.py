"""The model as JSON: addresses as text, times in seconds, enumerations by name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import IntEnum
from functools import cache

from fastvrrp.config.arguments import address_text, seconds_text
from fastvrrp.model import Configuration

TIMES = frozenset(
    {
        "advert_interval",
        "extra_interface_interval",
        "garp_interval",
        "gna_interval",
        "lower_prio_delay",
        "master_delay",
        "master_refresh",
        "preempt_delay",
        "preferred_lifetime",
    }
)
"""Fields of the model that are nanoseconds."""
FAMILY_NAMES = {2: "IPv4", 10: "IPv6"}


def as_json(configuration: Configuration) -> Iterator[str]:
    """Text of the model in pieces, one virtual router a piece, indented for reading."""
    return json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(plain(configuration))


def plain(value: object, name: str = "") -> object:
    """A value of the model as what JSON has; `name` is the field that holds it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field: plain(getattr(value, field), field) for field in _field_names(type(value))}
    if isinstance(value, tuple):
        return [plain(item, name) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, IntEnum):
        return value.name
    if isinstance(value, bytes):
        return _bytes_text(value, name)
    if isinstance(value, int):
        if name == "family":
            return FAMILY_NAMES[value]
        if name in TIMES:
            text = seconds_text(value)
            return float(text) if "." in text else int(text)
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    raise TypeError(f"the model has no values of type {type(value).__name__}")


@cache
def _field_names(model: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(model))


def _bytes_text(value: bytes, name: str) -> str:
    if name == "mac":
        return value.hex(":")
    if name == "password":
        return value.decode("utf-8", "backslashreplace")
    return address_text(value)
