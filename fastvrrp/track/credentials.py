"""As whom a command of the configuration runs: names of users made numbers.

Who a user is may be known to a server elsewhere, which may be slow. So whoever reads the
configuration, in another process, looks up all users that are named in it, and the daemon learns
the answers (`learn`). `as_run` asks the machine itself where nobody has.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import NamedTuple

from fastvrrp.model import (
    Command,
    Configuration,
    Fifo,
    MiscCheck,
    VirtualRouter,
    VirtualServer,
)
from fastvrrp.model import Scripts as Settings
from fastvrrp.track import script

DEFAULT_USER = "keepalived_script"
"""Who runs scripts where nothing is written, if that user exists; else it is the daemon's."""


class Account(NamedTuple):
    """What is asked about a user."""

    user: str
    group: str | None = None
    """None is the user's own."""
    has_all_groups: bool = False


_learned: dict[Account, script.Credentials | None] = {}


def learn(accounts: Mapping[Account, script.Credentials | None]) -> None:
    """Takes these answers from now on, and no earlier ones; None is a user that there is not."""
    _learned.clear()
    _learned.update(accounts)


def look_up(account: Account) -> script.Credentials:
    """What the machine says of a user. Raises KeyError where it knows no such user or group."""
    entry = pwd.getpwnam(account.user)
    gid = grp.getgrnam(account.group).gr_gid if account.group else entry.pw_gid
    others: tuple[int, ...] = ()
    if account.has_all_groups:
        others = tuple(os.getgrouplist(entry.pw_name, gid))
    return script.Credentials(entry.pw_uid, gid, others)


def as_run(command: Command, settings: Settings) -> script.Command:
    """A command of the configuration with `script_user` and its defaults filled in. Raises KeyError
    where a user or a group does not exist any more."""
    account, is_named = _account(command, settings)
    try:
        found = _learned[account] if account in _learned else look_up(account)
        if found is None:
            raise KeyError(_unknown(account))
    except KeyError:
        if is_named:
            raise
        found = None
    return script.Command(
        command.arguments, found, settings.is_secure, settings.keeps_symbolic_links
    )


def ask_again(command: Command, settings: Settings) -> bool:
    """Whether the user of a command is known now; asks the machine, which may take long."""
    account, _ = _account(command, settings)
    try:
        found = look_up(account)
    except KeyError:
        return False
    _learned[account] = found
    return True


def accounts_of(
    configuration: Configuration, routers: Iterable[VirtualRouter]
) -> dict[Account, script.Credentials | None]:
    """Everybody as whom something of a configuration, and of some virtual routers, is to be run."""
    settings = configuration.definitions.scripts
    found: dict[Account, script.Credentials | None] = {}
    for command in _commands(configuration, routers):
        account, _ = _account(command, settings)
        if account not in found:
            try:
                found[account] = look_up(account)
            except KeyError:
                found[account] = None
    return found


def _account(command: Command, settings: Settings) -> tuple[Account, bool]:
    """Whom a command runs as, and whether somebody is named."""
    user = command.user or settings.user
    group = command.group if command.user else settings.group
    has_all_groups = settings.has_supplementary_groups or command.has_supplementary_groups
    return Account(user or DEFAULT_USER, group, has_all_groups), user is not None


def _unknown(account: Account) -> str:
    group = f" with group {account.group}" if account.group else ""
    return f"user {account.user}{group} is not known on this machine"


def _commands(configuration: Configuration, routers: Iterable[VirtualRouter]) -> Iterator[Command]:
    yield from _within(replace(configuration, virtual_servers=()))
    for server in configuration.virtual_servers:  # there may be thousands
        yield from _of_server(server)
    seen: set[int] = set()  # equal ones are one object
    for router in routers:
        if id(router.notifications) not in seen:
            seen.add(id(router.notifications))
            yield from router.notifications.commands


def _of_server(server: VirtualServer) -> Iterator[Command]:
    yield from filter(None, (server.quorum_up, server.quorum_down))
    for real in server.real_servers:
        yield from filter(None, (real.notify_up, real.notify_down))
        for checker in real.checkers:
            if isinstance(checker, MiscCheck):
                yield checker.command


def _within(value: object) -> Iterator[Command]:
    """The commands anywhere in a part of a configuration."""
    if isinstance(value, Command):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _within(item)
    elif is_dataclass(value):
        if isinstance(value, Fifo):
            yield Command(("",), value.user, value.group)  # whose it is
        for each in fields(value):
            yield from _within(getattr(value, each.name))
