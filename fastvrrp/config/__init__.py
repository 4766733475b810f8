"""Reads keepalived.conf: `read(path)` gives the model and every complaint.

The stages, each a module: source text (`source`), statements of words (`lines`), a tree by the
table of keywords (`keywords`, `tree`), the model (`definitions`, `build`), and what only the whole
shows (`checks`); `reading` lets one top-level block pass through all of them before the next.

What reads is imported when it is asked for: the daemon lets another process read, and has no room
for what it does not use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastvrrp.config.complaints import Complaint, Place, Severity
    from fastvrrp.config.reading import Reading, read

__all__ = ["Complaint", "Place", "Reading", "Severity", "read"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from fastvrrp.config import complaints, reading  # noqa: PLC0415 - see above

    return getattr(reading if name in ("Reading", "read") else complaints, name)
