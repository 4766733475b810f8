"""Programs as files of this machine: where they are, who may write them, who may run them."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Collection
from pathlib import Path


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
    """The file or directory on the way to a program that others than root may write; None where
    there is none. Links are followed: what counts is what would run. Raises OSError where a part
    cannot be looked at."""
    resolved = path.resolve()
    for part in (resolved, *resolved.parents):
        status = part.stat()
        others = stat.S_IWOTH | (stat.S_IWGRP if status.st_gid else 0)
        is_shared = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
        if status.st_uid or (status.st_mode & others and not is_shared):
            return part
    return None


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
