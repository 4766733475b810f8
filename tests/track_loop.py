"""An event loop for tests of what the daemon hears from its other processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Loop:
    """A loop that runs only while a test waits."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def until(self, condition: Callable[[], object], patience: float = 10.0) -> None:
        """Runs until a condition holds; an AssertionError when it does not in time."""
        end = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < end, f"not in {patience} s"
            self.run(0.01)

    def run(self, seconds: float) -> None:
        """Runs for so long."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def close(self) -> None:
        self.loop.close()
