"""What `global_defs` says, and the defaults that instances take from it."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from fastvrrp.config.grammar import ExtraInterfaces
from fastvrrp.config.tree import Entry
from fastvrrp.model import SECOND, Announcements, GlobalDefinitions

MULTICAST_GROUP_4 = socket.inet_pton(socket.AF_INET, "224.0.0.18")
"""RFC 9568 section 5.1.1.2."""
MULTICAST_GROUP_6 = socket.inet_pton(socket.AF_INET6, "ff02::12")
"""RFC 9568 section 5.1.2.2."""


@dataclass(slots=True)
class Defaults:
    """Values of `global_defs` by keyword, None where nothing was written."""

    values: dict[str, object] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Remember what one `global_defs` block says; what comes later wins."""
        for inner in entry.entries:
            if inner.value is not None:
                self.values[inner.keyword.name] = inner.value

    def integer(self, name: str, otherwise: int) -> int:
        """The number or time written for a keyword."""
        value = self.values.get(name)
        return value if isinstance(value, int) else otherwise

    def is_on(self, name: str) -> bool:
        """Whether a flag or switch was written, and not as off."""
        return self.values.get(name) is True

    def address(self, name: str, otherwise: bytes) -> bytes:
        """The packed address written for a keyword."""
        value = self.values.get(name)
        return value if isinstance(value, bytes) else otherwise

    def text(self, name: str, otherwise: str) -> str:
        """The word written for a keyword."""
        value = self.values.get(name)
        return value if isinstance(value, str) else otherwise

    def announcements(self) -> Announcements:
        """Defaults of `garp_*`: those of lower priority follow those of becoming master."""
        is_minimal = self.is_on("vrrp_min_garp")
        delay = self.integer("vrrp_garp_master_delay", 0 if is_minimal else 5 * SECOND)
        repeat = self.integer("vrrp_garp_master_repeat", 1 if is_minimal else 5)
        extra = self.values.get("vrrp_garp_extra_if")
        return Announcements(
            master_delay=delay,
            master_repeat=repeat,
            lower_prio_delay=self.integer("vrrp_garp_lower_prio_delay", delay),
            lower_prio_repeat=self.integer("vrrp_garp_lower_prio_repeat", repeat),
            master_refresh=self.integer("vrrp_garp_master_refresh", 0),
            master_refresh_repeat=self.integer("vrrp_garp_master_refresh_repeat", 1),
            extra_interface_interval=extra.interval if isinstance(extra, ExtraInterfaces) else 0,
            extra_interface_all=isinstance(extra, ExtraInterfaces) and extra.is_for_all,
        )

    def definitions(self) -> GlobalDefinitions:
        """The part of the model for the whole daemon."""
        return GlobalDefinitions(
            router_id=self.text("router_id", ""),
            garp_interval=self.integer("vrrp_garp_interval", 0),
            gna_interval=self.integer("vrrp_gna_interval", 0),
        )
