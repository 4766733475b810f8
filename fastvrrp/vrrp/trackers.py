"""The state of everything that is tracked: interfaces, scripts, files and processes.

A state may not be known: a script that was never run, a file that a reload has just brought. What
it would add counts as nothing then, and without a weight whoever tracks it does not begin yet, but
goes on where it has, as keepalived does it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fastvrrp.kernel.links import Change, Link
from fastvrrp.model import (
    Configuration,
    Tracked,
    Tracker,
    TrackFile,
    TrackProcess,
    TrackScript,
)
from fastvrrp.model import Scripts as ScriptSettings
from fastvrrp.observe.details import TrackerState, name_of
from fastvrrp.track.credentials import as_run
from fastvrrp.track.files import Files, initialise
from fastvrrp.track.priority import Contribution, of_number, of_state
from fastvrrp.track.processes import Processes
from fastvrrp.track.script import Check
from fastvrrp.track.scripts import Scripts
from fastvrrp.vrrp.place import Place

log = logging.getLogger(__name__)


class Key(NamedTuple):
    """What tells tracked things apart."""

    kind: Tracker
    name: str
    namespace: str = ""
    """Of an interface: its network namespace, where that is not the daemon's own."""

    @classmethod
    def of(cls, tracked: Tracked) -> Key:
        return cls(tracked.kind, tracked.name, tracked.namespace or "")


@dataclass(slots=True)
class _Interface:
    """An interface that is tracked."""

    place: Place
    hear: Callable[[Change, Link], None]


