"""What a virtual server's block shows only as a whole: servers, quorum, ports, families.

keepalived takes a default where something is missing and says so; a real server that does not fit
is dropped.
"""

from __future__ import annotations

from fastvrrp.config.arguments import address_text
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.options import Options
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry

MODERN = {"lb_algo": "lvs_sched", "lb_kind": "lvs_method"}
NEEDS = {"HTTP_GET": "url", "SSL_GET": "url", "FILE_CHECK": "track_file"}
"""What a checker is nothing without."""
Server = tuple[Statement, bytes, int | None]
"""A real server or sorry server: where, its address, and its port if one was written."""


def check_group(entry: Entry, complaints: Complaints) -> None:
    """Complain of a virtual_server_group that keepalived would remove."""
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
        return
    complaints.error(entry.statement, 1, f"virtual_server_group {name} {fault}; it is left out")


def check_virtual_server(entry: Entry, complaints: Complaints) -> None:
    """Complain of what does not fit in one virtual_server."""
    address = entry.value
    if not isinstance(address, tuple):
        return
    name = " ".join(entry.statement.words[1:])
    last = {MODERN.get(each.keyword.name, each.keyword.name): each for each in entry.entries}
    servers = _real_servers(entry, name, address[0], _method(last), complaints)
    if servers is None:
        complaints.error(
            entry.statement, 1, f"virtual_server {name} has no real server; it is left out"
        )
        return
    _check_quorum(servers, name, last, complaints)
    kind = address[0] if isinstance(address[0], str) else "address"
    _check_defaults(entry, name, kind, address[1], last, complaints)
    ends: list[Server] = [server for server, _ in servers]
    sorry = last.get("sorry_server")
    if sorry is not None and isinstance(sorry.value, tuple):
        end = _server(sorry)
        if _is_other_family(address[0], end[1], _method(last)):
            complaints.error(
                end[0],
                1,
                f"sorry_server {address_text(end[1])} is of another family than virtual_server"
                f" {name}; it is left out",
            )
        else:
            ends.append(end)
    if _method(last) != "NAT" and kind != "group":
        _check_ports(ends, name, kind, address[1], complaints)


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
) -> list[tuple[Server, int]] | None:
    """Real servers that fit, with their weights; None where none was written.

    A mark is of the family of its first real server.
    """
    servers: list[tuple[Server, int]] = []
    known: dict[tuple[bytes, int | None], Statement] = {}
    was_written = False
    for inner in entry.entries:
        if inner.keyword.name != "real_server":
            continue
        was_written = True
        if inner.value is None:
            continue
        server = _server(inner)
        statement, address, port = server
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
        _check_checkers(inner, complaints)
        weights = [each.value for each in inner.entries if each.keyword.name == "weight"]
        weight = weights[-1] if weights else 1
        servers.append((server, weight if isinstance(weight, int) else 1))
    return servers if was_written else None


def _check_checkers(server: Entry, complaints: Complaints) -> None:
    for checker in server.entries:
        needed = NEEDS.get(checker.keyword.name)
        if needed and not any(each.keyword.name == needed for each in checker.entries):
            complaints.error(
                checker.statement, 0, f"{checker.keyword.name} has no {needed}; it is left out"
            )


def _check_quorum(
    servers: list[tuple[Server, int]], name: str, last: dict[str, Entry], complaints: Complaints
) -> None:
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
    kept = hysteresis.value if hysteresis is not None else 0
    if hysteresis is not None and isinstance(kept, int) and kept and kept >= quorum:
        complaints.warning(
            hysteresis.statement,
            1,
            f"hysteresis {kept} is not below the quorum of {quorum}; 0 is taken",
        )


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
