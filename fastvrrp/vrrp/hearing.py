"""Claims of virtual addresses in one network namespace, heard while there is a master in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from fastvrrp.kernel.claims import Blocks, Claim, ClaimSocket, blocks_of
from fastvrrp.model import VirtualRouter
from fastvrrp.vrrp.place import Place

log = logging.getLogger(__name__)

NOTHING = Blocks(0, ())


class Hearing:
    """The sockets that hear claims, one a family, and probe."""

    def __init__(
        self,
        place: Place,
        loop: asyncio.AbstractEventLoop,
        on_claim: Callable[[Place, Claim], None],
    ) -> None:
        self.masters = 0
        """How many virtual routers are master here."""
        self._place = place
        self._loop = loop
        self._on_claim = on_claim
        self._blocks: dict[int, Blocks] = {}
        self._sockets: dict[int, ClaimSocket] = {}
        """By family."""
        self.refused: set[int] = set()
        """Families whose socket cannot be opened, which is not tried again."""

    def listen(self, model: VirtualRouter) -> None:
        """Opens what hears claims of the addresses of a master."""
        if len(self._sockets) + len(self.refused) >= len(self._blocks):
            return
        for family in {address.family for address in model.all_addresses}:
            if family in self._sockets or family in self.refused or family not in self._blocks:
                continue
            try:
                with self._place.inside():
                    opened = ClaimSocket(family, self._blocks[family])
            except OSError as error:
                log.warning("claims of virtual addresses cannot be heard: %s", error.strerror)
                self.refused.add(family)
                continue
            self._sockets[family] = opened
            self._loop.add_reader(opened.fileno(), self._on_readable, opened)

    def settle(self) -> Iterator[None]:
        """Lets the kernel hear claims of all addresses that there are now, which change only in a
        reload, and not while it settles."""
        for found in blocks_of(self._place.virtual_addresses):
            if found is not None:
                self._blocks = found
            yield
        for family, opened in self._sockets.items():
            opened.take(self._blocks.get(family, NOTHING))

    def stop(self) -> None:
        """Hears nothing any more."""
        for opened in self._sockets.values():
            self._loop.remove_reader(opened.fileno())
            opened.close()
        self._sockets.clear()

    def probe(self, claim: Claim) -> None:
        """Asks who has the address that was claimed."""
        link = self._place.links.by_name(claim.interface)
        opened = self._sockets.get(claim.family)
        if link is None or opened is None:
            return
        try:
            opened.probe(claim.interface, link.mac, claim.address)
        except OSError as error:
            log.debug("no probe leaves %s: %s", self._place.called(claim.interface), error.strerror)

    def _on_readable(self, opened: ClaimSocket) -> None:
        # The kernel's names of interfaces are asked for with them.
        with self._place.inside():
            claims = list(opened.receive())
        for claim in claims:
            self._on_claim(self._place, claim)
