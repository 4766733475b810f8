"""Types of a keyword's arguments: what one word may be, and the value it stands for.

A type reads one word and knows its shape for the documentation. `ArgumentError` carries the second
half of a sentence that begins with the keyword and the word: "is outside 1-255".
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Protocol

from fastvrrp.model import MILLISECOND, SECOND

INTEGER = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(r"([0-9]*)(?:\.([0-9]*))?")
LONGEST_NUMBER = 40
"""Digits past this are not worth converting: no keyword has room for them."""
INTERFACE_NAME_LENGTH = 15
"""IFNAMSIZ of linux/if.h without its terminating zero."""
BOOLEANS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


class ArgumentError(Exception):
    """The word cannot be read; the text continues "KEYWORD WORD ..."."""

    def __init__(self, text: str, *, is_ours: bool = False) -> None:
        """With `is_ours` keepalived takes it without a word."""
        super().__init__(text)
        self.is_ours = is_ours


class Adjusted(Exception):
    """The word was read, but stands for another value than it says."""

    def __init__(self, value: object, text: str) -> None:
        super().__init__(text)
        self.value = value


class Argument(Protocol):
    """One argument."""

    @property
    def shape(self) -> str:
        """How the documentation writes it, as `1-255`."""

    def read(self, word: str) -> object:
        """The value of a word. Raises ArgumentError, or Adjusted with the value to take."""


class Integer:
    """A whole decimal number in a range."""

    def __init__(self, least: int, most: int, *, raised: bool = False) -> None:
        self.least = least
        self.most = most
        self._raised = raised
        """True where a smaller number is taken as the least one."""
        self._known: dict[str, int] = {}

    @property
    def shape(self) -> str:
        return f"{self.least}-{self.most}"

    def read(self, word: str) -> int:
        known = self._known.get(word)
        if known is not None:
            return known
        if INTEGER.fullmatch(word) is None or len(word) > LONGEST_NUMBER:
            raise ArgumentError(
                f"is no whole number; write one between {self.least} and {self.most}"
            )
        value = int(word)
        if value < self.least and self._raised and value >= 0:
            raise Adjusted(self.least, f"is less than {self.least}; {self.least} is taken")
        if not self.least <= value <= self.most:
            raise ArgumentError(f"is outside {self.shape}")
        if len(self._known) < 1024:
            self._known[word] = value
        return value


class Seconds:
    """A time in seconds with decimals, read to nanoseconds; the range is in nanoseconds."""

    def __init__(self, least: int, most: int) -> None:
        self.least = least
        self.most = most

    @property
    def shape(self) -> str:
        return f"{seconds_text(self.least)}-{seconds_text(self.most)} s"

    def read(self, word: str) -> int:
        match = DECIMAL.fullmatch(word)
        if match is None or word == "." or len(word) > LONGEST_NUMBER:
            raise ArgumentError("is no time; write seconds, as in 1 or 0.25")
        whole, decimals = match.groups(default="")
        value = int(whole or "0") * SECOND + int(decimals[:9].ljust(9, "0"))
        if not self.least <= value <= self.most:
            raise ArgumentError(
                f"is outside {seconds_text(self.least)}-{seconds_text(self.most)} seconds"
            )
        return value


class Milliseconds:
    """A time in milliseconds with decimals, read to nanoseconds; the range is in milliseconds."""

    def __init__(self, least: int, most: int) -> None:
        self.shape = f"{least}-{most} ms"
        self._seconds = Seconds(least * MILLISECOND * 1000, most * MILLISECOND * 1000)

    def read(self, word: str) -> int:
        try:
            return self._seconds.read(word) // 1000
        except ArgumentError:
            raise ArgumentError(f"is outside {self.shape}") from None


class WholeSeconds:
    """A time in whole seconds, read to nanoseconds; the range is in seconds."""

    def __init__(self, least: int, most: int) -> None:
        self._seconds = Integer(least, most)

    @property
    def shape(self) -> str:
        return f"{self._seconds.shape} s"

    def read(self, word: str) -> int:
        return self._seconds.read(word) * SECOND


class Boolean:
    """on|off|true|false|yes|no."""

    shape = "on|off|true|false|yes|no"

    def read(self, word: str) -> bool:
        value = BOOLEANS.get(word)
        if value is None:
            raise ArgumentError("is neither on, true, yes nor off, false, no")
        return value


class Choice:
    """One of some words, each with its value."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    @property
    def shape(self) -> str:
        return "|".join(self._values)

    def read(self, word: str) -> object:
        if word not in self._values:
            raise ArgumentError(f"is unknown; write {' or '.join(self._values)}")
        return self._values[word]


