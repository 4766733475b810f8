"""`nftables_ipvs`: which group's virtual server has which firewall mark, and what is marked.

A group with marks of its own goes on as it is, as under keepalived. A mark stays with its virtual
server over reloads, so that its service, and with it the connections, stay as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

from fastvrrp.kernel import group_marks, netns
from fastvrrp.kernel.group_marks import PRIORITY, Marked
from fastvrrp.kernel.nfnetlink import RulesetMonitor
from fastvrrp.model import Configuration, Firewall, Transport, VirtualServer, VirtualServerGroup

Table = tuple[str, int, bool]
"""Name of the table, priority of its chain, and whether packets are counted."""
Owner = tuple[str, Transport | None]
"""The group and the protocol of a virtual server."""


class Marks:
    """The marks that were given out."""

    def __init__(self) -> None:
        self._marks: dict[Owner, int] = {}
        self._firewall = Firewall()
        self.marked: tuple[Marked, ...] = ()
        """What is to be marked."""

    @property
    def table(self) -> Table:
        """Where it is marked."""
        firewall = self._firewall
        priority = PRIORITY if firewall.ipvs_priority is None else firewall.ipvs_priority
        return firewall.ipvs_table, priority, firewall.counts

    @property
    def given(self) -> Mapping[Owner, int]:
        """Who has which mark."""
        return self._marks

    def take_over(self, given: Mapping[Owner, int]) -> None:
        """Another process had given these."""
        self._marks = dict(given)

    def configure(self, configuration: Configuration) -> None:
        """Gives marks to what needs them now, from `nftables_ipvs_start_fwmark` on, and takes back
        those of the others. A mark that the configuration itself uses is given to nobody."""
        self._firewall = configuration.definitions.firewall
        groups = {group.name: group for group in configuration.virtual_server_groups}
        wanted = {
            (server.group, server.protocol): groups[server.group]
            for server in configuration.virtual_servers
            if self._firewall.marks_for_ipvs
            and server.group is not None
            and server.group in groups
            and not groups[server.group].marks
        }
        used = _used(configuration)
        kept = {
            owner: mark
            for owner, mark in self._marks.items()
            if owner in wanted and mark not in used
        }
        free = self._free(used.union(kept.values()))
        self._marks = {owner: kept.get(owner) or next(free) for owner in wanted}
        self.marked = tuple(
            marked for owner, group in wanted.items() for marked in self._marked_of(owner, group)
        )

    def mark_of(self, server: VirtualServer) -> int | None:
        """The mark of a virtual server; None where it has its addresses."""
        return None if server.group is None else self._marks.get((server.group, server.protocol))

    def _free(self, used: set[int]) -> Iterator[int]:
        mark = self._firewall.ipvs_first_mark
        while True:
            if mark not in used:
                yield mark
            mark += 1

    def _marked_of(self, owner: Owner, group: VirtualServerGroup) -> Iterator[Marked]:
        protocol = owner[1] or Transport.UDP
        for span in group.ranges:
            yield Marked(span.first, span.last, protocol, span.port, self._marks[owner])


class Marking:
    """The kernel's table in one network namespace, put there again when somebody has removed it.

    It may be used by one thread at a time, but `fileno` and `read`, which are the loop's.
    """

    def __init__(self, namespace: str | None) -> None:
        """Raises OSError where the kernel has no nftables."""
        self._namespace = namespace
        self._put: tuple[Table, tuple[Marked, ...]] | None = None
        with self._inside():
            self._monitor = RulesetMonitor()

    def fileno(self) -> int:
        """The descriptor that is readable when somebody has changed the ruleset."""
        return self._monitor.fileno()

    def read(self) -> None:
        """Takes that news away."""
        self._monitor.read()

    def settle(self, table: Table, marked: tuple[Marked, ...]) -> None:
        """Makes the table so, where it is not. Raises OSError."""
        with self._inside():
            is_there = not marked or group_marks.stands(table[0])
            if (table, marked) != self._put or not is_there:
                self._put = None
                group_marks.put(*table, marked)
                self._put = (table, marked)

    def close(self) -> None:
        """Removes the table."""
        self._monitor.close()
        with self._inside():
            group_marks.put("", 0, False, ())

    def _inside(self) -> AbstractContextManager[None]:
        return netns.inside(self._namespace) if self._namespace else nullcontext()


def _used(configuration: Configuration) -> set[int]:
    """Marks that the configuration itself has."""
    servers = {server.mark for server in configuration.virtual_servers if server.mark}
    return servers | {
        mark.mark for group in configuration.virtual_server_groups for mark in group.marks
    }
