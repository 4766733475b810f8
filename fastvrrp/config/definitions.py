"""What `global_defs` says, and the defaults that instances take from it."""

from __future__ import annotations

from collections.abc import Collection

from fastvrrp.config.building.block import Block
from fastvrrp.config.daemon_keywords import AT_TOP
from fastvrrp.config.grammar import ExtraInterfaces
from fastvrrp.config.statement import Statement
from fastvrrp.config.table import TOP
from fastvrrp.config.tree import Entry
from fastvrrp.model import Announcements

GLOBAL_ROWS = TOP.rows["global_defs"].block
AT_TOP_ROWS = {keyword.name: keyword for keyword in AT_TOP}


class Defaults(Block):
    """Values of `global_defs` by keyword; what is written later wins."""

    __slots__ = ("own_namespaces", "recipients", "sync_daemon", "top")

    def __init__(self, own_namespaces: Collection[str] = ()) -> None:
        """`own_namespaces` are names of the daemon's own network namespace on this machine."""
        assert GLOBAL_ROWS is not None
        super().__init__(GLOBAL_ROWS, ())
        self.own_namespaces = own_namespaces
        self.recipients: dict[str, None] = {}
        """`notification_email`, in order."""
        self.sync_daemon: Statement | None = None
        """`lvs_sync_daemon`."""
        self.top = Block(AT_TOP_ROWS, ())
        """What stands alone at the top."""

    def take(self, entry: Entry) -> None:
        """Remember what one `global_defs` block says, or one keyword at the top."""
        if entry.keyword.block is None:
            self.top.add(entry)
            return
        for inner in entry.entries:
            self.add(inner)
            if inner.keyword.name == "lvs_sync_daemon":
                self.sync_daemon = inner.statement
            elif inner.keyword.name == "notification_email":
                for words, _ in inner.items:
                    assert isinstance(words, tuple)
                    self.recipients.update(dict.fromkeys(words))

    def is_own_namespace(self, name: str) -> bool:
        """Whether that is the network namespace in which the daemon itself is."""
        return name == self.top.text("net_namespace") or name in self.own_namespaces

    def announcements(self) -> Announcements:
        """Defaults of `garp_*`: those of lower priority follow those of becoming master."""
        is_minimal = self.is_on("vrrp_min_garp")
        delay = self.number("vrrp_garp_master_delay")
        repeat = self.number("vrrp_garp_master_repeat")
        if is_minimal:
            delay = delay if "vrrp_garp_master_delay" in self.written else 0
            repeat = repeat if "vrrp_garp_master_repeat" in self.written else 1
        extra = self.value("vrrp_garp_extra_if")
        return Announcements(
            master_delay=delay,
            master_repeat=repeat,
            lower_prio_delay=self.number("vrrp_garp_lower_prio_delay", delay),
            lower_prio_repeat=self.number("vrrp_garp_lower_prio_repeat", repeat),
            master_refresh=self.number("vrrp_garp_master_refresh"),
            master_refresh_repeat=self.number("vrrp_garp_master_refresh_repeat"),
            extra_interface_interval=extra.interval if isinstance(extra, ExtraInterfaces) else 0,
            extra_interface_all=isinstance(extra, ExtraInterfaces) and extra.is_for_all,
        )

    def script_user(self) -> tuple[str | None, str | None]:
        """User and group of scripts that name none."""
        value = self.value("script_user")
        return (value[0], value[1]) if isinstance(value, tuple) else (None, None)

    def sends_mail(self, kind: str) -> bool | None:
        """`smtp_alert_vrrp` or `smtp_alert_checker`, or else `smtp_alert`; None for neither."""
        value = self.written.get(f"smtp_alert_{kind}", self.written.get("smtp_alert"))
        return value if isinstance(value, bool) else None
