"""The process that speaks VRRP: one event loop, all virtual routers of a configuration.

Here the rooms are put together; each of them knows only those below it. The loop watches the
engine's alarm, its receivers, what the kernel tells of links, routes and the ruleset, and signals
(uvloop's own); followers watch what is theirs.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import uvloop

from fastvrrp import __version__
from fastvrrp._driver import Driver
from fastvrrp._engine import Engine, Note
from fastvrrp._rtnetlink import count_in
from fastvrrp._sockets import SocketSender
from fastvrrp._table import SEGMENT_LAYOUT, Table
from fastvrrp.daemon import dumping, requests, snapshot
from fastvrrp.daemon.adoption import Inheritance, wait_for_end
from fastvrrp.daemon.beat import LIMIT
from fastvrrp.daemon.checking import Checking
from fastvrrp.daemon.dumping import Dumping
from fastvrrp.daemon.exporting import Exporting
from fastvrrp.daemon.handover import Giving, Taking
from fastvrrp.daemon.options import Options
from fastvrrp.daemon.orders import Beat, HandedOver, Left, Reloaded, Reloading, Summed
from fastvrrp.daemon.parent import Parent, ParentSettings
from fastvrrp.daemon.places import Places
from fastvrrp.daemon.reading import Aside
from fastvrrp.daemon.reload import Reloads, Running
from fastvrrp.daemon.reload_files import ReloadTimes
from fastvrrp.daemon.scheduling import ProcessSettings, Role, Scheduling
from fastvrrp.daemon.showing import Showing
from fastvrrp.daemon.summary import Summary
from fastvrrp.daemon.umask import Umask
from fastvrrp.model import SECOND, Configuration, State, VirtualRouter, Vrrp
from fastvrrp.notify.daemon_scripts import DaemonScripts
from fastvrrp.notify.notifier import Notifier
from fastvrrp.observe.files import Files
from fastvrrp.track.scripts import Scripts
from fastvrrp.vrrp.adoption import Predecessor
from fastvrrp.vrrp.announcer import Announcer
from fastvrrp.vrrp.apart import Apart
from fastvrrp.vrrp.domains import Domains
from fastvrrp.vrrp.filtering import Filter
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import PRIORITY_OWNER, Instance
from fastvrrp.vrrp.keys import Keys
from fastvrrp.vrrp.maintenance import Maintenance
from fastvrrp.vrrp.orphans import orphans
from fastvrrp.vrrp.place import Place
from fastvrrp.vrrp.receive_buffers import ReceiveBuffers
from fastvrrp.vrrp.roster import Roster
from fastvrrp.vrrp.routing import Routing
from fastvrrp.vrrp.split_brain import SplitBrains
from fastvrrp.vrrp.sync_daemon import SyncDaemons
from fastvrrp.vrrp.sync_groups import GroupNews, SyncGroups
from fastvrrp.vrrp.tracking import Tracking
from fastvrrp.vrrp.transitions import Transitions
from fastvrrp.vrrp.unknown_vrids import UnknownVrids
from fastvrrp.vrrp.upkeep import Upkeep

log = logging.getLogger(__name__)

LAST_MOMENTS = 2.0
"""Seconds that a process which was killed has until the kernel has closed all that it had open."""
SWITCH_INTERVAL = 0.0002
"""Seconds: a fiftieth of the shortest advert interval."""
ENDING = (signal.SIGTERM, signal.SIGINT)
SIGNALS = {*ENDING, signal.SIGHUP, *dumping.SIGNALS}
"""Every signal that means something to the daemon."""
STOP_LIMIT = 600.0
"""Seconds for the stop: 18,000 real servers or 65,280 virtual routers take the kernel some ten."""
ROOM = 262_144
"""Virtual routers that reloads can bring it to. What is not used of the state segment takes no
memory."""


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
        self._segment = segment
        self._options = options
        self._parent = parent
        self._close_log = close_log
        models = read.configuration.virtual_routers
        self._read = read
        self._loop = uvloop.new_event_loop()
        self._table = Table(segment, len(models), max(ROOM, len(models)), is_draft=True)
        self._table.set_version(__version__)
        count_in(self._table)
        self._sender = SocketSender()
        self._engine = Engine(self._table, self._sender, 0)
        self._driver = Driver(self._engine, self._on_notes)
        clock = self._driver.now
        self._kernel_thread = ThreadPoolExecutor(1, "kernel")
        self._places = places = Places(
            self._loop,
            self._driver,
            self._sender,
            self._run_elsewhere,
            segment,
            read.configuration.definitions.namespaces.network,
        )
        self._roster = Roster(self._table, self._engine, places.use, places.release, clock)
        definitions = read.configuration.definitions
        self._announcer = Announcer(
            self._engine,
            self._roster.instances,
            clock,
            places.name_of,
        )
        self._announcer.pace(
            definitions.garp_interval,
            definitions.gna_interval,
            read.configuration.garp_groups,
        )
        self._transitions = Transitions(
            self._engine,
            self._roster.instances,
            self._announcer,
            clock,
            self._wake,
        )
        self._roster.on_moved = self._transitions.put_again
        self._transitions.on_lost = self._roster.on_address_lost
        self._roster.on_changed = self._on_roster_changed
        self._roster.reviews.later = self._loop.call_soon
        split_brains = SplitBrains(
            self._table,
            self._loop,
            clock,
            self._roster.instances,
            self._transitions.standing,
        )
        self._transitions.on_split_brain = split_brains.heard
        self._groups = SyncGroups(self._engine, self._table, self._roster, clock)
        self._scripts = Scripts(self._loop)
        self._umask = Umask(self._scripts, options.umask)
        self._tracking = tracking = Tracking(
            self._loop,
            self._roster,
            places.use,
            places.release,
            self._scripts,
            self._driver,
        )
        self._daemon_scripts = DaemonScripts(definitions.scripts, ENDING)
        notifier = Notifier(
            self._loop, self._scripts, self._roster.instances, self._table.state, clock
        )
        self._groups.on_group_change = notifier.on_group_change
        filters = Apart(
            lambda place: Filter(
                place,
                lambda index: self._table.state(index) == State.MASTER,
                self._loop,
                places.note,
            )
        )
        self._routings = Apart(
            lambda place: Routing(place, self._roster, self._loop, self._on_removals)
        )
        shown = Files.of_segment(segment)
        self._showing = Showing(
            self._loop,
            self._run_elsewhere,
            shown,
            self._table,
            self._roster.instances,
            tracking.states,
            path,
        )
        tracking.on_state = self._showing.tracker_changed
        self._reload_times = ReloadTimes(self._loop)
        self._dumping = Dumping(
            self._loop,
            self._table,
            self._roster.instances,
            places.own.links,
            self._groups.states,
            tracking.state_of,
            tracking.counts,
            options,
        )
        self._maintenance = maintenance = Maintenance(
            self._loop,
            self._engine,
            self._table,
            self._roster,
            self._groups,
            clock,
            self._driver.settle,
            shown.maintenance,
            lambda: parent.is_followed,
        )
        self._checking = checking = Checking(self._loop, options, segment, parent)
        self._dumping.on_data = checking.dump
        self._followers: tuple[Follower, ...] = (
            self._umask,
            tracking,
            self._groups,
            maintenance,
            Keys(self._engine, self._roster),
            UnknownVrids(self._engine, places.called),
            Domains(self._table, places),
            ReceiveBuffers(self._roster, places.resize),
            filters,
            self._routings,
            split_brains,
            self._daemon_scripts,
            notifier,
            SyncDaemons(
                self._roster.instances,
                lambda index: self._table.state(index) == State.MASTER,
                self._run_elsewhere,
                self._loop.call_later,
                segment.with_suffix(".ipvs_sync"),
            ),
            GroupNews(self._groups),
            self._showing,
            Exporting(parent, shown, options.metrics),
            checking,
            self._dumping,
            ProcessSettings(Scheduling(self._loop, Role.VRRP, options.process_name)),
            ParentSettings(parent, options.parent_name),
            Summary(self._loop, lambda words: parent.say(Summed(words))),
            self._reload_times,
        )
        self._roster.follow(self._followers)
        self._transitions.follow(self._followers)
        split_brains.follow(self._followers)
        places.roster, places.transitions = self._roster, self._transitions
        places.followers, places.apart = self._followers, (filters, self._routings)
        self._running = Running(
            replace(read.configuration, virtual_routers=()),
            read.digests,
            self._table,
            self._engine,
            self._driver,
            self._roster,
            self._transitions,
            places,
            self._followers,
        )
        self._reloads = Reloads(
            self._loop,
            str(path),
            config_id,
            self._running,
            options,
            self._keep_snapshot,
            read.process,
        )
        self._reload_times.reload = self._reloads.request
        self._giving = Giving(
            self._loop,
            SEGMENT_LAYOUT,
            self._why_not_hand_over,
            self._is_idle,
            lambda: {None: self._claim} | places.held(),
            lambda: self._table.count,
        )
        self._giving.send_due = lambda: self._engine.send_due(clock())
        self._giving.on_hold = lambda limit: parent.say(Beat(limit + LIMIT))
        self._giving.go_on = self._go_on
        self._giving.end = self._end_without_a_trace
        self._giving.speak_once_more = self._speak_once_more
        parent.orders.register("handover", self._giving.carry_out)
        parent.orders.register("leave", self._giving.leave)
        self._claim: socket.socket
        self._under_way = 0
        """Changes in the kernel thread."""
        self._find: Callable[[], Inheritance | None] = lambda: None
        requests.register_reload(parent.orders, self._reloads)
        requests.register_maintenance(parent.orders, maintenance)
        self._reloads.on_begin = lambda: parent.say(Reloading())
        self._reloads.on_end = lambda is_done: parent.say(Reloaded(is_done))
        self._work_is_scheduled = False
        self._alarm_for_announcer: asyncio.TimerHandle | None = None
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
        for number in ENDING:
            self._loop.add_signal_handler(number, self._end, number)
        with ExitStack() as ending:
            ending.callback(self._loop.close)
            # The loop is closed before the rest is tidied up: one more would kill us.
            ending.callback(signal.pthread_sigmask, signal.SIG_BLOCK, SIGNALS)
            claimed = ending.enter_context(ExitStack())  # until nothing of ours is left
            ending.callback(self._table.withdraw)
            ending.callback(self._forget_snapshot)
            ending.callback(self._showing.close)
            if taking is None:
                wait_for_end(self._segment)
            else:
                self._places.claims = taking.claims
            patience = LAST_MOMENTS if self._segment.exists() else 0
            self._claim = self._places.claim(None, patience)
            claimed.callback(self._claim.close)
            self._umask.configure(self._running.configuration)
            # What the daemon as a whole begins with was done by who died.
            if not self._parent.is_restart and not self._daemon_scripts.run_startup():
                self._scripts.close()
                return
            ending.callback(self._shut_down)
            ending.callback(self._scripts.close)
            try:
                self._serve(ending, on_started)
            except BaseException:
                if taking is not None and not taking.is_over:
                    # Whatever is in the kernel is the other's still.
                    ending.pop_all()
                    self._scripts.close()
                    self._showing.close()
                    self._table.withdraw()
                raise

    def _serve(self, ending: ExitStack, on_started: Callable[[], None]) -> None:
        """Runs until a signal ends it."""
        self._loop.add_signal_handler(signal.SIGHUP, self._reloads.request)
        self._dumping.watch()
        self._loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, SIGNALS)
        self._parent.attach(self._loop, lambda: self._end(signal.SIGTERM))
        ending.callback(self._leave_parent)
        self._start(ending)
        ending.callback(self._leave_parent)
        on_started()
        self._loop.run_forever()
        log.info("Stopping")

    def _start(self, ending: ExitStack) -> None:
        """Begins everything; how each thing ends is put on `ending`, so that it does although
        another one fails. What is begun last ends first: the adverts that say that we leave."""
        ending.callback(self._places.close)
        ending.callback(self._driver.close)
        models = self._read.configuration.virtual_routers
        before = self._find_predecessor(models)
        self._places.start(models, self._read.configuration.static_addresses, before)
        self._loop.add_reader(self._driver.alarm.descriptor, self._driver.on_alarm)
        ending.callback(self._places.clear)
        for follower in self._followers:
            ending.callback(follower.stop)
        ending.callback(self._transitions.finish)
        ending.callback(self._routings.finish)
        ending.callback(self._kernel_thread.shutdown)
        ending.callback(self._driver.settle)
        ending.callback(self._roster.stop)
        ending.callback(self._places.stop)
        ending.callback(self._reloads.close)
        ending.callback(self._giving.close)
        ending.callback(self._settle_what_stays)
        self._delay_masters(self._running.configuration.definitions.vrrp, before)
        for follower in self._followers:
            follower.configure(self._running.configuration)
        masters = self._roster.add(models, before)
        if before is not None:
            self._take_over(before, masters)
        if self._read.snapshot is not None:
            # Of what another one ran: who follows us before ours is there reads the file.
            snapshot.path_beside(self._segment).unlink(missing_ok=True)
        self._table.publish()
        self._showing.publish()
        if self._read.snapshot is not None:
            self._keep_snapshot(self._read.snapshot)
            os.close(self._read.snapshot)
        for follower in self._followers:
            for _ in follower.settle():
                pass
        # Reloads change what there is: nobody must keep what there was.
        self._read.configuration = Configuration()
        self._places.settle()
        self._driver.settle()
        # What was made until now lives as long as the process: the collector need not look at it
        # again, least of all while an advert is due.
        gc.collect()
        gc.freeze()
        # The kernel thread must not keep the loop from the interpreter for long.
        sys.setswitchinterval(SWITCH_INTERVAL)
        log.info("Startup complete")

    def _keep_snapshot(self, descriptor: int) -> None:
        """Keeps what a reader has written for a successor, in the other thread."""
        kept = os.dup(descriptor)
        path = snapshot.path_beside(self._segment)

        def keep() -> None:
            try:
                snapshot.keep(kept, path)
            except OSError as error:
                log.error("%s cannot be written: %s", path, error.strerror)
            finally:
                os.close(kept)

        self._run_elsewhere(keep, lambda: None)

    def _forget_snapshot(self) -> None:
        """The daemon has ended, and not this process alone."""
        if not self._parent.keeps_wards:
            snapshot.path_beside(self._segment).unlink(missing_ok=True)

    def _leave_parent(self) -> None:
        scripts = self._running.configuration.definitions.scripts
        self._parent.leave(STOP_LIMIT + scripts.shutdown_timeout / SECOND)

    def _find_predecessor(self, models: Collection[VirtualRouter]) -> Predecessor | None:
        """What a daemon that has died has left, and who is to go on where it was."""
        found = self._find()
        if found is None:
            return None
        before, configuration = found.predecessor, self._running.configuration
        before.choose(models, configuration.sync_groups, self._driver.now())
        if before.ran is not None:
            before.orphans = orphans(before.ran, configuration, models)
            before.ran = None
        self._tracking.presume(found.trackers)
        return before

    def _take_over(self, before: Predecessor, masters: Iterable[Instance]) -> None:
        """Takes over what masters have in the kernel."""
        self._engine.send_due(self._driver.now())
        for instance in masters:
            self._transitions.resume(
                instance,
                self._table.changed_at(instance.index),
                self._places.found.get(instance.place, {}),
            )
        for instance in self._roster.instances.values():
            # An owner's address may be its interface's own.
            is_owner = instance.model.priority == PRIORITY_OWNER
            if instance.model.name in before.too_late and not is_owner:
                self._transitions.remove_left(instance)
        for remove in before.leftovers:
            remove()
        log.info("%s", before.describe())

    def _why_not_hand_over(self) -> str | None:
        if self._ended_by is not None:
            return "the daemon is stopping"
        if self._maintenance.is_under_way:
            return "masters are being given away or taken back: try again when that is done"
        return "a reload is under way" if self._reloads.is_under_way else None

    def _is_idle(self) -> bool:
        """Whether nothing is under way in the kernel, and nothing waits for it."""
        return not self._under_way and not self._transitions.has_notes and self._transitions.is_idle

    def _go_on(self) -> None:
        """Somebody who was to take over has not, and may have changed what he was to take over."""
        self._parent.say(Beat(LIMIT))
        for place in self._places:
            self._places.note(place)
        self._roster.settle_all_vmacs()
        self._driver.on_alarm()

    def _speak_once_more(self) -> None:
        now = self._driver.now()
        for index in self._roster.instances:
            self._engine.hurry(index, now)
        self._engine.send_due(now)

    def _end_without_a_trace(self, successor: int | None) -> None:
        """Ends at once: all that we have made is the successor's. It ends whatever goes wrong:
        nobody else may speak when the successor does."""
        has_said = False
        try:
            farewells = self._farewells()
            if successor is None:
                self._parent.say_last(Left(farewells))
            else:
                log.info("Process %d has taken over", successor)
                self._parent.say_last(HandedOver(successor, farewells))
            has_said = True
            self._close_log()
        finally:
            os._exit(0 if has_said else 1)

    def _farewells(self) -> dict[str, bytes]:
        """What wards are to be told; nothing where that cannot be said any more, since the files of
        this version may be gone."""
        try:
            return self._checking.farewells()
        except Exception:
            log.exception("The health checkers cannot be told of their successor")
            return {}

    def _shut_down(self) -> None:
        """What the daemon as a whole ends with, unless the next vrrpd goes on."""
        if not self._parent.keeps_wards:
            self._daemon_scripts.run_shutdown()

    def _settle_what_stays(self) -> None:
        """Says what those that stop now leave in the kernel."""
        keeps = not self._options.releases_addresses
        self._transitions.keeps_addresses = keeps
        for routing in self._routings:
            routing.keeps_routes = keeps

    def _delay_masters(self, vrrp: Vrrp, before: Predecessor | None) -> None:
        """Lets nobody become master for a while: links may not carry anything yet. A successor
        waits for what is left of that."""
        since_boot, now = time.clock_gettime_ns(time.CLOCK_BOOTTIME), self._driver.now()
        if before is None:
            opens_at = now + startup_delay(vrrp, since_boot)
        else:
            opens_at = max(before.segment.opens_at, now + vrrp.delay_after_boot - since_boot)
        if opens_at > now:
            log.info("Delaying startup for %g seconds", (opens_at - now) / SECOND)
            self._engine.open_at(opens_at)

    def _on_roster_changed(self, place: Place) -> None:
        self._places.note(place)
        self._driver.settle()

    def _on_notes(self, notes: list[Note]) -> None:
        self._transitions.take(self._groups.react(notes))

    def _on_removals(self, place: Place, upkeep: Upkeep) -> None:
        # A link that goes down takes routes with it: what is told of it comes first.
        self._places.on_links(place)
        upkeep.read_removals()
        self._driver.settle()

    def _run_elsewhere(self, run: Callable[[], None], then: Callable[[], None]) -> None:
        """Calls `run` in the kernel thread, then `then` in the loop."""

        def take_back(finished: Future[None]) -> None:
            self._under_way -= 1
            error = finished.exception()
            if error is not None:
                log.error("a change in the kernel failed", exc_info=error)
            then()

        try:
            asked = self._kernel_thread.submit(run)
        except RuntimeError:
            # It has ended, as the daemon does: what is left is done here.
            run()
            then()
        else:
            self._under_way += 1
            asked.add_done_callback(
                lambda finished: self._loop.call_soon_threadsafe(take_back, finished)
            )

    def _wake(self) -> None:
        if not self._work_is_scheduled:
            self._work_is_scheduled = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        self._work_is_scheduled = False
        if self._transitions.work():
            self._wake()
        if self._alarm_for_announcer is not None:
            self._alarm_for_announcer.cancel()
            self._alarm_for_announcer = None
        due = self._announcer.next_due()
        if due is not None:
            delay = max(due - self._driver.now(), 0) / 1e9
            self._alarm_for_announcer = self._loop.call_later(delay, self._wake)

    def _end(self, number: signal.Signals) -> None:
        if self._ended_by is None:
            self._ended_by = number
            self._loop.stop()


def startup_delay(vrrp: Vrrp, since_boot: int) -> int:
    """How long nobody becomes master, at `since_boot` of the machine; both in nanoseconds."""
    return max(vrrp.startup_delay, vrrp.delay_after_boot - since_boot, 0)
