"""What a daemon that crashed has left in a network namespace: addresses, and changed parameters.

What was changed in others' kernel parameters is kept in a file beside the state segment; for a
namespace other than the daemon's own there is one as long as we are there, whatever was changed. So
it is known after a crash where else something may be.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from fastvrrp.kernel.addresses import Placed, found_in, leftovers
from fastvrrp.model import VirtualAddress, VirtualRouter
from fastvrrp.vrrp.adoption import Predecessor
from fastvrrp.vrrp.instance import PRIORITY_OWNER, link_of
from fastvrrp.vrrp.place import Place

log = logging.getLogger(__name__)

LIMIT = 60_000_000_000
"""Nanoseconds that the removal of addresses may take."""
STEP = 128
"""Addresses that are removed between two looks at whether an advert is due."""


class Notes:
    """The files, one for each place."""

    def __init__(self, segment: Path) -> None:
        """`segment` is the path of the state segment."""
        self._own = segment.with_suffix(".sysctl")
        self._others = segment.with_suffix(".namespaces")
        """A folder with files that are named like their namespaces."""

    def names(self) -> list[str]:
        """Namespaces of which there are files."""
        return [path.name for path in self._others.glob("*")]

    def write(self, place: Place) -> None:
        """Keeps what others' kernel parameters were."""
        path = self._path(place)
        if place.is_own and not place.sysctls.originals:
            path.unlink(missing_ok=True)
            return
        known = {"namespace": place.inode, "originals": dict(place.sysctls.originals)}
        if not path.parent.is_dir():
            path.parent.mkdir()
            path.parent.chmod(0o755)  # whatever umask is written
        # A crash must find the old note or the new one, and never half of one.
        unfinished = self._own.with_suffix(".new")
        unfinished.write_text(json.dumps(known))
        unfinished.replace(path)

    def recall(self, place: Place) -> None:
        """Has a place know what a daemon that crashed had changed in the same namespace."""
        try:
            known = json.loads(self._path(place).read_text())
            if known["namespace"] == place.inode:
                place.sysctls.take_over(
                    {str(path): str(value) for path, value in known["originals"].items()}
                )
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            pass  # there is none, or it was cut short
        self.write(place)

    def inode(self, name: str) -> int | None:
        """What tells the namespace of that name, in which we were, from others; None where that is
        not known."""
        try:
            return int(json.loads((self._others / name).read_text())["namespace"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget(self, place: Place) -> None:
        """Nothing of ours is left there."""
        if place.name is None:
            self._own.unlink(missing_ok=True)
        else:
            self.forget_name(place.name)

    def forget_name(self, name: str) -> None:
        """The same, of a namespace other than the daemon's own."""
        (self._others / name).unlink(missing_ok=True)
        with suppress(OSError):  # there are others
            self._others.rmdir()

    def _path(self, place: Place) -> Path:
        return self._own if place.name is None else self._others / place.name


def remove_addresses(
    place: Place,
    models: Iterable[VirtualRouter],
    static_addresses: Iterable[VirtualAddress],
    before: Predecessor | None = None,
) -> dict[Placed, bool]:
    """Removes virtual addresses that an earlier daemon, ours or keepalived, has left behind, but
    those of masters that go on; returns all there were, and whether each has our mark."""
    unmarked: set[Placed] = set()
    wanted = set(_placed(place, static_addresses, ""))
    for model in models:
        if before is not None and before.goes_on_as_master(model):
            for address in model.all_addresses:
                link = place.links.by_name(link_of(model, address))
                if link is not None:
                    wanted.add(
                        Placed(link.index, address.family, address.address, address.prefixlen)
                    )
        elif model.priority != PRIORITY_OWNER:  # whose addresses may be the interface's own
            unmarked.update(_placed(place, model.all_addresses, model.interface))
    channel = place.channel
    assert channel is not None
    dump = channel.dump_addresses()
    requests = leftovers(wanted, dump, unmarked)

    def remove(some: list[bytes]) -> None:
        channel.apply(some, 0, LIMIT)
        channel.take_errors()

    if requests:
        log.info("removing %d virtual addresses that were left behind", len(requests))
    if before is not None and before.lives is not None:
        before.leftovers += [
            partial(remove, requests[at : at + STEP]) for at in range(0, len(requests), STEP)
        ]
    elif requests:
        remove(requests)
    return found_in(dump) if before is not None else {}


def _placed(place: Place, addresses: Iterable[VirtualAddress], interface: str) -> Iterator[Placed]:
    for address in addresses:
        link = place.links.by_name(address.interface or interface)
        if link is not None:
            yield Placed(link.index, address.family, address.address, address.prefixlen)
