"""The effective priority: what everything tracked makes of the configured one.

This is the one place that computes it. A contribution is what one tracked thing adds, or None where
it is a fault: the virtual router then takes no part, whatever its priority.
"""

from __future__ import annotations

from collections.abc import Iterable

OWNER = 255
"""Priority of the router that owns the addresses (RFC 9568 section 5.2.4); nothing moves it."""
LEAST, MOST = 1, 254
"""What a priority that is moved may be."""
MOST_ADDED = 253
"""A file may hold any number; what it adds or takes is at most this. Less than -253 is a fault."""

Contribution = int | None


def of_state(is_good: bool, weight: int, is_reversed: bool) -> Contribution:
    """Of what is good or bad: an interface, a script, a process, a BFD session.

    A positive weight is added while it is good, a negative one while it is bad; reversed it is
    subtracted. Without a weight, bad is a fault; reversed, good is one.
    """
    if weight == 0:
        return 0 if is_good != is_reversed else None
    if is_good != (weight > 0):
        return 0
    return -weight if is_reversed else weight


def of_number(number: int, weight: int, is_reversed: bool) -> Contribution:
    """Of the number in a file, times the weight.

    Without a weight any number but 0 is a fault; reversed, 0 is one.
    """
    if weight == 0:
        return 0 if (number == 0) != is_reversed else None
    added = number * weight * (-1 if is_reversed else 1)
    return None if added < -MOST_ADDED else min(added, MOST_ADDED)


def effective(configured: int, contributions: Iterable[Contribution]) -> int | None:
    """The effective priority, or None for a fault."""
    total = configured
    for contribution in contributions:
        if contribution is None:
            return None
        total += contribution
    return OWNER if configured == OWNER else max(LEAST, min(total, MOST))