class Text:
    """Any word."""

    def __init__(self, shape: str = "TEXT", longest: int | None = None) -> None:
        self.shape = shape
        self._longest = longest

    def read(self, word: str) -> str:
        if self._longest is not None and len(word) > self._longest:
            raise ArgumentError(f"is longer than {self._longest} characters")
        return word


class Interface:
    """The name of a network interface, which need not exist yet."""

    shape = "INTERFACE"

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def read(self, word: str) -> str:
        known = self._known.get(word)
        if known is not None:
            return known
        reason = interface_name_fault(word)
        if reason is not None:
            raise ArgumentError(reason)
        return self._known.setdefault(word, word)


class Address:
    """An IPv4 or IPv6 address; the value is packed, so its length tells the family."""

    shape = "ADDRESS"

    def read(self, word: str) -> bytes:
        return packed_address(word)


class HostAddress(Address):
    """An address of a host, after which guides write a prefix length that means nothing."""

    def read(self, word: str) -> bytes:
        return packed_address(without_length(word))


class Prefix:
    """ADDRESS[/LENGTH]; the value is the packed address and the length."""

    shape = "ADDRESS[/LENGTH]"

    def read(self, word: str) -> tuple[bytes, int]:
        text, slash, length = word.partition("/")
        address = packed_address(text)
        bits = len(address) * 8
        if not slash:
            return address, bits
        if not (length.isascii() and length.isdigit() and int(length[:4]) <= bits):
            raise ArgumentError(f"has no prefix length in 0-{bits}")
        return address, int(length)


class Matching:
    """A word of a pattern, for what has a form of its own; the value is the word."""

    def __init__(self, shape: str, pattern: str, fault: str) -> None:
        self.shape = shape
        self._matches = re.compile(pattern, re.ASCII).fullmatch
        self._fault = fault

    def read(self, word: str) -> str:
        if self._matches(word) is None:
            raise ArgumentError(self._fault)
        return word


NAMESPACE = Matching(
    "NAME",
    r"(?!\.{1,2}$)[^/]{1,255}",
    "is no name of a network namespace: it is a file in /run/netns",
)


class MulticastAddress:
    """A multicast address of one family, packed."""

    def __init__(self, family: socket.AddressFamily) -> None:
        self._family = family
        self.shape = "IPV4" if family == socket.AF_INET else "IPV6"

    def read(self, word: str) -> bytes:
        value = packed_address(word)
        if family_of(value) != self._family:
            name = "IPv4" if self._family == socket.AF_INET else "IPv6"
            raise ArgumentError(f"is not an {name} address")
        if not is_multicast(value):
            raise ArgumentError("is no multicast address")
        return value


class MulticastDestination:
    """A multicast address of either family, packed; of IPv6 it must be link-local."""

    shape = "ADDRESS"

    def read(self, word: str) -> bytes:
        value = packed_address(word)
        if not is_multicast(value):
            raise ArgumentError("is no multicast address")
        if len(value) == 16 and value[1] & 0x0F != 2:
            raise ArgumentError("is no link-local multicast address: ff02::")
        return value


def packed_address(word: str) -> bytes:
    """An address of either family, packed in network order. Raises ArgumentError."""
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in word else socket.AF_INET, word)
    except (OSError, ValueError):
        raise ArgumentError("is no IP address") from None


def without_length(word: str) -> str:
    """An address without the prefix length after it, which keepalived passes over here."""
    address, _, length = word.partition("/")
    return address if length.isdigit() else word


def family_of(address: bytes) -> int:
    """AF_INET or AF_INET6 of a packed address."""
    return int(socket.AF_INET) if len(address) == 4 else int(socket.AF_INET6)


def is_multicast(address: bytes) -> bool:
    """224.0.0.0/4 or ff00::/8."""
    return 224 <= address[0] <= 239 if len(address) == 4 else address[0] == 0xFF


def address_text(address: bytes) -> str:
    """A packed address as it is written."""
    return socket.inet_ntop(family_of(address), address)


def interface_name_fault(word: str) -> str | None:
    """Why a word cannot name an interface (dev_valid_name in the kernel), or None."""
    if not word or len(word.encode("utf-8", "surrogateescape")) > INTERFACE_NAME_LENGTH:
        return f"is no interface name: it has more than {INTERFACE_NAME_LENGTH} characters"
    if word in (".", "..") or "/" in word or ":" in word or not word.isprintable() or " " in word:
        return "is no interface name"
    if word[-1] in ",;":
        return "is no interface name"
    return None


def seconds_text(nanoseconds: int) -> str:
    """Nanoseconds as seconds, without trailing zeros."""
    whole, rest = divmod(nanoseconds, SECOND)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".") if rest else str(whole)
