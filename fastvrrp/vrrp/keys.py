"""`auth_hmac`: the keys of virtual routers, read at the start and at every reload.

An instance whose keys cannot be read is in FAULT, and says why, until a reload can read them. The
others go on. What was sent and heard stays known over a reload, so that no key that is changed
opens the way for a replay.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from fastvrrp._engine import Engine
from fastvrrp._trailer import Authenticator
from fastvrrp.config.hmac_keys import KeyFault, is_in_file, key_bytes
from fastvrrp.model import AntiReplay, Configuration, Hmac, HmacMode, VirtualRouter
from fastvrrp.notify.fields import about
from fastvrrp.vrrp.follower import Follower
from fastvrrp.vrrp.instance import Instance
from fastvrrp.vrrp.roster import Roster

log = logging.getLogger(__name__)

CAUSE = "auth_hmac"
"""Of the FAULT of an instance without keys."""


class Keys(Follower):
    """Gives every virtual router with `auth_hmac` an Authenticator with its keys."""

    def __init__(self, engine: Engine, roster: Roster) -> None:
        self._engine = engine
        self._roster = roster
        self._authenticators: dict[int, Authenticator] = {}
        """By the table's index."""
        self._with_files: dict[int, Instance] = {}
        """Instances with keys in files, which may change while the configuration does not."""
        self._unread: dict[int, Instance] = {}
        """Those of them whose files were not read since the configuration was."""

    def configure(self, configuration: Configuration) -> None:
        self._unread = dict(self._with_files)

    def enter(self, instance: Instance) -> None:
        if instance.model.options.hmac is not None:
            self._take_keys(instance, instance.model.options.hmac)

    def change(self, instance: Instance, old: VirtualRouter) -> None:
        self._forget_files(instance)
        hmac = instance.model.options.hmac
        if hmac is not None:
            self._take_keys(instance, hmac)
        elif old.options.hmac is not None:
            self._authenticators.pop(instance.index, None)
            self._engine.authenticate(instance.index, None)
            self._roster.hold(instance, CAUSE, None)

    def leave(self, instance: Instance) -> None:
        self._authenticators.pop(instance.index, None)
        self._forget_files(instance)

    def settle(self) -> Iterator[None]:
        while self._unread:
            _, instance = self._unread.popitem()
            assert instance.model.options.hmac is not None
            self._take_keys(instance, instance.model.options.hmac)
            yield

    def _forget_files(self, instance: Instance) -> None:
        self._with_files.pop(instance.index, None)
        self._unread.pop(instance.index, None)

    def _take_keys(self, instance: Instance, hmac: Hmac) -> None:
        """Reads the keys of an instance; where that fails, nothing is sent or heard with others."""
        if any(is_in_file(key.key) for key in hmac.keys):
            self._with_files[instance.index] = instance
        keys: list[tuple[int, bytes]] = []
        for key in hmac.keys:
            try:
                keys.append((key.number, key_bytes(key.key)))
            except KeyFault as fault:
                why = f"key {key.number} of auth_hmac cannot be used: {fault}"
                if instance.faults.get(CAUSE) != why:
                    name = instance.model.name
                    log.error("(%s) %s", name, why, extra=about(name))
                self._roster.hold(instance, CAUSE, why)
                return
        is_required = hmac.mode is HmacMode.ENFORCE
        window = hmac.time_window if hmac.anti_replay is AntiReplay.TIME else 0
        authenticator = self._authenticators.get(instance.index)
        if authenticator is None:
            authenticator = Authenticator(
                keys, hmac.active_key, is_required=is_required, window=window
            )
            self._authenticators[instance.index] = authenticator
        else:
            authenticator.configure(keys, hmac.active_key, is_required=is_required, window=window)
        self._engine.authenticate(instance.index, authenticator)
        self._roster.hold(instance, CAUSE, None)
