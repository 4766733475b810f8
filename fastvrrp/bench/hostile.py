"""Adverts that a virtual router must refuse, or must not obey for long: what each is and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fastvrrp._checksum import checksum, updated_checksum
from fastvrrp.bench.case import VRIDS, CaseError
from fastvrrp.bench.crowd import IP_HEADERS, Speech, VirtualRouter

ETHERNET = 14
CHECKSUM = 6  # RFC 9568 section 5.1: places in the VRRP header
INTERVAL = 4
HIGHEST = 254
"""The highest priority but an address owner's."""


def _higher(speech: Speech, router: VirtualRouter) -> bytes:
    return speech.frame(router, HIGHEST)


def _bad_checksum(speech: Speech, router: VirtualRouter) -> bytes:
    return _with_word(speech.frame(router, HIGHEST), router, CHECKSUM, 0x5555)


def _wrong_ttl(speech: Speech, router: VirtualRouter) -> bytes:
    return speech.frame(router, HIGHEST, ttl=254)


def _wrong_version(speech: Speech, router: VirtualRouter) -> bytes:
    """The other version over IPv4; 2 over IPv6, where there is none."""
    if router.family == 4:
        interval = max(1, round(speech.interval))
        return speech.frame(router, HIGHEST, version=5 - speech.version, interval=interval)
    return _with_word(speech.frame(router, HIGHEST), router, 0, (3 ^ 2) << 12)


def _wrong_type(speech: Speech, router: VirtualRouter) -> bytes:
    return _with_word(speech.frame(router, HIGHEST), router, 0, (1 ^ 2) << 8)


def _wrong_password(speech: Speech, router: VirtualRouter) -> bytes:
    if speech.version != 2:
        raise CaseError("VRRPv3 has no authentication that could be wrong (RFC 9568 section 9)")
    return speech.frame(router, HIGHEST, password=b"hostile")


def _wrong_interval(speech: Speech, router: VirtualRouter) -> bytes:
    """Another one for VRRPv2; for VRRPv3, which takes any, none at all."""
    if speech.version == 2:
        return speech.frame(router, HIGHEST, interval=speech.interval + 1)
    hundredths = round(speech.interval * 100)
    return _with_word(speech.frame(router, HIGHEST), router, INTERVAL, hundredths)


def _wrong_addresses(speech: Speech, router: VirtualRouter) -> bytes:
    own = speech.virtual_address(router)
    return speech.frame(router, HIGHEST, addresses=[own[:-1] + bytes([own[-1] ^ 0x80])])


def _too_many_addresses(speech: Speech, router: VirtualRouter) -> bytes:
    own = speech.virtual_address(router)
    return speech.frame(router, HIGHEST, addresses=[own, own[:-1] + bytes([own[-1] ^ 0x80])])


def _cut_short(speech: Speech, router: VirtualRouter) -> bytes:
    """Shorter by four bytes than its address count says."""
    frame = bytearray(speech.frame(router, HIGHEST)[:-4])
    size = len(frame) - ETHERNET
    if router.family == 4:
        frame[ETHERNET + 2 : ETHERNET + 4] = size.to_bytes(2, "big")
        frame[ETHERNET + 10 : ETHERNET + 12] = bytes(2)
        header = bytes(frame[ETHERNET : ETHERNET + IP_HEADERS[4]])
        frame[ETHERNET + 10 : ETHERNET + 12] = checksum(header).to_bytes(2, "big")
    else:
        frame[ETHERNET + 4 : ETHERNET + 6] = (size - IP_HEADERS[6]).to_bytes(2, "big")
    return bytes(frame)


HOSTILE: Mapping[str, tuple[str, Callable[[Speech, VirtualRouter], bytes]]] = {
    "priority": ("", _higher),
    "checksum": ("CHECKSUM", _bad_checksum),
    "ttl": ("TTL", _wrong_ttl),
    "vrid": ("VRID_UNKNOWN", _higher),
    "version": ("VERSION", _wrong_version),
    "type": ("TYPE", _wrong_type),
    "password": ("AUTH_TYPE", _wrong_password),
    "interval": ("INTERVAL", _wrong_interval),
    "addresses": ("ADDRESS_LIST", _wrong_addresses),
    "address-count": ("ADDRESS_COUNT", _too_many_addresses),
    "length": ("TRUNCATED", _cut_short),
}
"""By the name for the command line: under which of packet.REASONS fastvrrp counts it (of a virtual
router without password), and how it is made."""


def frames(
    kinds: Sequence[str], speech: Speech, routers: Sequence[VirtualRouter]
) -> list[tuple[VirtualRouter, bytes]]:
    """One of each kind for each virtual router, the kinds in turns. Raises CaseError where one
    cannot be made."""
    made = []
    strangers = _strangers(routers) if "vrid" in kinds else []
    for place, router in enumerate(routers):
        for kind in kinds:
            who = strangers[place % len(strangers)] if kind == "vrid" else router
            made.append((who, HOSTILE[kind][1](speech, who)))
    return made


def _strangers(routers: Sequence[VirtualRouter]) -> list[VirtualRouter]:
    """Virtual routers with VRIDs that are not among `routers`, on the same interfaces."""
    known = {router.key for router in routers}
    places = {(router.port, router.number, router.family): None for router in routers}
    found = [
        stranger
        for vrid in range(1, VRIDS + 1)
        for place in places
        if (stranger := VirtualRouter(*place, vrid)).key not in known
    ]
    if not found:
        raise CaseError("every VRID is taken: use more interfaces, or not --hostile vrid")
    return found


def _with_word(frame: bytes, router: VirtualRouter, place: int, change: int) -> bytes:
    """With bits of the 16-bit word at `place` of the VRRP header turned over; its checksum is made
    right again, but where that is what is changed."""
    vrrp = ETHERNET + IP_HEADERS[router.family]

    def word(at: int) -> int:
        return int.from_bytes(frame[vrrp + at : vrrp + at + 2], "big")

    changed = bytearray(frame)
    changed[vrrp + place : vrrp + place + 2] = (word(place) ^ change).to_bytes(2, "big")
    if place != CHECKSUM:
        right = updated_checksum(word(CHECKSUM), word(place), word(place) ^ change)
        changed[vrrp + CHECKSUM : vrrp + CHECKSUM + 2] = right.to_bytes(2, "big")
    return bytes(changed)
