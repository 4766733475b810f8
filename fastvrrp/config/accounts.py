"""Users and groups of this machine, as far as scripts need them."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable

DEFAULT_USER = "keepalived_script"
"""Who runs scripts where nothing is written, if that user exists; else it is root."""


def is_user(name: str) -> bool:
    """Whether this machine has a user of that name."""
    return _is_named(pwd.getpwnam, name)


def is_group(name: str) -> bool:
    """Whether this machine has a group of that name."""
    return _is_named(grp.getgrnam, name)


def _is_named(look_up: Callable[[str], object], name: str) -> bool:
    try:
        look_up(name)
    except (KeyError, ValueError, UnicodeError):
        return False
    return True
