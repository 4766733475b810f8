"""A configuration as a whole."""

from __future__ import annotations

from fastvrrp.model.addresses import VirtualAddress
from fastvrrp.model.bfd import BfdInstance
from fastvrrp.model.definitions import GlobalDefinitions
from fastvrrp.model.frozen import dataclass
from fastvrrp.model.groups import (
    GarpGroup,
    InterfaceDelay,
    LinkbeatInterface,
    SyncGroup,
    TrackGroup,
)
from fastvrrp.model.routes import Route, Rule
from fastvrrp.model.servers import TlsClient, VirtualServer, VirtualServerGroup
from fastvrrp.model.tracking import TrackFile, TrackProcess, TrackScript
from fastvrrp.model.virtual_router import VirtualRouter


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that a configuration says, but for what an error dropped.

    Every list is in the order of the file, and names in it are unique. What refers to something by
    its name refers to something that is here.
    """

    definitions: GlobalDefinitions = GlobalDefinitions()
    virtual_routers: tuple[VirtualRouter, ...] = ()
    sync_groups: tuple[SyncGroup, ...] = ()
    track_scripts: tuple[TrackScript, ...] = ()
    track_files: tuple[TrackFile, ...] = ()
    track_processes: tuple[TrackProcess, ...] = ()
    bfd_instances: tuple[BfdInstance, ...] = ()
    track_groups: tuple[TrackGroup, ...] = ()
    static_addresses: tuple[VirtualAddress, ...] = ()
    static_routes: tuple[Route, ...] = ()
    static_rules: tuple[Rule, ...] = ()
    garp_groups: tuple[GarpGroup, ...] = ()
    linkbeat_interfaces: tuple[LinkbeatInterface, ...] = ()
    interface_delays: tuple[InterfaceDelay, ...] = ()
    virtual_server_groups: tuple[VirtualServerGroup, ...] = ()
    virtual_servers: tuple[VirtualServer, ...] = ()
    tls_client: TlsClient = TlsClient()
    """`SSL`."""
