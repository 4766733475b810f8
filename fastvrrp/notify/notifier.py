"""Tells of everything that happens to instances and sync groups.

In keepalived's order: a line to the FIFOs, the script for the new state, the script for every
state, a mail.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING

from fastvrrp._engine import Note
from fastvrrp.model import SECOND, Configuration, Notifications, State, SyncGroup, VirtualRouter
from fastvrrp.notify.commands import Commands
from fastvrrp.notify.events import (
    DELETED,
    GROUP,
    GROUP_PRIORITY,
    INSTANCE,
    MAILED,
    MASTER_RX_LOWER_PRI,
    PRIORITY_SUFFIX,
    SPLIT_BRAIN,
    SPLIT_BRAIN_OVER,
    UNKNOWN,
    Event,
    script_for,
    word_of,
)
from fastvrrp.notify.fifos import Fifos
from fastvrrp.track.scripts import Scripts
from fastvrrp.vrrp.follower import Follower, Rival
from fastvrrp.vrrp.instance import Instance

if TYPE_CHECKING:
    from fastvrrp.notify.mailer import Mailer

SILENT = Notifications()
"""Those of an instance that tells nobody but FIFOs."""
SOON = 0.9
"""Part of an advert interval that has passed at least since the last advert of lower priority of
which anybody is told: a master that sends too many must not start as many scripts."""


class Notifier(Follower):
    """Tells scripts, FIFOs and mail servers."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        scripts: Scripts,
        instances: Mapping[int, Instance],
        state_of: Callable[[int], int],
        clock: Callable[[], int],
    ) -> None:
        """`instances` are all, by index, and `state_of` gives the state at an index."""
        self._instances = instances
        self._state_of = state_of
        self._clock = clock
        self._commands = Commands(scripts)
        self._fifos = Fifos(loop, scripts, self._commands)
        self._loop = loop
        self._mailer: Mailer | None = None
        """None until mails are wanted: its libraries take 3 MB."""
        self._groups: dict[str, State] = {}
        """The state of each sync group, as it was told last."""
        self._tells_states = False
        self._is_reloading = False
        self._fresh: set[int] = set()
        """Indexes of instances that came with this reload: their notes tell of them."""
        self._leaving: set[int] = set()
        self._told: dict[int, int] = {}
        """The state that was told last, by index, where priorities are told too."""
        self._heard: dict[int, int] = {}
        """When an advert of lower priority was told last, by index."""

    def configure(self, configuration: Configuration) -> None:
        definitions = configuration.definitions
        self._commands.configure(definitions.scripts)
        self._fifos.configure(definitions.fifos)
        if definitions.mail.server is not None and self._mailer is None:
            from fastvrrp.notify.mailer import Mailer  # noqa: PLC0415 - for its libraries

            self._mailer = Mailer(self._loop)
        if self._mailer is not None:
            self._mailer.configure(definitions.mail, definitions.router_id)
        self._tells_states = definitions.fifos.tells_states_on_reload and self._is_reloading
        self._is_reloading = True
        self._fresh.clear()
        for group in configuration.sync_groups:
            self._know(group.notifications)
        names = {group.name for group in configuration.sync_groups}
        for name in self._groups.keys() - names:
            del self._groups[name]

    def enter(self, instance: Instance) -> None:
        self._leaving.discard(instance.index)  # one that was there before had nothing to tell
        if self._tells_states:
            self._fresh.add(instance.index)
        self._know(instance.model.notifications)

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        self._know(instance.model.notifications)
        if instance.model.notifications.says_priority_changes:
            self._told.setdefault(instance.index, self._state_of(instance.index))
        if instance.model.name != old.name:
            self._tell_removed(old, instance.priority)
            state = self._state_of(instance.index)
            if state != State.INIT:
                self._tell_instance(instance, word_of(state))
                self._fresh.add(instance.index)

    def leave(self, instance: Instance) -> None:
        self._leaving.add(instance.index)

    def settle(self) -> Iterator[None]:
        """Tells the states of those that did not change, where that is wanted."""
        if not (self._tells_states and self._fifos):
            return
        for instance in list(self._instances.values()):
            state = self._state_of(instance.index)
            if state != State.INIT and instance.index not in self._fresh:
                self._fifos.tell(_event(instance, word_of(state)))
            yield
        for name, group_state in self._groups.items():
            self._fifos.tell(Event(GROUP, name, word_of(group_state), GROUP_PRIORITY))

    def take(self, instance: Instance, note: Note) -> None:
        if note.reannounces or note.after == note.before:
            return
        notifications = instance.model.notifications
        is_removed = note.after == State.INIT and instance.index in self._leaving
        if self._fifos or notifications != SILENT:
            if is_removed:
                self._tell_removed(instance.model, instance.priority)
            else:
                self._tell_instance(instance, word_of(note.after))
        if note.after == State.INIT:
            self._leaving.discard(instance.index)
            self._told.pop(instance.index, None)
            self._heard.pop(instance.index, None)
        elif notifications.says_priority_changes:
            self._told[instance.index] = note.after

    def resume(self, instance: Instance, state: State) -> None:
        if instance.model.notifications.says_priority_changes:
            self._told[instance.index] = state

    def moved(self, instance: Instance, before: int) -> None:
        state = self._told.get(instance.index)
        if (
            state in (State.MASTER, State.BACKUP)
            and instance.model.notifications.says_priority_changes
        ):
            self._fifos.tell(_event(instance, word_of(state) + PRIORITY_SUFFIX))

    def heard_lower_priority(self, instance: Instance) -> None:
        script = instance.model.notifications.master_rx_lower_priority
        if script is None and not self._fifos:
            return
        now = self._clock()
        last = self._heard.get(instance.index)
        if last is not None and now - last < SOON * instance.model.advert_interval:
            return
        self._heard[instance.index] = now
        self._fifos.tell(_event(instance, MASTER_RX_LOWER_PRI))
        if script is not None:
            self._commands.run(script)

    def split_brain(self, instance: Instance, is_over: bool, who: Rival) -> None:
        """The script gets, behind what `notify` gets, the other's address and MAC, and since when
        there are two, in seconds since the epoch."""
        event = _event(instance, SPLIT_BRAIN_OVER if is_over else SPLIT_BRAIN)
        notifications = instance.model.notifications
        self._fifos.tell(event)
        if notifications.split_brain is not None:
            source = str(ip_address(who.source)) if who.source is not None else UNKNOWN
            mac = who.mac.hex(":") if who.mac is not None else UNKNOWN
            since = round(time.time() - (self._clock() - who.since) / SECOND)
            arguments = (*event.arguments, source, mac, str(since))
            self._commands.run(notifications.split_brain, *arguments)
        if notifications.sends_mail:
            self._mail(event)

    def on_group_change(self, group: SyncGroup, before: State, after: State) -> None:
        """A sync group has changed its state; INIT is before its start and after its stop. Who
        calls it sees to keepalived's order: members first, but for a start as BACKUP."""
        self._groups[group.name] = after
        event = Event(GROUP, group.name, word_of(after), GROUP_PRIORITY)
        self._tell(group.notifications, event)

    def stop(self) -> None:
        self._fifos.close()
        if self._mailer is not None:
            self._mailer.close()

    def _know(self, notifications: Notifications) -> None:
        if notifications != SILENT:
            for command in notifications.commands:
                self._commands.know(command)

    def _tell_instance(self, instance: Instance, what: str) -> None:
        self._tell(instance.model.notifications, _event(instance, what))

    def _tell_removed(self, model: VirtualRouter, priority: int) -> None:
        """An instance is no more: that is no fault, whose script is not run, although it may be
        told as one."""
        notifications = model.notifications
        what = DELETED if notifications.says_deleted else "FAULT"
        self._tell(notifications, Event(INSTANCE, model.name, what, priority), is_removed=True)

    def _tell(
        self, notifications: Notifications, event: Event, *, is_removed: bool = False
    ) -> None:
        self._fifos.tell(event)
        script = None
        if not is_removed or event.what == DELETED:
            script = script_for(notifications, event.what)
        if script is not None:
            self._commands.run(script)
        if notifications.any_state is not None:
            self._commands.run(notifications.any_state, *event.arguments)
        if notifications.sends_mail and event.what in MAILED:
            self._mail(event)

    def _mail(self, event: Event) -> None:
        if self._mailer is not None:
            self._mailer.tell(event)


def _event(instance: Instance, what: str) -> Event:
    return Event(INSTANCE, instance.model.name, what, instance.priority)
