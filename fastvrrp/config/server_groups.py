"""Groups of virtual servers, and the virtual servers that are made of them.

A group may stand after the virtual server that names it, so such a virtual server waits for the
end of the file. One that names no group is taken by keepalived without a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.servers import Kind, check_virtual_server
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry


@dataclass(slots=True)
class VirtualServers:
    """Every group and virtual server so far."""

    complaints: Complaints
    _groups: dict[str, Entry] = field(default_factory=dict)
    _waiting: list[Entry] = field(default_factory=list)
    """Virtual servers of groups."""
    _known: dict[tuple[object, ...], Statement] = field(default_factory=dict)

    def take_group(self, group: Entry) -> None:
        """Remember a group; complain of one that keepalived would remove."""
        if group.value is None or not self._is_sound(group):
            return
        name = str(group.value)
        first = self._groups.setdefault(name, group)
        if first is not group:
            self.complaints.warning(
                group.statement,
                1,
                f"virtual_server_group {name} is in line {first.statement.number} already;"
                " give one of them another name",
                is_ours=True,
            )

    def take_server(self, server: Entry) -> None:
        """Check a virtual server, at the end where it is one of a group."""
        if not isinstance(server.value, tuple):
            return
        self._check_first(server, server.value)
        if server.value[0] == "group":
            self._waiting.append(server)
        else:
            check_virtual_server(server, Kind.of_server(server), self.complaints)

    def check(self) -> None:
        """Check the virtual servers of groups."""
        for server in self._waiting:
            assert isinstance(server.value, tuple)
            name = server.value[1]
            group = self._groups.get(name)
            if group is None:
                self.complaints.warning(
                    server.statement,
                    2,
                    f"virtual_server_group {name} does not exist; write it, or correct the name",
                    is_ours=True,
                )
            check_virtual_server(server, Kind.of_group(group), self.complaints)

    def _is_sound(self, group: Entry) -> bool:
        families: set[int] = set()
        has_mark = has_family = False
        for value, statement in group.items:
            if statement.words[0] == "fwmark":
                has_mark = True
                has_family |= isinstance(value, tuple) and value[2] is not None
            else:
                families.add(6 if ":" in statement.words[0] else 4)
        if not group.items:
            fault = "has no entries"
        elif len(families) == 2 and has_mark and not has_family:
            fault = "has IPv4, IPv6 and a fwmark without a family; write inet or inet6 after it"
        else:
            return True
        self.complaints.error(
            group.statement, 1, f"virtual_server_group {group.value} {fault}; it is left out"
        )
        return False

    def _check_first(self, server: Entry, value: tuple[object, ...]) -> None:
        """keepalived takes a virtual server twice; the kernel has it once."""
        last = {entry.keyword.name: entry.value for entry in server.entries}
        protocol = None if value[0] == "fwmark" else last.get("protocol", "UDP")
        key = (*value, protocol, last.get("ip_family", "inet"))
        first = self._known.setdefault(key, server.statement)
        if first is not server.statement:
            self.complaints.warning(
                server.statement,
                1,
                f"virtual_server {' '.join(server.statement.words[1:])} is in line"
                f" {first.number} already; write its real servers there",
                is_ours=True,
            )
