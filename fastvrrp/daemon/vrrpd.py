"""The process that speaks VRRP: one event loop, all virtual routers of a configuration.

Here the rooms are put together; each of them knows only those below it. The loop watches four kinds
of descriptors: the engine's alarm, its receivers, the links' monitor, and signals (uvloop's own).
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import uvloop

from fastvrrp import __version__
from fastvrrp._driver import Driver
from fastvrrp._engine import Engine, Note
from fastvrrp._rtnetlink import Channel, count_in
from fastvrrp._sockets import SocketSender
from fastvrrp._table import Table
from fastvrrp.daemon import dumping
from fastvrrp.daemon.checking import Checking
from fastvrrp.daemon.dumping import Dumping
from fastvrrp.daemon.exporting import Exporting
from fastvrrp.daemon.options import Options
from fastvrrp.daemon.reading import Aside
from fastvrrp.daemon.reload import Reloads, Running
from fastvrrp.daemon.reload_files import ReloadTimes
from fastvrrp.daemon.scheduling import ProcessSettings, Role, Scheduling
from fastvrrp.daemon.showing import Showing
from fastvrrp.kernel.addresses import AddressQueue, Placed, leftovers
from fastvrrp.kernel.links import Links
from fastvrrp.kernel.macvlan import Vmacs
from fastvrrp.kernel.rtsockets import Watch
from fastvrrp.kernel.sysctl import Sysctls
from fastvrrp.model import SECOND, Authentication, Configuration, State, VirtualRouter, Vrrp
from fastvrrp.notify.daemon_scripts import DaemonScripts
from fastvrrp.notify.notifier import Notifier
from fastvrrp.observe.places import Places
from fastvrrp.track.scripts import Scripts
from fastvrrp.vrrp.announcer import Announcer
from fastvrrp.vrrp.filtering import Filter
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.keys import Keys
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

PROTO_VRRP = 112
PROTO_AH = 51
PRIORITY_OWNER = 255
SWITCH_INTERVAL = 0.0002
"""Seconds: a fiftieth of the shortest advert interval."""
ENDING = (signal.SIGTERM, signal.SIGINT)
SIGNALS = {*ENDING, signal.SIGHUP, *dumping.SIGNALS}
"""Every signal that means something to the daemon."""
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
        options: Options = Options(),  # noqa: B008 - it is frozen
    ) -> None:
        self._segment = segment
        self._options = options
        models = read.configuration.virtual_routers
        self._read = read
        self._loop = uvloop.new_event_loop()
        self._sysctl_file = segment.with_suffix(".sysctl")
        self._sysctls = Sysctls(_originals(self._sysctl_file))
        self._channel = Channel()
        virtual_addresses = {
            (address.family, address.address) for model in models for address in model.all_addresses
        }
        self._links = Links(virtual_addresses)
        self._table = Table(segment, len(models), max(ROOM, len(models)))
        self._table.set_version(__version__)
        count_in(self._table)
        self._sender = SocketSender()
        self._listening: set[tuple[int, int]] = set()
        """Families and protocols that are heard."""
        self._engine = Engine(self._table, self._sender, 0)
        self._driver = Driver(self._engine, self._on_notes)
        clock = self._driver.now
        self._kernel_thread = ThreadPoolExecutor(1, "kernel")
        self._roster = Roster(
            self._table,
            self._engine,
            self._links,
            Vmacs(self._channel, self._sysctls),
            clock,
            self._run_elsewhere,
        )
        definitions = read.configuration.definitions
        self._announcer = Announcer(
            self._engine,
            self._roster.instances,
            clock,
            self._name_of,
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
            lambda on_applied: AddressQueue(self._channel, on_applied),
            clock,
            self._wake,
            self._run_elsewhere,
        )
        self._roster.on_moved = self._transitions.put_again
        self._roster.on_changed = self._on_roster_changed
        self._links.on_virtual_address_gone = self._transitions.on_address_gone
        split_brains = SplitBrains(
            self._table,
            self._links,
            self._loop,
            clock,
            self._roster.instances,
            self._transitions.master_of,
            virtual_addresses,
        )
        self._transitions.on_split_brain = split_brains.heard
        self._upkeep = Upkeep(self._links, self._run_elsewhere)
        self._upkeep.on_watch = self._on_watch
        self._links.on_static_address_gone = self._upkeep.address_gone
        self._groups = SyncGroups(self._engine, self._table, self._roster, clock)
        self._scripts = Scripts(self._loop)
        tracking = Tracking(
            self._loop,
            self._roster,
            self._links,
            self._scripts,
            self._run_elsewhere,
            self._driver,
        )
        self._daemon_scripts = DaemonScripts(definitions.scripts, ENDING)
        notifier = Notifier(
            self._loop, self._scripts, self._roster.instances, self._table.state, clock
        )
        self._groups.on_group_change = notifier.on_group_change
        self._filter = Filter(
            self._sysctls,
            lambda index: self._table.state(index) == State.MASTER,
            self._run_elsewhere,
            self._remember_sysctls,
        )
        self._links.on_compared = self._on_compared
        places = Places.of_segment(segment)
        self._showing = Showing(
            self._loop,
            self._run_elsewhere,
            places,
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
            self._links,
            self._groups.states,
            tracking.state_of,
            tracking.counts,
            options,
        )
        self._routing = Routing(
            self._upkeep, self._roster, self._links, self._sysctls, self._loop.call_later
        )
        self._followers: tuple[Follower, ...] = (
            tracking,
            self._groups,
            Keys(self._engine, self._roster),
            UnknownVrids(self._engine, self._links),
            ReceiveBuffers(self._roster, self._links, self._resize),
            self._filter,
            self._routing,
            split_brains,
            self._daemon_scripts,
            notifier,
            SyncDaemons(
                self._roster.instances,
                lambda index: self._table.state(index) == State.MASTER,
                self._run_elsewhere,
                self._loop.call_later,
            ),
            GroupNews(self._groups),
            Checking(self._loop, options),
            self._showing,
            Exporting(self._loop, self._run_elsewhere, places, options.metrics),
            self._dumping,
            ProcessSettings(Scheduling(self._loop, Role.VRRP, options.process_name)),
            self._reload_times,
        )
        self._roster.followers = self._transitions.followers = self._followers
        split_brains.followers = self._followers
        self._reloads = Reloads(
            self._loop,
            str(path),
            config_id,
            Running(
                replace(read.configuration, virtual_routers=()),
                read.digests,
                self._table,
                self._engine,
                self._driver,
                self._roster,
                self._transitions,
                virtual_addresses,
                self._listen,
                self._followers,
            ),
            options,
        )
        self._reload_times.reload = self._reloads.request
        self._work_is_scheduled = False
        self._alarm_for_announcer: asyncio.TimerHandle | None = None
        self._ended_by: signal.Signals | None = None

    def run(self, on_started: Callable[[], None] = lambda: None) -> None:
        """Runs until SIGTERM or SIGINT; afterwards nothing of ours is left in the kernel.

        `on_started` is called when every virtual router has begun. SIGNALS may be blocked until
        then: they are unblocked when the loop can take them.
        """
        for number in ENDING:
            self._loop.add_signal_handler(number, self._end, number)
        with ExitStack() as ending:
            ending.callback(self._loop.close)
            ending.callback(self._segment.unlink, missing_ok=True)
            ending.callback(self._showing.close)
            claim = claim_namespace()
            ending.callback(claim.close)
            if not self._daemon_scripts.run_startup():
                self._scripts.close()
                return
            ending.callback(self._daemon_scripts.run_shutdown)
            ending.callback(self._scripts.close)
            self._serve(ending, on_started)

    def _serve(self, ending: ExitStack, on_started: Callable[[], None]) -> None:
        """Runs until a signal ends it."""
        self._loop.add_signal_handler(signal.SIGHUP, self._reloads.request)
        self._dumping.watch()
        self._loop.call_soon(signal.pthread_sigmask, signal.SIG_UNBLOCK, SIGNALS)
        self._start(ending)
        on_started()
        self._loop.run_forever()
        log.info("Stopping")

    def _start(self, ending: ExitStack) -> None:
        """Begins everything; how each thing ends is put on `ending`, so that it does although
        another one fails. What is begun last ends first: the adverts that say that we leave."""
        ending.callback(self._channel.close)
        self._links.start()
        ending.callback(self._links.close)
        ending.callback(self._sender.close)
        ending.callback(self._restore_sysctls)
        self._remove_leftovers()
        ending.callback(self._driver.close)
        for model in self._read.configuration.virtual_routers:
            self._listen(model)
        self._loop.add_reader(self._driver.alarm.descriptor, self._driver.on_alarm)
        self._loop.add_reader(self._links.fileno(), self._on_links)
        ruleset = self._filter.watch()
        if ruleset is not None:
            self._loop.add_reader(ruleset, self._filter.on_ruleset)
        ending.callback(self._roster.close)
        for follower in self._followers:
            ending.callback(follower.stop)
        ending.callback(self._transitions.finish)
        ending.callback(self._upkeep.finish)
        ending.callback(self._kernel_thread.shutdown)
        ending.callback(self._driver.settle)
        ending.callback(self._roster.stop)
        ending.callback(self._reloads.close)
        ending.callback(self._settle_what_stays)
        rest = replace(self._read.configuration, virtual_routers=())
        self._delay_masters(rest.definitions.vrrp)
        for follower in self._followers:
            follower.configure(rest)
        self._roster.add(self._read.configuration.virtual_routers)
        for follower in self._followers:
            for _ in follower.settle():
                pass
        # Reloads change what there is: nobody must keep what there was.
        self._read.configuration = Configuration()
        self._remember_sysctls()
        self._driver.settle()
        # What was made until now lives as long as the process: the collector need not look at it
        # again, least of all while an advert is due.
        gc.collect()
        gc.freeze()
        # The kernel thread must not keep the loop from the interpreter for long.
        sys.setswitchinterval(SWITCH_INTERVAL)
        log.info("Startup complete")

    def _settle_what_stays(self) -> None:
        """Says what those that stop now leave in the kernel."""
        keeps = not self._options.releases_addresses
        self._transitions.keeps_addresses = self._routing.keeps_routes = keeps

    def _delay_masters(self, vrrp: Vrrp) -> None:
        """Lets nobody become master for a while: links may not carry anything yet."""
        delay = startup_delay(vrrp, time.clock_gettime_ns(time.CLOCK_BOOTTIME))
        if delay:
            log.info("Delaying startup for %g seconds", delay / SECOND)
            self._engine.open_at(self._driver.now() + delay)

    def _remember_sysctls(self) -> None:
        """Keeps what others' kernel parameters were, for a successor if we crash."""
        if self._sysctls.originals:
            self._sysctl_file.write_text(json.dumps(dict(self._sysctls.originals)))

    def _restore_sysctls(self) -> None:
        self._sysctls.restore()
        self._sysctl_file.unlink(missing_ok=True)

    def _on_roster_changed(self) -> None:
        self._remember_sysctls()
        self._driver.settle()

    def _listen(self, model: VirtualRouter) -> None:
        """Opens the sockets that a virtual router needs, where no other has needed them."""
        if model.unicast_peers:
            self._sender.open_unicast(model.family)
        wanted = [(model.family, PROTO_VRRP)]
        if model.authentication == Authentication.AH:
            wanted.append((socket.AF_INET, PROTO_AH))
        for each in wanted:
            if each not in self._listening:
                receiver = self._driver.listen(*each)
                self._listening.add(each)
                self._loop.add_reader(receiver.descriptor, self._driver.on_packets, receiver)

    def _resize(self, family: int, size: int | None) -> None:
        """Gives the receivers of a family buffers of that size."""
        for receiver in self._driver.receivers:
            if receiver.family == family:
                receiver.resize(size)

    def _remove_leftovers(self) -> None:
        """Virtual addresses that an earlier daemon, ours or keepalived, has left behind."""
        unmarked = set()
        for model in self._read.configuration.virtual_routers:
            if model.priority == PRIORITY_OWNER:
                continue  # its addresses may be the interface's own
            for address in model.all_addresses:
                link = self._links.by_name(address.interface or model.interface)
                if link is not None:
                    unmarked.add(
                        Placed(link.index, address.family, address.address, address.prefixlen)
                    )
        wanted = set()
        for address in self._read.configuration.static_addresses:
            link = self._links.by_name(address.interface or "")
            if link is not None:
                wanted.add(Placed(link.index, address.family, address.address, address.prefixlen))
        requests = leftovers(wanted, self._channel.dump_addresses(), unmarked)
        if requests:
            log.info("removing %d virtual addresses that were left behind", len(requests))
            self._channel.apply(requests, 0, 60_000_000_000)
            self._channel.take_errors()

    def _on_notes(self, notes: list[Note]) -> None:
        self._transitions.take(self._groups.react(notes))

    def _name_of(self, ifindex: int) -> str | None:
        link = self._links.by_index(ifindex)
        return link.name if link is not None else None

    def _on_links(self) -> None:
        self._links.read()
        self._roster.catch_up()
        self._driver.settle()

    def _on_compared(self, addresses: set[tuple[int, bytes]]) -> None:
        self._transitions.compare(addresses)
        self._upkeep.compare_addresses(addresses)

    def _on_watch(self, watch: Watch) -> None:
        """There are routes or rules, whose removal is to be heard."""
        self._loop.add_reader(watch.fileno(), self._on_removals)

    def _on_removals(self) -> None:
        # A link that goes down takes routes with it: what is told of it comes first.
        self._on_links()
        self._upkeep.read_removals()
        self._driver.settle()

    def _run_elsewhere(self, run: Callable[[], None], then: Callable[[], None]) -> None:
        """Calls `run` in the kernel thread, then `then` in the loop."""

        def take_back(finished: Future[None]) -> None:
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


def claim_namespace() -> socket.socket:
    """Holds this network namespace until it is closed: two daemons would take each other's VMACs
    and addresses for what a crash has left. Raises OSError where another one holds it."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind("\0fastvrrp")  # an abstract name is one of the network namespace
    except OSError as error:
        claim.close()
        raise OSError(
            error.errno,
            "another fastvrrp runs in this network namespace: stop it, or run this one in another",
        ) from None
    return claim


def _originals(path: Path) -> dict[str, str]:
    """What a daemon that crashed had changed in the kernel's parameters of others."""
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(value) for name, value in found.items()}
