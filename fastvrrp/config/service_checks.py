"""What only all virtual servers and groups together show: a range with too many addresses, and two
virtual servers that are one service of the kernel.

IPVS knows a service by address, port and protocol, or by mark and address family. With
`nftables_ipvs` a group without marks of its own has a mark instead of its addresses; nftables then
takes no address, with its port and protocol, twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry
from fastvrrp.model import AddressRange, Transport, VirtualServer, VirtualServerGroup

MOST_ADDRESSES = 65_536
"""Of one range: each is a service of the kernel."""

Written = tuple[Statement, VirtualServer]


class _Served(NamedTuple):
    """Addresses of a virtual server."""

    span: AddressRange
    protocol: Transport | None
    where: Statement
    """The virtual server, or the line of its group where that is marked."""
    is_marked: bool


def fitting_group(
    entry: Entry, group: VirtualServerGroup, marks_groups: bool, complaints: Complaints
) -> VirtualServerGroup:
    """A group without the ranges that are too large; `marks_groups` is `nftables_ipvs`."""
    if marks_groups and not group.marks:
        return group
    fitting: list[AddressRange] = []
    for span, where in zip(group.ranges, _lines_of(entry), strict=True):
        size = int.from_bytes(span.last, "big") - int.from_bytes(span.first, "big") + 1
        if size <= MOST_ADDRESSES:
            fitting.append(span)
        else:
            remedy = "" if group.marks else ", or nftables_ipvs in global_defs"
            complaints.error(
                where,
                0,
                f"{where.words[0]} has {size} addresses, each a service of IPVS; write at most"
                f" {MOST_ADDRESSES}{remedy}; it is left out",
                is_ours=True,
            )
    return VirtualServerGroup(group.name, tuple(fitting), group.marks)


def check_services(
    servers: Iterable[Written],
    groups: Mapping[str, VirtualServerGroup],
    entries: Mapping[str, Entry],
    marks_groups: bool,
    complaints: Complaints,
) -> None:
    """Complain of virtual servers that are one service, and of what nftables would refuse."""
    servers = list(servers)
    _check_addresses(_served(servers, groups, entries, marks_groups), complaints)
    _check_marks(servers, groups, complaints)


def _served(
    servers: Iterable[Written],
    groups: Mapping[str, VirtualServerGroup],
    entries: Mapping[str, Entry],
    marks_groups: bool,
) -> Iterator[_Served]:
    owners: set[tuple[str, Transport | None]] = set()
    for where, server in servers:
        if server.address is not None:
            span = AddressRange(server.address, server.address, server.port)
            yield _Served(span, server.protocol, where, False)
            continue
        group = groups.get(server.group or "")
        if group is None or (group.name, server.protocol) in owners:
            continue
        owners.add((group.name, server.protocol))
        if marks_groups and not group.marks:
            for span, line in zip(group.ranges, _lines_of(entries[group.name]), strict=True):
                yield _Served(span, server.protocol, line, True)
        else:
            for span in group.ranges:
                yield _Served(span, server.protocol, where, False)


def _check_addresses(served: Iterable[_Served], complaints: Complaints) -> None:
    """Goes along the addresses; `reaching` has for each port what reaches furthest until now."""
    reaching: dict[tuple[object, ...], dict[int, _Served]] = {}
    told: set[Statement] = set()
    for each in sorted(served, key=lambda one: one.span.first):
        kind = (len(each.span.first), each.protocol, each.is_marked)
        before = reaching.setdefault(kind, {})
        port = each.span.port
        ports = [port]
        if each.is_marked:  # where port 0 is every port
            ports = list(before) if port == 0 else [port, 0]
        for other in (before[number] for number in ports if number in before):
            if other.span.last < each.span.first:
                continue
            later, first = sorted((each.where, other.where), key=lambda one: one.number)[::-1]
            if later not in told and (each.is_marked or later.words != first.words):
                told.add(later)
                _complain(later, first, each.is_marked, complaints)
        if port not in before or before[port].span.last < each.span.last:
            before[port] = each


def _complain(later: Statement, first: Statement, is_marked: bool, complaints: Complaints) -> None:
    if is_marked:
        complaints.error(
            later,
            0,
            f"{later.words[0]} has addresses of {first.words[0]} in line {first.number}, with the"
            " same protocol; nftables_ipvs can mark no group until one of them is taken away",
            is_ours=True,
        )
    else:
        complaints.warning(
            later,
            1,
            f"virtual_server {' '.join(later.words[1:])} has an address and port of that in line"
            f" {first.number}; IPVS has one service for both; take it from one of them",
            is_ours=True,
        )


def _check_marks(
    servers: Iterable[Written], groups: Mapping[str, VirtualServerGroup], complaints: Complaints
) -> None:
    known: dict[tuple[int, int | None], Written] = {}
    for where, server in servers:
        group = groups.get(server.group or "")
        marks = [(each.mark, each.family or server.family) for each in group.marks] if group else []
        if server.mark is not None:
            marks.append((server.mark, server.family))
        for mark in marks:
            first, other = known.setdefault(mark, (where, server))
            if other.identity == server.identity:
                continue  # that is told where it is claimed
            complaints.warning(
                where,
                1,
                f"virtual_server {' '.join(where.words[1:])} has fwmark {mark[0]}, as that in line"
                f" {first.number} has; IPVS has one service for both; give one of them another"
                " mark",
                is_ours=True,
            )
            break


def _lines_of(entry: Entry) -> list[Statement]:
    """Where the ranges of a group are written, in their order."""
    return [statement for _, statement in entry.items if statement.words[0] != "fwmark"]
