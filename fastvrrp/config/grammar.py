"""Syntaxes of their own: addresses with options, unicast peers, `use_vmac`, `garp_extra_if`."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from fastvrrp.config.arguments import (
    ArgumentError,
    Integer,
    Interface,
    WholeSeconds,
    family_of,
    interface_name_fault,
    packed_address,
    without_length,
)
from fastvrrp.config.complaints import Complaints
from fastvrrp.config.iproute_names import IprouteName
from fastvrrp.config.spelling import nearest
from fastvrrp.config.statement import Statement
from fastvrrp.config.syntax import ignore_rest, read_word
from fastvrrp.model import SECOND, UnicastPeer, VirtualAddress

SCOPES = {"global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
"""RT_SCOPE_* of linux/rtnetlink.h."""
ADDRESS_FLAGS = {
    "home": 0x10,
    "-nodad": 0x02,
    "mngtmpaddr": 0x100,
    "noprefixroute": 0x200,
    "autojoin": 0x400,
}
"""IFA_F_* of linux/if_addr.h; `-nodad` takes IFA_F_NODAD away, which IPv6 has otherwise."""
VALUED_OPTIONS = frozenset({"dev", "label", "brd", "broadcast", "scope", "peer", "preferred_lft"})
OPTION_NAMES = (*ADDRESS_FLAGS, *VALUED_OPTIONS, "use_vmac", "no_track", "track_group")
MASK = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}")
LABEL_LENGTH = 15
INET_LENGTH = 4
LONGEST_LIFETIME = 0xFFFFFFFE

BYTE = Integer(0, 255)
MAC_OCTETS = (5, 6)
RESERVED_MAC = b"\x00\x00\x5e\x00"
"""RFC 9568 section 7.3: keepalived makes these from the VRID and takes none that is written."""


class VirtualAddressLine:
    """ADDRESS[/LENGTH] with options, as `ip address add` has them."""

    shape = (
        "ADDRESS[/LENGTH] [dev INTERFACE] [brd ADDRESS|+|-] [scope SCOPE] [label LABEL]"
        " [peer ADDRESS]{} [home] [-nodad] [mngtmpaddr] [noprefixroute] [autojoin]"
        " [no_track] [preferred_lft SECONDS|forever]{}"
    )

    def __init__(self, *, is_static: bool = False) -> None:
        self.shape = self.shape.format(
            *("", " [track_group NAME]") if is_static else (" [use_vmac]", "")
        )
        self._is_static = is_static
        """True in static_ipaddress, whose addresses may be tracked by a group of instances."""

    def read(self, statement: Statement, complaints: Complaints) -> VirtualAddress | None:
        words = statement.words
        word = words[0]
        text, slash, length = word.partition("/")
        try:
            address = packed_address(text)
        except ArgumentError as error:
            complaints.error(statement, 0, f"{word} {error}")
            return None
        bits = len(address) * 8
        prefixlen = bits
        if slash:
            if length.isascii() and length.isdigit() and len(length) < 4 and int(length) <= bits:
                prefixlen = int(length)
            else:
                complaints.error(
                    statement,
                    0,
                    f"the prefix length of {word} is outside 0-{bits}; {bits} is taken"
                    f"{_length_of(length)}",
                )
        family = family_of(address)
        if len(words) == 1:
            if bits == 128 and prefixlen == 128:
                return VirtualAddress(family, address, prefixlen, preferred_lifetime=0)
            return VirtualAddress(family, address, prefixlen)
        return self._with_options(statement, complaints, VirtualAddress(family, address, prefixlen))

    def _with_options(
        self, statement: Statement, complaints: Complaints, plain: VirtualAddress
    ) -> VirtualAddress | None:
        words = statement.words
        interface = label = broadcast = scope = peer = None
        lifetime: int | None = None
        lifetime_given = False
        prefixlen = plain.prefixlen
        flags = 0
        tracked, use_vmac = True, False
        track_group: str | None = None
        index = 1
        while index < len(words):
            word = words[index]
            index += 1
            if word in ADDRESS_FLAGS:
                flags |= ADDRESS_FLAGS[word]
            elif word == "no_track":
                tracked = False
            elif word == "use_vmac" and not self._is_static:
                use_vmac = True
            elif word in VALUED_OPTIONS or (self._is_static and word == "track_group"):
                if index == len(words):
                    complaints.error(statement, index, f"{word} of {words[0]} needs a value")
                    break
                value = words[index]
                index += 1
                if word == "dev":
                    fault = interface_name_fault(value)
                    if fault is not None:
                        complaints.error(statement, index - 1, f"dev {value} {fault}")
                        return None
                    interface = value
                elif word == "label":
                    if plain.family != family_of(b"\0" * INET_LENGTH):
                        complaints.error(
                            statement,
                            index - 1,
                            f"label {value} is ignored: {words[0]} is IPv6, which has no labels",
                        )
                    elif len(value) > LABEL_LENGTH:
                        complaints.error(
                            statement,
                            index - 1,
                            f"label {value} is longer than {LABEL_LENGTH} characters;"
                            f" {words[0]} is left out",
                        )
                        return None
                    else:
                        label = value
                elif word == "track_group":
                    track_group = value
                elif word == "scope":
                    scope = _scope(value)
                    if scope is None:
                        complaints.error(
                            statement, index - 1, f"scope {value} is unknown; write {_scopes()}"
                        )
                    elif scope and len(plain.address) != INET_LENGTH:
                        complaints.error(
                            statement,
                            index - 2,
                            f"scope is ignored: {words[0]} is IPv6, whose addresses say their scope"
                            " themselves",
                        )
                        scope = None
                elif word == "preferred_lft":
                    lifetime_given = True
                    lifetime = _lifetime(statement, index - 1, complaints)
                elif word == "peer":
                    peer, prefixlen = _peer(statement, index - 1, plain, complaints)
                else:
                    try:
                        broadcast = _broadcast(plain, prefixlen, value)
                    except ArgumentError as error:
                        complaints.error(
                            statement, index - 1, f"brd {value} {error}; {words[0]} is left out"
                        )
                        return None
            else:
                complaints.error(
                    statement,
                    index - 1,
                    "use_vmac is ignored: a static address has no VMAC"
                    if word == "use_vmac"
                    else f"{word} is no option of an address; {_nearest(word)}",
                )
        if not lifetime_given and plain.family != family_of(b"\0" * INET_LENGTH):
            lifetime = 0 if prefixlen == 128 else None
        return VirtualAddress(
            plain.family,
            plain.address,
            prefixlen,
            interface,
            broadcast,
            scope,
            label,
            peer=peer,
            flags=flags,
            preferred_lifetime=lifetime,
            is_tracked=tracked,
            use_vmac=use_vmac,
            track_group=track_group,
        )


def _scope(word: str) -> int | None:
    if word in SCOPES:
        return SCOPES[word]
    return int(word) if word.isascii() and word.isdigit() and int(word[:4]) < 256 else None


def _scopes() -> str:
    return ", ".join(SCOPES)


def _lifetime(statement: Statement, index: int, complaints: Complaints) -> int | None:
    word = statement.words[index]
    if word == "forever":
        return None
    if word.isascii() and word.isdigit() and int(word[:11]) <= LONGEST_LIFETIME:
        return int(word) * SECOND
    complaints.error(
        statement, index, f"preferred_lft {word} is no time; write seconds, or forever"
    )
    return None


def _peer(
    statement: Statement, index: int, plain: VirtualAddress, complaints: Complaints
) -> tuple[bytes | None, int]:
    text, slash, length = statement.words[index].partition("/")
    bits = len(plain.address) * 8
    try:
        peer = packed_address(text)
    except ArgumentError as error:
        complaints.error(statement, index, f"peer {text} {error}")
        return None, plain.prefixlen
    if len(peer) != len(plain.address):
        complaints.error(statement, index, f"peer {text} is of another family; it is ignored")
        return None, plain.prefixlen
    if plain.prefixlen != bits:
        complaints.error(
            statement, 0, f"{statement.words[0]} has a peer; write the prefix length after that"
        )
    if not slash:
        return peer, bits
    if length.isascii() and length.isdigit() and int(length[:4]) <= bits:
        return peer, int(length)
    complaints.error(statement, index, f"the prefix length of peer {text} is outside 0-{bits}")
    return peer, bits


def _broadcast(plain: VirtualAddress, prefixlen: int, word: str) -> bytes:
    if len(plain.address) != INET_LENGTH:
        raise ArgumentError("has no place: an IPv6 address has no broadcast address")
    if word not in ("+", "-"):
        broadcast = packed_address(word)
        if len(broadcast) != INET_LENGTH:
            raise ArgumentError("is not an IPv4 address")
        return broadcast
    hosts = (1 << (32 - prefixlen)) - 1
    number = int.from_bytes(plain.address, "big")
    number = number | hosts if word == "+" else number & ~hosts
    return number.to_bytes(INET_LENGTH, "big")


def _length_of(mask: str) -> str:
    """The remedy for a netmask where a prefix length was meant."""
    try:
        bits = int.from_bytes(socket.inet_aton(mask), "big") if MASK.fullmatch(mask) else 0
    except OSError:
        return ""
    length = bits.bit_count()
    is_mask = bits and bits == (2**length - 1) << (32 - length)
    return f"; write /{length} for {mask}" if is_mask else ""


def _nearest(word: str) -> str:
    if word in ("netmask", "mask") or MASK.fullmatch(word):
        return "write the prefix length after the address, as in 192.0.2.1/24"
    if not word.isalpha():
        return "it is ignored"
    suggestion = nearest(word, OPTION_NAMES)
    return "it is ignored" if suggestion is None else f"did you mean {suggestion}?"


class UnicastPeerLine:
    """ADDRESS [min_ttl N] [max_ttl N]."""

    shape = "ADDRESS [min_ttl 0-255] [max_ttl 0-255]"

    def read(self, statement: Statement, complaints: Complaints) -> UnicastPeer | None:
        words = statement.words
        try:
            address = packed_address(without_length(words[0]))
        except ArgumentError as error:
            complaints.error(statement, 0, f"unicast_peer {words[0]} {error}")
            return None
        limits = {"min_ttl": 0, "max_ttl": 255}
        for index in range(1, len(words), 2):
            name = words[index]
            if name not in limits:
                complaints.error(
                    statement, index, f"{name} is unknown after a peer; write min_ttl or max_ttl"
                )
                return UnicastPeer(address, **limits)
            if index + 1 == len(words):
                complaints.error(statement, index + 1, f"{name} needs a value: 0-255")
                break
            try:
                limits[name] = BYTE.read(words[index + 1])
            except ArgumentError as error:
                complaints.error(statement, index + 1, f"{name} {words[index + 1]} {error}")
        if limits["min_ttl"] > limits["max_ttl"]:
            complaints.warning(
                statement,
                1,
                f"min_ttl {limits['min_ttl']} is above max_ttl {limits['max_ttl']}:"
                f" every advert of {words[0]} will be dropped",
            )
        return UnicastPeer(address, **limits)


@dataclass(frozen=True, slots=True)
class VmacWords:
    """What `use_vmac` said: a name, and five or six bytes of a MAC, each only if written."""

    name: str | None = None
    mac: bytes | None = None
    group: int | None = None
    """The kernel's number of a group of interfaces."""
    notifies: bool = False
    """Whether a netlink message about the parent is forced."""


