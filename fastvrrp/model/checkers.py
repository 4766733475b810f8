"""Health checkers of real servers.

What a checker does not say it has from its real server, then from the virtual server, then from
the manual's defaults; all of that is applied here. `keyword` tells their classes apart where they
are shown.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import ClassVar, TypeAlias

from fastvrrp.model.frozen import dataclass
from fastvrrp.model.scripts import Command
from fastvrrp.model.units import SECOND, Address, Nanoseconds, Octets


@dataclass(frozen=True, slots=True)
class CheckTiming:
    """When a server is checked, and when it is down; equal ones are one object."""

    interval: Nanoseconds = 60 * SECOND
    """`delay_loop`: between two checks."""
    connect_timeout: Nanoseconds = 5 * SECOND
    retry: int = 1
    """Failures more until the server is down."""
    delay_before_retry: Nanoseconds = SECOND
    warmup: Nanoseconds = 60 * SECOND
    """The first check comes after a random part of this; 0 is at once."""
    is_down_at_first: bool = False
    """`alpha`."""
    logs_all_failures: bool = False
    """By default `checker_log_all_failures`."""


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """What is connected to, and from where."""

    address: Address
    """`connect_ip`: the real server's where none was written."""
    port: int
    """`connect_port`: the real server's where none was written."""
    source_address: Address | None = None
    """`bindto`."""
    source_port: int = 0
    """`bind_port`; 0 is the kernel's choice."""
    interface: str | None = None
    """`bind_if`."""
    mark: int = 0
    """Firewall mark of the packets; 0 is none."""


class HttpVersion(Enum):
    """`http_protocol`, by what is written for it."""

    HTTP_1_0 = "1.0"
    HTTP_1_0_CLOSE = "1.0C"
    """With `Connection: close`."""
    HTTP_1_0_KEEP_ALIVE = "1.0K"
    """With `Connection: keep-alive`."""
    HTTP_1_1 = "1.1"


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression of PCRE2 that an answer matches."""

    pattern: str
    must_match: bool = True
    """False with `regex_no_match`: a match is a failure."""
    options: tuple[str, ...] = ()
    """Names of PCRE2's options, without PCRE2_ and in lower case."""
    stack: tuple[int, int] | None = None
    """Bytes at the start and at most of its stack."""
    least_offset: int = 0
    """Octet of the answer where matching starts."""
    most_offset: int | None = None
    """Last octet where a match may start; None is any."""


@dataclass(frozen=True, slots=True)
class Url:
    """One URL of HTTP_GET or SSL_GET."""

    path: str = "/"
    digest: Octets | None = None
    """MD5 digest of the answer; None is any."""
    status: tuple[tuple[int, int], ...] = ((200, 299),)
    """Ranges of status codes, the first and the last of each."""
    virtualhost: str | None = None
    """That of the checker, the real or the virtual server where none was written."""
    expression: Expression | None = None
    is_tls_compliant: bool = False
    """`tls_compliant`: TLS must be ended as the protocol has it."""


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """`HTTP_GET`, and with `is_tls` `SSL_GET`."""

    keyword: ClassVar = "HTTP_GET"
    target: CheckTarget
    timing: CheckTiming
    is_tls: bool
    urls: tuple[Url, ...]
    """One at least."""
    version: HttpVersion = HttpVersion.HTTP_1_0
    is_fast_recovering: bool = False
    """`fast_recovery`: the URLs of a server that comes up are checked without a pause."""
    sends_sni: bool = False
    sni_name: str | None = None
    """Name for SNI; None is that of the virtual host."""


@dataclass(frozen=True, slots=True)
class TcpCheck:
    """`TCP_CHECK`."""

    keyword: ClassVar = "TCP_CHECK"
    target: CheckTarget
    timing: CheckTiming


@dataclass(frozen=True, slots=True)
class SmtpCheck:
    """`SMTP_CHECK`."""

    keyword: ClassVar = "SMTP_CHECK"
    target: CheckTarget
    timing: CheckTiming
    helo_name: str | None = None
    """None is the host's name."""


class DnsType(IntEnum):
    """Types of RFC 1035 section 3.2.2 and RFC 3596."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    MX = 15
    TXT = 16
    AAAA = 28


@dataclass(frozen=True, slots=True)
class DnsCheck:
    """`DNS_CHECK`."""

    keyword: ClassVar = "DNS_CHECK"
    target: CheckTarget
    timing: CheckTiming
    type: DnsType = DnsType.SOA
    name: str = "."


@dataclass(frozen=True, slots=True)
class MiscCheck:
    """`MISC_CHECK`."""

    keyword: ClassVar = "MISC_CHECK"
    timing: CheckTiming
    command: Command
    timeout: Nanoseconds
    """`misc_timeout`: `delay_loop` where none was written."""
    is_dynamic: bool = False
    """Its exit status is a weight."""


@dataclass(frozen=True, slots=True)
class BfdCheck:
    """`BFD_CHECK`."""

    keyword: ClassVar = "BFD_CHECK"
    name: str
    """Of a bfd_instance that exists and tells health checkers."""
    is_down_at_first: bool = False
    """`alpha`."""


@dataclass(frozen=True, slots=True)
class UdpCheck:
    """`UDP_CHECK`."""

    keyword: ClassVar = "UDP_CHECK"
    target: CheckTarget
    timing: CheckTiming
    payload: Octets | None = None
    """None is a random one."""
    requires_reply: bool = False
    reply: Octets = b""
    """What the answer must begin with, as far as it goes."""
    reply_mask: Octets = b""
    """Bits of `reply` that count, as long as that."""
    min_reply_length: int = 0
    max_reply_length: int = 255


@dataclass(frozen=True, slots=True)
class PingCheck:
    """`PING_CHECK`."""

    keyword: ClassVar = "PING_CHECK"
    target: CheckTarget
    timing: CheckTiming


@dataclass(frozen=True, slots=True)
class FileCheck:
    """`FILE_CHECK`."""

    keyword: ClassVar = "FILE_CHECK"
    name: str
    """Of a track_file that exists."""
    weight: int = 1
    """The file's number is multiplied by this; the track_file's weight where none was written."""
    is_reversed: bool = False
    is_dynamic: bool = False
    """The result is added to the weight of the server."""


Checker: TypeAlias = (
    HttpCheck
    | TcpCheck
    | SmtpCheck
    | DnsCheck
    | MiscCheck
    | BfdCheck
    | UdpCheck
    | PingCheck
    | FileCheck
)
