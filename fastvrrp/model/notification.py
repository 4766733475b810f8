"""Who is told of a change of state."""

from __future__ import annotations

from fastvrrp.model.frozen import dataclass
from fastvrrp.model.scripts import Command


@dataclass(frozen=True, slots=True)
class Notifications:
    """`notify_*` and `smtp_alert` of an instance or a sync group; equal ones are one object."""

    master: Command | None = None
    backup: Command | None = None
    fault: Command | None = None
    stop: Command | None = None
    any_state: Command | None = None
    """`notify`: after the others, with what changed as further arguments."""
    deleted: Command | None = None
    says_deleted: bool = False
    """`notify_deleted`: what a reload removes is told as DELETED, not as FAULT."""
    master_rx_lower_priority: Command | None = None
    """`notify_master_rx_lower_pri`: a master heard an advert of lower priority."""
    split_brain: Command | None = None
    """`notify_split_brain`, by default that of `global_defs`: an instance's other master does not
    yield, or that is over."""
    says_priority_changes: bool = False
    """`notify_priority_changes`, by default `vrrp_notify_priority_changes`: to FIFOs only."""
    sends_mail: bool = False
    """`smtp_alert`, by default `smtp_alert_vrrp` or else the global `smtp_alert`."""

    @property
    def commands(self) -> tuple[Command, ...]:
        """Every script that may be run."""
        scripts = (
            self.master,
            self.backup,
            self.fault,
            self.stop,
            self.deleted,
            self.master_rx_lower_priority,
            self.split_brain,
            self.any_state,
        )
        return tuple(script for script in scripts if script is not None)