class UseVmac:
    """[[name] NAME] [MAC] [netlink_notify_msg] [group GROUP] in any order."""

    _group = IprouteName("group", "group of interfaces", 2**32 - 1)
    shape = f"[[name] NAME] [MAC] [netlink_notify_msg] [group {_group.shape}]"

    def read(self, statement: Statement, complaints: Complaints) -> VmacWords:
        name: str | None = None
        mac: bytes | None = None
        group: int | None = None
        notifies = False
        words = statement.words
        index = 0
        while (index := index + 1) < len(words):
            word = words[index]
            if word.count(":") >= 4:
                mac = _mac(statement, index, complaints)
                continue
            if word == "netlink_notify_msg":
                notifies = True
                continue
            if word in ("name", "group"):
                index += 1
                if index == len(words):
                    complaints.error(statement, index, f"{word} of use_vmac needs a value")
                    break
                if word == "group":
                    value = read_word(statement, index, self._group, complaints, "group")
                    group = value if isinstance(value, int) else None
                    continue
                word = words[index]
            fault = interface_name_fault(word)
            if fault is not None:
                complaints.error(
                    statement, index, f"use_vmac {word} {fault}; a name is chosen instead"
                )
            elif name is not None:
                complaints.error(
                    statement, index, f"use_vmac has two names, {name} and {word}; {name} is taken"
                )
            else:
                name = word
        return VmacWords(name, mac, group, notifies)


