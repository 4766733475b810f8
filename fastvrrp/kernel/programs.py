"""Programs as files of this machine: where they are, who may write them, who may run them."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

MOST_LINKS = 40
"""As many as Linux follows (path_resolution(7))."""


def path_of(program: str) -> Path | None:
    """Where a program is: a whole path as it stands, a bare name by PATH; None where it is not on
    this machine."""
    if "/" not in program:
        found = shutil.which(program)
        return None if found is None else Path(found)
    try:
        path = Path(program)
        return path if path.is_absolute() and path.exists() else None
    except (OSError, ValueError):
        return None


def open_part(path: Path) -> Path | None:
    """The file, directory or symbolic link on the way to an absolute path that others than root may
    change; None where there is none. Raises OSError where a part cannot be looked at."""
    for part in _parts(path):
        status = part.lstat()
        others = stat.S_IWOTH | (stat.S_IWGRP if status.st_gid else 0)
        is_shared = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if stat.S_ISLNK(status.st_mode):
            others = 0  # a link has no mode of its own
        if status.st_uid or (status.st_mode & others and not is_shared):
            return part
    return None


def _parts(path: Path) -> Iterator[Path]:
    """Every step on the way to a file: directories, symbolic links, what they lead to, the file."""
    here = Path("/")
    yield here
    rest = list(path.parts[1:])
    links = 0
    while rest:
        name = rest.pop(0)
        if name == "..":
            here = here.parent
            continue
        step = here / name
        yield step
        if not step.is_symlink():
            here = step
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = step.readlink()
        if target.is_absolute():
            here = Path("/")
        rest = [*target.parts[int(target.is_absolute()) :], *rest]


def may_run(path: Path, uid: int, gids: Collection[int]) -> bool:
    """Whether the mode of a file lets a user of these groups execute it. Raises OSError where it
    cannot be looked at."""
    status = path.stat()
    if uid == 0:
        return bool(status.st_mode & 0o111)
    if uid == status.st_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in gids:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