class Trackers:
    """What is tracked at all, and its states."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        use: Callable[[str | None], Place],
        release: Callable[[Place], None],
        scripts: Scripts,
        log_link: Callable[[Place, Change, Link], None],
        on_change: Callable[[Key], None],
    ) -> None:
        """`on_change` is called when a state has changed, or is known at last; `log_link` when an
        interface that is tracked has, before that. `use` gives the network namespace of a name,
        which stays until `release` is called with it."""
        self._loop = loop
        self._use = use
        self._release = release
        self._interfaces: dict[Key, _Interface] = {}
        self._scripts = scripts
        self._log_link = log_link
        self._on_change = on_change
        self._definitions: dict[Key, TrackScript | TrackFile | TrackProcess] = {}
        self._settings = ScriptSettings()
        self._begun: set[Key] = set()
        self._checks: dict[str, tuple[TrackScript, ScriptSettings]] = {}
        """What each script is run by."""
        self._paths: dict[str, str] = {}
        """Where each file is looked for."""
        self._files: Files | None = None
        self._processes = Processes(
            loop, lambda name, _: self._on_change(Key(Tracker.PROCESS, name))
        )
        self._is_resumed = False
        """A process that has died had begun them."""
        self._is_running = False
        """The first ones have begun, and nobody waits for others."""
        scripts.on_news = lambda name, _: self._on_change(Key(Tracker.SCRIPT, name))

    def configure(self, configuration: Configuration) -> None:
        """What the names of trackers mean from now on."""
        self._settings = configuration.definitions.scripts
        self._definitions = {
            **{Key(Tracker.SCRIPT, each.name): each for each in configuration.track_scripts},
            **{Key(Tracker.FILE, each.name): each for each in configuration.track_files},
            **{Key(Tracker.PROCESS, each.name): each for each in configuration.track_processes},
        }
        if not self._is_running and configuration.track_processes:
            self._processes.count(configuration.track_processes)

    def presume(self, states: Iterable[TrackerState]) -> None:
        """The results of scripts are these, and files are not given their first value, since that
        was done by a process that has died; to be called before the first `configure`."""
        self._is_resumed = True
        for each in states:
            if each.kind == Tracker.SCRIPT.name.lower() and each.state is not None:
                self._scripts.presume(each.name, bool(each.state))

    def begin(self, key: Key) -> None:
        """Somebody tracks it. When the daemon starts its state is known afterwards, but for what a
        script has to say."""
        if key in self._begun:
            return
        self._begun.add(key)
        kind, name, namespace = key
        if kind == Tracker.INTERFACE:
            place = self._use(namespace or None)
            interface = self._interfaces[key] = _Interface(
                place, lambda change, link: self._on_link(key, place, change, link)
            )
            place.links.subscribe(interface.hear, name)
            if place.links.by_name(name) is None:
                log.info(
                    "Interface %s is tracked and does not exist - will use if created",
                    place.called(name),
                )
        elif kind == Tracker.FILE:
            definition = self._definitions.get(key)
            if isinstance(definition, TrackFile):
                self._watch_file(definition)

    def settle(self, wanted: Collection[Key]) -> Iterator[None]:
        """Ends what is not wanted any more, and lets all others be as they are written. It may stop
        between any two steps."""
        for key in self._begun - set(wanted):
            self._end(key)
            yield
        for key in list(self._begun):
            definition = self._definitions.get(key)
            if isinstance(definition, TrackScript):
                self._run_script(definition)
                yield
            elif isinstance(definition, TrackFile):
                self._watch_file(definition)
        self._processes.track(
            definition
            for key in sorted(key for key in self._begun if key.kind == Tracker.PROCESS)
            if isinstance(definition := self._definitions.get(key), TrackProcess)
        )
        while self._files is not None and self._files.is_behind:
            self._files.read()
            yield
        self._is_running = True

    def stop(self) -> None:
        """Tracks nothing any more."""
        for key in list(self._begun):
            self._end(key)
        self._processes.close()
        if self._files is not None:
            self._loop.remove_reader(self._files.fileno())
            self._files.close()

    def contribution(self, tracked: Tracked) -> Contribution:
        """What a tracked thing adds to a priority as it is now; None is a fault."""
        state = self._state(tracked)
        if state is None:
            return 0 if tracked.weight else None
        if tracked.kind == Tracker.FILE:
            return of_number(state, tracked.weight, tracked.is_reversed)
        return of_state(bool(state), tracked.weight, tracked.is_reversed)

    def states(self) -> Iterator[TrackerState]:
        """Everything that is tracked, as it is now, in no order."""
        for key in list(self._begun):
            tracked = Tracked(key.kind, key.name, namespace=key.namespace or None)
            state = self._state(tracked)
            yield TrackerState(
                key.kind.name.lower(),
                name_of(tracked),
                None if state is None else int(state),
                self.describe(tracked),
            )

    def state_of(self, kind: Tracker, name: str) -> int | None:
        """Whether something that is tracked is good, or the number in a file; None where that is
        not known yet."""
        state = self._state(Tracked(kind, name))
        return None if state is None else int(state)

    def counts(self) -> Mapping[str, int]:
        """Of tracked processes, how many there were when that was last told."""
        return self._processes.counts

    def is_known(self, tracked: Tracked) -> bool:
        """Whether its state is known at all."""
        return self._state(tracked) is not None

    def describe(self, tracked: Tracked) -> str:
        """How a tracked thing is now, for a person."""
        state = self._state(tracked)
        name = tracked.name
        if tracked.kind == Tracker.INTERFACE:
            interface = self._interfaces.get(Key.of(tracked))
            if interface is not None:
                if interface.place.fault is not None:
                    return f"tracked interface {name} is down: {interface.place.fault}"
                name = interface.place.called(name)
            return f"tracked interface {name} is {'up' if state else 'down'}"
        if tracked.kind == Tracker.SCRIPT:
            if state is None:
                return f"tracked script {name} has not run yet"
            return f"tracked script {name} {'succeeded' if state else 'failed'}"
        if tracked.kind == Tracker.FILE:
            if state is None:
                return f"tracked file {name} was not read yet"
            return f"tracked file {name} has status {state}"
        if state is None:
            return f"tracked process {name} was not counted yet"
        return f"tracked process {name} quorum {'' if state else 'not '}achieved"

    def _state(self, tracked: Tracked) -> int | None:
        """Whether it is good, or the number in a file; None where that is not known."""
        kind, name = tracked.kind, tracked.name
        if kind == Tracker.INTERFACE:
            interface = self._interfaces.get(Key.of(tracked))
            link = interface.place.links.by_name(name) if interface is not None else None
            return link is not None and link.is_up
        if kind == Tracker.SCRIPT:
            known = self._scripts.known.get(name)
            definition = self._definitions.get(Key(kind, name))
            if known is None and isinstance(definition, TrackScript) and definition.fails_at_first:
                return False
            return known
        if kind == Tracker.FILE:
            return None if self._files is None else self._files.numbers.get(name)
        return self._processes.known.get(name)

    def _end(self, key: Key) -> None:
        self._begun.discard(key)
        kind, name, _ = key
        if kind == Tracker.INTERFACE:
            interface = self._interfaces.pop(key)
            interface.place.links.unsubscribe(interface.hear, name)
            self._release(interface.place)
        elif kind == Tracker.SCRIPT:
            self._scripts.latecomers.forget(("vrrp_script", name))
            if self._checks.pop(name, None) is not None:
                self._scripts.forget(name)
        elif kind == Tracker.FILE and self._paths.pop(name, None) is not None:
            assert self._files is not None
            self._files.forget(name)

    def _run_script(self, script: TrackScript) -> None:
        self._scripts.latecomers.forget(("vrrp_script", script.name))
        if self._checks.get(script.name) == (script, self._settings):
            return
        try:
            command = as_run(script.command, self._settings)
        except KeyError as error:
            log.error("vrrp_script %s is not run yet: %s", script.name, error.args[0])
            self._scripts.latecomers.wait(
                ("vrrp_script", script.name),
                script.command,
                self._settings,
                lambda: self._run_script(script),
            )
            return
        self._checks[script.name] = script, self._settings
        self._scripts.watch(
            Check(
                script.name,
                command,
                script.interval,
                script.timeout,
                script.rise,
                script.fall,
                script.fails_at_first,
            )
        )

    def _watch_file(self, file: TrackFile) -> None:
        if self._paths.get(file.name) == file.path:
            return
        files = self._opened_files()
        if files is None:
            return
        self._paths[file.name] = file.path
        if file.initial_value is not None and (self._is_running or not self._is_resumed):
            try:
                initialise(file.path, file.initial_value, overwrites=file.overwrites)
            except OSError as error:
                log.error("track_file %s: %s: %s", file.name, file.path, error.strerror)
        files.watch(file.name, file.path)
        if not self._is_running:
            files.look(file.name)

    def _opened_files(self) -> Files | None:
        if self._files is None:
            try:
                self._files = Files(lambda name: self._on_change(Key(Tracker.FILE, name)))
            except OSError as error:
                log.error("no file can be tracked: inotify: %s", error.strerror)
                return None
            self._loop.add_reader(self._files.fileno(), self._read_files)
        return self._files

    def _read_files(self) -> None:
        if self._files is None:
            return
        self._files.read()
        if self._files.is_behind:
            self._loop.call_soon(self._read_files)

    def _on_link(self, key: Key, place: Place, change: Change, link: Link) -> None:
        if change in (Change.APPEARED, Change.VANISHED, Change.UP, Change.DOWN):
            self._log_link(place, change, link)
            self._on_change(key)
