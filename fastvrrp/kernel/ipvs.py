"""The kernel's IPVS table: read, and changed by many messages to a system call.

No acknowledgement is asked for: the kernel answers what it refuses, and that is told by item. A
socket belongs to the network namespace in which it was made, and each namespace has a table.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from enum import Enum, auto
from ipaddress import ip_address
from itertools import islice
from socket import AF_INET
from typing import NamedTuple

from fastvrrp.kernel import ipvs_messages as messages
from fastvrrp.kernel import modules, netns
from fastvrrp.kernel.attributes import attributes_of, integer, request, text
from fastvrrp.kernel.ipvs_messages import (
    Command,
    Counters,
    DestinationCounters,
    SyncState,
    SyncThread,
    Timeouts,
)
from fastvrrp.kernel.netlink import NETLINK_GENERIC, Requests
from fastvrrp.model import (
    IpvsDestination,
    IpvsDestinationKey,
    IpvsService,
    IpvsServiceKey,
    Namespaces,
)

# linux/genetlink.h
GENL_ID_CTRL = 16
CTRL_CMD_GETFAMILY = 3
CTRL_ATTR_FAMILY_ID = 1
CTRL_ATTR_FAMILY_NAME = 2
CTRL_VERSION = 2

MODULE = "ip_vs"
_TOGETHER = 512
"""Changes that are encoded before the first of them is carried out: their memory is that of the
next ones."""
DEFAULT_NAMESPACE = "/proc/1/ns/net"
"""The machine's, or the container's."""
Destinations = dict[IpvsDestinationKey, IpvsDestination]
Table = dict[IpvsServiceKey, tuple[IpvsService, Destinations]]


def namespace_of(written: Namespaces) -> str | None:
    """The `namespace` for Ipvs that `net_namespace_ipvs` asks for; without a name it is the default
    one."""
    return DEFAULT_NAMESPACE if written.ipvs == "" else written.ipvs


class Action(Enum):
    """What is done with a service or a destination."""

    ADD = auto()
    EDIT = auto()
    REMOVE = auto()


class Change(NamedTuple):
    """One message to the kernel: about a service, or about one of its destinations."""

    action: Action
    service: IpvsService
    destination: IpvsDestination | None = None


class Failure(NamedTuple):
    """A change that the kernel refused."""

    change: Change
    errno: int
    reason: str
    """Whose failure it is, what was wrong, and what can be done about it, for a person."""


_OF_SERVICE = {
    Action.ADD: Command.NEW_SERVICE,
    Action.EDIT: Command.SET_SERVICE,
    Action.REMOVE: Command.DEL_SERVICE,
}
_OF_DESTINATION = {
    Action.ADD: Command.NEW_DEST,
    Action.EDIT: Command.SET_DEST,
    Action.REMOVE: Command.DEL_DEST,
}


class Ipvs:
    """The IPVS of a network namespace. It may be used by one thread at a time, and blocks as long
    as the kernel does. Where nothing else is said its methods raise OSError."""

    def __init__(self, namespace: str | None = None) -> None:
        """`namespace` is a name of ip-netns(8) or the path of a namespace; None is the calling
        thread's. Loads the module where the kernel has no IPVS. Raises OSError where that fails or
        the namespace is missing."""
        try:
            with netns.inside(namespace) if namespace else nullcontext():
                self._requests = Requests(NETLINK_GENERIC)
        except FileNotFoundError:
            raise OSError(
                errno.ENOENT,
                f"there is no network namespace {namespace}: make it (ip netns add), or correct"
                " net_namespace_ipvs",
            ) from None
        try:
            self._family = self._find_family()
        except OSError:
            self._requests.close()
            raise

    def close(self) -> None:
        self._requests.close()

    def services(self) -> dict[IpvsServiceKey, IpvsService]:
        """Every service. What others have made in words that the model lacks is left out."""
        found = {}
        for body in self._dump(Command.GET_SERVICE):
            with suppress(ValueError):
                service = messages.service_in(messages.attributes_in(body, messages.SERVICE))
                found[service.key] = service
        return found

    def destinations(self, key: IpvsServiceKey) -> Destinations:
        """Those of one service; none where there is no such service."""
        found = {}
        for body in self._dump(Command.GET_DEST, messages.service_key(key)):
            with suppress(ValueError):
                destination = messages.destination_in(
                    messages.attributes_in(body, messages.DEST), key.family
                )
                found[destination.key] = destination
        return found

    def table(self) -> Table:
        """Every service with its destinations."""
        return {key: (service, self.destinations(key)) for key, service in self.services().items()}

    def apply(self, changes: Iterable[Change]) -> list[Failure]:
        """Carries out changes in this order, each by itself, and takes them as it goes. What fails
        because its service could not be added is not told of."""
        failures: list[Failure] = []
        unmade: set[IpvsServiceKey] = set()
        coming = iter(changes)
        while some := list(islice(coming, _TOGETHER)):
            for refusal in self._requests.apply(list(self._encoded(some))):
                change = some[refusal.position]
                if change.destination is not None:
                    if change.service.key in unmade:
                        continue
                elif change.action is Action.ADD and refusal.errno != errno.EEXIST:
                    unmade.add(change.service.key)
                reason = _explained(change, refusal.errno, refusal.reason)
                failures.append(Failure(change, refusal.errno, reason))
        return failures

    def flush(self) -> None:
        """Removes every service, whoever made it."""
        self._tell(Command.FLUSH)

    def zero(self, key: IpvsServiceKey | None = None) -> None:
        """Sets the counters of a service and its destinations to 0, or of all."""
        self._tell(Command.ZERO, b"" if key is None else messages.service_key(key))

    def timeouts(self) -> Timeouts:
        """How long connections are kept now."""
        body = messages.message(Command.GET_CONFIG)
        return messages.timeouts_in(self._requests.ask(self._family, body))

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """Sets those that are not None."""
        encoded = messages.timeouts(timeouts)
        if encoded:
            self._tell(Command.SET_CONFIG, encoded)

    def start_sync(self, thread: SyncThread) -> None:
        """Starts one half of the synchronisation. EEXIST where that half runs, ENODEV without the
        interface."""
        self._tell(Command.NEW_DAEMON, messages.sync_thread(thread))

    def stop_sync(self, state: SyncState) -> None:
        """Stops one half of it; ESRCH where it does not run."""
        self._tell(Command.DEL_DAEMON, messages.sync_state(state))

    def sync_threads(self) -> list[SyncThread]:
        """What runs of the synchronisation."""
        return [messages.sync_thread_in(body) for body in self._dump(Command.GET_DAEMON)]

    def service_counters(self) -> dict[IpvsServiceKey, Counters]:
        """The statistics of every service."""
        found = {}
        for body in self._dump(Command.GET_SERVICE):
            attributes = messages.attributes_in(body, messages.SERVICE)
            with suppress(ValueError):
                found[messages.service_in(attributes).key] = messages.counters_in(
                    attributes, messages.SVC_STATS, messages.SVC_STATS64
                )
        return found

    def destination_counters(
        self, key: IpvsServiceKey
    ) -> dict[IpvsDestinationKey, DestinationCounters]:
        """The statistics of a service's destinations."""
        found = {}
        for body in self._dump(Command.GET_DEST, messages.service_key(key)):
            attributes = messages.attributes_in(body, messages.DEST)
            with suppress(ValueError):
                destination = messages.destination_in(attributes, key.family)
                found[destination.key] = messages.destination_counters_in(attributes)
        return found

    def _find_family(self) -> int:
        """The number that the kernel has given to IPVS, which is loaded where it is not there."""
        body = messages.HEADER.pack(CTRL_CMD_GETFAMILY, CTRL_VERSION, 0) + text(
            CTRL_ATTR_FAMILY_NAME, messages.NAME
        )
        try:
            answer = self._requests.ask(GENL_ID_CTRL, body)
        except FileNotFoundError:
            why = modules.load(MODULE)
            if why is not None:
                raise OSError(
                    errno.ENOENT,
                    f"this kernel has no IPVS: install or load the module {MODULE} ({why})",
                ) from None
            answer = self._requests.ask(GENL_ID_CTRL, body)
        found = attributes_of(answer[messages.HEADER.size :])
        return integer(found.get(CTRL_ATTR_FAMILY_ID))

    def _dump(self, command: Command, body: bytes = b"") -> list[bytes]:
        return self._requests.dump(self._family, messages.message(command, body))

    def _tell(self, command: Command, body: bytes = b"") -> None:
        """Has the kernel carry out one request."""
        encoded = request(self._family, 0, messages.message(command, body))
        for refusal in self._requests.apply([encoded]):
            raise OSError(refusal.errno, refusal.reason)

    def _encoded(self, changes: Iterable[Change]) -> Iterator[bytes]:
        key: IpvsServiceKey | None = None
        named = b""
        for action, service, destination in changes:
            if service.key is not key:
                key = service.key
                named = messages.service_key(key)
            if destination is None:
                command = _OF_SERVICE[action]
                body = named if action is Action.REMOVE else messages.service(service)
            else:
                command = _OF_DESTINATION[action]
                body = named + (
                    messages.destination_key(destination.key)
                    if action is Action.REMOVE
                    else messages.destination(destination)
                )
            yield request(self._family, 0, messages.message(command, body))


