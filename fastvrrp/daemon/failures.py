"""What keeps the daemon from starting, as a person is told of it."""

from __future__ import annotations

import errno

MACHINE_FAILED = 1
"""Exit status."""
NOTHING_TO_RUN = 2
"""As keepalived."""
RIGHTS = "run it as root, or with the capabilities CAP_NET_RAW and CAP_NET_ADMIN"


def explain(error: Exception) -> str:
    """What went wrong, with what, and what to do about it."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    if error.errno == errno.EPERM:
        thing = "cannot open raw sockets and netlink" if error.filename is None else error.filename
        return f"{thing}: {error.strerror}: {RIGHTS}"
    if error.filename is None:
        return str(error)
    remedy = ": run it as root, or name a file elsewhere with --pid"
    return (
        f"{error.filename}: {error.strerror}{remedy if isinstance(error, PermissionError) else ''}"
    )
