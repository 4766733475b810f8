"""`log_unknown_vrids`: adverts for which there is no virtual router."""

from __future__ import annotations

import logging
from collections.abc import Callable
from ipaddress import ip_address

from fastvrrp._engine import Engine
from fastvrrp.model import Configuration
from fastvrrp.vrrp.follower import Follower

log = logging.getLogger(__name__)


class UnknownVrids(Follower):
    """Says of each VRID that is nobody's that it is heard on an interface; once, where keepalived
    does it with every advert. All of them are counted in the state segment, logged or not."""

    def __init__(self, engine: Engine, name_of: Callable[[int], str | None]) -> None:
        """`name_of` gives the name of an interface by the engine's number."""
        self._engine = engine
        self._name_of = name_of

    def configure(self, configuration: Configuration) -> None:
        is_wanted = configuration.definitions.vrrp.logs_unknown_vrids
        self._engine.on_unknown = self._tell if is_wanted else None

    def _tell(self, ifindex: int, family: int, vrid: int, source: bytes) -> None:
        log.info(
            "Unknown VRID(%d) received on interface(%s) from %s. ignoring...",
            vrid,
            self._name_of(ifindex) or ifindex,
            ip_address(source),
        )
