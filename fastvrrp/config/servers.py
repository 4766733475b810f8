"""What a virtual server's block shows only as a whole: servers, quorum, ports, families.

keepalived takes a default where something is missing and says so; a real server that does not fit
is dropped. What is left is what the model is built from (`building.servers`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fastvrrp.config.arguments import address_text
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.options import Options
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry

MODERN = {"lb_algo": "lvs_sched", "lb_kind": "lvs_method"}
OF_SH = frozenset({"sh-port", "sh-fallback", "mh-port", "mh-fallback"})
OF_SORRY = frozenset({"sorry_server_inhibit", "sorry_server_lvs_method"})
Server = tuple[Statement, bytes, int | None]
"""A real server or sorry server: where, its address, and its port if one was written."""


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
    last = {MODERN.get(each.keyword.name, each.keyword.name): each for each in entry.entries}
    method = _method(last)
    family = _family(entry, last, complaints)
    servers, family = _real_servers(entry, name, family, method, complaints)
    if servers is None:
        complaints.error(
            entry.statement, 1, f"virtual_server {name} has no real server; it is left out"
        )
        return None
    quorum, hysteresis = _check_quorum(entry, servers, name, last, complaints)
    _check_defaults(entry, name, kind, last, complaints)
    entries = _effective(entry, last, complaints)
    ends: list[Server] = [_server(server) for server, _ in servers]
    sorry = last.get("sorry_server")
    if sorry is not None and not isinstance(sorry.value, tuple):
        sorry = None
    if sorry is not None:
        end = _server(sorry)
        if _is_other_family(family, end[1], method):
            complaints.error(
                end[0],
                1,
                f"sorry_server {address_text(end[1])} is of another family than virtual_server"
                f" {name}; it is left out",
            )
            sorry = None
        else:
            ends.append(end)
    if method != "NAT":
        _check_ports(ends, name, kind, method, complaints)
    real_servers = [server for server, _ in servers]
    return Sound(kind, entries, real_servers, sorry, quorum, hysteresis)


def _family(entry: Entry, last: dict[str, Entry], complaints: Complaints) -> int | None:
    """Length of its addresses in octets; None where the first real server decides."""
    assert isinstance(entry.value, tuple)
    own = len(entry.value[0]) if isinstance(entry.value[0], bytes) else None
    written = last.get("ip_family")
    if written is None or written.value is None:
        return own
    length = 16 if written.value == "inet6" else 4
    if own is not None and own != length:
        complaints.warning(
            written.statement,
            1,
            f"ip_family {written.value} is ignored: the address of virtual_server is of the other"
            " family",
        )
        return own
    return length


def _method(last: dict[str, Entry]) -> str:
    """How packets are forwarded: NAT where nothing is written."""
    written = last.get("lvs_method")
    method = written.value.get("method") if written and isinstance(written.value, Options) else None
    return method if isinstance(method, str) else "NAT"


def _server(entry: Entry) -> Server:
    assert isinstance(entry.value, tuple)
    return entry.statement, entry.value[0], entry.value[1]


def _is_other_family(family: int | None, real: bytes, method: str) -> bool:
    """Only a tunnel may lead to a server of another family."""
    return family is not None and family != len(real) and method != "TUN"


def _real_servers(
    entry: Entry, name: str, family: int | None, method: str, complaints: Complaints
) -> tuple[list[tuple[Entry, int]] | None, int | None]:
    """Real servers that fit, with their weights, None where none was written; and the family.

    A mark or a group is of the family of its first real server.
    """
    servers: list[tuple[Entry, int]] = []
    known: dict[tuple[bytes, int | None], Statement] = {}
    was_written = False
    for inner in entry.entries:
        if inner.keyword.name != "real_server":
            continue
        was_written = True
        if inner.value is None:
            continue
        statement, address, port = _server(inner)
        if family is None:
            family = len(address)
        if _is_other_family(family, address, method):
            complaints.error(
                statement,
                1,
                f"real_server {address_text(address)} is of another family than virtual_server"
                f" {name}; it is left out",
            )
            continue
        first = known.setdefault((address, port), statement)
        if first is not statement:
            complaints.error(
                statement,
                1,
                f"real_server {address_text(address)} is in line {first.number} already;"
                " it is left out here",
            )
            continue
        servers.append((inner, _weight(inner, _weight(entry, 1))))
    return servers if was_written else None, family


def _weight(entry: Entry, otherwise: int) -> int:
    for inner in reversed(entry.entries):
        if inner.keyword.name == "weight" and isinstance(inner.value, int):
            return inner.value
    return otherwise


def _check_quorum(
    entry: Entry,
    servers: list[tuple[Entry, int]],
    name: str,
    last: dict[str, Entry],
    complaints: Complaints,
) -> tuple[int, int]:
    """Quorum and hysteresis that can be."""
    total = sum(weight for _, weight in servers)
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


def _check_ports(
    servers: list[Server], name: str, kind: Kind, method: str, complaints: Complaints
) -> None:
    """Without NAT a packet keeps its port."""
    for statement, _, written in servers:
        if not written:
            continue
        port = kind.port(written, method)
        if port == written:
            continue
        remedy = "no port can be chosen" if kind.has_mark else f"{port} is taken"
        complaints.warning(
            statement,
            2,
            f"port {written} of {statement.words[0]} {statement.words[1]} is not that of"
            f" virtual_server {name}; without NAT {remedy}",
        )
