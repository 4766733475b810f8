"""Names of routing tables, protocols, scopes and so on, as iproute2 keeps them in files.

A file has `NUMBER NAME` a line; NUMBER is decimal or hexadecimal. What every iproute2 brings is
known without the files, so that a configuration reads the same where iproute2 is not installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from fastvrrp.config.arguments import ArgumentError

USUAL = (Path("/usr/share/iproute2"), Path("/etc/iproute2"))
"""What the distribution brings, and what is written on this machine, which wins."""
_looked_in = list(USUAL)
ALWAYS: dict[str, dict[str, int]] = {
    "rt_tables": {"unspec": 0, "default": 253, "main": 254, "local": 255},
    "rt_protos": {"redirect": 1, "kernel": 2, "boot": 3, "static": 4, "ra": 9, "keepalived": 18},
    "rt_scopes": {"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255},
    "rt_dsfield": {},
    "rt_realms": {"cosmos": 0},
    "group": {"default": 0},
}
"""RT_TABLE_*, RTPROT_* and RT_SCOPE_* of linux/rtnetlink.h."""


class IprouteName:
    """A name of one file, or its number; the value is the number."""

    def __init__(self, file: str, thing: str, most: int, *, least: int = 0) -> None:
        self._file = file
        self._thing = thing
        self._least = least
        self._most = most
        self.shape = f"{least}-{most}|NAME"

    def read(self, word: str) -> int:
        number = _number(word)
        if number is None:
            number = names_of(self._file).get(word)
        if number is None:
            raise ArgumentError(
                f"is no {self._thing}; write a number, or its name in {_looked_in[1] / self._file}"
            )
        if not self._least <= number <= self._most:
            raise ArgumentError(f"is outside {self._least}-{self._most}")
        return number


class Realms:
    """[FROM/]TO; the value is both in one number, FROM in the upper half (RTA_FLOW)."""

    shape = "[REALM/]REALM"
    _realm = IprouteName("rt_realms", "realm", 0xFFFF)

    def read(self, word: str) -> int:
        source, slash, target = word.partition("/")
        if not slash:
            return self._realm.read(source)
        return self._realm.read(source) << 16 | self._realm.read(target)


def look_in(brought: str | None, written: str | None) -> None:
    """Has names be looked up in these directories from now on (`iproute_usr_dir`,
    `iproute_etc_dir`); None is the usual one."""
    wanted = [
        usual if directory is None else Path(directory)
        for directory, usual in zip((brought, written), USUAL, strict=True)
    ]
    if wanted != _looked_in:
        _looked_in[:] = wanted
        names_of.cache_clear()


@cache
def names_of(file: str) -> dict[str, int]:
    """Numbers by name, of the file and of what stands in its directory `FILE.d`."""
    names = dict(ALWAYS[file])
    for directory in _looked_in:
        for path in (directory / file, *sorted((directory / f"{file}.d").glob("*.conf"))):
            names.update(_names_in(path))
    return names


def _names_in(path: Path) -> Iterator[tuple[str, int]]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        number = _number(words[0]) if len(words) > 1 else None
        if number is not None:
            yield words[1], number


def _number(word: str) -> int | None:
    """A decimal or hexadecimal number of ordinary length, or None."""
    if not (word.isascii() and len(word) <= 12 and word[:1].isdigit()):
        return None
    try:
        return int(word, 16 if word[:2].lower() == "0x" else 10)
    except ValueError:
        return None
