"""As whom a command of the configuration runs: names of users made numbers."""

from __future__ import annotations

import grp
import os
import pwd

from fastvrrp.model import Command
from fastvrrp.model import Scripts as Settings
from fastvrrp.track import script

DEFAULT_USER = "keepalived_script"
"""Who runs scripts where nothing is written, if that user exists; else it is the daemon's."""


def as_run(command: Command, settings: Settings) -> script.Command:
    """A command of the configuration with `script_user` and its defaults filled in. Raises KeyError
    where a user or a group does not exist any more. It asks who knows the users of this machine,
    which may be a server elsewhere."""
    user = command.user or settings.user
    group = command.group if command.user else settings.group
    try:
        account = pwd.getpwnam(user or DEFAULT_USER)
    except KeyError:
        if user is not None:
            raise
        return script.Command(
            command.arguments, None, settings.is_secure, settings.keeps_symbolic_links
        )
    gid = grp.getgrnam(group).gr_gid if group else account.pw_gid
    others: tuple[int, ...] = ()
    if settings.has_supplementary_groups or command.has_supplementary_groups:
        others = tuple(os.getgrouplist(account.pw_name, gid))
    return script.Command(
        command.arguments,
        script.Credentials(account.pw_uid, gid, others),
        settings.is_secure,
        settings.keeps_symbolic_links,
    )
