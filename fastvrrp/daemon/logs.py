"""Where log lines go: the console, syslog, or both. Everything is said through `logging`."""

from __future__ import annotations

import logging
import logging.handlers
import sys
from pathlib import Path

SYSLOG = Path("/dev/log")


def set_up(*, console: bool, syslog: bool, detail: bool) -> None:
    """Sends the daemon's log to stderr and to syslog; `detail` (-D) adds what is rarely wanted.

    A machine without syslog is no error: a daemon must not fail for that.
    """
    root = logging.getLogger("fastvrrp")
    root.setLevel(logging.DEBUG if detail else logging.INFO)
    root.propagate = False
    root.handlers.clear()
    if console:
        # As keepalived writes it, so that what reads its log reads ours.
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s: %(message)s", "%a %b %d %H:%M:%S %Y"))
        root.addHandler(handler)
    if syslog and SYSLOG.exists():
        handler = logging.handlers.SysLogHandler(
            str(SYSLOG), facility=logging.handlers.SysLogHandler.LOG_DAEMON
        )
        handler.ident = "fastvrrp: "
        root.addHandler(handler)
