"""`notify_*` and `smtp_alert` of an instance or a sync group."""

from __future__ import annotations

from collections.abc import Mapping

from fastvrrp.config.building.scripts import ScriptUsers
from fastvrrp.model import Command, Notifications

NOTIFICATION_KEYWORDS = frozenset(
    {
        "notify_master",
        "notify_backup",
        "notify_fault",
        "notify_stop",
        "notify_deleted",
        "notify",
        "notify_master_rx_lower_pri",
        "notify_split_brain",
        "notify_priority_changes",
        "smtp_alert",
    }
)


class NotificationBuilder:
    """Builds notifications; equal ones are one object."""

    def __init__(
        self,
        users: ScriptUsers,
        sends_mail: bool,
        says_priority_changes: bool,
        split_brain: Command | None,
    ) -> None:
        """What is written in `global_defs` for all."""
        self._users = users
        self._default = Notifications(
            sends_mail=sends_mail,
            says_priority_changes=says_priority_changes,
            split_brain=users.settled(split_brain),
        )
        self._shared: dict[Notifications, Notifications] = {}

    def build(self, written: Mapping[str, object]) -> Notifications:
        """Notifications of the sound values of a block, by keyword."""
        if NOTIFICATION_KEYWORDS.isdisjoint(written):
            return self._default

        def command(keyword: str) -> Command | None:
            value = written.get(keyword)
            return self._users.settled(value) if isinstance(value, Command) else None

        def is_on(keyword: str, otherwise: bool) -> bool:
            value = written.get(keyword)
            return value if isinstance(value, bool) else otherwise

        notifications = Notifications(
            master=command("notify_master"),
            backup=command("notify_backup"),
            fault=command("notify_fault"),
            stop=command("notify_stop"),
            any_state=command("notify"),
            deleted=command("notify_deleted"),
            says_deleted="notify_deleted" in written,
            master_rx_lower_priority=command("notify_master_rx_lower_pri"),
            split_brain=command("notify_split_brain") or self._default.split_brain,
            says_priority_changes=is_on(
                "notify_priority_changes", self._default.says_priority_changes
            ),
            sends_mail=is_on("smtp_alert", self._default.sends_mail),
        )
        return self._shared.setdefault(notifications, notifications)
