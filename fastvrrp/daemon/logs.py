"""Where log lines go: the console, syslog or the journal, a file. All is said through `logging`.

Nobody waits for anybody: a pipe that nobody reads, or a syslogd that hangs, must not keep an advert
from leaving. So whoever logs only puts a record into a queue, and a thread of its own writes. What
the queue cannot hold is dropped and counted, and the count is said when the writer has caught up.

The thread does not survive a fork: `set_up` comes after `leave_terminal`.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import math
import os
import select
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import NamedTuple, Self

from fastvrrp.daemon import journal
from fastvrrp.daemon.launch import Launch
from fastvrrp.daemon.repetition import Repetition
from fastvrrp.notify.fields import fields_of

LINE = "%(asctime)s: %(message)s"
"""As keepalived writes it, so that what reads its log reads ours."""
TIME = "%a %b %d %H:%M:%S %Y"
COLOURS = ((logging.ERROR, "31"), (logging.WARNING, "33"))
"""Of terminals, from a level on."""
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


class Process(StrEnum):
    """Whose log it is; the value is in the name of its file."""

    PARENT = ""
    VRRP = "vrrp"
    CHECKERS = "healthcheckers"


class Idents(NamedTuple):
    """What each process calls itself in syslog, in the order of `Process`."""

    parent: str = "fastvrrp"
    vrrp: str = "fastvrrp_vrrpd"
    checkers: str = "fastvrrp_checkd"

    @classmethod
    def of_namespace(cls, namespace: str | None) -> Idents:
        """Ours, with the name of a network namespace behind."""
        if namespace is None:
            return cls()
        return cls(*(f"{ident}_{namespace}" for ident in cls()))

    @classmethod
    def of_keepalived(cls, namespace: str | None, instance: str | None) -> Idents:
        """keepalived's, with the names of a network namespace and of an instance behind."""
        end = "".join(f"_{name}" for name in (namespace, instance) if name)
        names = ("Keepalived", "Keepalived_vrrp", "Keepalived_healthcheckers")
        return cls(*(name + end for name in names))

    def of(self, process: Process) -> str:
        """That of one process."""
        return self[tuple(Process).index(process)]


FASTVRRP = Idents()


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the log of every process of the daemon goes."""

    console: bool = False
    syslog: bool = True
    detail: bool = False
    """-D: what is rarely wanted too."""
    facility: int = logging.handlers.SysLogHandler.LOG_DAEMON
    file: str | None = None
    """Path of a log file; each process puts its own word into it before the ending."""
    flushes: bool = False
    """Every line goes to that file at once, not when there are many."""
    is_json: bool = False
    """Lines on the console are JSON."""
    idents: Idents = FASTVRRP


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
        self._writer.say_what_was_repeated(math.inf)
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
        self._repetition = Repetition()
        self._said = 0
        """Dropped records that were spoken of."""

    def dequeue(self, block: bool) -> logging.LogRecord:
        """The next record, whatever `block` is; meanwhile it says what was repeated."""
        while True:
            due = self._repetition.due()
            try:
                wait = None if due is None else max(0.0, due - time.monotonic())
                return self._inlet.queue.get(timeout=wait)
            except Empty:
                self.say_what_was_repeated(time.monotonic())
                self.flush()

    def handle(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        self.say_what_was_repeated(now)
        if self._repetition.admits(record.levelno, record.getMessage(), now):
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
            self._say(logging.WARNING, text)

    def say_what_was_repeated(self, now: float) -> None:
        """Says how many equal lines were not written, where their time is over."""
        for level, text in self._repetition.ended(now):
            self._say(level, text)

    def _say(self, level: int, text: str) -> None:
        name = logging.getLevelName(level)
        attributes = {"name": __name__, "levelno": level, "levelname": name, "msg": text}
        super().handle(logging.makeLogRecord(attributes))


class _Outlet(logging.Handler):
    """What the thread, and nobody else, writes to.

    So it needs no lock, and must have none: at Python's end `logging` waits for the lock of each
    handler, and a thread that is stuck would never give it back.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        try:
            self.emit(record)
        except Exception:  # whatever is wrong with a line, it is not to end the thread
            self.handleError(record)
        return True

    def format(self, record: logging.LogRecord) -> str:
        """The line. A name of a file may have bytes that are no text: they are written in words,
        since nobody could encode them."""
        return super().format(record).encode(errors="backslashreplace").decode()

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


