"""What few instances write: who is told, routes, rules, VRF, HMAC and single switches.

Equal ones are one object.
"""

from __future__ import annotations

from collections.abc import Iterable

from fastvrrp.config.building.block import Block
from fastvrrp.config.building.notification import NOTIFICATION_KEYWORDS, NotificationBuilder
from fastvrrp.config.building.routes import RuleBuilder, route
from fastvrrp.config.building.vmacs import OwnLinks
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.hmac_keys import KeyFault, is_in_file, key_bytes
from fastvrrp.config.options import Options
from fastvrrp.config.tree import Entry
from fastvrrp.model import (
    SECOND,
    AntiReplay,
    Hmac,
    HmacKey,
    HmacMode,
    InstanceOptions,
    OldChecksum,
)

OPTION_KEYWORDS = frozenset(
    {
        *NOTIFICATION_KEYWORDS,
        "virtual_routes",
        "virtual_rules",
        "strict_mode",
        "promote_secondaries",
        "track_src_ip",
        "unicast_fault_no_peer",
        "old_unicast_checksum",
        "timer_expired_backup",
        "net_namespace",
        "vrf",
        "auth_hmac",
        "kernel_rx_buf_size",
        "lvs_sync_daemon_interface",
        "linkbeat_use_polling",
        "debug",
    }
)
LOWEST_PRIORITY_AFTER_PAUSE = 254
"""`timer_expired_backup` without a priority."""
SHORTEST_WINDOW = 5 * SECOND
WINDOW_ADVERTS = 3
"""Advert intervals that `time_window` is where it is not written."""


class OptionsBuilder:
    """Builds the rare options of instances."""

    def __init__(
        self,
        notifications: NotificationBuilder,
        rules: RuleBuilder,
        is_strict: bool,
        complaints: Complaints,
    ) -> None:
        self._rules = rules
        self._notifications = notifications
        self._complaints = complaints
        self.default = InstanceOptions(notifications.build({}), is_strict=is_strict)
        """Of an instance that writes none of them."""
        self._shared: dict[InstanceOptions, InstanceOptions] = {}

    def build(
        self,
        entries: Iterable[Entry],
        block: Block,
        interval: int,
        namespace: str | None,
        vrf: str | None,
        links: OwnLinks,
    ) -> InstanceOptions:
        """Options of an instance with that advert interval, in nanoseconds, in that network
        namespace and VRF."""
        routes = tuple(
            route(line)
            for entry in entries
            if entry.keyword.name == "virtual_routes"
            for line, _ in entry.items
            if isinstance(line, Options)
        )
        rules = tuple(
            self._rules.build(line)
            for entry in entries
            if entry.keyword.name == "virtual_rules"
            for line, _ in entry.items
            if isinstance(line, Options)
        )
        options = InstanceOptions(
            self._notifications.build(block.written),
            routes,
            rules,
            block.is_on("strict_mode", self.default.is_strict),
            block.is_on("promote_secondaries"),
            block.is_on("track_src_ip"),
            block.is_on("unicast_fault_no_peer"),
            _old_checksum(block.value("old_unicast_checksum")),
            _expired_priority(block.value("timer_expired_backup")),
            namespace,
            vrf,
            links.ipvlan,
            links.address_vmacs,
            links.group,
            links.notifies,
            self._hmac(entries, interval),
            block.optional_number("kernel_rx_buf_size"),
            block.text("lvs_sync_daemon_interface"),
            block.is_on("linkbeat_use_polling"),
            block.number("debug"),
        )
        return self._shared.setdefault(options, options)

    def _hmac(self, entries: Iterable[Entry], interval: int) -> Hmac | None:
        """`auth_hmac`, the last one; None where it has no key."""
        found = [entry for entry in entries if entry.keyword.name == "auth_hmac"]
        if not found:
            return None
        entry = found[-1]
        keys: dict[int, HmacKey] = {}
        for inner in entry.entries:
            if inner.keyword.name == "key" and isinstance(inner.value, tuple):
                number, key = inner.value
                keys[number] = HmacKey(number, key)
                self._check_key(number, key, inner)
        block = Block.of(entry)
        if not keys:
            self._complaints.error(
                entry.statement, 0, "auth_hmac has no key; it is left out", is_ours=True
            )
            return None
        active = block.optional_number("active_key")
        if active not in keys:
            first = next(iter(keys))
            if active is not None:
                self._complaints.error(
                    entry.statement,
                    0,
                    f"active_key {active} of auth_hmac does not exist; {first} is taken",
                    is_ours=True,
                )
            active = first
        mode = (block.text("mode") or "enforce").replace("-", "_")
        return Hmac(
            tuple(keys.values()),
            active,
            AntiReplay[(block.text("anti_replay") or "time").upper()],
            block.number("time_window", max(SHORTEST_WINDOW, WINDOW_ADVERTS * interval)),
            HmacMode[mode.upper()],
        )

    def _check_key(self, number: int, key: str, entry: Entry) -> None:
        if is_in_file(key):
            return  # it is read when it is needed, by whoever may read it
        try:
            key_bytes(key)
        except KeyFault as fault:
            self._complaints.error(
                entry.statement,
                2,
                f"key {number} of auth_hmac cannot be used, and the instance will be in FAULT: "
                f"{fault}",
                is_ours=True,
            )


def _old_checksum(value: object) -> OldChecksum:
    if value is None:
        return OldChecksum.DETECTED
    return OldChecksum.NEVER if value == "never" else OldChecksum.ALWAYS


def _expired_priority(value: object) -> int | None:
    if value is True:
        return LOWEST_PRIORITY_AFTER_PAUSE
    return value if isinstance(value, int) else None
