"""What a virtual server's block shows only as a whole: servers, quorum, ports, families.

keepalived takes a default where something is missing and says so; a real server that does not fit
is dropped. What is left is what the model is built from (`building.servers`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from fastvrrp.config.arguments import address_text
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.server_families import (
    MODERN,
    End,
    ends_of,
    family_of,
    keywords_of,
    method_in,
    sorry_of,
)
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry

OF_SH = frozenset({"sh-port", "sh-fallback", "mh-port", "mh-fallback"})
OF_SORRY = frozenset({"sorry_server_inhibit", "sorry_server_lvs_method"})


@dataclass(frozen=True, slots=True)
class Kind:
    """What a virtual server is for: addresses with their ports, firewall marks, or both."""

    ports: tuple[int, ...] = ()
    """The port of every address or range of addresses; 0 is every port."""
    has_mark: bool = False
    has_family: bool = False
    """True where a mark of a group is inet6; keepalived says less of those."""

    @classmethod
    def of_server(cls, server: Entry) -> Kind:
        """That of a virtual server with an address or a mark."""
        assert isinstance(server.value, tuple)
        if server.value[0] == "fwmark":
            return cls(has_mark=True)
        return cls((server.value[1] or 0,))

    @classmethod
    def of_group(cls, group: Entry | None) -> Kind:
        """That of a group, which may not exist; one of marks alone is as a mark is."""
        ports: list[int] = []
        has_mark = has_family = False
        for value, statement in group.items if group is not None else ():
            if statement.words[0] == "fwmark":
                has_mark = True
                has_family |= isinstance(value, tuple) and value[2] == "inet6"
            elif isinstance(value, tuple):
                ports.append(value[1] or 0)
        return cls(tuple(ports), has_mark, has_family)

    def port(self, written: int | None, method: str) -> int:
        """The port of a server that has this one written: without NAT a packet keeps its own.

        0 is every port, or that of the packet.
        """
        if not written:
            return self.ports[0] if len(set(self.ports)) == 1 and not self.has_mark else 0
        if method == "NAT":
            return written
        if self.has_mark:
            return 0
        return written if written in self.ports else self.ports[0]


class Sound(NamedTuple):
    """What is left of a virtual server."""

    kind: Kind
    family: int
    """Length of an address of its family, in octets."""
    is_tunnelled: bool
    """Whether only tunnels lead to its servers."""
    entries: list[Entry]
    """Its keywords without those that are ignored."""
    real_servers: list[Entry]
    sorry: Entry | None
    quorum: int
    hysteresis: int


def check_virtual_server(entry: Entry, kind: Kind, complaints: Complaints) -> Sound | None:
    """Complain of what does not fit in one virtual_server; what fits, or None for nothing."""
    assert isinstance(entry.value, tuple)
    name = " ".join(entry.statement.words[1:])
    if not any(inner.keyword.name == "real_server" for inner in entry.entries):
        complaints.error(
            entry.statement, 1, f"virtual_server {name} has no real server; it is left out"
        )
        return None
    last = keywords_of(entry)
    method = method_in(last.get("lvs_method"), "NAT")
    written, sorry = list(ends_of(entry, method)), sorry_of(last, method)
    ends = [*written, *([sorry] if sorry else [])]
    family = family_of(entry, ends, complaints)
    servers = list(_fitting(written, name, family, complaints))
    quorum, hysteresis = _check_quorum(entry, servers, name, last, complaints)
    _check_defaults(entry, name, kind, last, complaints)
    entries = _effective(entry, last, complaints)
    if sorry is not None and not sorry.fits(family):
        _complain_of_family(sorry, name, complaints)
        sorry = None
    _check_ports([*servers, *([sorry] if sorry else [])], name, kind, complaints)
    real_servers = [server.entry for server in servers]
    return Sound(
        kind,
        family,
        all(end.is_tunnelled for end in ends),
        entries,
        real_servers,
        sorry and sorry.entry,
        quorum,
        hysteresis,
    )


def _fitting(
    servers: Iterable[End], name: str, family: int, complaints: Complaints
) -> Iterator[End]:
    """Real servers that it can have."""
    known: dict[tuple[bytes, int | None], Statement] = {}
    for server in servers:
        if not server.fits(family):
            _complain_of_family(server, name, complaints)
            continue
        statement = server.entry.statement
        first = known.setdefault((server.address, server.port), statement)
        if first is not statement:
            complaints.error(
                statement,
                1,
                f"real_server {address_text(server.address)} is in line {first.number} already;"
                " it is left out here",
            )
            continue
        yield server


def _complain_of_family(server: End, name: str, complaints: Complaints) -> None:
    what = server.entry.keyword.name
    complaints.error(
        server.entry.statement,
        1,
        f"{what} {address_text(server.address)} is of another family than virtual_server {name};"
        " it is left out",
    )


def _weight(entry: Entry, otherwise: int) -> int:
    for inner in reversed(entry.entries):
        if inner.keyword.name == "weight" and isinstance(inner.value, int):
            return inner.value
    return otherwise


def _check_quorum(
    entry: Entry,
    servers: list[End],
    name: str,
    last: dict[str, Entry],
    complaints: Complaints,
) -> tuple[int, int]:
    """Quorum and hysteresis that can be."""
    total = sum(_weight(server.entry, _weight(entry, 1)) for server in servers)
    quorum = 1
    written = last.get("quorum")
    if written is not None and isinstance(written.value, int):
        quorum = written.value
        if quorum > total:
            complaints.warning(
                written.statement,
                1,
                f"quorum {quorum} of virtual_server {name} is more than its real servers weigh;"
                f" {total} is taken",
            )
            quorum = total
    elif servers and not total:
        complaints.warning(
            entry.statement,
            1,
            f"the real servers of virtual_server {name} weigh nothing; its quorum is 0",
        )
        quorum = 0
    hysteresis = last.get("hysteresis")
    if hysteresis is None or not isinstance(hysteresis.value, int):
        return quorum, 0
    if hysteresis.value and hysteresis.value >= quorum:
        complaints.warning(
            hysteresis.statement,
            1,
            f"hysteresis {hysteresis.value} is not below the quorum of {quorum}; 0 is taken",
        )
        return quorum, 0
    return quorum, hysteresis.value


def _check_defaults(
    entry: Entry,
    name: str,
    kind: Kind,
    last: dict[str, Entry],
    complaints: Complaints,
) -> None:
    """What keepalived says when it chooses for itself."""
    choices = [("lvs_sched", "wlc"), ("lvs_method", "NAT")]
    if kind.ports:
        choices.append(("protocol", "UDP"))
    elif kind.has_mark and "protocol" in last:
        complaints.warning(
            last["protocol"].statement,
            0,
            "protocol is ignored: a fwmark is of no protocol",
            is_ours=kind.has_family,
        )
    for keyword, choice in choices:
        if keyword not in last:
            complaints.warning(
                entry.statement, 1, f"virtual_server {name} has no {keyword}; {choice} is taken"
            )
    if 0 in kind.ports and "persistence_timeout" not in last:
        complaints.warning(
            entry.statement,
            1,
            f"virtual_server {name} is for every port, which needs persistence_timeout;"
            " it is taken as persistent",
        )


def _effective(entry: Entry, last: dict[str, Entry], complaints: Complaints) -> list[Entry]:
    """Keywords without options that need another one, some of them before."""
    seen: dict[str, object] = {}
    ignored: set[Entry] = set()
    for option in entry.entries:
        keyword = MODERN.get(option.keyword.name, option.keyword.name)
        seen[keyword] = option.value
        fault = ""
        if keyword in OF_SH and seen.get("lvs_sched") not in ("sh", "mh"):
            fault = "it is of the schedulers sh and mh; write lvs_sched before it"
        elif keyword in OF_SORRY and "sorry_server" not in seen:
            fault = "it needs sorry_server before it"
        if fault:
            complaints.warning(option.statement, 0, f"{keyword} is ignored: {fault}")
            ignored.add(option)
    ops = last.get("ops")
    protocol = last.get("protocol")
    if ops is not None and protocol is not None and protocol.value in ("TCP", "SCTP"):
        complaints.warning(ops.statement, 0, "ops is ignored: it needs protocol UDP")
        ignored.update(option for option in entry.entries if option.keyword.name == "ops")
    return [option for option in entry.entries if option not in ignored]


def _check_ports(servers: Iterable[End], name: str, kind: Kind, complaints: Complaints) -> None:
    """Without NAT a packet keeps its port."""
    for server in servers:
        statement, written = server.entry.statement, server.port
        if not written or server.method == "NAT":
            continue
        port = kind.port(written, server.method)
        if port == written:
            continue
        remedy = "no port can be chosen" if kind.has_mark else f"{port} is taken"
        complaints.warning(
            statement,
            2,
            f"port {written} of {statement.words[0]} {statement.words[1]} is not that of"
            f" virtual_server {name}; without NAT {remedy}",
        )
