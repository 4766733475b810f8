"""Packets that virtual routers must not take or send, kept away by a table of nftables.

Refused. The addresses of a virtual router with `no_accept` (RFC 9568 section 6.1, Accept_Mode) take
and send no packets but those of neighbour discovery. A backup does not have the address, so the
rules may stand in every state, and a change of state does not touch them.

Idle. The VMAC of a virtual router that is not master is deaf and mute: nothing that is sent to the
virtual MAC comes in by it, and nothing goes out. A switch that does not know where the virtual MAC
is sends its frames to everybody, and a backup that forwards would forward each a second time; and a
single frame from a backup (a report of a group that somebody has joined there) would turn the
switch to it.

VMACs. None of them solicits routers. A master's may send reports of groups: a switch that listens
to them (snooping) must learn by the one of the solicited-node group where the virtual address is.

The table is ours alone, and is made and removed as a whole; its base chains have names that begin
with MARK, by which one that a crash has left is found, whatever its name is. Changes are one
transaction each. They go through libnftables, in this process, and through one of its contexts,
which remembers what is in the sets: with 4,080 in a set taking one away takes 0.1 ms, and all of
them 20 to 40; a new context asks the kernel for all of them first, which takes 6 to 16 ms.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from fastvrrp.kernel.libnftables import Nft, give_back
from fastvrrp.kernel.nfnetlink import is_there, tables_with_chains

MARK = "fastvrrp_"
TABLE = "fastvrrp"
"""Where the configuration names none."""

SETS = """
    set refused4 {{ type ipv4_addr; }}
    set refused6 {{ type ipv6_addr; }}
    set refused6_on {{ type ipv6_addr . ifname; }}
    set idle {{ type ifname; }}
    set vmacs {{ type ifname; }}
"""
REFUSING = """
    chain {mark}input {{
        type filter hook input priority {priority};
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        ip daddr @refused4 {drop}
        ip6 daddr @refused6 {drop}
        ip6 daddr . iifname @refused6_on {drop}
    }}
    chain {mark}output {{
        type filter hook output priority {priority};
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        ip saddr @refused4 {drop}
        ip6 saddr @refused6 {drop}
        ip6 saddr . oifname @refused6_on {drop}
    }}
"""
SHUTTING = """
    chain {mark}prerouting {{
        type filter hook prerouting priority {priority};
        iifname @idle {drop}
    }}
    chain {mark}postrouting {{
        type filter hook postrouting priority {priority};
        oifname @idle {drop}
        icmpv6 type nd-router-solicit oifname @vmacs {drop}
    }}
"""
OF_VMACS = frozenset({"idle", "vmacs"})
"""Sets for which there is SHUTTING; REFUSING is for the others."""

MANY = 1000
"""Elements for which nft has taken a megabyte."""
UNQUOTABLE = frozenset('"*\\')
"""What a name in nft's language cannot have: it has no escapes, and `*` is a wildcard."""


class Element(NamedTuple):
    """A member of one of the table's sets."""

    set: str
    member: str
    """As nft writes it."""


def refused(address: bytes, interface: str) -> Element:
    """An address (packed) that takes no packets. `interface` is the link that has it, which only
    counts where the address is link-local: nft must have a word for that then."""
    text = str(ip_address(address))
    if len(address) == 4:
        return Element("refused4", text)
    if ip_address(address).is_link_local:
        return Element("refused6_on", f"{text} . {_quoted(interface)}")
    return Element("refused6", text)


def idle(vmac: str) -> Element:
    """A VMAC that is deaf and mute."""
    return Element("idle", _quoted(vmac))


def solicits_nothing(vmac: str) -> Element:
    """A VMAC of ours."""
    return Element("vmacs", _quoted(vmac))


def has_word_for(interface: str) -> bool:
    """Whether nft can name an interface."""
    return UNQUOTABLE.isdisjoint(interface)


def _quoted(name: str) -> str:
    if not has_word_for(name):
        raise ValueError(f"nftables has no word for an interface called {name}")
    return f'"{name}"'


@dataclass(frozen=True, slots=True)
class Shape:
    """What the table is besides its elements."""

    table: str = TABLE
    """Its name, in the family inet."""
    priority: int = -1
    """Of its chains; those of the firewall's user have 0, as a rule."""
    counts: bool = False
    """Whether what is dropped is counted."""


class PacketFilter:
    """Our table in the network namespace of the calling thread. Every method raises OSError, with
    what nftables says, where it cannot be done, and then has changed nothing."""

    def __init__(self) -> None:
        self._table = ""
        self._nft: Nft | None = None
        """For changes."""

    def make(self, shape: Shape, elements: Collection[Element]) -> None:
        """Makes the table, in one transaction, instead of every one of ours that is there; none
        where it would be empty. A table of that name that is somebody else's is refused."""
        script = [f"delete table inet {name}" for name in our_tables()]
        if elements:
            drop = "counter drop" if shape.counts else "drop"
            sets = {element.set for element in elements}
            rules = SETS
            rules += REFUSING if sets - OF_VMACS else ""
            rules += SHUTTING if sets & OF_VMACS else ""
            script.append(f"create table inet {shape.table}")
            filled = rules.format(mark=MARK, priority=shape.priority, drop=drop)
            script.append(f"table inet {shape.table} {{{filled}}}")
            script += _commands(shape.table, dict.fromkeys(elements, True))
        self.close()
        if script:
            made = Nft()
            try:
                made.run("\n".join(script))
            finally:
                made.close()
                if len(elements) >= MANY:
                    give_back()
        self._table = shape.table if elements else ""

    def change(self, changes: Mapping[Element, bool]) -> None:
        """Adds elements (True) and removes others (False). What is so already stays so; but the
        table must have been made, with an element of the same kind."""
        if self._nft is None:
            self._nft = Nft()
        self._nft.run("\n".join(_commands(self._table, changes)))

    def stands(self) -> bool:
        """Whether the table is there as it was made, or was not made."""
        return not self._table or is_there(self._table)

    def remove(self) -> None:
        """Takes the table away, and every other one of ours."""
        self.make(Shape(), ())

    def close(self) -> None:
        """Gives back what changes need; the next one makes it anew."""
        if self._nft is not None:
            self._nft.close()
            self._nft = None


def our_tables() -> set[str]:
    """Names of tables that are ours; none where the kernel has no nftables."""
    return tables_with_chains(MARK)


def _commands(table: str, changes: Mapping[Element, bool]) -> list[str]:
    """Commands that bring elements into their sets and take others away. Adding what is there is
    no error, while removing what is not would be one: so that is added first."""
    every: dict[str, list[str]] = {}
    gone: dict[str, list[str]] = {}
    for element, is_added in changes.items():
        every.setdefault(element.set, []).append(element.member)
        if not is_added:
            gone.setdefault(element.set, []).append(element.member)
    return [
        f"{verb} element inet {table} {name} {{ {', '.join(members)} }}"
        for verb, sets in (("add", every), ("delete", gone))
        for name, members in sets.items()
    ]
