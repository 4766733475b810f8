"""Where log lines go: the console, syslog, or both. Everything is said through `logging`.

Nobody waits for anybody: a pipe that nobody reads, or a syslogd that hangs, must not keep an advert
from leaving. So whoever logs only puts a record into a queue, and a thread of its own writes. What
the queue cannot hold is dropped and counted, and the count is said when the writer has caught up.

The thread does not survive a fork: `set_up` comes after `leave_terminal`.
"""

from __future__ import annotations

import logging
import logging.handlers
import os
import select
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Self

SYSLOG = Path("/dev/log")
CONSOLE = 2
"""The descriptor of stderr."""
CAPACITY = 16_384
"""Records that may wait to be written: about 15 MB, and what thousands of virtual routers say when
all of them change their state at once."""
TOGETHER = 128
"""Lines for the console that are written together, when so many wait. After each write the thread
waits for the interpreter, which the event loop gives up every 0.2 ms at most: line by line it would
write 3,000 a second, when 65,280 virtual routers have something to say."""
FLUSH_TIMEOUT = 1.0
"""Seconds that `Logs.close` gives to what is still to be written."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the log of every process of the daemon goes."""

    console: bool = False
    syslog: bool = True
    detail: bool = False
    """-D: what is rarely wanted too."""


class Logs:
    """The daemon's log from `set_up` to `close`; also a context manager that closes."""

    def __init__(self, handlers: list[logging.Handler], levels: dict[str, int]) -> None:
        """Takes the records of the loggers in `levels`, from that level on, to all `handlers`."""
        self._handlers = handlers
        self._inlet = _Inlet(SimpleQueue())
        self._writer = _Writer(self._inlet, handlers)
        self._loggers = [logging.getLogger(name) for name in levels]
        for logger in self._loggers:
            logger.setLevel(levels[logger.name])
            logger.propagate = False
            logger.handlers[:] = [self._inlet]
        self._writer.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Takes no more records and returns when all are written, or after FLUSH_TIMEOUT seconds:
        what is left then is lost."""
        for logger in self._loggers:
            logger.removeHandler(self._inlet)
        finishing = threading.Thread(target=self._finish, name="log-end", daemon=True)
        finishing.start()
        finishing.join(FLUSH_TIMEOUT)

    def _finish(self) -> None:
        self._writer.stop()
        self._writer.say_what_was_dropped()
        self._writer.flush()
        for handler in self._handlers:
            handler.close()


class _Inlet(logging.handlers.QueueHandler):
    """Puts records into a queue and never waits.

    A SimpleQueue takes a record without a lock that another thread could hold; it has no bound of
    its own. `Handler.handle` lets one thread in at a time, so the count needs no lock either.
    """

    queue: SimpleQueue[logging.LogRecord]

    def __init__(self, queue: SimpleQueue[logging.LogRecord]) -> None:
        super().__init__(queue)
        self.dropped = 0
        """Records since the start that found the queue full."""

    def emit(self, record: logging.LogRecord) -> None:
        if self.queue.qsize() >= CAPACITY:
            self.dropped += 1
        else:
            super().emit(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Puts the arguments into the message now, for they may change before it is written; the
        rest, above all a traceback with its lines of source, is left to the thread. No copy is
        made as QueueHandler does: no other handler sees the record."""
        record.msg = record.getMessage()
        record.args = None
        return record


class _Writer(logging.handlers.QueueListener):
    """The thread that writes."""

    def __init__(self, inlet: _Inlet, handlers: list[logging.Handler]) -> None:
        super().__init__(inlet.queue, *handlers)
        self._inlet = inlet
        self._said = 0
        """Dropped records that were spoken of."""

    def handle(self, record: logging.LogRecord) -> None:
        super().handle(record)
        # Said only after all that came before the gap, and so not once a record while the queue
        # stays nearly full.
        if self._inlet.queue.empty():
            self.say_what_was_dropped()
            self.flush()

    def flush(self) -> None:
        """Has everything written that was handled."""
        for handler in self.handlers:
            handler.flush()

    def say_what_was_dropped(self) -> None:
        dropped = self._inlet.dropped - self._said
        if dropped:
            self._said += dropped
            text = f"{dropped} log messages were dropped: they are not read as fast as they come"
            attributes = {"name": __name__, "levelno": logging.WARNING, "msg": text}
            super().handle(logging.makeLogRecord(attributes))


class _Outlet(logging.Handler):
    """What the thread, and nobody else, writes to.

    So it needs no lock, and must have none: at Python's end `logging` waits for the lock of each
    handler, and a thread that is stuck would never give it back.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        self.emit(record)
        return True

    def handleError(self, record: logging.LogRecord) -> None:
        """Where the log cannot be written nobody is left to be told."""


class _Console(_Outlet):
    """Writes lines to a descriptor.

    Not through sys.stderr: a thread that is stuck in there holds its lock, and Python aborts at its
    end when it cannot have it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record) + "\n")
        if len(self._lines) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Writes the lines that wait. Where they cannot be written nobody is left to be told."""
        text = memoryview("".join(self._lines).encode(errors="backslashreplace"))
        self._lines.clear()
        with suppress(OSError):
            while text:
                try:
                    text = text[os.write(CONSOLE, text) :]
                except BlockingIOError:  # whoever gave it to us does not wait, but we can
                    select.select((), (CONSOLE,), ())


class _Syslog(_Outlet, logging.handlers.SysLogHandler):
    """Writes to the machine's syslogd; where that is gone the next record tries again."""


def set_up(*, console: bool, syslog: bool, detail: bool, ident: str = "fastvrrp") -> Logs:
    """Sends the daemon's log to stderr and to syslog until the result is closed; `detail` (-D) adds
    what is rarely wanted. The errors of the event loop (the logger `asyncio`) go there too.

    A machine without syslog is no error: a daemon must not fail for that.
    """
    handlers: list[logging.Handler] = []
    if console:
        # As keepalived writes it, so that what reads its log reads ours.
        handler: logging.Handler = _Console()
        handler.setFormatter(logging.Formatter("%(asctime)s: %(message)s", "%a %b %d %H:%M:%S %Y"))
        handlers.append(handler)
    if syslog and SYSLOG.exists():
        to_syslog = _Syslog(str(SYSLOG), facility=logging.handlers.SysLogHandler.LOG_DAEMON)
        to_syslog.ident = f"{ident}: "
        handlers.append(to_syslog)
    level = logging.DEBUG if detail else logging.INFO
    return Logs(handlers, {"fastvrrp": level, "asyncio": logging.ERROR})
