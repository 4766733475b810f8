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
import os
import pickle
import signal
import socket
import sys
from contextlib import ExitStack

import uvloop

from fastvrrp.daemon.assignment import Assignment, Begin, Done, Dump, Message, Stop
from fastvrrp.daemon.beat import BEAT, LOOK
from fastvrrp.daemon.logs import Logs, Process, set_up
from fastvrrp.daemon.pools import Pools
from fastvrrp.daemon.privileges import CHECKD
from fastvrrp.daemon.scheduling import Role, Scheduling
from fastvrrp.kernel.capabilities import keep_only
from fastvrrp.lvs.telling import Telling
from fastvrrp.model import FlushOnStop, VirtualServer
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
        self._pools: Pools | None = None
        self._dumping: asyncio.Task[None] | None = None
        self._servers: dict[bytes, VirtualServer] = {}
        """Those that were told, by their digests."""
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
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR2):
                signal.signal(number, signal.SIG_IGN)  # they are for the daemon
            self._loop.add_signal_handler(signal.SIGTERM, self._leave)
            self._loop.add_signal_handler(signal.SIGUSR1, self._dump)
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
        finishes = self._ending is not None and self._ending.finishes
        if finishes or (self._pools is None and self._is_to_release):
            # That, or what one that died has left, is for us to remove.
            await self._carry_out_whole()
        self._loop.remove_reader(self._told.socket.fileno())
        if self._pools is None:
            return
        if self._is_to_release:
            log.info("Stopping")
            await self._pools.end(self._flush_on_stop)
        else:
            self._pools.leave()

    @property
    def _is_to_release(self) -> bool:
        return self._ending is not None and self._ending.releases

    async def _carry_out_whole(self) -> None:
        assignment, self._whole = self._whole, None
        finishes = self._ending is not None and self._ending.finishes
        if assignment is None or (self._is_ended and not (assignment.begin.adopts or finishes)):
            return
        gc.disable()  # it would look at everything that is made now, again and again
        try:
            await self._carry_out(assignment)
        except Exception:
            log.exception("a configuration could not be carried out")
        finally:
            gc.enable()

    async def _carry_out(self, assignment: Assignment) -> None:
        configuration = assignment.configuration
        definitions = configuration.definitions
        os.umask(assignment.begin.umask)
        self._scripts.mask(assignment.begin.umask)
        self._scheduling.apply(definitions.processes)
        self._telling.configure(definitions)
        if self._pools is not None and not self._pools.fits(definitions.namespaces):
            log.info("net_namespace_ipvs is another one: virtual servers end here, and begin there")
            pools, self._pools = self._pools, None
            await pools.end(self._flush_on_stop)
        self._flush_on_stop = definitions.lvs.flush_on_stop
        if self._pools is None:
            self._pools = Pools(self._loop, self._scripts, self._telling, assignment.begin)
            await self._pools.begin(assignment.begin, configuration)
            what = "Health checks have begun"
        else:
            await self._pools.reload(assignment.begin, configuration)
            what = "Health checks are reloaded"
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
            case Done() if self._coming is not None:
                self._coming.take(message)
                if self._coming.is_whole:
                    self._whole = self._coming
                    self._news.set()
                self._coming = None
            case Dump():
                self._dump()
            case Stop():
                self._ending = message
                self._leave()
            case _ if self._coming is not None:
                self._coming.take(message)

    def _begin(self, begin: Begin) -> None:
        self._coming = Assignment(begin, self._servers)
        self._releases = begin.releases
        if self._logs is None:
            self._logs = set_up(begin.log, Process.CHECKERS)

    def _dump(self) -> None:
        """Writes keepalived_check.data, unless that is being done."""
        if self._pools is not None and (self._dumping is None or self._dumping.done()):
            self._dumping = self._loop.create_task(self._pools.dump())

    def _leave(self) -> None:
        if self._ending is None:
            self._ending = Stop(self._releases)
        self._is_ended = True
        self._news.set()

    def _close_logs(self) -> None:
        if self._logs is not None:
            self._logs.close()


def main() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever started us may block signals
    keep_only(CHECKD)
    end_with_starter(signal.SIGTERM)
    with socket.socket(fileno=int(sys.argv[1])) as told:
        told.set_inheritable(False)
        Checkd(told).run()


if __name__ == "__main__":
    main()
