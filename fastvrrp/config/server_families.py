"""Of which address family a virtual server is, and how packets are forwarded, which decides what
servers it can have: only a tunnel leads to a server of another family.

The family of an address is its own. Of a mark or a group the first line decides that can:
`ip_family`, the mask of `persistence_granularity`, or a real server without a tunnel; after all of
them the sorry server. Where all are behind tunnels and nothing is written a mark is of their
family, if they are of one, and IPv4 otherwise, as marks of groups are.

A group whose servers are all behind tunnels may have addresses of both families; what is written
is for its marks then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.options import Options
from fastvrrp.config.tree import Entry

IPV4, IPV6 = 4, 16
"""Families, by the octets of an address."""
LENGTHS = {"inet": IPV4, "inet6": IPV6}
MODERN = {"lb_algo": "lvs_sched", "lb_kind": "lvs_method"}
TUNNEL = "TUN"
FAMILY_KEYWORDS = ("ip_family", "persistence_granularity")
"""What says a family."""


class End(NamedTuple):
    """A real server, or the sorry server."""

    entry: Entry
    address: bytes
    port: int | None
    """None where none was written."""
    method: str
    """How packets are forwarded to it."""

    @property
    def is_tunnelled(self) -> bool:
        """Whether a tunnel leads to it."""
        return self.method == TUNNEL

    def fits(self, family: int) -> bool:
        """Whether a virtual server of that family can have it."""
        return self.is_tunnelled or len(self.address) == family


def keywords_of(entry: Entry) -> dict[str, Entry]:
    """The keywords of a block by their modern names; the last of each."""
    return {MODERN.get(each.keyword.name, each.keyword.name): each for each in entry.entries}


def method_in(written: Entry | None, otherwise: str) -> str:
    """NAT, DR or TUN of a keyword that says how packets are forwarded."""
    options = None if written is None else written.value
    method = options.get("method") if isinstance(options, Options) else None
    return method if isinstance(method, str) else otherwise


def ends_of(entry: Entry, method: str) -> Iterator[End]:
    """The real servers of a virtual server whose `method` that is, in their order."""
    for inner in entry.entries:
        if inner.keyword.name == "real_server" and isinstance(inner.value, tuple):
            address, port = inner.value
            own = method_in(keywords_of(inner).get("lvs_method"), method)
            yield End(inner, address, port, own)


def sorry_of(last: Mapping[str, Entry], method: str) -> End | None:
    """Its sorry server."""
    written = last.get("sorry_server")
    if written is None or not isinstance(written.value, tuple):
        return None
    address, port = written.value
    return End(written, address, port, method_in(last.get("sorry_server_lvs_method"), method))


def family_of(entry: Entry, ends: Iterable[End], complaints: Complaints) -> int:
    """Octets of an address of its family. `ends` are all of its servers, the sorry server last;
    complains of an `ip_family` that is another one."""
    assert isinstance(entry.value, tuple)
    head = entry.value[0]
    ends = list(ends)
    plain = {end.entry: len(end.address) for end in ends if not end.is_tunnelled}
    family = len(head) if isinstance(head, bytes) else None
    before = "what is before it" if family is None else "the address of virtual_server"
    for inner in entry.entries:
        told = plain.get(inner) if inner.keyword.name == "real_server" else _written(inner)
        if family is None:
            family = told
        elif told not in (None, family) and inner.keyword.name == "ip_family":
            complaints.warning(
                inner.statement,
                1,
                f"ip_family {inner.value} is ignored: {before} is of the other family",
            )
    if family is not None:
        return family
    if plain:
        return next(iter(plain.values()))  # that of the sorry server
    families = {len(end.address) for end in ends}
    return families.pop() if len(families) == 1 and head != "group" else IPV4


def _written(inner: Entry) -> int | None:
    """The family that a keyword says."""
    if not isinstance(inner.value, str):
        return None
    if inner.keyword.name == "ip_family":
        return LENGTHS[inner.value]
    if inner.keyword.name == "persistence_granularity":
        return IPV4 if "." in inner.value else IPV6
    return None
