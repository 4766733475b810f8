"""From the tree of one `vrrp_instance` to a virtual router of the model, every default applied.

What a keyword's own words cannot show (that two keywords exclude each other, that something is
missing) is complained of here.
"""

from __future__ import annotations

from typing import NamedTuple

from fastvrrp.config.arguments import seconds_text
from fastvrrp.config.building.block import Block
from fastvrrp.config.building.notification import NotificationBuilder
from fastvrrp.config.building.options import OPTION_KEYWORDS, OptionsBuilder
from fastvrrp.config.building.routes import RuleBuilder
from fastvrrp.config.building.vmacs import OwnLinks, VmacBuilder
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.definitions import Defaults
from fastvrrp.config.grammar import ExtraInterfaces
from fastvrrp.config.namespaces import Namespaces
from fastvrrp.config.roaming import Roaming
from fastvrrp.config.statement import Statement
from fastvrrp.config.strict import ADVERTS, Compliance
from fastvrrp.config.tree import Entry
from fastvrrp.config.vmac_names import VmacNames
from fastvrrp.config.written import AF_INET6, Written
from fastvrrp.model import (
    MILLISECOND,
    SECOND,
    Announcements,
    Authentication,
    InstanceOptions,
    State,
    VirtualAddress,
    VirtualRouter,
)

OWNER = 255
"""Priority of the router that owns the addresses (RFC 9568 section 5.2.4)."""
DEFAULT_PRIORITY = 100
LONGEST_PASSWORD = 8
"""Octets of Authentication Data (RFC 2338 section 5.3.10)."""
MOST_ADVERTISED_ADDRESSES = 255
"""Count IPvX Addr is one octet (RFC 9568 section 5.2.5)."""
LONGEST_ADVERT_INTERVAL = 40_950 * MILLISECOND
"""Twelve bits of centiseconds (RFC 9568 section 5.2.7)."""
UNICAST = ("unicast_peer", "unicast_src_ip", "check_unicast_src", "old_unicast_checksum")
"""Keywords that make keepalived say so where no peer is written."""
CENTISECOND = 10 * MILLISECOND


class Draft(NamedTuple):
    """A virtual router that was read without an error that would drop it, and where."""

    router: VirtualRouter
    statement: Statement
    """Its first line."""
    address_statements: tuple[Statement, ...]
    """Lines of its addresses and then its excluded addresses, in the model's order."""