def _mac(statement: Statement, index: int, complaints: Complaints) -> bytes | None:
    word = statement.words[index]
    octets = word.split(":")
    if len(octets) not in MAC_OCTETS or any(
        len(octet) > 2 or not octet or octet.strip("0123456789abcdefABCDEF") for octet in octets
    ):
        complaints.error(
            statement, index, f"use_vmac {word} is no MAC address; write five or six octets"
        )
        return None
    mac = bytes(int(octet, 16) for octet in octets)
    if mac[0] & 1:
        complaints.error(statement, index, f"use_vmac {word} is a multicast MAC address; ignored")
        return None
    if mac.startswith(RESERVED_MAC) and mac[4] in (1, 2):
        complaints.error(
            statement,
            index,
            f"use_vmac {word} is one of VRRP's own MAC addresses, which are made from"
            " the VRID; it is ignored",
        )
        return None
    return mac


@dataclass(frozen=True, slots=True)
class ExtraInterfaces:
    """What `garp_extra_if` said: nanoseconds, and whether for every interface."""

    interval: int
    is_for_all: bool


class GarpExtraInterfaces:
    """[all] SECONDS."""

    def __init__(self, least: int) -> None:
        self._seconds = WholeSeconds(least, 86400)

    @property
    def shape(self) -> str:
        return f"[all] {self._seconds.shape}"

    def read(self, statement: Statement, complaints: Complaints) -> ExtraInterfaces | None:
        words = statement.words
        is_for_all = len(words) > 1 and words[1] == "all"
        index = 2 if is_for_all else 1
        if len(words) <= index:
            complaints.error(statement, index, f"{words[0]} needs a time: {self._seconds.shape}")
            return None
        interval = read_word(statement, index, self._seconds, complaints)
        if not isinstance(interval, int):
            return None
        ignore_rest(statement, index + 1, complaints)
        return ExtraInterfaces(interval, is_for_all)


class Password:
    """One word, exactly as keepalived takes it, because the other router may be keepalived.

    Double quotes are removed; backslashes and single quotes are characters of the password.
    """

    shape = "PASSWORD"

    def read(self, statement: Statement, complaints: Complaints) -> str | None:
        if len(statement.words) == 1:
            complaints.error(statement, 1, f"{statement.words[0]} needs a value: {self.shape}")
            return None
        ignore_rest(statement, 2, complaints)
        raw = statement.raw(1)
        if raw.startswith("'"):
            complaints.warning(
                statement,
                1,
                f"single quotes are part of {statement.words[0]}, as keepalived has it;"
                " write double ones",
                is_ours=True,
            )
            return raw
        return raw.replace('"', "")


INTERFACE = Interface()
