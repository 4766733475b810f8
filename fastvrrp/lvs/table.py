"""The kernel's IPVS table as far as it is ours: what is different from what is wanted is changed.

What is not different is not touched, so a server keeps its connections. A service that is there
already, from a daemon that crashed or from somebody else, is taken over when it is wanted; other
services are left alone. Whoever else changes what is ours is noticed when a change of ours fails:
then what the kernel has is read again, and the difference is carried out once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fastvrrp.kernel.ipvs import Action, Change, Destinations, Failure, Ipvs
from fastvrrp.kernel.ipvs_messages import Timeouts
from fastvrrp.model import (
    FlushOnStop,
    IpvsDestination,
    IpvsDestinationKey,
    IpvsService,
    IpvsServiceKey,
)


class Entry(NamedTuple):
    """A service with its destinations."""

    service: IpvsService
    destinations: Mapping[IpvsDestinationKey, IpvsDestination]


Wanted = tuple[IpvsServiceKey, Entry | None]
"""A service, and how it is to be; None is not at all."""


def difference(have: Entry | None, want: Entry | None) -> Iterator[Change]:
    """What makes one of the other. Destinations come before others go, so that there is no moment
    without any."""
    if want is None:
        if have is not None:
            yield Change(Action.REMOVE, have.service)
        return
    before: Mapping[IpvsDestinationKey, IpvsDestination] = {}
    if have is None:
        yield Change(Action.ADD, want.service)
    else:
        before = have.destinations
        if have.service != want.service:
            yield Change(Action.EDIT, want.service)
    for key, destination in want.destinations.items():
        old = before.get(key)
        if old is None:
            yield Change(Action.ADD, want.service, destination)
        elif old != destination:
            yield Change(Action.EDIT, want.service, destination)
    for key, destination in before.items():
        if key not in want.destinations:
            yield Change(Action.REMOVE, want.service, destination)


class KernelTable:
    """It is used by one thread at a time, and blocks as long as the kernel does."""

    def __init__(self) -> None:
        self._ipvs: Ipvs | None = None
        self._found: dict[IpvsServiceKey, IpvsService] = {}
        """What was there at the start and is not ours."""
        self._known: dict[IpvsServiceKey, Entry] = {}
        """What the kernel has of what is ours."""
        self.timeouts_before: Timeouts | None = None
        """How long connections were kept before we changed that; None where we did not."""

    def open(self, namespace: str | None, is_flushed: bool) -> None:
        """Begins, where that was not done; `is_flushed` removes what others have left. Raises
        OSError where there is no IPVS, and may then be called again."""
        if self._ipvs is None:
            self._ipvs = Ipvs(namespace)
            if is_flushed:
                self._ipvs.flush()
            self._found = self._ipvs.services()

    def remember_timeouts(self) -> None:
        """Reads how long connections are kept, before that is changed. Raises OSError."""
        assert self._ipvs is not None
        self.timeouts_before = self._ipvs.timeouts()

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """Sets how long connections are kept, which is remembered; what is None is as it was
        before. Raises OSError where the kernel refuses that."""
        assert self._ipvs is not None
        assert self.timeouts_before is not None
        self._ipvs.set_timeouts(_filled(timeouts, self.timeouts_before))

    def carry_out(self, wanted: Iterable[Wanted]) -> list[Failure]:
        """Makes services as they are wanted; returns what the kernel has refused twice. Raises
        OSError where IPVS does not answer at all."""
        assert self._ipvs is not None
        wanted = list(wanted)
        if not wanted:
            return []
        failures = self._change(wanted)
        if failures:
            again = {failure.change.service.key for failure in failures}
            self._read_again(again)
            failures = self._change([each for each in wanted if each[0] in again])
            self._read_again({failure.change.service.key for failure in failures})
        return failures

    def empty(self, mode: FlushOnStop) -> None:
        """Removes what is ours, or with FlushOnStop.ALL everything. Raises OSError."""
        if self._ipvs is None:
            return
        if mode is FlushOnStop.ALL:
            self._ipvs.flush()
        else:
            # The kernel removes the destinations of a service with it.
            self._ipvs.apply(
                [Change(Action.REMOVE, entry.service) for entry in self._known.values()]
            )

    def return_timeouts(self) -> None:
        """Connections are kept as long as before. Raises OSError."""
        if self._ipvs is not None and self.timeouts_before is not None:
            self._ipvs.set_timeouts(self.timeouts_before)

    def close(self) -> None:
        """Ends; what the kernel has stays."""
        if self._ipvs is not None:
            self._ipvs.close()
            self._ipvs = None

    def _change(self, wanted: list[Wanted]) -> list[Failure]:
        assert self._ipvs is not None
        failures = self._ipvs.apply(
            change for key, want in wanted for change in difference(self._have(key), want)
        )
        for key, want in wanted:
            if want is None:
                self._known.pop(key, None)
            else:
                self._known[key] = want
        return failures

    def _have(self, key: IpvsServiceKey) -> Entry | None:
        """What the kernel has of a service."""
        known = self._known.get(key)
        if known is None and key in self._found:
            assert self._ipvs is not None
            return Entry(self._found.pop(key), self._ipvs.destinations(key))
        return known

    def _read_again(self, keys: set[IpvsServiceKey]) -> None:
        if not keys:
            return
        assert self._ipvs is not None
        services = self._ipvs.services()
        for key in keys:
            service = services.get(key)
            if service is None:
                self._known.pop(key, None)
            else:
                destinations: Destinations = self._ipvs.destinations(key)
                self._known[key] = Entry(service, destinations)


def _filled(timeouts: Timeouts, before: Timeouts) -> Timeouts:
    """Those of `before` where there are none."""
    return Timeouts(
        before.tcp if timeouts.tcp is None else timeouts.tcp,
        before.tcp_fin if timeouts.tcp_fin is None else timeouts.tcp_fin,
        before.udp if timeouts.udp is None else timeouts.udp,
    )
