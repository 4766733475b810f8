"""What happens to a virtual server, as its pool says it; how it is told is another matter."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from fastvrrp.model import Checker, RealServer, SorryServer


class Occasion(Enum):
    """Why something changes."""

    START = 1
    """The virtual server, or the real server, is new."""
    CHECK = 2
    """A checker has found something else, or a reload has taken away what kept a server down."""
    FIRST_CHECK = 3
    """The first check of a server that counted as down has failed: it is down as it was."""
    REMOVAL = 4
    """A reload takes it away."""
    END = 5
    """The daemon stops."""


@dataclass(frozen=True, slots=True)
class ServerNews:
    """A real server gets connections, or gets none any more."""

    server: RealServer
    is_up: bool
    occasion: Occasion
    is_quiet: bool = False
    """Only the log says it."""
    was_up: bool | None = None
    """Before; None where it was the opposite."""
    why: str = ""
    """What the check that decided it has found wrong, for a person."""


@dataclass(frozen=True, slots=True)
class CheckerNews:
    """One checker of a real server has another opinion; the others may keep the server as it is."""

    server: RealServer
    checker: Checker
    is_good: bool
    is_up: bool
    """The server, as it is by that."""
    has_changed: bool
    """The server has become up or down by it."""


@dataclass(frozen=True, slots=True)
class WeightNews:
    """A real server has another weight."""

    server: RealServer
    before: int
    after: int
    is_up: bool


@dataclass(frozen=True, slots=True)
class QuorumNews:
    """The servers that are up weigh enough, or do not any more."""

    is_up: bool
    quorum: int
    hysteresis: int
    weight: int
    """Of all that are up."""
    occasion: Occasion


@dataclass(frozen=True, slots=True)
class SorryNews:
    """The sorry server takes over, or is not needed any more."""

    server: SorryServer
    is_in: bool
    swaps: bool
    """The real servers that are up go, or come, for it."""


News: TypeAlias = ServerNews | CheckerNews | WeightNews | QuorumNews | SorryNews
