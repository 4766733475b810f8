"""Health checkers, each with what it has from its real server and virtual server."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple

from fastvrrp.config.building.block import Block
from fastvrrp.config.building.scripts import ScriptUsers
from fastvrrp.config.tree import Entry
from fastvrrp.model import (
    SECOND,
    BfdCheck,
    BfdInstance,
    Checker,
    CheckTarget,
    CheckTiming,
    DnsCheck,
    DnsType,
    Expression,
    FileCheck,
    HttpCheck,
    HttpVersion,
    MiscCheck,
    PingCheck,
    SmtpCheck,
    TcpCheck,
    Tracker,
    TrackFile,
    UdpCheck,
    Url,
)

RETRIES = {"DNS_CHECK": 3, "MISC_CHECK": 0}
"""`retry` of kinds that have a default of their own."""
DELAYS_BEFORE_RETRY = {"HTTP_GET": 3 * SECOND, "SSL_GET": 3 * SECOND}
"""The same of `delay_before_retry`; that of DNS_CHECK is its `delay_loop`."""


LOGS_ALL = "log_all_failures"


class Server(NamedTuple):
    """The real server that is checked, and the blocks that its checkers inherit from."""

    address: bytes
    port: int
    """As it is written: checks go there, whatever port packets are sent on to."""
    real: Block
    virtual: Block

    @property
    def virtualhost(self) -> str | None:
        """Host that is asked for where a checker does not say it."""
        return self.real.text("virtualhost") or self.virtual.text("virtualhost")


class CheckerBuilder:
    """Builds checkers; their timings are shared."""

    def __init__(
        self,
        users: ScriptUsers,
        logs_all_failures: bool,
        trackers: Mapping[tuple[Tracker, str], object],
        left_out: Container[Entry],
    ) -> None:
        self._users = users
        self._logs_all_failures = logs_all_failures
        self._trackers = trackers
        self._left_out = left_out
        self._timings: dict[CheckTiming, CheckTiming] = {}

    def build(self, entry: Entry, server: Server) -> Checker | None:
        """One checker that was checked (`config.checkers`); None where it cannot be."""
        if entry in self._left_out:
            return None
        kind = entry.keyword.name
        block = self._block(entry)
        if kind == "BFD_CHECK":
            return self._bfd(block)
        if kind == "FILE_CHECK":
            return self._file(block)
        hosts = [inner for inner in entry.entries if inner.keyword.name == "host"]
        blocks = (*(self._block(host) for host in hosts[-1:]), block)
        timing = self._timing(kind, blocks, server)
        if kind == "MISC_CHECK":
            return self._misc(block, timing)
        target = _target(block, server)
        if kind in ("HTTP_GET", "SSL_GET"):
            return self._http(entry, block, target, timing, server)
        if kind == "SMTP_CHECK":
            if hosts:
                target = _target(blocks[0], server, target)
            return SmtpCheck(target, timing, block.text("helo_name"))
        if kind == "DNS_CHECK":
            return DnsCheck(
                target, timing, DnsType[block.text("type") or "SOA"], block.text("name") or "."
            )
        if kind == "UDP_CHECK":
            return _udp(block, target, timing)
        return PingCheck(target, timing) if kind == "PING_CHECK" else TcpCheck(target, timing)

    def _block(self, entry: Entry) -> Block:
        """A block without its parts that are left out."""
        assert entry.keyword.block is not None
        kept = (inner for inner in entry.entries if inner not in self._left_out)
        return Block(entry.keyword.block, kept)

    def _timing(self, kind: str, blocks: tuple[Block, ...], server: Server) -> CheckTiming:
        """Timing of a checker, from the innermost of its own blocks outwards."""
        chain = (*blocks, server.real, server.virtual)

        def number(keyword: str, otherwise: int | None = None) -> int:
            for each in chain:
                value = each.written.get(keyword)
                if isinstance(value, int):
                    return value
            return blocks[-1].number(keyword, otherwise)

        interval = number("delay_loop")
        delay = interval if kind == "DNS_CHECK" else DELAYS_BEFORE_RETRY.get(kind, SECOND)
        is_down = next((one.is_on("alpha") for one in chain if "alpha" in one.written), False)
        logs_all = next(
            (one.is_on(LOGS_ALL) for one in blocks if LOGS_ALL in one.written),
            self._logs_all_failures,
        )
        timing = CheckTiming(
            interval,
            number("connect_timeout"),
            number("retry", RETRIES.get(kind)),
            number("delay_before_retry", delay),
            number("warmup", interval),
            is_down,
            logs_all,
        )
        return self._timings.setdefault(timing, timing)

    def _http(
        self, entry: Entry, block: Block, target: CheckTarget, timing: CheckTiming, server: Server
    ) -> HttpCheck | None:
        is_tls = entry.keyword.name == "SSL_GET"
        host = block.text("virtualhost") or server.virtualhost
        is_compliant = is_tls and block.is_on("tls_compliant")
        urls = tuple(
            _url(self._block(inner), host, is_compliant)
            for inner in entry.entries
            if inner.keyword.name == "url" and inner not in self._left_out
        )
        if not urls:
            return None
        return HttpCheck(
            target,
            timing,
            is_tls,
            urls,
            HttpVersion((block.text("http_protocol") or "1.0").upper()),
            block.is_on("fast_recovery"),
            block.is_on("enable_sni"),
            block.text("sni_name") if is_tls else None,
        )

    def _misc(self, block: Block, timing: CheckTiming) -> MiscCheck | None:
        written = block.command("misc_path")
        command = None if written is None else self._users.run_by(written, block.value("user"))
        if command is None:
            return None
        return MiscCheck(
            timing,
            command,
            block.number("misc_timeout", timing.interval),
            block.is_on("misc_dynamic"),
        )

    def _bfd(self, block: Block) -> BfdCheck | None:
        name = block.text("name")
        if name is None:
            return None
        session = self._trackers.get((Tracker.BFD, name))
        if not isinstance(session, BfdInstance) or not session.tells_checkers:
            return None
        return BfdCheck(name, block.is_on("alpha"))

    def _file(self, block: Block) -> FileCheck | None:
        name = block.text("track_file")
        if name is None:
            return None
        file = self._trackers.get((Tracker.FILE, name))
        if not isinstance(file, TrackFile):
            return None
        weight = block.written.get("weight")
        factor, is_reversed = (
            weight if isinstance(weight, tuple) else (file.weight, file.is_reversed)
        )
        return FileCheck(name, factor, is_reversed, block.is_on("dynamic"))


def _target(block: Block, server: Server, around: CheckTarget | None = None) -> CheckTarget:
    """Where a checker connects to; what a block inside does not say is that of the one around."""
    if around is None:
        around = CheckTarget(server.address, server.port)
    address = block.address("connect_ip") or around.address
    source = block.address("bindto") or around.source_address
    if source is not None and len(source) != len(address):
        source = None
    return CheckTarget(
        address,
        block.number("connect_port", around.port),
        source,
        block.number("bind_port", around.source_port),
        block.text("bind_if") or around.interface,
        block.number("fwmark", around.mark),
    )


def _url(block: Block, host: str | None, is_tls_compliant: bool) -> Url:
    digest = block.text("digest")
    status: list[tuple[int, int]] = []
    for word in block.words("status_code"):
        first, minus, last = word.partition("-")
        status.append((int(first), int(last if minus else first)))
    return Url(
        block.text("path") or "/",
        None if digest is None else bytes.fromhex(digest),
        tuple(status),
        block.text("virtualhost") or host,
        _expression(block),
        is_tls_compliant or block.is_on("tls_compliant"),
    )


def _expression(block: Block) -> Expression | None:
    pattern = block.text("regex")
    if pattern is None:
        return None
    stack = block.value("regex_stack")
    return Expression(
        pattern,
        not block.is_on("regex_no_match"),
        block.words("regex_options"),
        (stack[0], stack[1]) if isinstance(stack, tuple) else None,
        block.number("regex_min_offset"),
        block.optional_number("regex_max_offset"),
    )


def _udp(block: Block, target: CheckTarget, timing: CheckTiming) -> UdpCheck:
    payload = block.words("payload")
    reply, mask = _octets(block.words("require_reply"))
    return UdpCheck(
        target,
        timing,
        _octets(payload)[0] if payload else None,
        "require_reply" in block.written,
        reply,
        mask,
        block.number("min_reply_length"),
        block.number("max_reply_length"),
    )


def _octets(words: tuple[str, ...]) -> tuple[bytes, bytes]:
    """Octets of hexadecimal words, and the bits that count: a digit X is any.

    Two digits are an octet; a digit that is left at the end of a word is one by itself.
    """
    pairs = [word[at : at + 2] for word in words for at in range(0, len(word), 2)]
    octets = bytes(int(pair.upper().replace("X", "0"), 16) for pair in pairs)
    masks = ["".join("0" if digit in "xX" else "F" for digit in pair) for pair in pairs]
    return octets, bytes(int(mask.rjust(2, "F"), 16) for mask in masks)
