"""The one other thread of vrrpd: what changes the kernel waits there, and no advert waits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

log = logging.getLogger(__name__)


class KernelThread:
    """Carries changes out one at a time, in the order in which they were asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._executor = ThreadPoolExecutor(1, "kernel")
        self.under_way = 0
        """Changes that were asked for, and of which the loop does not know that they are done."""

    def run_elsewhere(self, run: Callable[[], None], then: Callable[[], None]) -> None:
        """Calls `run` in the thread, then `then` in the loop."""

        def take_back(finished: Future[None]) -> None:
            self.under_way -= 1
            error = finished.exception()
            if error is not None:
                log.error("a change in the kernel failed", exc_info=error)
            then()

        try:
            asked = self._executor.submit(run)
        except RuntimeError:
            # It has ended, as the daemon does: what is left is done here.
            run()
            then()
        else:
            self.under_way += 1
            asked.add_done_callback(
                lambda finished: self._loop.call_soon_threadsafe(take_back, finished)
            )

    def shutdown(self) -> None:
        """Returns when everything that was asked for is done."""
        self._executor.shutdown()
