"""Types of the arguments of routes and rules.

Every number has to fit the kernel's messages (linux/rtnetlink.h, fib_rules.h, lwtunnel.h): one that
does not is said here, with its place, and not by the daemon when it becomes master.
"""

from __future__ import annotations

import math
import re
import socket

from fastvrrp.config.arguments import ArgumentError, Integer, Prefix

IPV6_LENGTH = 16
COMMON_PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}
"""IPPROTO_* of netinet/in.h: known also where there is no /etc/protocols."""
HIGHEST = 2**32 - 1
"""Of 32 bits, which most of the kernel's numbers have."""
HIGHEST_LABEL = 2**20 - 1
"""Of MPLS (RFC 3032 section 2.1)."""
MOST_LABELS = 30
"""MAX_NEW_LABELS of net/mpls/internal.h."""
LOCATOR_GROUPS = 4
NUMBER = r"0x[0-9A-Fa-f]+|[0-9]+"
_is_number = re.compile(NUMBER, re.ASCII).fullmatch
_mark = re.compile(rf"({NUMBER})(?:/({NUMBER}))?", re.ASCII).fullmatch
_range = re.compile(r"([0-9]+)-([0-9]+)", re.ASCII).fullmatch
_time = re.compile(r"([0-9]+(?:\.[0-9]+)?)(s|ms|us|ns|msecs|secs)?", re.ASCII).fullmatch
_label = re.compile(r"[0-9]{1,8}", re.ASCII).fullmatch
_group = re.compile(r"[0-9A-Fa-f]{1,4}", re.ASCII).fullmatch
LONGEST = 40
"""Characters past this are no number."""
MILLISECONDS = {"s": 1000.0, "secs": 1000.0, "ms": 1.0, "msecs": 1.0, "us": 1e-3, "ns": 1e-6}


class Destination:
    """ADDRESS[/LENGTH], or a word for every address."""

    shape = "ADDRESS[/LENGTH]|default|default6"

    def read(self, word: str) -> object:
        if word == "default6":
            return word
        if word in ("default", "any", "all"):
            return "default"
        return Prefix().read(word)


class IpProtocol:
    """The name of a protocol over IP, as /etc/protocols has it, or its number."""

    shape = "0-255|NAME"
    _number = Integer(0, 255)

    def read(self, word: str) -> int:
        if word.isascii() and word.isdigit():
            return self._number.read(word)
        if word.lower() in COMMON_PROTOCOLS:
            return COMMON_PROTOCOLS[word.lower()]
        try:
            return socket.getprotobyname(word)
        except (OSError, ValueError):
            raise ArgumentError("is no protocol; write its number") from None


class Source:
    """ADDRESS[/LENGTH] of IPv6: only its routes may depend on where a packet is from."""

    shape = "IPV6[/LENGTH]"

    def read(self, word: str) -> tuple[bytes, int]:
        address, length = Prefix().read(word)
        if len(address) != IPV6_LENGTH:
            raise ArgumentError("is not an IPv6 address")
        return address, length


class Bits:
    """A number of so many bits, decimal or hexadecimal."""

    def __init__(self, bits: int) -> None:
        self._most = (1 << bits) - 1

    @property
    def shape(self) -> str:
        return f"0-{self._most:#x}"

    def read(self, word: str) -> int:
        if _is_number(word) is None or len(word) > LONGEST:
            raise ArgumentError(f"is no number; write one in {self.shape}, as in 16 or 0x10")
        value = _integer(word)
        if value > self._most:
            raise ArgumentError(f"is outside {self.shape}")
        return value


class Mark:
    """MARK[/MASK], 32 bits each; the value is both, with None for a mask that is not written."""

    shape = "MARK[/MASK]"

    def read(self, word: str) -> tuple[int, int | None]:
        match = _mark(word)
        if match is None or len(word) > 2 * LONGEST:
            raise ArgumentError("is no mark; write one as in 16, 0x10 or 0x10/0xff")
        mark, mask = (None if part is None else _integer(part) for part in match.groups())
        assert mark is not None
        if max(mark, mask or 0) > HIGHEST:
            raise ArgumentError(f"is outside 0-{HIGHEST:#x}: a mark has 32 bits")
        return mark, mask


class NumberRange:
    """NUMBER-NUMBER, the lower one first; the value is both. keepalived lets the kernel refuse the
    others."""

    shape = "NUMBER-NUMBER"

    def __init__(self, least: int, most: int) -> None:
        self._least = least
        self._most = most

    def read(self, word: str) -> tuple[int, int]:
        match = _range(word)
        if match is None or len(word) > 2 * LONGEST:
            raise ArgumentError("is no range; write both ends, as in 80-80")
        first, last = map(int, match.groups())
        if first < self._least or last > self._most:
            raise ArgumentError(f"is outside {self._least}-{self._most}", is_ours=True)
        if first > last:
            raise ArgumentError(f"begins behind its end; write {last}-{first}", is_ours=True)
        return first, last


class KernelTime:
    """A time, rounded up to the kernel's unit; a number alone is in that unit already, as with
    `ip route`."""

    shape = "TIME"

    def __init__(self, units: int) -> None:
        """`units` of the kernel's are a millisecond."""
        self._units = units

    def read(self, word: str) -> int:
        match = _time(word)
        if match is None or len(word) > LONGEST:
            raise ArgumentError("is no time; write one as in 100ms or 1.5s")
        number, unit = match.groups()
        value = math.ceil(float(number) * (MILLISECONDS[unit] * self._units if unit else 1))
        if value > HIGHEST:
            raise ArgumentError(f"is longer than {HIGHEST / self._units / 1000:.0f}s")
        return value


class Labels:
    """LABEL[/LABEL...] of MPLS; the value is a tuple."""

    shape = "LABEL[/LABEL...]"

    def read(self, word: str) -> tuple[int, ...]:
        parts = word.split("/", MOST_LABELS)
        if len(parts) > MOST_LABELS:
            raise ArgumentError(f"has more than {MOST_LABELS} MPLS labels")
        if any(_label(part) is None for part in parts):
            raise ArgumentError("is no list of MPLS labels; write them as in 100/200")
        labels = tuple(map(int, parts))
        if max(labels) > HIGHEST_LABEL:
            raise ArgumentError(f"is outside 0-{HIGHEST_LABEL}: an MPLS label has 20 bits")
        return labels


class Locator:
    """The locator of ILA: 64 bits in four groups, like the first half of an IPv6 address. Its value
    is a number."""

    shape = "LOCATOR"

    def read(self, word: str) -> int:
        head, gap, tail = word.partition("::")
        left, right = (half.split(":") if half else [] for half in (head, tail))
        missing = LOCATOR_GROUPS - len(left) - len(right)
        groups = [*left, *["0"] * missing, *right]
        is_whole = missing >= 1 if gap else missing == 0
        if not is_whole or any(_group(group) is None for group in groups):
            raise ArgumentError("is no locator of ILA; write four groups, as in 1:2:3:4")
        return int("".join(group.zfill(4) for group in groups), 16)


def _integer(word: str) -> int:
    return int(word, 16 if word.startswith("0x") else 10)
