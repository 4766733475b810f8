"""What is told, in the words that scripts and readers of FIFOs know from keepalived."""

from __future__ import annotations

from typing import NamedTuple

from fastvrrp.model import Command, Notifications, State

INSTANCE = "INSTANCE"
GROUP = "GROUP"

STOP = "STOP"
DELETED = "DELETED"
MASTER_RX_LOWER_PRI = "MASTER_RX_LOWER_PRI"
SPLIT_BRAIN = "SPLIT_BRAIN"
"""fastvrrp's own: another master does not yield."""
SPLIT_BRAIN_OVER = "SPLIT_BRAIN_OVER"
MAILED = frozenset({"MASTER", "BACKUP", "FAULT", DELETED})
"""What there is a mail of, besides split brains."""
UNKNOWN = "-"
"""Instead of an address or a MAC."""
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
        return f'{self.kind} "{self.name}" {self.what} {self.priority}\n'.encode(
            errors="surrogateescape"
        )

    @property
    def arguments(self) -> tuple[str, ...]:
        """What a `notify` script gets after its own arguments."""
        return self.kind, self.name, self.what, str(self.priority)


def word_of(state: int) -> str:
    """What a change to this state is called; one that is INIT again has stopped."""
    return STOP if state == State.INIT else State(state).name


def script_for(notifications: Notifications, what: str) -> Command | None:
    """The script of the keyword for one state."""
    match what:
        case "MASTER":
            return notifications.master
        case "BACKUP":
            return notifications.backup
        case "FAULT":
            return notifications.fault
        case "STOP":
            return notifications.stop
        case "DELETED":
            return notifications.deleted
    return None
