"""Virtual routers and interfaces that belong together."""

from __future__ import annotations

from enum import IntEnum

from fastvrrp.model.frozen import dataclass
from fastvrrp.model.notification import Notifications
from fastvrrp.model.tracking import Tracked
from fastvrrp.model.units import Nanoseconds


@dataclass(frozen=True, slots=True)
class SyncGroup:
    """`vrrp_sync_group`: virtual routers that change state together."""

    name: str
    members: tuple[str, ...]
    """Names of virtual routers, which exist and are in no other group."""
    tracked: tuple[Tracked, ...] = ()
    """Counts for every member."""
    notifications: Notifications = Notifications()
    tracks_for_all: bool = False
    """`global_tracking`: what one member tracks counts for every one."""
    allows_weights: bool = False
    """`sync_group_tracking_weight`: members may have weights of their own."""


@dataclass(frozen=True, slots=True)
class TrackGroup:
    """`track_group`: virtual routers that track static addresses, routes and rules."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GarpGroup:
    """`garp_group`: gaps between announcements, for some interfaces together."""

    interfaces: tuple[str, ...]
    garp_interval: Nanoseconds = 0
    """Between two gratuitous ARPs; 0 is none."""
    gna_interval: Nanoseconds = 0
    """Between two unsolicited neighbour advertisements; 0 is none."""


class LinkPolling(IntEnum):
    """How an interface is asked for its link."""

    ANY = 0
    """The first of the others that the interface knows, in their order."""
    MII = 1
    ETHTOOL = 2
    IOCTL = 3


@dataclass(frozen=True, slots=True)
class LinkbeatInterface:
    """A line of `linkbeat_interfaces`."""

    interface: str
    polling: LinkPolling = LinkPolling.ANY


@dataclass(frozen=True, slots=True)
class InterfaceDelay:
    """A line of `interface_up_down_delays`: how long a state must last to count."""

    interface: str
    down: Nanoseconds
    up: Nanoseconds
