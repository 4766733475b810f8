"""The process that checks real servers and tells IPVS of them.

It is run as `python -m fastvrrp.daemon.checkd FD`. FD is a socket on which it is told a
configuration, at the start and at each reload, by whoever started it (`assignment`, in
`track/frames`). It never reads a file of configuration itself.

It ends when it is told to stop, on SIGTERM, and when whoever started it goes away: then what is in
the kernel's IPVS goes too, unless it was told to leave it. When it is killed IPVS stays as it is:
connections go on, and a successor takes over what it finds.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import pickle
import signal
import socket
import sys
from contextlib import ExitStack, suppress
from dataclasses import replace

import uvloop

from fastvrrp.daemon.assignment import Assignment, Begin, Done, Message, Stop
from fastvrrp.daemon.beat import BEAT, LOOK
from fastvrrp.daemon.logs import Logs, Process, set_up
from fastvrrp.daemon.scheduling import Role, Scheduling
from fastvrrp.kernel.ipvs import Ipvs, Table, namespace_of
from fastvrrp.lvs.balancer import Balancer
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.lvs.notes import Notes
from fastvrrp.lvs.patrol import Patrol
from fastvrrp.lvs.services import Services
from fastvrrp.lvs.telling import Telling
from fastvrrp.model import FlushOnStop, Namespaces
from fastvrrp.track.frames import Closed, Frames
from fastvrrp.track.interpreter import end_with_starter
from fastvrrp.track.scripts import Scripts

log = logging.getLogger("fastvrrp.daemon.checkd")  # it runs as __main__

NAME = "fastvrrp_checkd"
"""What ps calls it; 15 letters have room."""


class Checkd:
    """The whole process."""

    def __init__(self, told: socket.socket) -> None:
        self._told = Frames(told)
        self._loop = uvloop.new_event_loop()
        self._logs: Logs | None = None
        self._scheduling = Scheduling(self._loop, Role.CHECKERS, NAME)
        self._scripts = Scripts(self._loop)
        self._telling = Telling(self._loop, self._scripts)
        self._tools = Tools(self._loop, self._scripts)
        self._services: Services | None = None
        self._balancer: Balancer | None = None
        self._coming: Assignment | None = None
        """What is being told."""
        self._whole: Assignment | None = None
        """What was told and is not carried out yet."""
        self._flush_on_stop = FlushOnStop.EACH
        self._ending: Stop | None = None
        self._releases = False
        """As it was told at last: what is in the kernel goes where nobody says how to end."""
        self._is_ended = False
        self._news = asyncio.Event()
        """There is something to do."""

    def run(self) -> None:
        """Runs until it is told to stop."""
        with ExitStack() as ending:
            ending.callback(self._close_logs)
            ending.callback(self._loop.close)
            ending.callback(self._scheduling.close)
            ending.callback(self._scripts.close)
            ending.callback(self._telling.close)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(number, signal.SIG_IGN)  # they are for the daemon
            self._loop.add_signal_handler(signal.SIGTERM, self._leave)
            self._loop.add_reader(self._told.socket.fileno(), self._on_readable)
            self._beat()
            self._loop.run_until_complete(self._serve())

    def _beat(self) -> None:
        self._told.send(BEAT)
        self._loop.call_later(LOOK, self._beat)

    async def _serve(self) -> None:
        while not self._is_ended:
            await self._news.wait()
            self._news.clear()
            if not self._is_ended:
                await self._carry_out_whole()
        if self._balancer is None and self._is_to_release:
            # What one that died has left is for us to remove.
            await self._carry_out_whole()
        self._loop.remove_reader(self._told.socket.fileno())
        if self._balancer is None or self._services is None:
            return
        if not self._is_to_release:
            self._balancer.leave()
            return
        log.info("Stopping")
        try:
            await self._balancer.end()
        finally:
            await self._services.close(self._flush_on_stop)

    @property
    def _is_to_release(self) -> bool:
        return self._ending is not None and self._ending.releases

    async def _carry_out_whole(self) -> None:
        assignment, self._whole = self._whole, None
        if assignment is None or (self._is_ended and not assignment.begin.adopts):
            return
        try:
            await self._carry_out(assignment)
        except Exception:
            log.exception("a configuration could not be carried out")

    async def _carry_out(self, assignment: Assignment) -> None:
        configuration = assignment.configuration
        definitions = configuration.definitions
        self._flush_on_stop = definitions.lvs.flush_on_stop
        self._scheduling.apply(definitions.processes)
        self._telling.configure(definitions)
        self._tools.configure(definitions, configuration.tls_client, configuration.track_files)
        adopted: Table | None = None
        if self._services is None or self._balancer is None:
            if assignment.begin.adopts:
                lvs = replace(definitions.lvs, flushes_at_start=False)
                configuration = replace(configuration, definitions=replace(definitions, lvs=lvs))
                adopted = await self._loop.run_in_executor(None, _table, definitions.namespaces)
            namespace = namespace_of(definitions.namespaces)
            path = assignment.begin.notes
            self._services = Services(notes=Notes(path, namespace) if path else None)
            patrol = Patrol(self._loop, self._tools)
            self._balancer = Balancer(self._loop, patrol, self._services, self._telling)
            await self._services.adopt(configuration)
            what = "Health checks have begun"
        else:
            self._services.configure(configuration)
            what = "Health checks are reloaded"
        self._balancer.configure(configuration, adopted)
        await self._balancer.settled()
        gc.unfreeze()
        gc.collect()
        gc.freeze()  # what was told lives long
        log.info("%s: %d virtual servers", what, len(configuration.virtual_servers))

    def _on_readable(self) -> None:
        try:
            messages = self._told.receive()
        except Closed:
            self._loop.remove_reader(self._told.socket.fileno())
            self._leave()
            return
        for message in messages:
            self._take(pickle.loads(message))

    def _take(self, message: Message) -> None:
        match message:
            case Begin():
                self._begin(message)
            case Done():
                self._whole, self._coming = self._coming, None
                self._news.set()
            case Stop():
                self._ending = message
                self._leave()
            case _:
                assert self._coming is not None
                self._coming.take(message)

    def _begin(self, begin: Begin) -> None:
        self._coming = Assignment(begin)
        self._releases = begin.releases
        if self._logs is None:
            self._logs = set_up(begin.log, Process.CHECKERS)

    def _leave(self) -> None:
        if self._ending is None:
            self._ending = Stop(self._releases)
        self._is_ended = True
        self._news.set()

    def _close_logs(self) -> None:
        if self._logs is not None:
            self._logs.close()


def _table(namespaces: Namespaces) -> Table | None:
    """What the kernel has; None where it has no IPVS, of which `Services` tells."""
    with suppress(OSError):
        ipvs = Ipvs(namespace_of(namespaces))
        try:
            return ipvs.table()
        finally:
            ipvs.close()
    return None


def main() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever started us may block signals
    end_with_starter(signal.SIGTERM)
    with socket.socket(fileno=int(sys.argv[1])) as told:
        told.set_inheritable(False)
        Checkd(told).run()


if __name__ == "__main__":
    main()
