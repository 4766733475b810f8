"""What keeps a command from being run: looked at when it is about to be, for files change."""

from __future__ import annotations

import os
from pathlib import Path

from fastvrrp.kernel.programs import may_run, open_part, path_of
from fastvrrp.track.script import Command, Credentials


def own_credentials() -> Credentials:
    """As whom this process runs."""
    return Credentials(os.getuid(), os.getgid(), tuple(os.getgroups()))


def found(command: Command) -> Path | None:
    """The file of a command's program; None where it is not on this machine. Raises OSError where
    that cannot be known."""
    path = path_of(command.arguments[0])
    return path if path is None or command.keeps_links else path.resolve()


def obstacle(command: Command) -> str | None:
    """What keeps a command from being run, as the rest of a sentence about its script."""
    credentials = command.credentials or own_credentials()
    try:
        path = found(command)
        written = path_of(command.arguments[0])
        if path is None or written is None:
            return "is not on this machine"
        if not path.is_file():
            return "is no file"
        if not may_run(path, credentials.uid, (credentials.gid, *credentials.groups)):
            return f"is not executable for uid:gid {credentials.uid}:{credentials.gid}"
        part = open_part(written) if command.is_guarded and credentials.uid == 0 else None
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    if part is not None:
        return (
            f"would be run by root, and others than root may write {part}; change its owner or mode"
        )
    return None