class Builder:
    """Builds virtual routers one after another."""

    def __init__(
        self,
        defaults: Defaults,
        names: VmacNames,
        notifications: NotificationBuilder,
        rules: RuleBuilder,
        namespaces: Namespaces,
        complaints: Complaints,
    ) -> None:
        self._namespaces = namespaces
        self._roaming = Roaming(defaults.text("default_interface") or "", complaints)
        self._vmacs = VmacBuilder(
            names,
            defaults.text("vmac_addr_prefix") or defaults.text("vmac_prefix") or "",
            complaints,
        )
        self._complaints = complaints
        self._options = OptionsBuilder(
            notifications, rules, defaults.is_on("vrrp_strict"), complaints
        )
        self._no_options = self._options.default
        self._announcements = defaults.announcements()
        self._shared: dict[object, Announcements] = {}
        self._version = defaults.number("vrrp_version")
        self._down_timer_adverts = defaults.number("vrrp_down_timer_adverts")
        self._group_4 = defaults.address("vrrp_mcast_group4") or b""
        self._group_6 = defaults.address("vrrp_mcast_group6") or b""
        self._lower_prio_no_advert = defaults.is_on("vrrp_lower_prio_no_advert")
        self._higher_prio_send_advert = defaults.is_on("vrrp_higher_prio_send_advert")
        self._skips_known_addresses = defaults.is_on("vrrp_skip_check_adv_addr")
        self._checks_unicast_source = defaults.is_on("vrrp_check_unicast_src")
        self._is_strict = defaults.is_on("vrrp_strict")
        self._v3_checksum_as_v2 = defaults.is_on("v3_checksum_as_v2")

    def build(self, instance: Entry) -> Draft | None:
        """One virtual router, or None where what is left makes none."""
        complaints = self._complaints
        written = Written(instance, complaints)
        name = written.name
        last = written.last
        family = written.family
        addresses = written.addresses
        excluded = written.excluded
        peers = written.peers
        interface = last.get("interface")
        vrid = last.get("virtual_router_id")
        if interface is None and "interface" not in written.attempted:
            self._roaming.settle(written)
        if vrid is None and "virtual_router_id" not in written.attempted:
            complaints.error(
                instance.statement,
                1,
                f"vrrp_instance {name} has no virtual_router_id; write one between 1 and 255",
            )
        version = self._version_of(written)
        is_strict = written.is_on("strict_mode", self._is_strict)
        if not addresses and (is_strict or "no_virtual_ipaddress" not in last):
            if version == 3 or is_strict:
                complaints.error(
                    instance.statement,
                    1,
                    f"vrrp_instance {name} has no virtual_ipaddress;"
                    f" {'a strict instance' if is_strict else 'VRRPv3'} needs one",
                    is_ours="no_virtual_ipaddress" in last,
                )
                return None
            complaints.warning(
                instance.statement,
                1,
                f"vrrp_instance {name} has no virtual_ipaddress; one at least is sensible",
            )
        if (interface is None and not written.is_roaming) or vrid is None:
            return None
        if interface is not None:
            self._roaming.ignore_vrf(written)
        link = str(interface.value) if interface is not None else ""
        if "net_namespace" in written.attempted and "net_namespace" not in last:
            return None  # it would be on an interface of the same name somewhere else
        written.namespace = self._namespaces.of_instance(written.text("net_namespace"))
        if not self._has_room(written):
            return None
        if len(addresses) > MOST_ADVERTISED_ADDRESSES:
            self._move_excess(name, addresses, excluded)

        assert isinstance(vrid.value, int)
        is_owner = "priority" not in written.attempted and self._is_master(last)
        priority = written.integer("priority", OWNER if is_owner else DEFAULT_PRIORITY)
        compliance: Compliance | None = None
        if is_strict:
            compliance = Compliance(instance, written, complaints)
            compliance.enforce(
                version=version,
                is_owner=priority == OWNER,
                default_adverts=self._down_timer_adverts,
            )
        state, preempt, preempt_delay = self._preemption(name, last, priority)
        authentication, password = self._authentication(name, last, version)
        if not peers:
            self._unicast_without_peer(name, last)
        checks_source = (
            self._checks_unicast_source or "check_unicast_src" in last or written.bounds_ttl
        )
        is_ipv6 = family == AF_INET6
        links = self._vmacs.build(written, link, vrid.value, (addresses, excluded))
        interval = self._advert_interval(name, last, version)
        router = VirtualRouter(
            name,
            link,
            vrid.value,
            family,
            version,
            priority,
            state,
            interval,
            preempt,
            preempt_delay,
            written.integer(
                "down_timer_adverts", ADVERTS if is_strict else self._down_timer_adverts
            ),
            authentication,
            password,
            tuple([address for address, _ in addresses]),
            tuple([address for address, _ in excluded]),
            written.source or (links.ipvlan.address if links.ipvlan is not None else None),
            self._group(written, is_ipv6),
            tuple(peers),
            written.integer("unicast_ttl", 255),
            links.vmac,
            compliance.accepts_data(version=version, is_owner=priority == OWNER)
            if compliance is not None
            else "no_accept" not in last or priority == OWNER,
            "dont_track_primary" not in last,
            written.is_on("lower_prio_no_advert", is_strict or self._lower_prio_no_advert),
            written.is_on(
                "higher_prio_send_advert", self._higher_prio_send_advert and not is_strict
            ),
            written.is_on("skip_check_adv_addr", self._skips_known_addresses),
            checks_source,
            written.is_on("v3_checksum_as_v2", self._v3_checksum_as_v2),
            self._announcements_of(written.garp),
            (),
            self._options_of(instance, written, interval, links),
        )
        return Draft(
            router,
            instance.statement,
            tuple([statement for _, statement in addresses + excluded]),
        )

    def _options_of(
        self, instance: Entry, written: Written, interval: int, links: OwnLinks
    ) -> InstanceOptions:
        if not links.has_options and OPTION_KEYWORDS.isdisjoint(written.last):
            return self._no_options
        return self._options.build(
            instance.entries,
            Block.of(instance),
            interval,
            written.namespace,
            written.text("vrf"),
            links,
        )

    def _has_room(self, written: Written) -> bool:
        """Whether there is room for one more network namespace, if it is in one more."""
        if written.namespace is None:
            return True
        statement = written.last["net_namespace"].statement
        return self._namespaces.has_room(written.namespace, statement, 1, written.name)

    def _is_master(self, last: dict[str, Entry]) -> bool:
        return "state" in last and last["state"].value == State.MASTER

    def _version_of(self, written: Written) -> int:
        version = written.last.get("version")
        if written.family == AF_INET6:
            if version is not None and version.value == 2:
                self._complaints.warning(
                    version.statement,
                    1,
                    "version 2 has no IPv6; 3 is taken",
                    is_ours=not written.decided_before(version.statement),
                )
            return 3
        return written.integer("version", self._version)

    def _group(self, written: Written, is_ipv6: bool) -> bytes:
        """Multicast group of its adverts."""
        entry = written.last.get("mcast_dst_ip")
        if entry is not None and isinstance(entry.value, bytes):
            if not written.peers:
                return entry.value
            self._complaints.warning(
                entry.statement, 0, f"mcast_dst_ip is ignored: {written.name} is unicast"
            )
        return self._group_6 if is_ipv6 else self._group_4

    def _move_excess(
        self,
        name: str,
        addresses: list[tuple[VirtualAddress, Statement]],
        excluded: list[tuple[VirtualAddress, Statement]],
    ) -> None:
        self._complaints.warning(
            addresses[MOST_ADVERTISED_ADDRESSES][1],
            0,
            f"vrrp_instance {name} has {len(addresses)} addresses, and an advert has room for"
            f" {MOST_ADVERTISED_ADDRESSES}; from here on they are taken as"
            " virtual_ipaddress_excluded",
        )
        excluded[:0] = addresses[MOST_ADVERTISED_ADDRESSES:]
        del addresses[MOST_ADVERTISED_ADDRESSES:]

    def _preemption(
        self, name: str, last: dict[str, Entry], priority: int
    ) -> tuple[State, bool, int]:
        """State, whether it preempts, and its delay, where those go together."""
        state = State.BACKUP
        if self._is_master(last) or (priority == OWNER and "state" not in last):
            # An owner told to start as BACKUP waits a Master_Down_Interval, as under keepalived.
            state = State.MASTER
        nopreempt = last.get("nopreempt")
        delay = last.get("preempt_delay")
        if nopreempt is not None and priority == OWNER:
            self._complaints.warning(
                nopreempt.statement,
                0,
                f"nopreempt is ignored: {name} has priority 255, and an owner always preempts",
            )
            nopreempt = None
        elif nopreempt is not None and state == State.MASTER:
            self._complaints.warning(
                nopreempt.statement,
                0,
                f"nopreempt is ignored: {name} starts as MASTER; write state BACKUP",
            )
            nopreempt = None
        if delay is not None and delay.value:
            if state == State.MASTER:
                self._complaints.warning(
                    delay.statement,
                    0,
                    f"preempt_delay is ignored: {name} starts as MASTER; write state BACKUP",
                )
                delay = None
            elif nopreempt is not None:
                self._complaints.warning(
                    delay.statement, 0, f"preempt_delay is ignored: {name} has nopreempt"
                )
                delay = None
        preempt_delay = delay.value if delay is not None else 0
        assert isinstance(preempt_delay, int)
        return state, nopreempt is None, preempt_delay

    def _authentication(
        self, name: str, last: dict[str, Entry], version: int
    ) -> tuple[Authentication, bytes]:
        kind = last.get("auth_type")
        given = last.get("auth_pass")
        if kind is None or kind.value is None:
            return Authentication.NONE, b""
        if "auth_hmac" in last:
            self._complaints.error(
                kind.statement,
                0,
                f"authentication is ignored: {name} has auth_hmac, and cannot have both",
                is_ours=True,
            )
            return Authentication.NONE, b""
        if version == 3:
            self._complaints.warning(
                kind.statement, 0, f"authentication is ignored: {name} is VRRPv3, which has none"
            )
            return Authentication.NONE, b""
        if given is None or not isinstance(given.value, str) or not given.value:
            self._complaints.warning(
                kind.statement, 0, f"authentication is ignored: {name} has no auth_pass"
            )
            return Authentication.NONE, b""
        password = given.value.encode("utf-8", "surrogateescape")
        if len(password) > LONGEST_PASSWORD:
            self._complaints.warning(
                given.statement,
                1,
                f"auth_pass has {len(password)} characters; the first {LONGEST_PASSWORD} count",
            )
        assert isinstance(kind.value, Authentication)
        return kind.value, password[:LONGEST_PASSWORD]

    def _unicast_without_peer(self, name: str, last: dict[str, Entry]) -> None:
        ttl = last.get("unicast_ttl")
        if ttl is not None:
            self._complaints.warning(
                ttl.statement, 0, f"unicast_ttl is ignored: {name} has no unicast peer"
            )
        for keyword in UNICAST:
            entry = last.get(keyword)
            if entry is not None:
                self._complaints.warning(
                    entry.statement,
                    0,
                    f"{name} has {keyword} and no unicast peer; its adverts are multicast",
                )
                return

    def _advert_interval(self, name: str, last: dict[str, Entry], version: int) -> int:
        entry = last.get("advert_int")
        if entry is None:
            return SECOND
        written = entry.value
        assert isinstance(written, int)
        unit, unit_name = (SECOND, "whole seconds") if version == 2 else (CENTISECOND, "hundredths")
        interval = max(unit, (written + unit // 2) // unit * unit)
        if version == 3:
            interval = min(interval, LONGEST_ADVERT_INTERVAL)
        if interval != written:
            reason = (
                f"is more than {seconds_text(LONGEST_ADVERT_INTERVAL)}"
                if written > LONGEST_ADVERT_INTERVAL and version == 3
                else f"is not in {unit_name}, as VRRPv{version} has it"
            )
            self._complaints.warning(
                entry.statement,
                1,
                f"advert_int {entry.statement.words[1]} {reason};"
                f" {name} takes {seconds_text(interval)}",
            )
        return interval

    def _announcements_of(self, garp: dict[str, object]) -> Announcements:
        """Announcements of an instance; equal ones are one object."""
        if not garp:
            return self._announcements
        default = self._announcements
        key = tuple(sorted(garp.items(), key=lambda item: item[0]))
        known = self._shared.get(key)
        if known is not None:
            return known

        def value(keyword: str, otherwise: int) -> int:
            written = garp.get(keyword)
            return written if isinstance(written, int) else otherwise

        extra = garp.get("garp_extra_if")
        if not isinstance(extra, ExtraInterfaces):
            extra = ExtraInterfaces(default.extra_interface_interval, default.extra_interface_all)
        return self._shared.setdefault(
            key,
            Announcements(
                value("garp_master_delay", default.master_delay),
                value("garp_master_repeat", default.master_repeat),
                value("garp_lower_prio_delay", default.lower_prio_delay),
                value("garp_lower_prio_repeat", default.lower_prio_repeat),
                value("garp_master_refresh", default.master_refresh),
                value("garp_master_refresh_repeat", default.master_refresh_repeat),
                extra.interval,
                extra.is_for_all,
            ),
        )
