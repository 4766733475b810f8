"""All that works for the virtual servers of one network namespace, from its begin to its end.

checkd has one of these while it has virtual servers. Where a reload says that they are to be in
another namespace (`net_namespace_ipvs`), this one ends as at a stop, and another one begins.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import replace

from fastvrrp.daemon.assignment import Begin
from fastvrrp.kernel.ipvs import Ipvs, Table, namespace_of
from fastvrrp.lvs.balancer import Balancer
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.lvs.counting import Counting
from fastvrrp.lvs.notes import Notes
from fastvrrp.lvs.patrol import Patrol
from fastvrrp.lvs.recording import Recording
from fastvrrp.lvs.services import Services
from fastvrrp.lvs.showing import Showing
from fastvrrp.lvs.telling import Telling
from fastvrrp.model import Configuration, FlushOnStop, Namespaces, VirtualServerGroup
from fastvrrp.observe.files import Files
from fastvrrp.track.scripts import Scripts

log = logging.getLogger(__name__)


class Pools:
    """Begins with `begin`, and ends with `end` or `leave`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scripts: Scripts,
        telling: Telling,
        told: Begin,
    ) -> None:
        self._loop = loop
        self._namespace = namespace_of(told.definitions.namespaces)
        path = told.notes
        self._services = Services(notes=Notes(path, self._namespace) if path else None)
        self._told = told
        self._groups: tuple[VirtualServerGroup, ...] = ()
        self._tools = Tools(loop, scripts)
        patrol = Patrol(loop, self._tools)
        self._showing = _show(loop, told)
        self._counting: Counting | None = None
        self._telling = telling
        telling.recording = _record(told)
        if self._showing is not None:
            patrol.on_checked = self._showing.checked
        self._balancer = Balancer(loop, patrol, self._services, telling, self._showing)

    def fits(self, namespaces: Namespaces) -> bool:
        """Whether the virtual servers are where these want them."""
        return namespace_of(namespaces) == self._namespace

    async def begin(self, told: Begin, configuration: Configuration) -> None:
        """Begins with what was told, and returns when the kernel has all of it."""
        adopted: Table | None = None
        if told.adopts:
            definitions = configuration.definitions
            lvs = replace(definitions.lvs, flushes_at_start=False)
            configuration = replace(configuration, definitions=replace(definitions, lvs=lvs))
            adopted = await self._loop.run_in_executor(None, _table, self._namespace)
        self._set_up(configuration)
        await self._services.adopt(configuration)
        await self._settle(told, configuration, adopted)

    async def reload(self, told: Begin, configuration: Configuration) -> None:
        """Goes on with another configuration."""
        self._set_up(configuration)
        self._services.configure(configuration)
        await self._settle(told, configuration, None)

    async def dump(self) -> None:
        """Writes keepalived_check.data."""
        from fastvrrp.lvs import dumping  # noqa: PLC0415 - seldom wanted

        told = self._told
        if told.data is not None:
            works = self._balancer.works
            await dumping.write(told.data, told.umask, told.definitions, self._groups, works)

    async def end(self, mode: FlushOnStop) -> None:
        """Tells of the end, and empties IPVS."""
        try:
            await self._balancer.end(mode)
        finally:
            await self._services.close(mode)
            self._end_showing(is_emptied=True)

    def leave(self) -> None:
        """Ends without a word; what is in IPVS stays."""
        self._balancer.leave()
        self._end_showing(is_emptied=False)

    def _set_up(self, configuration: Configuration) -> None:
        definitions, tls = configuration.definitions, configuration.tls_client
        self._tools.configure(definitions, tls, configuration.track_files)

    async def _settle(
        self, told: Begin, configuration: Configuration, adopted: Table | None
    ) -> None:
        self._told = told
        self._groups = configuration.virtual_server_groups
        self._balancer.configure(configuration, adopted)
        self._count(told)
        await self._balancer.settled()

    def _count(self, told: Begin) -> None:
        """Has IPVS asked for what it counts while somebody wants to know."""
        if self._showing is None or told.is_counted == (self._counting is not None):
            return
        if self._counting is not None:
            self._counting.close()
            self._counting = None
        else:
            self._counting = Counting(self._loop, self._showing, self._namespace)

    def _end_showing(self, *, is_emptied: bool) -> None:
        if self._counting is not None:
            self._counting.close()
        if self._showing is not None:
            self._showing.close(is_emptied=is_emptied)
        if self._telling.recording is not None:
            self._telling.recording.close()
            self._telling.recording = None


def _show(loop: asyncio.AbstractEventLoop, told: Begin) -> Showing | None:
    """Shows others how everything is."""
    if told.shown is None:
        return None
    try:
        return Showing(loop, told.shown)
    except OSError as error:
        log.error("%s: %s", told.shown, error.strerror)
        return None


def _record(told: Begin) -> Recording | None:
    """Writes down what happens."""
    if told.shown is None:
        return None
    path = Files.of_servers(told.shown).server_events
    try:
        return Recording(path)
    except OSError as error:
        log.error("%s: %s", path, error.strerror)
        return None


def _table(namespace: str | None) -> Table | None:
    """What the kernel has; None where it has no IPVS, of which `Services` tells."""
    with suppress(OSError):
        ipvs = Ipvs(namespace)
        try:
            return ipvs.table()
        finally:
            ipvs.close()
    return None
