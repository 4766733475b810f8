"""All virtual servers at work: their checks, their pools, what IPVS is to have, and who is told.

A reload changes what is different: a virtual server that stays as it is, is not touched, and checks
go on with what they know. What goes wrong with one virtual server is said, and costs no other one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from fastvrrp.kernel.ipvs import Table
from fastvrrp.lvs.check import Verdict
from fastvrrp.lvs.naming import real_name, virtual_name
from fastvrrp.lvs.news import News, ServerNews
from fastvrrp.lvs.patrol import Patrol, Watch
from fastvrrp.lvs.pool import Pool, key_of
from fastvrrp.lvs.presence import Presence
from fastvrrp.lvs.services import Services, destination_of, services_of
from fastvrrp.lvs.showing import Showing
from fastvrrp.lvs.telling import Telling
from fastvrrp.model import (
    Checker,
    Configuration,
    FlushOnStop,
    GlobalDefinitions,
    IpvsDestinationKey,
    IpvsService,
    IpvsServiceKey,
    ServerIdentity,
    VirtualServer,
    VirtualServerGroup,
)

log = logging.getLogger(__name__)

WatchKey = tuple[IpvsDestinationKey, Checker]


class Work:
    """One virtual server at work."""

    def __init__(
        self,
        model: VirtualServer,
        group: VirtualServerGroup | None,
        pool: Pool,
    ) -> None:
        self.model = model
        self.group = group
        self.pool = pool
        self.mark: int | None = None
        """That of its group, by nftables."""
        self.services: tuple[IpvsService, ...] = ()
        self.watches: dict[WatchKey, Watch] = {}
        self.is_suspended = False
        self.is_whole = False
        """All of it was configured: nothing went wrong on the way, which the next reload would try
        again."""

    @property
    def spans(self) -> Iterable[tuple[bytes, bytes]]:
        """First and last of the addresses that it serves; none with marks alone."""
        if self.model.address is not None:
            return ((self.model.address, self.model.address),)
        return [(span.first, span.last) for span in self.group.ranges] if self.group else ()


class Balancer:
    """Begins with the first `configure`, and ends with `end`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        patrol: Patrol,
        services: Services,
        telling: Telling,
        showing: Showing | None = None,
    ) -> None:
        """`showing` is told how everything is, where somebody may look."""
        self._loop = loop
        self._showing = showing
        self._patrol = patrol
        self._services = services
        self._telling = telling
        self._works: dict[ServerIdentity, Work] = {}
        self._presence: Presence | None = None
        """Where a virtual server is suspended without its address."""
        self._at: dict[bytes, list[Work]] = {}
        """Those that are suspended without an address, by the address."""
        self._across: list[tuple[bytes, bytes, Work]] = []
        """The same of ranges."""
        self._settling: asyncio.Task[None] | None = None
        self._stale: dict[Work, None] = {}
        """Those of which the kernel is to have something else."""
        self._served: dict[IpvsServiceKey, dict[Work, None]] = {}
        """The virtual servers that are a service: more than one where a group has the address, or
        the mark, of another virtual server."""
        self._is_behind = False
        self._is_arranged = True
        """Others see these virtual servers, and no others."""

    def configure(
        self,
        configuration: Configuration,
        adopted: Table | None = None,
    ) -> None:
        """Its virtual servers are those from now on. With `adopted`, what the kernel has, they go
        on as another process left them; those that it does not have begin."""
        definitions = configuration.definitions
        groups = {group.name: group for group in configuration.virtual_server_groups}
        wanted = {model.identity: model for model in configuration.virtual_servers}
        if any(model.suspends_without_address for model in wanted.values()):
            self._watch_addresses()
        elif self._presence is not None:
            self._presence.close()
            self._presence = None
        for identity, work in list(self._works.items()):
            model = wanted.get(identity)
            if model is None:
                self._apart(work.model, partial(self._remove, identity))
                continue
            group = groups.get(model.group or "")
            self._apart(model, partial(self._go_on, work, model, group))
        before, self._works = self._works, {}
        for identity, model in wanted.items():
            if identity in before:
                self._works[identity] = before[identity]
            else:
                group = groups.get(model.group or "")
                self._apart(model, partial(self._add, definitions, model, group, adopted))
        self._is_arranged = False
        self._settle()
        self._find_addresses()

    @property
    def works(self) -> Iterable[Work]:
        """All virtual servers, without those with which something went wrong."""
        return [work for work in self._works.values() if work.is_whole]

    async def settled(self) -> None:
        """Returns when the kernel has all that is wanted now, or has refused it."""
        while self._settling is not None:
            await asyncio.wait([self._settling])

    async def end(self, mode: FlushOnStop = FlushOnStop.EACH) -> None:
        """Checks nothing any more, and tells of what the daemon's end means. What the kernel has is
        left to others. Where they remove virtual servers as a whole (`lvs_flush_on_stop`) nothing
        is said of real servers, as under keepalived."""
        self.leave()
        for work in self._works.values():
            self._apart(work.model, partial(self._tell_end, work, mode))
        self._works.clear()
        await self.settled()

    def leave(self) -> None:
        """Checks nothing any more, and tells nobody: another process goes on."""
        self._patrol.close()
        if self._presence is not None:
            self._presence.close()
            self._presence = None

    def _apart(self, model: VirtualServer, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception:
            log.exception("virtual server %s could not be configured", virtual_name(model))

    def _tell_end(self, work: Work, mode: FlushOnStop) -> None:
        news = work.pool.end()
        if mode is not FlushOnStop.EACH:
            news = [each for each in news if not isinstance(each, ServerNews)]
        self._telling.tell(work.model, news)

    def _add(
        self,
        definitions: GlobalDefinitions,
        model: VirtualServer,
        group: VirtualServerGroup | None,
        adopted: Table | None,
    ) -> None:
        pool = Pool(model, notifies_at_start=definitions.lvs.notifies_at_start)
        work = Work(model, group, pool)
        work.mark = self._services.mark_of(model)
        services = services_of(model, group, work.mark)
        found = [adopted[each.key] for each in services if adopted and each.key in adopted]
        news: list[News] = []
        if found:
            pool.adopt({key: each.weight for key, each in found[0][1].items()})
        else:
            news = pool.start()
        self._works[model.identity] = work
        self._serve(work, services)
        self._stale[work] = None
        self._telling.know(model)
        self._telling.tell(model, news)
        self._watch(work)
        work.is_whole = True

    def _go_on(self, work: Work, model: VirtualServer, group: VirtualServerGroup | None) -> None:
        """One that was there before: it is changed where something is different."""
        mark = self._services.mark_of(model)
        is_same = work.is_whole and (work.group, work.mark) == (group, mark)
        if is_same and work.model is model:
            return  # as thousands of them are
        services = services_of(model, group, mark)
        work.mark = mark
        if work.is_whole and (work.model, work.group, work.services) == (model, group, services):
            work.model = model
            return
        work.is_whole = False
        before, work.model, work.group = work.model, model, group
        self._serve(work, services)
        self._telling.know(model)
        kept = {key_of(each) for each in model.real_servers}
        for real in before.real_servers:
            if key_of(real) not in kept:
                log.info("service %s no longer exist", real_name(before, real))
        news = work.pool.change(model)
        self._stale[work] = None
        self._telling.tell(model, news)
        self._watch(work)
        work.is_whole = True

    def _remove(self, identity: ServerIdentity) -> None:
        work = self._works.pop(identity)
        self._stale.pop(work, None)
        log.info("Removing Virtual Server %s", virtual_name(work.model))
        for watch in work.watches.values():
            self._patrol.remove(watch)
        work.watches.clear()  # each knows the virtual server: who is frozen is never collected
        self._serve(work, ())
        self._telling.tell(work.model, work.pool.remove())

    def _serve(self, work: Work, services: tuple[IpvsService, ...]) -> None:
        """A virtual server is these services from now on. What it is no more goes, unless another
        one is that too: then the service is as that one wants it."""
        before, work.services = work.services, services
        for service in services:
            self._served.setdefault(service.key, {})[work] = None
        for key in {each.key for each in before} - {each.key for each in services}:
            others = self._served[key]
            del others[work]
            if others:
                self._stale[next(iter(others))] = None
            else:
                del self._served[key]
                self._services.drop(key)

    def _watch(self, work: Work) -> None:
        """Begins checks that are new, and ends those that are wanted no more."""
        model = work.model
        self._judge_suspension(work)
        wanted: dict[WatchKey, str] = {
            (key_of(real), checker): real_name(model, real)
            for real in model.real_servers
            for checker in real.checkers
        }
        # What is new comes first: an equal one of another server keeps what is known.
        for key, service in wanted.items():
            if key in work.watches:
                continue
            virtual = virtual_name(model)
            watch = self._patrol.add(
                key[1], partial(self._on_news, work, *key), service=service, virtual=virtual
            )
            work.watches[key] = watch
            if work.is_suspended:
                self._patrol.suspend(watch)
            verb = "Deactivating" if work.is_suspended else "Activating"
            log.debug("%s healthchecker for service %s for VS %s", verb, service, virtual)
        for key in [each for each in work.watches if each not in wanted]:
            self._patrol.remove(work.watches.pop(key))

    def _on_news(
        self, work: Work, key: IpvsDestinationKey, checker: Checker, verdict: Verdict
    ) -> None:
        news = work.pool.take(key, checker, verdict)
        if news:
            if self._showing is not None:
                self._showing.judged(work)
            self._telling.tell(work.model, news)
            self._stale[work] = None
            self._settle()

    def _want(self, work: Work) -> None:
        destinations = {
            key: destination_of(server, weight)
            for key, (server, weight) in work.pool.wanted.items()
        }
        for service in work.services:
            self._services.want(service, destinations)

    def _settle(self) -> None:
        """Has the kernel change: all that comes in one turn of the loop together."""
        self._is_behind = True
        if self._settling is None:
            self._settling = self._loop.create_task(self._settle_all())

    async def _settle_all(self) -> None:
        try:
            while self._is_behind:
                self._is_behind = False
                stale, self._stale = self._stale, {}
                for work in stale:
                    self._apart(work.model, partial(self._want, work))
                await self._services.settle()
                self._arrange()
        finally:
            self._settling = None

    def _arrange(self) -> None:
        """Shows which virtual servers there are; the kernel, where they are served, came first."""
        if self._showing is not None and not self._is_arranged:
            self._is_arranged = True
            self._showing.arrange(self.works)

    def _watch_addresses(self) -> None:
        if self._presence is None:
            try:
                self._presence = Presence(self._loop, self._on_address)
            except OSError as error:
                log.error("ha_suspend cannot be followed, so all is checked: %s", error.strerror)

    def _on_address(self, address: bytes, is_here: bool) -> None:
        for work in self._at.get(address, ()):
            self._judge_suspension(work)
        for first, last, work in self._across:
            if len(first) == len(address) and first <= address <= last:
                self._judge_suspension(work)

    def _find_addresses(self) -> None:
        """Who is to be judged when an address comes or goes."""
        self._at.clear()
        self._across.clear()
        for work in self._works.values():
            if not work.model.suspends_without_address:
                continue
            for first, last in work.spans:
                if first == last:
                    self._at.setdefault(first, []).append(work)
                else:
                    self._across.append((first, last, work))

    def _judge_suspension(self, work: Work) -> None:
        """Checks nothing while none of the addresses is on this machine; who has none is always
        checked."""
        is_suspended = (
            work.model.suspends_without_address
            and self._presence is not None
            and bool(work.spans)
            and not any(self._presence.has(*span) for span in work.spans)
        )
        if is_suspended == work.is_suspended:
            return
        work.is_suspended = is_suspended
        if self._showing is not None:
            self._showing.judged(work)
        verb, do = (
            ("Suspending", self._patrol.suspend)
            if is_suspended
            else ("Activating", self._patrol.resume)
        )
        for watch in work.watches.values():
            log.info(
                "%s healthchecker for service %s for VS %s", verb, watch.service, watch.virtual
            )
            do(watch)
