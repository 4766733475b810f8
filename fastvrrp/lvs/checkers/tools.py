"""What checks share: one of each for all of them, made when the first one needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from fastvrrp.model import GlobalDefinitions, TlsClient, TrackFile

if TYPE_CHECKING:
    from fastvrrp.track.scripts import Scripts


class Shared:
    """One tool."""

    def __init__(self, tools: Tools) -> None:
        """Made when the first check wants it, with the tools that it belongs to."""

    def configured(self) -> None:
        """The tools go by another configuration now."""

    def close(self) -> None:
        """Nobody wants it any more."""


S = TypeVar("S", bound=Shared)


class Tools:
    """The tools of one patrol."""

    def __init__(self, loop: asyncio.AbstractEventLoop, scripts: Scripts | None = None) -> None:
        """`scripts` runs those of MISC_CHECK; without it none is run."""
        self.loop = loop
        self.scripts = scripts
        self.definitions = GlobalDefinitions()
        self.tls = TlsClient()
        self.track_files: dict[str, TrackFile] = {}
        self._shared: dict[type[Shared], Shared] = {}

    def configure(
        self,
        definitions: GlobalDefinitions,
        tls: TlsClient | None = None,
        track_files: Iterable[TrackFile] = (),
    ) -> None:
        """What checks go by from now on, also those that are there; call it before the first one is
        added, and at each reload before others are."""
        self.definitions = definitions
        self.tls = tls or TlsClient()
        self.track_files = {file.name: file for file in track_files}
        for each in self._shared.values():
            each.configured()

    def the(self, kind: type[S]) -> S:
        """The one tool of a kind."""
        made = self._shared.get(kind)
        if made is None:
            made = self._shared[kind] = kind(self)
        assert isinstance(made, kind)
        return made

    def close(self) -> None:
        """Ends what was made."""
        for each in self._shared.values():
            each.close()
        self._shared.clear()
