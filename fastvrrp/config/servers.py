"""What a virtual server's block shows only as a whole: servers, quorum, ports, families.

keepalived takes a default where something is missing and says so; a real server that does not fit
is dropped. What is left is what the model is built from (`building.servers`).
"""

from __future__ import annotations

from typing import NamedTuple

from fastvrrp.config.arguments import address_text
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.options import Options
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry

MODERN = {"lb_algo": "lvs_sched", "lb_kind": "lvs_method"}
NEEDS = {
    "HTTP_GET": "url",
    "SSL_GET": "url",
    "FILE_CHECK": "track_file",
    "BFD_CHECK": "name",
    "MISC_CHECK": "misc_path",
}
"""What a checker is nothing without."""
Server = tuple[Statement, bytes, int | None]
"""A real server or sorry server: where, its address, and its port if one was written."""


class Sound(NamedTuple):
    """What is left of a virtual server."""

    real_servers: list[Entry]
    sorry: Entry | None
    quorum: int
    hysteresis: int


def check_group(entry: Entry, complaints: Complaints) -> bool:
    """False, after a complaint, for a virtual_server_group that keepalived would remove."""
    families: set[int] = set()
    has_mark = has_family = False
    for value, statement in entry.items:
        if statement.words[0] == "fwmark":
            has_mark = True
            has_family |= isinstance(value, tuple) and value[2] is not None
        else:
            families.add(6 if ":" in statement.words[0] else 4)
    name = entry.statement.words[1]
    if not entry.items:
        fault = "has no entries"
    elif len(families) == 2 and has_mark and not has_family:
        fault = "has IPv4, IPv6 and a fwmark without a family; write inet or inet6 after the mark"
    else:
        return True
    complaints.error(entry.statement, 1, f"virtual_server_group {name} {fault}; it is left out")
    return False


def check_virtual_server(entry: Entry, complaints: Complaints) -> Sound | None:
    """Complain of what does not fit in one virtual_server; what fits, or None for nothing."""
    address = entry.value
    if not isinstance(address, tuple):
        return None
    name = " ".join(entry.statement.words[1:])
    last = {MODERN.get(each.keyword.name, each.keyword.name): each for each in entry.entries}
    servers = _real_servers(entry, name, address[0], _method(last), complaints)
    if servers is None:
        complaints.error(
            entry.statement, 1, f"virtual_server {name} has no real server; it is left out"
        )
        return None
    quorum, hysteresis = _check_quorum(servers, name, last, complaints)
    kind = address[0] if isinstance(address[0], str) else "address"
    _check_defaults(entry, name, kind, address[1], last, complaints)
    ends: list[Server] = [_server(server) for server, _ in servers]
    sorry = last.get("sorry_server")
    if sorry is not None and not isinstance(sorry.value, tuple):
        sorry = None
    if sorry is not None:
        end = _server(sorry)
        if _is_other_family(address[0], end[1], _method(last)):
            complaints.error(
                end[0],
                1,
                f"sorry_server {address_text(end[1])} is of another family than virtual_server"
                f" {name}; it is left out",
            )
            sorry = None
        else:
            ends.append(end)
    if _method(last) != "NAT" and kind != "group":
        _check_ports(ends, name, kind, address[1], complaints)
    return Sound([server for server, _ in servers], sorry, quorum, hysteresis)


def _method(last: dict[str, Entry]) -> str:
    """How packets are forwarded: NAT where nothing is written."""
    written = last.get("lvs_method")
    method = written.value.get("method") if written and isinstance(written.value, Options) else None
    return method if isinstance(method, str) else "NAT"


def _server(entry: Entry) -> Server:
    assert isinstance(entry.value, tuple)
    return entry.statement, entry.value[0], entry.value[1]


def _is_other_family(virtual: object, real: bytes, method: str) -> bool:
    """Only a tunnel may lead to a server of another family."""
    return isinstance(virtual, bytes) and len(virtual) != len(real) and method != "TUN"


def _real_servers(
    entry: Entry, name: str, virtual: object, method: str, complaints: Complaints
) -> list[tuple[Entry, int]] | None:
    """Real servers that fit, with their weights; None where none was written.

    A mark is of the family of its first real server.
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
        if virtual == "fwmark":
            virtual = address
        if _is_other_family(virtual, address, method):
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
        weights = [each.value for each in inner.entries if each.keyword.name == "weight"]
        weight = weights[-1] if weights else 1
        servers.append((inner, weight if isinstance(weight, int) else 1))
    return servers if was_written else None


def lacks_something(checker: Entry, complaints: Complaints) -> bool:
    """True, after a complaint, for a checker without what it is nothing without."""
    needed = NEEDS.get(checker.keyword.name)
    if not needed or any(each.keyword.name == needed for each in checker.entries):
        return False
    complaints.error(
        checker.statement, 0, f"{checker.keyword.name} has no {needed}; it is left out"
    )
    return True


def _check_quorum(
    servers: list[tuple[Entry, int]], name: str, last: dict[str, Entry], complaints: Complaints
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
    kind: str,
    port: object,
    last: dict[str, Entry],
    complaints: Complaints,
) -> None:
    """What keepalived says when it chooses for itself."""
    choices = [("lvs_sched", "wlc"), ("lvs_method", "NAT")]
    if kind != "fwmark":
        choices.append(("protocol", "UDP"))
    elif "protocol" in last:
        complaints.warning(
            last["protocol"].statement, 0, "protocol is ignored: a fwmark is of no protocol"
        )
    for keyword, choice in choices:
        if keyword not in last:
            complaints.warning(
                entry.statement, 1, f"virtual_server {name} has no {keyword}; {choice} is taken"
            )
    if kind == "address" and not port and "persistence_timeout" not in last:
        complaints.warning(
            entry.statement,
            1,
            f"virtual_server {name} is for every port, which needs persistence_timeout;"
            " it is taken as persistent",
        )


def _check_ports(
    servers: list[Server], name: str, kind: str, port: object, complaints: Complaints
) -> None:
    """Without NAT a packet keeps its port."""
    for statement, _, written in servers:
        if not written or (kind == "address" and written == (port or 0)):
            continue
        remedy = "no port can be chosen" if kind == "fwmark" else f"{port or 0} is taken"
        complaints.warning(
            statement,
            2,
            f"port {written} of {statement.words[0]} {statement.words[1]} is not that of"
            f" virtual_server {name}; without NAT {remedy}",
        )
