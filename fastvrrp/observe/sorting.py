"""What the rows of `fastvrrp top` can be sorted by. This file imports nothing: the command line
knows the words before anything else is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastvrrp.observe.rates import Row

SORTS: dict[str, tuple[Callable[[Row], Any], bool]] = {
    "trouble": (lambda row: (not row.is_troubled, row.since), False),
    "name": (lambda row: row.name, False),
    "state": (lambda row: (row.state, row.name), False),
    "newest": (lambda row: row.since, False),
    "sent": (lambda row: row.sent, True),
    "received": (lambda row: row.received, True),
    "refused": (lambda row: row.refused, True),
    "changes": (lambda row: row.changes, True),
}
"""The key, and whether the greatest comes first."""
