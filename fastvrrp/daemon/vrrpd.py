"""The process that speaks VRRP: one event loop, all virtual routers of a configuration.

It begins everything in its order, runs, and ends everything in the other order. The loop watches
the engine's alarm, its receivers, what the kernel tells of links, routes and the ruleset, and
signals (uvloop's own); followers watch what is theirs.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from fastvrrp.daemon import dumping
from fastvrrp.daemon.adoption import Inheritance, patience, remove_drafts, wait_for_end
from fastvrrp.daemon.assembly import ENDING, Assembly
from fastvrrp.daemon.departure import Departure
from fastvrrp.daemon.handover import Taking
from fastvrrp.daemon.options import Options
from fastvrrp.daemon.parent import Parent
from fastvrrp.daemon.reading import Aside
from fastvrrp.daemon.succession import choose, delay_masters, take_over
from fastvrrp.model import SECOND, Configuration

log = logging.getLogger(__name__)

SWITCH_INTERVAL = 0.0002
"""Seconds: a fiftieth of the shortest advert interval."""
SIGNALS = {*ENDING, signal.SIGHUP, *dumping.SIGNALS}
"""Every signal that means something to the daemon."""
STOP_LIMIT = 600.0
"""Seconds for the stop: 18,000 real servers or 65,280 virtual routers take the kernel some ten."""


class Vrrpd:
    """All virtual routers of a configuration, in the network namespace of this process.

    `read` is what was read of the file `path`, and is emptied when it runs; the file is read again
    on SIGHUP, with `config_id`. `segment` is the path of the state segment. Raises OSError where
    the rights to do it are missing.
    """

    def __init__(
        self,
        read: Aside,
        path: Path,
        config_id: str | None,
        segment: Path,
        options: Options,
        parent: Parent,
        close_log: Callable[[], None] = lambda: None,
    ) -> None:
        self._read = read
        self._segment = segment
        self._options = options
        self._parent = parent
        self._rooms = Assembly(read, path, config_id, segment, options, parent)
        self._departure = Departure(
            self._rooms, parent, lambda: self._ended_by is not None, close_log
        )
        self._find: Callable[[], Inheritance | None] = lambda: None
        self._ended_by: signal.Signals | None = None

    def run(
        self,
        on_started: Callable[[], None] = lambda: None,
        find: Callable[[], Inheritance | None] = lambda: None,
        taking: Taking | None = None,
    ) -> None:
        """Runs until SIGTERM or SIGINT; afterwards nothing of ours is left in the kernel.

        `on_started` is called when every virtual router has begun. SIGNALS may be blocked until
        then: they are unblocked when the loop can take them. `find` is called once, right before
        anything is begun, and gives what another process has left, which is taken over then. Until
        that is done nothing of the other's is touched, neither its files nor what is in the kernel.
        Where `taking` says that the other lives, and it goes on after all, HandoverError is raised
        and nothing has been touched either.
        """
        self._find = find
        rooms = self._rooms
        for number in ENDING:
            rooms.loop.add_signal_handler(number, self._end, number)
        with ExitStack() as ending:
            ending.callback(rooms.loop.close)
            # The loop is closed before the rest is tidied up: one more would kill us.
            ending.callback(signal.pthread_sigmask, signal.SIG_BLOCK, SIGNALS)
            claimed = ending.enter_context(ExitStack())  # until nothing of ours is left
            ending.callback(rooms.table.withdraw)
            ending.callback(self._forget_snapshot)
            ending.callback(rooms.showing.close)
            if taking is None:
                wait_for_end(self._segment)
            else:
                rooms.places.claims = taking.claims
            self._departure.claim = rooms.places.claim(None, patience(self._segment))
            claimed.callback(self._departure.claim.close)
            rooms.umask.configure(rooms.running.configuration)
            # What the daemon as a whole begins with was done by who died.
            if not self._parent.is_restart and not rooms.daemon_scripts.run_startup():
                rooms.scripts.close()
                return
            ending.callback(self._shut_down)
            ending.callback(rooms.scripts.close)
            try:
                self._serve(ending, on_started)
            except BaseException:
                if taking is not None and not taking.is_over:
                    # Whatever is in the kernel is the other's still.
                    ending.pop_all()
                    rooms.scripts.close()
                    rooms.showing.close()
                    rooms.table.withdraw()
                raise

    def _serve(self, ending: ExitStack, on_started: Callable[[], None]) -> None:
        """Runs until a signal ends it."""
        rooms = self._rooms
        rooms.loop.add_signal_handler(signal.SIGHUP, rooms.reloads.request)
        rooms.dumping.watch()
        rooms.loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, SIGNALS)
        self._parent.attach(rooms.loop, lambda: self._end(signal.SIGTERM))
        ending.callback(self._leave_parent)
        self._start(ending)
        ending.callback(self._leave_parent)
        on_started()
        rooms.loop.run_forever()
        log.info("Stopping")

    def _start(self, ending: ExitStack) -> None:
        """Begins everything; how each thing ends is put on `ending`, so that it does although
        another one fails. What is begun last ends first: the adverts that say that we leave."""
        rooms = self._rooms
        ending.callback(rooms.places.close)
        ending.callback(rooms.driver.close)
        models = self._read.configuration.virtual_routers
        running = rooms.running.configuration
        found = self._find()
        before = choose(rooms, found, models, running) if found is not None else None
        rooms.places.start(models, self._read.configuration.static_addresses, before)
        rooms.loop.add_reader(rooms.driver.alarm.descriptor, rooms.driver.on_alarm)
        ending.callback(rooms.places.clear)
        for follower in rooms.followers:
            ending.callback(follower.stop)
        ending.callback(rooms.transitions.finish)
        ending.callback(rooms.routings.finish)
        ending.callback(rooms.kernel_thread.shutdown)
        ending.callback(rooms.driver.settle)
        ending.callback(rooms.roster.stop)
        ending.callback(rooms.places.stop)
        ending.callback(rooms.reloads.close)
        ending.callback(self._departure.close)
        ending.callback(self._settle_what_stays)
        delay_masters(rooms, running.definitions.vrrp, before)
        for follower in rooms.followers:
            follower.configure(running)
        masters = rooms.roster.add(models, before)
        if before is not None:
            take_over(rooms, before, masters)
        if self._read.snapshot is not None:
            # Of what another one ran: who follows us before ours is there reads the file.
            rooms.snapshot.forget()
        rooms.table.publish()
        rooms.showing.publish()
        if self._read.snapshot is not None:
            rooms.snapshot.keep(self._read.snapshot)
            os.close(self._read.snapshot)
        for follower in rooms.followers:
            for _ in follower.settle():
                pass
        # Reloads change what there is: nobody must keep what there was.
        self._read.configuration = Configuration()
        rooms.places.settle()
        rooms.driver.settle()
        # What was made until now lives as long as the process: the collector need not look at it
        # again, least of all while an advert is due.
        gc.collect()
        gc.freeze()
        gc.enable()
        # The kernel thread must not keep the loop from the interpreter for long.
        sys.setswitchinterval(SWITCH_INTERVAL)
        log.info("Startup complete")

    def _forget_snapshot(self) -> None:
        """The daemon has ended, and not this process alone."""
        if not self._parent.keeps_wards:
            self._rooms.snapshot.forget()
            self._rooms.routes_file.forget()
            remove_drafts(self._segment)  # of one that was to take over

    def _leave_parent(self) -> None:
        scripts = self._rooms.running.configuration.definitions.scripts
        self._parent.leave(STOP_LIMIT + scripts.shutdown_timeout / SECOND)

    def _shut_down(self) -> None:
        """What the daemon as a whole ends with, unless the next vrrpd goes on."""
        if not self._parent.keeps_wards:
            self._rooms.daemon_scripts.run_shutdown()

    def _settle_what_stays(self) -> None:
        """Says what those that stop now leave in the kernel."""
        keeps = not self._options.releases_addresses
        self._rooms.transitions.keeps_addresses = keeps
        for routing in self._rooms.routings:
            routing.keeps_routes = keeps

    def _end(self, number: signal.Signals) -> None:
        if self._ended_by is None:
            self._ended_by = number
            self._rooms.loop.stop()
