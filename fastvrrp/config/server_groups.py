"""Groups of virtual servers, and the virtual servers that are made of them.

A group may stand after the virtual server that names it, so such a virtual server waits for the
end of the file. One that names no group is taken by keepalived without a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.server_families import FAMILY_KEYWORDS, IPV4, IPV6
from fastvrrp.config.servers import Kind, Sound, check_virtual_server
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry
from fastvrrp.model import ServerIdentity, VirtualServer


@dataclass(slots=True)
class VirtualServers:
    """Every group and virtual server so far."""

    complaints: Complaints
    groups: dict[str, Entry] = field(default_factory=dict)
    """Sound groups by name, the first of each."""
    _known: dict[ServerIdentity, Statement] = field(default_factory=dict)

    def take_group(self, group: Entry) -> None:
        """Remember a group; complain of one that keepalived would remove."""
        if group.value is None or not self._is_sound(group):
            return
        name = str(group.value)
        first = self.groups.setdefault(name, group)
        if first is not group:
            self.complaints.warning(
                group.statement,
                1,
                f"virtual_server_group {name} is in line {first.statement.number} already;"
                " give one of them another name",
                is_ours=True,
            )

    def check(self, server: Entry) -> Sound | None:
        """Check a virtual server whose group is known by now; what fits, or None for nothing."""
        if not isinstance(server.value, tuple):
            return None
        if server.value[0] != "group":
            return check_virtual_server(server, Kind.of_server(server), self.complaints)
        name = server.value[1]
        group = self.groups.get(name)
        if group is None:
            self.complaints.warning(
                server.statement,
                2,
                f"virtual_server_group {name} does not exist; write it, or correct the name",
                is_ours=True,
            )
        sound = check_virtual_server(server, Kind.of_group(group), self.complaints)
        return sound if sound is None or self._fits(server, group, sound) else None

    def _fits(self, server: Entry, group: Entry | None, sound: Sound) -> bool:
        """Whether the addresses of a group are of the family of its servers; with tunnels alone,
        which are of none, they may be of both."""
        families = set(families_of(group) if group is not None else ())
        assert isinstance(server.value, tuple)
        if families <= {sound.family}:
            return True
        if sound.is_tunnelled:
            for entry in sound.entries:
                if entry.keyword.name in FAMILY_KEYWORDS:
                    self.complaints.warning(
                        entry.statement,
                        0,
                        f"virtual_server_group {server.value[1]} has addresses of another family"
                        f" than {entry.keyword.name}; keepalived 2.2 leaves the virtual_server out",
                        is_ours=True,
                    )
            return True
        self.complaints.error(
            server.statement,
            2,
            f"virtual_server_group {server.value[1]} has addresses of another family than the"
            " servers have, to which only tunnels lead; the virtual_server is left out",
            is_ours=True,  # keepalived says it when it starts, and not at a check
        )
        return False

    def _is_sound(self, group: Entry) -> bool:
        has_mark = has_family = False
        for value, statement in group.items:
            if statement.words[0] == "fwmark":
                has_mark = True
                has_family |= isinstance(value, tuple) and value[2] is not None
        if not group.items:
            fault = "has no entries"
        elif len(set(families_of(group))) == 2 and has_mark and not has_family:
            fault = "has IPv4, IPv6 and a fwmark without a family; write inet or inet6 after it"
        else:
            return True
        self.complaints.error(
            group.statement, 1, f"virtual_server_group {group.value} {fault}; it is left out"
        )
        return False

    def claim(self, server: VirtualServer, statement: Statement) -> None:
        """Complain of a virtual server that was there: keepalived takes it twice; the kernel has it
        once."""
        first = self._known.setdefault(server.identity, statement)
        if first is not statement:
            self.complaints.warning(
                statement,
                1,
                f"virtual_server {' '.join(statement.words[1:])} is in line"
                f" {first.number} already; write its real servers there",
                is_ours=True,
            )


def families_of(group: Entry) -> list[int]:
    """The family of each of a group's addresses, in octets."""
    words = [statement.words[0] for _, statement in group.items]
    return [IPV6 if ":" in word else IPV4 for word in words if word != "fwmark"]


def family_of_marks(group: Entry, otherwise: int) -> int | None:
    """The family of a group's marks that say none, in octets: that of its addresses, or else
    `otherwise`; None where it has no such mark."""
    marks = [value for value, statement in group.items if statement.words[0] == "fwmark"]
    if not any(isinstance(value, tuple) and value[2] is None for value in marks):
        return None
    return next(iter(families_of(group)), otherwise)
