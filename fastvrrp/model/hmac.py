"""Authentication of adverts by HMAC-SHA256 (`auth_hmac`)."""

from __future__ import annotations

from enum import IntEnum

from fastvrrp.model.frozen import dataclass
from fastvrrp.model.units import Nanoseconds, SecretText


class AntiReplay(IntEnum):
    """What makes an advert new."""

    TIME = 1
    """A sequence number near the clock's."""
    MONOTONIC = 2
    """A sequence number above the last one."""


class HmacMode(IntEnum):
    """What becomes of adverts without a trailer."""

    ENFORCE = 1
    PERMISSIVE = 2
    RECEIVE_ONLY = 3
    """Ours have none; those of others may have one."""


@dataclass(frozen=True, slots=True)
class HmacKey:
    """A key and its number."""

    number: int
    key: SecretText
    """As written: text, `hex:DIGITS` or `file:PATH`."""


@dataclass(frozen=True, slots=True)
class Hmac:
    """`auth_hmac` of an instance."""

    keys: tuple[HmacKey, ...]
    active_key: int
    """Number of the key that signs: the first key's where none was written."""
    anti_replay: AntiReplay = AntiReplay.TIME
    time_window: Nanoseconds = 5_000_000_000
    """How old an advert may be: three advert intervals, 5 seconds at least, where none was
    written."""
    mode: HmacMode = HmacMode.ENFORCE
