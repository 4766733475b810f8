"""The FIFOs that are told of virtual routers, and the scripts that read them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

from fastvrrp.model import Fifo as Setting
from fastvrrp.model import Fifos as Settings
from fastvrrp.notify.commands import Commands
from fastvrrp.notify.events import Event
from fastvrrp.notify.fifo import Fifo
from fastvrrp.track.script import Resident
from fastvrrp.track.scripts import Scripts

log = logging.getLogger(__name__)


class Fifos:
    """`notify_fifo` and `vrrp_notify_fifo`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, scripts: Scripts, commands: Commands
    ) -> None:
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
        wanted = dict(_named(settings))
        for keyword in list(self._open):
            if keyword not in wanted or not _is_same(self._settings[keyword], wanted[keyword]):
                self._open.pop(keyword).close()
        for keyword, setting in wanted.items():
            if keyword not in self._open:
                self._try_to_open(keyword, setting)
        self._settings = {keyword: wanted[keyword] for keyword in self._open}
        self._scripts.house(list(self._residents()))

    def tell(self, event: Event) -> None:
        """Writes a line about an event."""
        line = event.line
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


def _named(settings: Settings) -> Iterator[tuple[str, Setting]]:
    if settings.all is not None:
        yield "notify_fifo", settings.all
    if settings.vrrp is not None:
        yield "vrrp_notify_fifo", settings.vrrp


def _is_same(one: Setting, other: Setting) -> bool:
    """Whether one FIFO serves for both."""
    return (one.path, one.user, one.group) == (other.path, other.user, other.group)
