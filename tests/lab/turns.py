"""Whose turn it is at the kernel.

Every change of an interface or an address in any namespace takes one lock of the whole machine, and
holds it for tens of milliseconds where an interface comes or goes. Laboratories of ordinary tests
do not mind each other. One that measures milliseconds, or makes thousands of interfaces, is alone.
"""

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

FOLDER = Path("/run/lock")

_turns: list[bool] = []
"""Whether each turn that this process has is alone."""


@contextmanager
def turn(*, alone: bool) -> Iterator[None]:
    """Waits for the turn and keeps it: among others who are not alone, or alone. The wait is no
    part of the test's time.

    Who has a turn already has another one at once: whoever waits to be alone waits for this
    process, too. It cannot be alone then, for it would wait for itself.
    """
    assert not (alone and _turns), "to be alone is to be asked for first"
    with ExitStack() as held:
        is_first = not _turns
        _turns.append(alone)
        held.callback(_turns.pop)
        if not is_first:
            yield
            return
        with timeout_suspended():
            gate = held.enter_context(locked(FOLDER / "fastvrrp-lab-gate", fcntl.LOCK_EX))
            # Who waits to be alone holds the gate, so that others do not slip in before for ever.
            held.enter_context(
                locked(FOLDER / "fastvrrp-lab-room", fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            )
        if not alone:
            fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@contextmanager
def timeout_suspended() -> Iterator[None]:
    """Stops the clock of pytest-timeout, which is this timer of the process."""
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)


@contextmanager
def locked(path: Path, operation: int) -> Iterator[int]:
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, operation)
        yield lock
    finally:
        os.close(lock)