def describe(key: IpvsServiceKey) -> str:
    """A service in keepalived's words for it: [10.0.0.1]:tcp:80 or FWM 7."""
    if key.mark:
        return f"FWM {key.mark}" if key.family == AF_INET else f"FWM {key.mark} inet6"
    assert key.protocol is not None
    return f"[{ip_address(key.address)}]:{key.protocol.name.lower()}:{key.port}"


def describe_destination(key: IpvsDestinationKey) -> str:
    """A destination in keepalived's words: [10.0.0.1]:80."""
    return f"[{ip_address(key.address)}]:{key.port}"


def _explained(change: Change, number: int, reason: str) -> str:
    """What a refusal means."""
    service = change.service
    what = f"virtual server {describe(service.key)}"
    if change.destination is not None:
        what = f"real server {describe_destination(change.destination.key)} of {what}"
    verb = change.action.name.lower()
    remedy = ""
    if number == errno.ENOENT and change.destination is None:
        missing = [f"ip_vs_{service.scheduler}"]
        if service.persistence_engine is not None:
            missing.append(f"ip_vs_pe_{service.persistence_engine}")
        missing = [name for name in missing if not modules.is_loaded(name)] or missing
        remedy = f": the kernel has no {' or '.join(missing)}; install or load that module"
    elif number == errno.EINVAL and change.destination is not None:
        remedy = (
            ": IPVS takes the address of one machine, no broadcast, multicast or IPv6 link-local;"
            " correct it"
        )
    return f"cannot {verb} {what}: {reason}{remedy}"
