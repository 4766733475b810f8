"""How often a child of the parent gives a sign of life, and for how long it may give none."""

from __future__ import annotations

LOOK = 1.0
"""Seconds between two looks of the parent at its children, and between two beats of a child that
has nothing else to say."""
LIMIT = 15.0
"""Seconds that a child which runs may be silent. Its event loop does nothing that takes longer than
some hundredths; the rest is for machines that have far too much to do."""
BEAT = b""
"""The message of a ward that has nothing else to say."""
