"""Virtual servers, their groups and real servers, and `SSL`."""

from __future__ import annotations

import ipaddress
from enum import IntEnum
from typing import TypeVar

from fastvrrp.config.arguments import ArgumentError, packed_address
from fastvrrp.config.building.block import Block
from fastvrrp.config.building.checkers import CheckerBuilder, Server
from fastvrrp.config.building.routes import AF_INET, AF_INET6
from fastvrrp.config.building.scripts import ScriptUsers
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.lvs_keywords import CHECKERS
from fastvrrp.config.options import Options
from fastvrrp.config.server_families import IPV6
from fastvrrp.config.server_groups import VirtualServers, family_of_marks
from fastvrrp.config.servers import Kind, Sound
from fastvrrp.config.tree import Entry
from fastvrrp.model import (
    SECOND,
    AddressRange,
    Forwarding,
    ForwardingMethod,
    Mark,
    RealServer,
    SchedulerFlag,
    SorryServer,
    TlsClient,
    Transport,
    Tunnel,
    TunnelChecksum,
    VirtualServer,
    VirtualServerGroup,
)

CHECKER_NAMES = frozenset(keyword.name for keyword in CHECKERS)
FAMILIES = {"inet": AF_INET, "inet6": AF_INET6}
SCHEDULER_FLAGS = {
    "flag-1": SchedulerFlag.FLAG_1,
    "flag-2": SchedulerFlag.FLAG_2,
    "flag-3": SchedulerFlag.FLAG_3,
    "sh-fallback": SchedulerFlag.FLAG_1,
    "sh-port": SchedulerFlag.FLAG_2,
    "mh-fallback": SchedulerFlag.FLAG_1,
    "mh-port": SchedulerFlag.FLAG_2,
    "hashed": SchedulerFlag.HASHED,
}
DEFAULT_PERSISTENCE = 360 * SECOND
"""`persistence_timeout` without a number."""
Choice = TypeVar("Choice", bound=IntEnum)


def server_group(entry: Entry) -> VirtualServerGroup:
    """A `virtual_server_group` that was checked."""
    ranges: list[AddressRange] = []
    marks: list[Mark] = []
    for values, statement in entry.items:
        assert isinstance(values, tuple)
        if statement.words[0] == "fwmark":
            marks.append(Mark(values[1], FAMILIES.get(values[2])))
        else:
            ranges.append(_range(values[0], values[1] or 0))
    return VirtualServerGroup(str(entry.value), tuple(ranges), tuple(marks))


def _range(word: str, port: int) -> AddressRange:
    """ADDRESS, ADDRESS/LENGTH, ADDRESS-ADDRESS, or ADDRESS-LAST with its last part (in decimal, of
    IPv6 in hexadecimal) only."""
    first, minus, end = word.partition("-")
    text, slash, length = first.partition("/")
    start = packed_address(text)
    if slash:
        number = int.from_bytes(start, "big")
        hosts = (1 << (len(start) * 8 - int(length))) - 1
        return AddressRange(start, (number | hosts).to_bytes(len(start), "big"), port)
    if not minus:
        return AddressRange(start, start, port)
    if "." in end or ":" in end:
        return AddressRange(start, packed_address(end), port)
    if len(start) == 4:
        return AddressRange(start, start[:3] + bytes((int(end),)), port)
    return AddressRange(start, start[:14] + int(end, 16).to_bytes(2, "big"), port)


def tls_client(entries: list[Entry], complaints: Complaints) -> TlsClient:
    """Every `SSL` block; what is written later wins. A file that is not there may be on the machine
    that this is for; one that is none of its kind is no good anywhere."""
    if not entries:
        return TlsClient()
    from fastvrrp.config.tls_files import TlsError, context_of  # noqa: PLC0415 - rare

    rows = entries[0].keyword.block
    assert rows is not None
    block = Block(rows, [inner for entry in entries for inner in entry.entries])
    client = TlsClient(
        block.text("ca"), block.text("certificate"), block.text("key"), block.text("password")
    )
    try:
        context_of(client)
    except TlsError as error:
        last = {inner.keyword.name: inner for entry in entries for inner in entry.entries}
        where = last[error.keyword].statement
        if error.is_missing:
            text = f"{error}; SSL_GET checks nothing until it can be"
            complaints.warning(where, 1, text, is_ours=True)
        else:
            complaints.error(where, 1, f"{error}; SSL is left out", is_ours=True)
            return TlsClient()
    return client


