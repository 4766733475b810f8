"""Where keepalived's pid files are, which scripts and supervisors look for."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fastvrrp.daemon.launch import Launch
from fastvrrp.model import GlobalDefinitions
from fastvrrp.observe.files import DEFAULT_PID_FILE

RUN = Path("/run")
FOLDER = RUN / "keepalived"
NAMED_PID_FILE = "/run/fastvrrp-{}.pid"
"""In a network namespace of that name (`net_namespace` of `global_defs`)."""


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


def default_pid_file(namespace: str | None) -> Path:
    """Each network namespace may have a daemon of its own."""
    return DEFAULT_PID_FILE if namespace is None else Path(NAMED_PID_FILE.format(namespace))


def of_launch(launch: Launch, definitions: GlobalDefinitions) -> PidFiles:
    """Where one daemon has them, as absolute paths; makes keepalived's folder. Raises OSError."""
    given = (launch.pid_file, launch.vrrp_pid_file, launch.checkers_pid_file)
    main, vrrp, checkers = (path and Path(launch.folder, path) for path in given)
    if not launch.is_keepalived:
        return PidFiles(main or default_pid_file(definitions.namespaces.network))
    usual = keepalived_pid_files(definitions, launch.network_namespace)
    files = PidFiles(main or usual.main, vrrp or usual.vrrp, checkers or usual.checkers)
    for path in filter(None, files):
        if path.is_relative_to(FOLDER):
            path.parent.mkdir(parents=True, exist_ok=True)
    return files
