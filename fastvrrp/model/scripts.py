"""Commands that the daemon runs."""

from __future__ import annotations

from fastvrrp.model.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and as whom."""

    arguments: tuple[str, ...]
    """The program and its arguments."""
    user: str | None = None
    """None where neither the command nor `script_user` names one: keepalived_script where that user
    exists, otherwise the daemon's own."""
    group: str | None = None
    """None is the user's own group."""
    has_supplementary_groups: bool = False
    """A colon stands before the group: it runs in all groups of its user."""
