"""The FIFOs that are told of what happens, and the scripts that read them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

from fastvrrp.model import Fifo as Setting
from fastvrrp.model import Fifos as Settings
from fastvrrp.notify.commands import Commands
from fastvrrp.notify.fifo import Fifo
from fastvrrp.track.script import Resident
from fastvrrp.track.scripts import Scripts

log = logging.getLogger(__name__)


class Told(Protocol):
    """Something that FIFOs are told of."""

    @property
    def line(self) -> bytes:
        """As it is written to them."""


def told_of_routers(settings: Settings) -> Iterator[tuple[str, Setting]]:
    """FIFOs that are told of virtual routers, by keyword."""
    if settings.all is not None:
        yield "notify_fifo", settings.all
    if settings.vrrp is not None:
        yield "vrrp_notify_fifo", settings.vrrp


class Fifos:
    """The FIFOs that one process writes to."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scripts: Scripts,
        commands: Commands,
        ours: Callable[[Settings], Iterator[tuple[str, Setting]]] = told_of_routers,
    ) -> None:
        """`ours` says which of all FIFOs are told."""
        self._ours = ours
        self._loop = loop
        self._scripts = scripts
        self._commands = commands
        self._settings: dict[str, Setting] = {}
        """By keyword: those that are open."""
        self._open: dict[str, Fifo] = {}

    def __bool__(self) -> bool:
        """Whether anybody is told."""
        return bool(self._open)

    def configure(self, settings: Settings) -> None:
        """Opens and closes what a configuration wants to be different. Whoever reads a FIFO that
        stays as it is notices nothing; a script that has ended is started again."""
        wanted = dict(self._ours(settings))
        for keyword in list(self._open):
            if keyword not in wanted or not _is_same(self._settings[keyword], wanted[keyword]):
                self._open.pop(keyword).close()
        for keyword, setting in wanted.items():
            if keyword not in self._open:
                self._try_to_open(keyword, setting)
        self._settings = {keyword: wanted[keyword] for keyword in self._open}
        self._scripts.house(list(self._residents()))

    def tell(self, what: Told) -> None:
        """Writes a line about something."""
        line = what.line
        for fifo in self._open.values():
            fifo.write(line)

    def close(self) -> None:
        """Lets go of all of them; those who read come to their end."""
        for fifo in self._open.values():
            fifo.finish()
            fifo.close()
        self._open.clear()

    def _try_to_open(self, keyword: str, setting: Setting) -> None:
        owner = self._commands.owner(setting.user, setting.group)
        ids = None if owner is None else (owner.uid, owner.gid)
        try:
            self._open[keyword] = Fifo(self._loop, setting.path, ids)
        except OSError as error:
            log.error("%s %s cannot be used: %s", keyword, setting.path, error.strerror)

    def _residents(self) -> Iterator[Resident]:
        for keyword, setting in self._settings.items():
            if setting.script is not None:
                command = self._commands.prepare(setting.script, setting.path)
                if command is not None:
                    yield Resident(keyword.replace("_", " "), command)


def _is_same(one: Setting, other: Setting) -> bool:
    """Whether one FIFO serves for both."""
    return (one.path, one.user, one.group) == (other.path, other.user, other.group)
