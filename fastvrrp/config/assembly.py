"""From the top-level blocks of a file, one after another, to a configuration.

What an instance or a server takes from `global_defs` may be written after it. Builders are made
with what is known when the first one is needed; where more was learned afterwards that matters, the
file is read once more.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from functools import cached_property

from fastvrrp.config.build import Builder, Draft
from fastvrrp.config.building.checkers import CheckerBuilder
from fastvrrp.config.building.definitions import global_definitions
from fastvrrp.config.building.groups import garp_group, interface_delays, linkbeat_interfaces
from fastvrrp.config.building.notification import NotificationBuilder
from fastvrrp.config.building.routes import RuleBuilder
from fastvrrp.config.building.scripts import ScriptUsers
from fastvrrp.config.building.servers import ServerBuilder, server_group, tls_client
from fastvrrp.config.checkers import Checkers
from fastvrrp.config.checks import Claims
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.definitions import AT_TOP_ROWS, Defaults
from fastvrrp.config.fifo_checks import FifoChecks
from fastvrrp.config.garp_groups import GarpGroups
from fastvrrp.config.kernel_modules import NeededModules
from fastvrrp.config.namespaces import Namespaces
from fastvrrp.config.recall import Recalled
from fastvrrp.config.references import GIVEN_BY, STATIC, References
from fastvrrp.config.script_checks import ScriptChecks
from fastvrrp.config.server_groups import VirtualServers
from fastvrrp.config.service_checks import check_services, fitting_group
from fastvrrp.config.statement import Statement
from fastvrrp.config.tree import Entry
from fastvrrp.config.vmac_names import VmacNames
from fastvrrp.config.web_checks import check_web_config
from fastvrrp.model import (
    Command,
    Configuration,
    GarpGroup,
    GlobalDefinitions,
    InstanceOptions,
    InterfaceDelay,
    LinkbeatInterface,
    Route,
    Rule,
    SyncDaemon,
    Tracked,
    Tracker,
    VirtualAddress,
    VirtualRouter,
    VirtualServer,
    VirtualServerGroup,
)


class _Builders:
    """What is built with the defaults that are known so far."""

    def __init__(
        self,
        defaults: Defaults,
        vmac_names: frozenset[str],
        trackers: Mapping[tuple[Tracker, str], object],
        servers: VirtualServers,
        left_out: Container[Entry],
        namespaces: Namespaces,
        complaints: Complaints,
    ) -> None:
        self.known = (dict(defaults.written), defaults.top.text("net_namespace"))
        self.names = VmacNames(defaults.text("vmac_prefix") or "", vmac_names)
        self.users = ScriptUsers.of(defaults)
        self.notifications = NotificationBuilder(
            self.users,
            defaults.sends_mail("vrrp") is True,
            defaults.is_on("vrrp_notify_priority_changes"),
            defaults.command("notify_split_brain"),
        )
        self.rules = RuleBuilder()
        self.routers = Builder(
            defaults, self.names, self.notifications, self.rules, namespaces, complaints
        )
        self.interface = defaults.text("default_interface") or ""
        checkers = CheckerBuilder(
            self.users, defaults.is_on("checker_log_all_failures"), trackers, left_out
        )
        self.servers = ServerBuilder(
            checkers, self.users, defaults.sends_mail("checker"), servers, complaints
        )


class Assembly:
    """Takes top-level blocks and makes the model of them."""

    def __init__(
        self, defaults: Defaults, vmac_names: frozenset[str], complaints: Complaints
    ) -> None:
        self._defaults = defaults
        self._vmac_names = vmac_names
        self._complaints = complaints
        self._claims = Claims(complaints)
        self._namespaces = Namespaces(defaults.is_own_namespace, complaints)
        self._references = References(complaints, self._namespaces)
        self._drafts: list[Draft] = []
        self._garp_groups: list[GarpGroup] = []
        self._linkbeat: list[LinkbeatInterface] = []
        self._delays: list[InterfaceDelay] = []
        self._server_checks = VirtualServers(complaints)
        self._checker_checks = Checkers(complaints)
        self._garp_checks = GarpGroups(complaints)
        self._script_checks = ScriptChecks(complaints)
        self._fifo_checks = FifoChecks(complaints)
        self._servers: list[tuple[Statement, VirtualServer | Entry | None]] = []
        """Those of groups, which may follow, are built at the end."""
        self._tls: list[Entry] = []
        self.modules = NeededModules()
        """What virtual servers need of the kernel."""
        self._has_built = False
        self._takers: dict[str, Callable[[Entry], None]] = {
            "vrrp_instance": self._take_instance,
            "vrrp_sync_group": self._take_sync_group,
            "track_group": self._references.take_track_group,
            "garp_group": self._take_garp_group,
            "linkbeat_interfaces": lambda entry: self._linkbeat.extend(linkbeat_interfaces(entry)),
            "interface_up_down_delays": lambda entry: self._delays.extend(interface_delays(entry)),
            "virtual_server_group": self._server_checks.take_group,
            "virtual_server": self._take_server,
            "SSL": self._tls.append,
            "global_defs": self._take_definitions,
            **dict.fromkeys(AT_TOP_ROWS, defaults.take),
            **dict.fromkeys(GIVEN_BY, self._take_tracker),
            **dict.fromkeys(STATIC, self._take_static),
        }

    @cached_property
    def _builders(self) -> _Builders:
        self._has_built = True
        return _Builders(
            self._defaults,
            self._vmac_names,
            self._references.trackers,
            self._server_checks,
            self._checker_checks.left_out,
            self._namespaces,
            self._complaints,
        )

    def recall(self, recalled: Recalled) -> None:
        """A virtual server that is as it was at an earlier reading."""
        self._server_checks.claim(recalled.server, recalled)
        self._servers.append((recalled, recalled.server))

    def built(self, entry: Entry) -> VirtualServer | None:
        """The virtual server of the entry that was taken last; None where that is none, or its
        group is still to come."""
        if not self._servers:
            return None
        statement, server = self._servers[-1]
        return server if statement is entry.statement and not isinstance(server, Entry) else None

    def take(self, entry: Entry) -> None:
        """One top-level block or keyword."""
        self._takers[entry.keyword.name](entry)

    def learned_late(self) -> frozenset[str] | None:
        """Names of VMACs to know in another reading; None where this one knew enough."""
        if not self._has_built:
            return None
        builders = self._builders
        known = (self._defaults.written, self._defaults.top.text("net_namespace"))
        if builders.names.chose_too_early or known != builders.known:
            return frozenset(builders.names.written)
        return None

    def configuration(self) -> Configuration:
        """The whole, at the end of the file."""
        references = self._references
        tracked = references.resolve()
        telling: dict[InstanceOptions, InstanceOptions] = {}
        addresses, routes, rules = (references.static(keyword) for keyword in STATIC)
        groups = self._server_groups()
        return Configuration(
            definitions=self._definitions(),
            virtual_routers=tuple(
                [self._finished(draft.router, tracked, telling) for draft in self._drafts]
            ),
            sync_groups=references.sync_groups(),
            track_scripts=references.scripts(),
            track_files=references.files(),
            track_processes=references.processes(),
            bfd_instances=references.sessions(),
            track_groups=references.track_groups(),
            static_addresses=tuple(one for one in addresses if isinstance(one, VirtualAddress)),
            static_routes=tuple(one for one in routes if isinstance(one, Route)),
            static_rules=tuple(one for one in rules if isinstance(one, Rule)),
            garp_groups=tuple(self._garp_groups),
            linkbeat_interfaces=tuple(self._linkbeat),
            interface_delays=tuple(self._delays),
            virtual_server_groups=groups,
            virtual_servers=self._virtual_servers(groups),
            tls_client=tls_client(self._tls, self._complaints),
        )

    def _finished(
        self,
        router: VirtualRouter,
        tracked: Mapping[str, tuple[Tracked, ...]],
        telling: dict[InstanceOptions, InstanceOptions],
    ) -> VirtualRouter:
        """A virtual router with what only the end of the file tells; `telling` are options of those
        whose priorities their groups want told, by those that they would have."""
        if router.name in tracked:
            router = replace(router, tracked=tracked[router.name])
        is_told = self._references.tells_priorities(router.name)
        if is_told is None or is_told == router.notifications.says_priority_changes:
            return router
        options = telling.get(router.options)
        if options is None:
            told = replace(router.options.notifications, says_priority_changes=is_told)
            options = replace(router.options, notifications=told)
            options = telling.setdefault(router.options, options)
        return replace(router, options=options)

    def _take_instance(self, entry: Entry) -> None:
        if entry.value is None or not self._claims.name(entry):
            return
        draft = self._builders.routers.build(entry)
        if draft is not None and not self._claims.accept(draft):
            draft = None
        self._references.take_instance(entry, draft)
        if draft is not None:
            self._drafts.append(draft)

    def _take_sync_group(self, entry: Entry) -> None:
        self._references.take_sync_group(entry, self._builders.notifications)

    def _take_tracker(self, entry: Entry) -> None:
        self._references.take_tracker(entry, self._builders.users)
        keyword = entry.keyword.name
        if keyword == "vrrp_script":
            self._script_checks.take_script(entry)
        elif keyword == "bfd_instance":
            self._checker_checks.take_session(entry)
        elif keyword != "vrrp_track_process":
            self._checker_checks.take_file(entry)

    def _take_static(self, entry: Entry) -> None:
        self._references.take_static(entry, self._builders.interface, self._builders.rules)

    def _take_definitions(self, entry: Entry) -> None:
        self._defaults.take(entry)
        self._script_checks.take_definitions(entry)
        self._fifo_checks.take(entry)
        check_web_config(entry, self._complaints)

    def _take_garp_group(self, entry: Entry) -> None:
        interfaces = self._garp_checks.take(entry)
        if interfaces is not None:
            self._garp_groups.append(garp_group(entry, interfaces))

    def _take_server(self, entry: Entry) -> None:
        self.modules.take(entry)
        self._checker_checks.check(entry)
        self._script_checks.take_server(entry)
        is_of_group = isinstance(entry.value, tuple) and entry.value[0] == "group"
        server = entry if is_of_group else self._builders.servers.build(entry)
        self._servers.append((entry.statement, server))

    def check_fifos(self) -> None:
        """Complain of FIFOs that are one."""
        self._fifo_checks.check()

    def check_scripts(self, notifying: Iterable[tuple[Statement, Command]]) -> bool:
        """Complain of scripts that cannot run; True where some can, and nothing secures them.

        `notifying` are all commands that are in no block of their own.
        """
        return self._script_checks.check(
            notifying, is_secure=self._defaults.is_on("enable_script_security")
        )

    def _server_groups(self) -> tuple[VirtualServerGroup, ...]:
        return tuple(
            [
                fitting_group(group, server_group(group), self._marks_groups, self._complaints)
                for group in self._server_checks.groups.values()
            ]
        )

    @property
    def _marks_groups(self) -> bool:
        return "nftables_ipvs" in self._defaults.written

    def _virtual_servers(self, groups: tuple[VirtualServerGroup, ...]) -> tuple[VirtualServer, ...]:
        written = [
            (statement, built)
            for statement, server in self._servers
            if (
                built := self._builders.servers.build(server)
                if isinstance(server, Entry)
                else server
            )
            is not None
        ]
        check_services(
            written,
            {group.name: group for group in groups},
            self._server_checks.groups,
            self._marks_groups,
            self._complaints,
        )
        return tuple([server for _, server in written])

    def _definitions(self) -> GlobalDefinitions:
        """What holds for the whole; a sync daemon follows a virtual router that exists."""
        definitions = global_definitions(self._defaults)
        daemon = definitions.lvs.sync_daemon
        if daemon is None:
            for draft in self._drafts:
                interface = draft.router.options.sync_daemon_interface
                if interface is not None:
                    daemon = SyncDaemon(interface, draft.router.name)
                    return replace(definitions, lvs=replace(definitions.lvs, sync_daemon=daemon))
            return definitions
        if daemon.instance is None:
            return definitions
        if any(draft.router.name == daemon.instance for draft in self._drafts):
            return definitions
        statement = self._defaults.sync_daemon
        assert statement is not None
        self._complaints.error(
            statement,
            0,
            f"vrrp_instance {daemon.instance} of lvs_sync_daemon does not exist; lvs_sync_daemon is"
            " left out",
            is_ours=True,
        )
        return replace(definitions, lvs=replace(definitions.lvs, sync_daemon=None))
