"""Waiting for one descriptor, whatever its number: select(2) takes none above 1023."""

from __future__ import annotations

import select
from math import ceil


def is_readable(descriptor: int, seconds: float) -> bool:
    """Waits for so many seconds at most; whether there is something to read, or the other end has
    closed."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(ceil(seconds * 1000)))
