"""Where what a daemon shows is: files beside its pid file, with other endings."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import NamedTuple

DEFAULT_PID_FILE = Path("/run/fastvrrp.pid")
ENDINGS = (
    ".state",
    ".details",
    ".routers",
    ".control",
    ".maintenance",
    ".servers",
    ".server-events",
)


class Files(NamedTuple):
    """The files of one daemon."""

    segment: Path
    """The state segment (ext/table.pyx)."""
    details: Path
    """What changes rarely and has no fixed length (observe/details.py)."""
    routers: Path
    """What the configuration says of each virtual router (observe/catalogue.py)."""
    control: Path
    """The control socket, which takes requests (observe/requests.py)."""
    maintenance: Path
    """Which virtual routers are not to be master for now (observe/maintenance.py)."""
    servers: Path
    """Virtual servers and real servers (observe/servers.py); empty while there are none."""
    server_events: Path
    """What happens to those (observe/server_events.py)."""

    @classmethod
    def beside(cls, pid_file: Path) -> Files:
        """Those of the daemon with this pid file: its name, or what is before `.pid` in it, with an
        ending of their own."""
        stem = pid_file.name.removesuffix(".pid")
        return cls(*(pid_file.with_name(stem + end) for end in ENDINGS))

    @classmethod
    def of_segment(cls, segment: Path) -> Files:
        """Those of the daemon whose state segment this is."""
        return cls.beside(segment.with_name(segment.name.removesuffix(".state") + ".pid"))

    @classmethod
    def of_servers(cls, servers: Path) -> Files:
        """Those of the daemon whose virtual servers this shows."""
        return cls.beside(servers.with_name(servers.name.removesuffix(".servers") + ".pid"))


def open_to_write(path: Path) -> int:
    """A descriptor of a file that a daemon shows and goes on with, which is made where there is
    none; for reading and writing. Raises OSError, also where a link or something else that is no
    file is there: what that leads to is not ours to change."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(path, flags, 0o644)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "this is no regular file", str(path))
    return descriptor
