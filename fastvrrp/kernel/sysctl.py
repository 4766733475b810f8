"""Kernel parameters under /proc/sys/net: the one place that writes them.

A parameter of a link that is ours (a VMAC) is written and forgotten, since it goes with the link. A
parameter of somebody else's link is changed: its value from before is kept, and put back at the
end. A link may vanish at any time, and its parameters with it; that is no error here.

The files are those of the network namespace of the calling thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

ROOT = "/proc/sys/net"


def path_of(family: str, link: str, name: str) -> str:
    """The path under ROOT of a link's parameter; `family` is "ipv4" or "ipv6", `link` may be "all"
    or "default"."""
    return f"{family}/conf/{link}/{name}"


def links_of(family: str) -> list[str]:
    """The links that have parameters, with "all" and "default"."""
    return os.listdir(f"{ROOT}/{family}/conf")  # noqa: PTH208 (thousands of Path objects)


def read(path: str) -> str | None:
    """A parameter's value; None where it does not exist (any more)."""
    try:
        fd = os.open(f"{ROOT}/{path}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return os.read(fd, 256).decode().strip()
    finally:
        os.close(fd)


def write(path: str, value: str) -> bool:
    """Sets a parameter; False where it does not exist (any more). OSError where it is refused, as
    in a container whose /proc/sys is read-only."""
    try:
        fd = os.open(f"{ROOT}/{path}", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.write(fd, value.encode())
    except FileNotFoundError:
        return False
    finally:
        os.close(fd)
    return True


class Sysctls:
    """Parameters that were changed, with what they were before."""

    def __init__(self, originals: Mapping[str, str] | None = None) -> None:
        """`originals` are those of a process that crashed before it could restore them."""
        self._originals: dict[str, str] = dict(originals or {})

    @property
    def originals(self) -> Mapping[str, str]:
        """Path and value from before of everything changed and not restored yet, oldest first. To
        be kept where it survives a crash."""
        return self._originals

    def take_over(self, originals: Mapping[str, str]) -> None:
        """What a process that crashed had changed is to be restored too."""
        self._originals.update(originals)

    def forget(self) -> None:
        """Has changed nothing: those that were changed have gone, or are another's matter."""
        self._originals.clear()

    def change(self, path: str, value: str) -> bool:
        """Sets a parameter and remembers what it was, unless that is remembered already; False
        where it does not exist. OSError where it is refused."""
        before = read(path)
        if before is None:
            return False
        if before != value:
            write(path, value)
            self._originals.setdefault(path, before)
        return True

    def restore(self, paths: Iterable[str] | None = None) -> None:
        """Puts back what was there before, newest change first: of some parameters or of all."""
        chosen = set(self._originals if paths is None else paths)
        for path in reversed(list(self._originals)):
            if path in chosen:
                write(path, self._originals.pop(path))
