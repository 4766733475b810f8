"""Waiting for something to become true."""

import time
from collections.abc import Callable
from typing import TypeVar

Seen = TypeVar("Seen")


def wait_until(
    predicate: Callable[[], Seen],
    timeout: float = 10.0,
    *,
    what: str | Callable[[], str] = "",
    interval: float = 0.02,
) -> Seen:
    """Asks `predicate` every `interval` seconds until its answer is true, and returns the answer.

    Raises TimeoutError, saying `what` was awaited, after `timeout` seconds.
    """
    end = time.monotonic() + timeout
    while not (seen := predicate()):
        if time.monotonic() > end:
            text = what() if callable(what) else what or predicate.__qualname__
            raise TimeoutError(f"not within {timeout:g} s: {text}")
        time.sleep(interval)
    return seen
