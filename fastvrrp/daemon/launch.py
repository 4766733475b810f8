"""What the command line says, as the parent passes it on to the process that speaks VRRP.

Nothing here imports the model: the parent holds none.
"""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from fastvrrp.track.interpreter import environment

PARENT = "fastvrrp.daemon.supervisor_main"


@dataclass(frozen=True)
class Launch:
    """One start of the daemon. Paths are as they were written, relative to `folder`."""

    file: str
    """The configuration."""
    config_id: str | None
    folder: str
    """The current directory of who started the daemon."""
    words: tuple[str, ...] = ()
    """The whole command line, behind the program."""
    half: str = "both"
    """The value of a `daemon.options.Half`."""
    is_keepalived: bool = False
    """Started by keepalived's name, with its pid files and its names in `ps` and syslog."""
    stays: bool = False
    """-n: in the foreground."""
    console: bool = False
    no_syslog: bool = False
    detail: bool = False
    facility: int = 0
    """A number of `SysLogHandler`."""
    log_file: str | None = None
    flushes: bool = False
    is_json: bool = False
    metrics: str | None = None
    releases_ipvs: bool = True
    releases_addresses: bool = True
    umask: int | None = None
    dumps_configuration: bool = False
    respawns: bool = True
    """False with -R of keepalived: when a process dies the others end, too."""
    network_namespace: str | None = None
    """In which the daemon was started by keepalived's option."""
    pid_file: str | None = None
    """None, here and below, is the usual one."""
    vrrp_pid_file: str | None = None
    checkers_pid_file: str | None = None
    remarks: tuple[str, ...] = ()
    """Said in the log at the start."""

    @property
    def name(self) -> str:
        """The daemon's for `ps`, where the configuration says nothing."""
        return "keepalived" if self.is_keepalived else "fastvrrp"

    def from_anywhere(self) -> Launch:
        """The same for a process whose current directory may be another one."""
        return replace(self, file=str(Path(self.folder, self.file)))


def become_parent(launch: Launch) -> NoReturn:
    """Makes this process the parent of a daemon (daemon/supervisor_main). Raises OSError."""
    descriptor = os.memfd_create("launch", 0)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        pickle.dump(launch, file)
    os.lseek(descriptor, 0, os.SEEK_SET)
    # What somebody was to read from us must not wait in a buffer that is gone.
    sys.stdout.flush()
    sys.stderr.flush()
    command = [sys.executable, "-P", "-S", "-m", PARENT, str(descriptor), *launch.words]
    os.execve(sys.executable, command, environment())
