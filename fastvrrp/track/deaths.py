"""How soon a process that has died is started again."""

from __future__ import annotations

LONG_LIFE = 10.0
"""Seconds after which a death is the first one again."""
PAUSES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Seconds until it is started again, after one death and more of them."""
