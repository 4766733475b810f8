"""What one `vrrp_instance` wrote, gathered from its tree: lists joined, the last of each keyword.

The family of an instance is that of the first address written in it, in the order of the file; what
is of the other family is refused, as keepalived does.
"""

from __future__ import annotations

import socket

from fastvrrp.config.arguments import family_of
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry
from fastvrrp.model import UnicastPeer, VirtualAddress

AF_INET = int(socket.AF_INET)
AF_INET6 = int(socket.AF_INET6)
FAMILY_NAMES = {AF_INET: "IPv4", AF_INET6: "IPv6"}
GARP_KEYWORDS = frozenset(
    {
        "garp_master_delay",
        "garp_master_repeat",
        "garp_lower_prio_delay",
        "garp_lower_prio_repeat",
        "garp_master_refresh",
        "garp_master_refresh_repeat",
        "garp_extra_if",
    }
)
OLD_EXTRA_INTERFACES = "vmac_garp_intvl"
"""The old spelling of `garp_extra_if`."""
IN_EXCLUDED = "; write it in virtual_ipaddress_excluded"


def is_link_local(address: VirtualAddress) -> bool:
    """Whether it is of fe80::/10 (RFC 4291 section 2.5.6)."""
    return needs_link(address.address)


def needs_link(packed: bytes) -> bool:
    """The same of an address alone: it means nothing without its link."""
    return len(packed) == 16 and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80


class Written:
    """The entries of an instance by what they are."""

    __slots__ = (
        "_complaints",
        "_decided",
        "_family",
        "addresses",
        "attempted",
        "bounds_ttl",
        "excluded",
        "garp",
        "is_roaming",
        "last",
        "name",
        "namespace",
        "peers",
        "source",
        "statement",
    )

    def __init__(self, instance: Entry, complaints: Complaints) -> None:
        self._complaints = complaints
        self._family = 0
        self._decided = instance.statement
        self.statement = instance.statement
        self.name = str(instance.value)
        self.last: dict[str, Entry] = {}
        """The last sound occurrence of each keyword that is not in a list below."""
        self.garp: dict[str, object] = {}
        self.addresses: list[tuple[VirtualAddress, Statement]] = []
        self.excluded: list[tuple[VirtualAddress, Statement]] = []
        self.peers: list[UnicastPeer] = []
        self.bounds_ttl = False
        """`min_ttl` or `max_ttl` of a peer is written, whatever it says."""
        self.source: bytes | None = None
        self.is_roaming = False
        """It has no interface, and needs none."""
        self.namespace: str | None = None
        """The network namespace that it is in, as far as it is not the daemon's own; whoever knows
        that one says so."""
        self.attempted: set[str] = set()
        """Keywords of which some occurrence was refused: their absence is no second fault."""
        for entry in instance.entries:
            self._take(entry)

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6; IPv4 where nothing decides."""
        return self._family or AF_INET

    def integer(self, keyword: str, otherwise: int) -> int:
        """The number or time of a keyword."""
        entry = self.last.get(keyword)
        if entry is None:
            return otherwise
        assert isinstance(entry.value, int)
        return entry.value

    def is_on(self, keyword: str, otherwise: bool) -> bool:
        """The setting of a switch."""
        entry = self.last.get(keyword)
        return otherwise if entry is None else entry.value is True

    def text(self, keyword: str) -> str | None:
        """The word of a keyword."""
        entry = self.last.get(keyword)
        return entry.value if entry is not None and isinstance(entry.value, str) else None

    def decided_before(self, statement: Statement) -> bool:
        """Whether the family was known where a line of the instance stands."""
        return bool(self._family) and self._decided.order() < statement.order()

    def _take(self, entry: Entry) -> None:
        keyword = entry.keyword.name
        value = entry.value
        if keyword == "virtual_ipaddress":
            for item, statement in entry.items:
                assert isinstance(item, VirtualAddress)
                if self._is_of_family(item.family, statement, 0, IN_EXCLUDED):
                    self.addresses.append((item, statement))
        elif keyword in GARP_KEYWORDS:
            if value is not None:
                self.garp[keyword] = value
        elif keyword == OLD_EXTRA_INTERFACES:
            if value is not None:
                self.garp["garp_extra_if"] = value
        elif keyword == "virtual_ipaddress_excluded":
            for item, statement in entry.items:
                assert isinstance(item, VirtualAddress)
                self.excluded.append((item, statement))
        elif keyword == "unicast_peer":
            self.last[keyword] = entry
            for item, statement in entry.items:
                assert isinstance(item, UnicastPeer)
                if self._is_of_family(family_of(item.address), statement, 0):
                    self.peers.append(item)
                    self.bounds_ttl |= len(statement.words) > 1
        elif keyword == "mcast_dst_ip":
            if isinstance(value, bytes) and self._is_of_family(
                family_of(value), entry.statement, 1
            ):
                self.last[keyword] = entry
        elif keyword == "accept":
            self.last.pop("no_accept", None)
        elif keyword in ("mcast_src_ip", "unicast_src_ip"):
            if isinstance(value, bytes) and self._is_of_family(
                family_of(value), entry.statement, 1
            ):
                self.source = value
                self.last[keyword] = entry
        elif keyword == "native_ipv6":
            self._is_of_family(AF_INET6, entry.statement, 0)
        elif keyword == "authentication":
            for inner in entry.entries:
                if inner.value is not None:
                    self.last[inner.keyword.name] = inner
        elif keyword == "preempt":
            self.last.pop("nopreempt", None)
        elif value is not None:
            self.last[keyword] = entry
        else:
            self.attempted.add(keyword)

    def _is_of_family(
        self, family: int, statement: Statement, index: int, remedy: str = ""
    ) -> bool:
        """Whether word `index` fits; the first one decides, and a misfit is complained of."""
        if family == self._family:
            return True
        if not self._family:
            self._family = family
            self._decided = statement
            return True
        self._complaints.error(
            statement,
            index,
            f"{statement.words[index]} is {FAMILY_NAMES[family]}, but vrrp_instance {self.name} is"
            f" {FAMILY_NAMES[self._family]} by line {self._decided.number}{remedy}",
        )
        return False
