"""What every health checker is: something that can be asked whether a real server is well."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one check has found."""

    is_good: bool
    why: str = ""
    """What was wrong, or what was found, for a person; a part of a log line."""
    weight: int | None = None
    """The weight that a dynamic check asks for; None where it asks for none."""


class Check(ABC):
    """A checker of one target; it keeps no count of what it found before."""

    @abstractmethod
    async def check(self) -> Verdict:
        """Asks once. What the target does wrong, or does not do in time, is a Verdict and no error;
        cancelling it leaves nothing open."""
