"""Where keepalived's pid files are, which scripts and supervisors look for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fastvrrp.model import GlobalDefinitions

RUN = Path("/run")
FOLDER = RUN / "keepalived"


class PidFiles(NamedTuple):
    """The pid files of one daemon."""

    main: Path
    """Of the process that takes signals."""
    vrrp: Path | None = None
    """Of the process that speaks VRRP; None is no file."""
    checkers: Path | None = None
    """Of the process that checks real servers, while there is one."""


def keepalived_folder(definitions: GlobalDefinitions, namespace: str | None = None) -> Path:
    """Where keepalived has its pid files; `namespace` is the network namespace of the command line.

    In a network namespace it mounts a folder of its own on /run/keepalived: this is that folder, as
    everybody else sees it.
    """
    name = namespace or definitions.namespaces.network
    if name:
        return FOLDER / name
    processes = definitions.processes
    return FOLDER if processes.has_pid_directory or processes.instance else RUN


def keepalived_pid_files(definitions: GlobalDefinitions, namespace: str | None = None) -> PidFiles:
    """Where keepalived 2.2.7 has them, with this configuration."""
    folder = keepalived_folder(definitions, namespace)
    instance = definitions.processes.instance
    end = f"_{instance}.pid" if instance else ".pid"
    return PidFiles(*(folder / (stem + end) for stem in ("keepalived", "vrrp", "checkers")))