class ServerBuilder:
    """Builds virtual servers one after another."""

    def __init__(
        self,
        checkers: CheckerBuilder,
        users: ScriptUsers,
        sends_mail: bool | None,
        checks: VirtualServers,
        complaints: Complaints,
    ) -> None:
        self._checkers = checkers
        self._users = users
        self._sends_mail = sends_mail
        """`smtp_alert_checker` or `smtp_alert`; None where neither is written."""
        self._checks = checks
        self._complaints = complaints
        self._forwardings: dict[Forwarding, Forwarding] = {}

    def build(self, entry: Entry) -> VirtualServer | None:
        """One virtual server; None, after a complaint, where it cannot be."""
        sound = self._checks.check(entry)
        if sound is None:
            return None
        assert isinstance(entry.value, tuple)
        first, second = entry.value
        kind = first if isinstance(first, str) else "address"
        if kind == "group" and second not in self._checks.groups:
            return None
        assert entry.keyword.block is not None
        block = Block(entry.keyword.block, sound.entries)
        forwarding = self._forwarding(block.value("lvs_method"))
        protocol = block.text("protocol")
        flags = SchedulerFlag.NONE
        for keyword, flag in SCHEDULER_FLAGS.items():
            if block.is_on(keyword):
                flags |= flag
        server = VirtualServer(
            address=first if isinstance(first, bytes) else None,
            port=second or 0 if kind == "address" else 0,
            mark=second if kind == "fwmark" else None,
            group=second if kind == "group" else None,
            family=self._family(entry, sound),
            protocol=None if kind == "fwmark" else Transport[protocol or "UDP"],
            scheduler=block.text("lvs_sched") or "wlc",
            scheduler_flags=flags,
            is_one_packet=block.is_on("ops"),
            forwarding=forwarding,
            persistence_engine=block.text("persistence_engine"),
            persistence_timeout=_persistence(block, _needs_persistence(block, sound)),
            persistence_mask=self._mask(entry, block, sound),
            is_down_at_first=block.is_on("alpha"),
            runs_scripts_at_end=block.is_on("omega"),
            suspends_without_address=block.is_on("ha_suspend"),
            quorum=sound.quorum,
            hysteresis=sound.hysteresis,
            quorum_up=self._users.settled(block.command("quorum_up")),
            quorum_down=self._users.settled(block.command("quorum_down")),
            sends_mail=block.is_on("smtp_alert", self._sends_mail is True),
            snmp_name=block.text("snmp_name"),
            sorry_server=self._sorry(sound, block, forwarding),
            real_servers=tuple(
                [self._real(each, sound.kind, block, forwarding) for each in sound.real_servers]
            ),
        )
        self._checks.claim(server, entry.statement)
        return server

    def _family(self, entry: Entry, sound: Sound) -> int | None:
        """That of the model."""
        assert isinstance(entry.value, tuple)
        family: int | None = sound.family
        if entry.value[0] == "group":
            family = family_of_marks(self._checks.groups[entry.value[1]], sound.family)
        return None if family is None else AF_INET6 if family == IPV6 else AF_INET

    def _real(self, entry: Entry, kind: Kind, virtual: Block, forwarding: Forwarding) -> RealServer:
        assert isinstance(entry.value, tuple)
        address, written = entry.value
        block = Block.of(entry)
        method = block.written.get("lvs_method")
        forwarding = forwarding if method is None else self._forwarding(method)
        port = kind.port(written, forwarding.method.name)
        server = Server(address, written or port, block, virtual)
        checkers = [
            checker
            for inner in entry.entries
            if inner.keyword.name in CHECKER_NAMES
            and (checker := self._checkers.build(inner, server)) is not None
        ]
        return RealServer(
            address=address,
            port=port,
            weight=block.number("weight", virtual.number("weight")),
            forwarding=forwarding,
            inhibits=block.written.get("inhibit_on_failure", virtual.value("inhibit_on_failure"))
            is True,
            upper_threshold=block.number("uthreshold"),
            lower_threshold=self._lower_threshold(entry, block),
            notify_up=self._users.settled(block.command("notify_up")),
            notify_down=self._users.settled(block.command("notify_down")),
            sends_mail=block.is_on("smtp_alert", self._sends_mail is not False),
            snmp_name=block.text("snmp_name"),
            checkers=tuple(checkers),
        )

    def _lower_threshold(self, entry: Entry, block: Block) -> int:
        """`lthreshold`, where the kernel takes it: not above `uthreshold`, whose 0 is no limit."""
        lower, upper = block.number("lthreshold"), block.number("uthreshold")
        if lower <= upper:
            return lower
        statement = next(
            inner.statement
            for inner in reversed(entry.entries)
            if inner.keyword.name == "lthreshold"
        )
        self._complaints.warning(
            statement,
            1,
            f"lthreshold {lower} is above uthreshold {upper}, and the kernel would refuse the"
            " server; it is ignored",
            is_ours=True,
        )
        return 0

    def _sorry(self, sound: Sound, block: Block, forwarding: Forwarding) -> SorryServer | None:
        if sound.sorry is None:
            return None
        assert isinstance(sound.sorry.value, tuple)
        address, port = sound.sorry.value
        method = block.written.get("sorry_server_lvs_method")
        forwarding = forwarding if method is None else self._forwarding(method)
        return SorryServer(
            address,
            sound.kind.port(port, forwarding.method.name),
            forwarding,
            block.is_on("sorry_server_inhibit"),
        )

    def _forwarding(self, options: object) -> Forwarding:
        assert isinstance(options, Options)
        port = options.get("port")
        checksum = TunnelChecksum.NONE
        for name, _ in options.written:
            if name in ("csum", "remcsum"):
                checksum = TunnelChecksum[name.upper()]
            elif name == "nocsum":
                checksum = TunnelChecksum.NONE
        forwarding = Forwarding(
            _choice(ForwardingMethod, options.get("method"), ForwardingMethod.NAT),
            _choice(Tunnel, options.get("type"), Tunnel.IPIP),
            port if isinstance(port, int) else 0,
            checksum,
        )
        return self._forwardings.setdefault(forwarding, forwarding)

    def _mask(self, entry: Entry, block: Block, sound: Sound) -> bytes | None:
        """Mask of `persistence_granularity`, of as many octets as an address; where addresses may
        be of both families it is of that which it looks like. keepalived takes a length for IPv4
        for the mask 0.0.0.LENGTH."""
        word = block.text("persistence_granularity")
        if word is None:
            return None
        assert isinstance(entry.value, tuple)
        family = AF_INET6 if sound.family == IPV6 else AF_INET
        if entry.value[0] == "group" and sound.is_tunnelled:
            family = AF_INET if "." in word else AF_INET6
        try:
            if family == AF_INET and "." in word:
                return packed_address(word)
            if family == AF_INET:
                return ipaddress.IPv4Network((0, int(word))).netmask.packed
            if int(word):
                return ipaddress.IPv6Network((0, int(word))).netmask.packed
        except (ArgumentError, ValueError):
            pass
        statement = next(
            inner.statement
            for inner in reversed(entry.entries)
            if inner.keyword.name == "persistence_granularity"
        )
        remedy = "write one as 255.255.255.0" if family == AF_INET else "write a length in 1-128"
        self._complaints.error(
            statement,
            1,
            f"persistence_granularity {word} is no mask of the family of the virtual_server:"
            f" {remedy}; every client is by itself",
            is_ours=family == AF_INET and word.isdigit(),
        )
        return None


def _needs_persistence(block: Block, sound: Sound) -> bool:
    """Whether there is persistence although no time for it was written."""
    return 0 in sound.kind.ports or "persistence_granularity" in block.written


def _persistence(block: Block, is_needed: bool) -> int:
    """Nanoseconds of persistence; the keyword alone, and where it is needed, is the default."""
    if "persistence_timeout" not in block.written and not is_needed:
        return 0
    written = block.written.get("persistence_timeout")
    if isinstance(written, int) and not isinstance(written, bool):
        return written * SECOND
    return DEFAULT_PERSISTENCE


def _choice(kind: type[Choice], name: object, otherwise: Choice) -> Choice:
    return kind[name.upper()] if isinstance(name, str) else otherwise
