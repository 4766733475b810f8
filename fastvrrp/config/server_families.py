"""Of which address family a virtual server is, and how packets are forwarded, which decides what
servers it can have: only a tunnel leads to a server of another family.

The family of an address is its own. A mark is of the family that is written (`ip_family`, or the
mask of `persistence_granularity`), else of that of its first server without a tunnel; where all are
behind tunnels it is theirs, if they are of one, and IPv4 otherwise. A group that says nothing is of
the family of its first real server without a tunnel, for the purpose of the others.
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


class End(NamedTuple):
    """A real server, or the sorry server."""

    entry: Entry
    address: bytes
    port: int | None
    """None where none was written."""
    method: str
    """How packets are forwarded to it."""

    def fits(self, family: int | None) -> bool:
        """Whether a virtual server of that family can have it."""
        return family in (None, len(self.address)) or self.method == TUNNEL


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


def family_of(
    entry: Entry, last: Mapping[str, Entry], ends: Iterable[End], complaints: Complaints
) -> int | None:
    """Octets of an address of its family; None of a group whose servers are all behind tunnels.
    `ends` are all of its servers."""
    assert isinstance(entry.value, tuple)
    written = _written(last)
    if isinstance(entry.value[0], bytes):
        own = len(entry.value[0])
        _check_written(last, own, complaints)
        return own
    if written is not None:
        return written
    ends = list(ends)
    for end in ends:
        if end.method != TUNNEL:
            return len(end.address)
    if entry.value[0] == "group":
        return None
    families = {len(end.address) for end in ends}
    return families.pop() if len(families) == 1 else IPV4


def _written(last: Mapping[str, Entry]) -> int | None:
    family = last.get("ip_family")
    if family is not None and isinstance(family.value, str):
        return LENGTHS[family.value]
    mask = last.get("persistence_granularity")
    if mask is not None and isinstance(mask.value, str):
        return IPV4 if "." in mask.value else IPV6
    return None


def _check_written(last: Mapping[str, Entry], own: int, complaints: Complaints) -> None:
    family = last.get("ip_family")
    if family is not None and family.value is not None and LENGTHS[str(family.value)] != own:
        complaints.warning(
            family.statement,
            1,
            f"ip_family {family.value} is ignored: the address of virtual_server is of the other"
            " family",
        )