class _Journal(_Outlet):
    """Writes to the journal."""

    def __init__(self, ident: str, facility: int) -> None:
        super().__init__()
        self._journal = journal.Journal(ident, facility)

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.write(record, self.format(record))

    def close(self) -> None:
        self._journal.close()
        super().close()


class _File(_Outlet):
    """Writes lines to a file, which is opened anew when it was moved away."""

    def __init__(self, path: Path, *, flushes: bool) -> None:
        super().__init__()
        self._inner = logging.handlers.WatchedFileHandler(path, delay=True, encoding="utf-8")
        self._flushes = flushes
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record) + "\n")
        if self._flushes or len(self._lines) >= TOGETHER:
            self.flush()

    def flush(self) -> None:
        """Writes the lines that wait. Where they cannot be written nobody is left to be told."""
        text = "".join(self._lines)
        self._lines.clear()
        with suppress(OSError):
            if text:
                self._inner.reopenIfNeeded()
                stream = self._inner.stream or self._inner._open()
                self._inner.stream = stream
                stream.write(text)
                stream.flush()

    def close(self) -> None:
        self.flush()
        self._inner.close()
        super().close()


class _Json(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "logger": record.name,
            "pid": record.process,
        }
        said |= {name.lower(): value for name, value in fields_of(record).items()}
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


class _Coloured(logging.Formatter):
    """For a person at a terminal: what is wrong stands out."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        colour = next((each for level, each in COLOURS if record.levelno >= level), None)
        return text if colour is None else f"\033[{colour}m{text}\033[0m"


def _console_format(*, is_json: bool) -> logging.Formatter:
    if is_json:
        return _Json()
    # The convention of https://no-color.org.
    has_colour = os.isatty(CONSOLE) and not os.environ.get("NO_COLOR")
    return (_Coloured if has_colour else logging.Formatter)(LINE, TIME)


def _own_file(path: str, process: Process) -> Path:
    """keepalived's name for the file of one process: a word before the last dot, or none for the
    parent's."""
    whole = Path(path)
    return whole if not process else whole.with_name(f"{whole.stem}_{process}{whole.suffix}")


def destination(launch: Launch, idents: Idents) -> Destination:
    """Where the command line wants the log."""
    return Destination(
        launch.console,
        # keepalived logs to syslog too; ours does where there is no console.
        not launch.no_syslog and (launch.is_keepalived or not launch.console),
        launch.detail,
        launch.facility,
        launch.log_file,
        launch.flushes,
        launch.is_json,
        idents,
    )


def set_up(to: Destination, process: Process = Process.VRRP) -> Logs:
    """Sends the log of one process of the daemon there until the result is closed. The errors of
    the event loop (the logger `asyncio`) go there too.

    A machine without syslog is no error: a daemon must not fail for that. Where there is a journal
    it has our lines with their fields: instead of syslog, which is the journal there, and instead
    of the console where that is the journal, unless lines are to be JSON.
    """
    handlers: list[logging.Handler] = []
    ident = to.idents.of(process)
    has_journal = to.syslog and journal.is_there()
    if to.console and not to.is_json and journal.is_there() and journal.has_stream(CONSOLE):
        has_journal = True
    elif to.console:
        handler: logging.Handler = _Console()
        handler.setFormatter(_console_format(is_json=to.is_json))
        handlers.append(handler)
    if has_journal:
        handlers.append(_Journal(ident, to.facility))
    elif to.syslog and SYSLOG.exists():
        to_syslog = _Syslog(str(SYSLOG), facility=to.facility)
        to_syslog.ident = f"{ident}[{os.getpid()}]: "
        handlers.append(to_syslog)
    if to.file is not None:
        to_file = _File(_own_file(to.file, process), flushes=to.flushes)
        to_file.setFormatter(logging.Formatter(LINE, TIME))
        handlers.append(to_file)
    level = logging.DEBUG if to.detail else logging.INFO
    return Logs(handlers, {"fastvrrp": level, "asyncio": logging.ERROR})
