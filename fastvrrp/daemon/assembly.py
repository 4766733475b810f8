"""The rooms of the process that speaks VRRP are put together here; each knows only those below it.

Nothing is begun, and nothing of the kernel is touched.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import uvloop

from fastvrrp import __version__
from fastvrrp._driver import Driver
from fastvrrp._engine import Engine, Note
from fastvrrp._rtnetlink import count_in
from fastvrrp._sockets import SocketSender
from fastvrrp._table import Table
from fastvrrp.daemon import requests
from fastvrrp.daemon.checking import Checking
from fastvrrp.daemon.dumping import Dumping
from fastvrrp.daemon.exporting import Exporting
from fastvrrp.daemon.kernel_thread import KernelThread
from fastvrrp.daemon.options import Options
from fastvrrp.daemon.orders import Reloaded, Reloading, Summed
from fastvrrp.daemon.parent import Parent, ParentSettings
from fastvrrp.daemon.places import Places
from fastvrrp.daemon.reading import Aside
from fastvrrp.daemon.reload import Reloads, Running
from fastvrrp.daemon.reload_files import ReloadTimes
from fastvrrp.daemon.routes_file import RoutesFile
from fastvrrp.daemon.scheduling import ProcessSettings, Role, Scheduling
from fastvrrp.daemon.showing import Showing
from fastvrrp.daemon.slices import Slices
from fastvrrp.daemon.snapshot import Kept
from fastvrrp.daemon.summary import Summary
from fastvrrp.daemon.umask import Umask
from fastvrrp.model import Configuration, State
from fastvrrp.notify.daemon_scripts import DaemonScripts
from fastvrrp.notify.notifier import Notifier
from fastvrrp.observe.files import Files
from fastvrrp.track.scripts import Scripts
from fastvrrp.vrrp.announcer import Announcer
from fastvrrp.vrrp.apart import Apart
from fastvrrp.vrrp.domains import Domains
from fastvrrp.vrrp.filtering import Filter
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.keys import Keys
from fastvrrp.vrrp.maintenance import Maintenance
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

ENDING = (signal.SIGTERM, signal.SIGINT)
ROOM = 262_144
"""Virtual routers that reloads can bring it to. What is not used of the state segment takes no
memory."""


class Assembly:
    """All rooms, for a configuration that was `read` of the file `path` with `config_id`.

    `segment` is the path of the state segment. Raises OSError where the rights to do it are
    missing.
    """

    def __init__(
        self,
        read: Aside,
        path: Path,
        config_id: str | None,
        segment: Path,
        options: Options,
        parent: Parent,
    ) -> None:
        self._options = options
        self._parent = parent
        count = len(read.configuration.virtual_routers)
        self.loop = uvloop.new_event_loop()
        self.table = Table(segment, count, max(ROOM, count), is_draft=True)
        self.table.set_version(__version__)
        count_in(self.table)
        sender = SocketSender()
        self.engine = Engine(self.table, sender, 0)
        self.driver = Driver(self.engine, self._on_notes)
        self.kernel_thread = KernelThread(self.loop)
        self.places = Places(
            self.loop,
            self.driver,
            sender,
            self.kernel_thread.run_elsewhere,
            segment,
            read.configuration.definitions.namespaces.network,
        )
        self._make_routers(read.configuration)
        self._make_followers(read.configuration, path, segment)
        self._make_reloads(read, path, config_id, segment)

    def _make_routers(self, configuration: Configuration) -> None:
        """What every virtual router passes through."""
        clock, definitions = self.driver.now, configuration.definitions
        self.roster = Roster(self.table, self.engine, self.places.use, self.places.release, clock)
        announcer = Announcer(self.engine, self.roster.instances, clock, self.places.name_of)
        announcer.pace(
            definitions.garp_interval, definitions.gna_interval, configuration.garp_groups
        )
        slices = Slices(self.loop, clock)
        self.transitions = Transitions(
            self.engine, self.roster.instances, announcer, clock, slices.wake
        )
        slices.transitions, slices.announcer = self.transitions, announcer
        self.roster.on_moved = self.transitions.put_again
        self.transitions.on_lost = self.roster.on_address_lost
        self.roster.on_changed = self._on_roster_changed
        self.roster.reviews.later = self.loop.call_soon
        self.split_brains = SplitBrains(
            self.table, self.loop, clock, self.roster.instances, self.transitions.standing
        )
        self.transitions.on_split_brain = self.split_brains.heard
        self.groups = SyncGroups(self.engine, self.table, self.roster, clock)
        self.scripts = Scripts(self.loop)
        self.tracking = Tracking(
            self.loop,
            self.roster,
            self.places.use,
            self.places.release,
            self.scripts,
            self.driver,
        )

    def _make_followers(self, configuration: Configuration, path: Path, segment: Path) -> None:
        """Whoever goes along with virtual routers, in the order in which they are called."""
        options, parent, places = self._options, self._parent, self.places
        shown = Files.of_segment(segment)
        self.umask = Umask(self.scripts, options.umask)
        self.daemon_scripts = DaemonScripts(configuration.definitions.scripts, ENDING)
        notifier = Notifier(
            self.loop, self.scripts, self.roster.instances, self.table.state, self.driver.now
        )
        self.groups.on_group_change = notifier.on_group_change
        filters = Apart(lambda place: Filter(place, self._is_master, self.loop, places.note))
        self.routings = Apart(
            lambda place: Routing(
                place, self.roster, self.loop, places.on_links, self.driver.settle
            )
        )
        self.routes_file = RoutesFile(segment, self.kernel_thread.run_elsewhere)
        self.showing = self._make_showing(shown, path)
        self.dumping = self._make_dumping()
        self.maintenance = self._make_maintenance(shown.maintenance)
        self.checking = Checking(self.loop, options, segment, parent)
        self.dumping.on_data = self.checking.dump
        self.reload_times = ReloadTimes(self.loop)
        self.followers: tuple[Follower, ...] = (
            self.umask,
            self.tracking,
            self.groups,
            self.maintenance,
            Keys(self.engine, self.roster),
            UnknownVrids(self.engine, places.called),
            Domains(self.table, places),
            ReceiveBuffers(self.roster, places.resize),
            filters,
            self.routings,
            self.routes_file,
            self.split_brains,
            self.daemon_scripts,
            notifier,
            self._make_sync_daemons(segment),
            GroupNews(self.groups),
            self.showing,
            Exporting(parent, shown, options.metrics),
            self.checking,
            self.dumping,
            ProcessSettings(Scheduling(self.loop, Role.VRRP, options.process_name)),
            ParentSettings(parent, options.parent_name),
            Summary(self.loop, lambda words: parent.say(Summed(words))),
            self.reload_times,
        )
        self.roster.follow(self.followers)
        self.transitions.follow(self.followers)
        self.split_brains.follow(self.followers)
        places.roster, places.transitions = self.roster, self.transitions
        places.followers, places.apart = self.followers, (filters, self.routings)

    def _make_showing(self, shown: Files, path: Path) -> Showing:
        showing = Showing(
            self.loop,
            self.kernel_thread.run_elsewhere,
            shown,
            self.table,
            self.roster.instances,
            self.tracking.states,
            path,
        )
        self.tracking.on_state = showing.tracker_changed
        return showing

    def _make_dumping(self) -> Dumping:
        return Dumping(
            self.loop,
            self.table,
            self.roster.instances,
            self.places.own.links,
            self.groups.states,
            self.tracking.state_of,
            self.tracking.counts,
            self._options,
        )

    def _make_maintenance(self, file: Path) -> Maintenance:
        return Maintenance(
            self.loop,
            self.engine,
            self.table,
            self.roster,
            self.groups,
            self.driver.now,
            self.driver.settle,
            file,
            lambda: self._parent.is_followed,
        )

    def _make_sync_daemons(self, segment: Path) -> SyncDaemons:
        return SyncDaemons(
            self.roster.instances,
            self._is_master,
            self.kernel_thread.run_elsewhere,
            self.loop.call_later,
            segment.with_suffix(".ipvs_sync"),
        )

    def _make_reloads(self, read: Aside, path: Path, config_id: str | None, segment: Path) -> None:
        self.running = Running(
            replace(read.configuration, virtual_routers=()),
            read.digests,
            self.table,
            self.engine,
            self.driver,
            self.roster,
            self.transitions,
            self.places,
            self.followers,
        )
        self.snapshot = Kept(segment, self.kernel_thread.run_elsewhere)
        self.reloads = Reloads(
            self.loop,
            str(path),
            config_id,
            self.running,
            self._options,
            self.snapshot.keep,
            read.process,
        )
        self.reload_times.reload = self.reloads.request
        self.reloads.on_begin = lambda: self._parent.say(Reloading())
        self.reloads.on_end = lambda is_done: self._parent.say(Reloaded(is_done))
        requests.register_reload(self._parent.orders, self.reloads)
        requests.register_maintenance(self._parent.orders, self.maintenance)

    def _is_master(self, index: int) -> bool:
        return self.table.state(index) == State.MASTER

    def _on_roster_changed(self, place: Place) -> None:
        self.places.note(place)
        self.driver.settle()

    def _on_notes(self, notes: list[Note]) -> None:
        self.transitions.take(self.groups.react(notes))
