"""Firewall marks on the packets to the addresses of virtual server groups (`nftables_ipvs`).

IPVS then has one service for a mark where it would have one for each address. The table is ours
alone: a map for each family, from addresses, protocol and ports to the mark, and a chain before the
place where IPVS takes packets. It is made, and made anew, as a whole, in one transaction; its chain
has a name by which one that a crash has left is found.

keepalived has a table for each family and a map for each protocol instead, and in them a virtual
server without a port is one of port 0, which no packet has. Here it is every port.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from typing import NamedTuple

from fastvrrp.kernel.libnftables import Nft
from fastvrrp.kernel.nfnetlink import is_there, tables_with_chains
from fastvrrp.model import Transport

CHAIN = "ipvs_marks_of_fastvrrp"
PRIORITY = -1
"""Where the configuration names none."""
TABLE = """
create table inet {table}
table inet {table} {{
    map addresses4 {{
        type ipv4_addr . inet_proto . inet_service : mark;
        flags interval;
        {elements4}
    }}
    map addresses6 {{
        type ipv6_addr . inet_proto . inet_service : mark;
        flags interval;
        {elements6}
    }}
    chain {chain} {{
        type filter hook input priority {priority};
        meta mark set ip daddr . meta l4proto . th dport map @addresses4 {count}
        meta mark set ip6 daddr . meta l4proto . th dport map @addresses6 {count}
    }}
}}
"""


class Marked(NamedTuple):
    """Addresses of one family whose packets get a mark."""

    first: bytes
    last: bytes
    """Packed, and marked too."""
    protocol: Transport
    port: int
    """0 is every port."""
    mark: int


def put(table: str, priority: int, counts: bool, elements: Collection[Marked]) -> None:
    """Makes the table of that name, in the network namespace of the calling thread, instead of
    every one of ours; none where there are no elements. Raises OSError, with what nftables says,
    where that cannot be, and then has changed nothing."""
    script = [f"delete table inet {name}" for name in sorted(tables_with_chains(CHAIN))]
    if elements:
        script.append(
            TABLE.format(
                table=table,
                chain=CHAIN,
                priority=priority,
                count="counter" if counts else "",
                elements4=_elements(elements, 4),
                elements6=_elements(elements, 16),
            )
        )
    if script:
        nft = Nft()
        try:
            nft.run("\n".join(script))
        finally:
            nft.close()


def stands(table: str) -> bool:
    """Whether a table of that name is there. OSError where the kernel does not say."""
    return is_there(table)


def _elements(elements: Collection[Marked], size: int) -> str:
    members = [_element(element) for element in elements if len(element.first) == size]
    return f"elements = {{ {', '.join(members)} }}" if members else ""


def _element(element: Marked) -> str:
    """A member of a map, as nft writes it."""
    addresses = str(ip_address(element.first))
    if element.last != element.first:
        addresses += f"-{ip_address(element.last)}"
    port = str(element.port) if element.port else "0-65535"
    return f"{addresses} . {element.protocol.name.lower()} . {port} : {element.mark}"
