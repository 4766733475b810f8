"""What is told, in the words that scripts and readers of FIFOs know from keepalived."""

from __future__ import annotations

from typing import NamedTuple

from fastvrrp.model import Command, Notifications, State

INSTANCE = "INSTANCE"
GROUP = "GROUP"

STOP = "STOP"
DELETED = "DELETED"
MASTER_RX_LOWER_PRI = "MASTER_RX_LOWER_PRI"
PRIORITY_SUFFIX = "_PRIORITY"
"""Of the state in which an instance got another priority."""
GROUP_PRIORITY = 0
"""A sync group has none."""


class Event(NamedTuple):
    """One thing that is told of an instance or a sync group."""

    kind: str
    """INSTANCE or GROUP."""
    name: str
    what: str
    """The new state (MASTER, BACKUP, FAULT, STOP, DELETED) or what else there is to tell."""
    priority: int
    """The effective one."""

    @property
    def line(self) -> bytes:
        """As it is written to FIFOs."""
        return f'{self.kind} "{self.name}" {self.what} {self.priority}\n'.encode()

    @property
    def arguments(self) -> tuple[str, ...]:
        """What a `notify` script gets after its own arguments."""
        return self.kind, self.name, self.what, str(self.priority)


def word_of(state: int) -> str:
    """What a change to this state is called; one that is INIT again has stopped."""
    return STOP if state == State.INIT else State(state).name


def script_for(notifications: Notifications, what: str) -> Command | None:
    """The script of one keyword for one state. What a reload removed is told as FAULT where nobody
    wants to hear DELETED, but the script of a fault is not for that (`is_removed`)."""
    return {
        "MASTER": notifications.master,
        "BACKUP": notifications.backup,
        "FAULT": notifications.fault,
        STOP: notifications.stop,
        DELETED: notifications.deleted,
    }.get(what)


def commands_of(notifications: Notifications) -> tuple[Command, ...]:
    """Every script that may be run."""
    scripts = (
        notifications.master,
        notifications.backup,
        notifications.fault,
        notifications.stop,
        notifications.deleted,
        notifications.master_rx_lower_priority,
        notifications.any_state,
    )
    return tuple(script for script in scripts if script is not None)
