"""Makes the vectors of the packet codec, without the codec.

    python tests/vectors/make.py                            # all but the recorded ones
    python tests/vectors/make.py record keepalived CAPTURE  # keepalived.jsonl
    python tests/vectors/make.py record frr CAPTURE         # frr.jsonl

Each line of a file is a case: a JSON object. `packet` is an IP packet in hexadecimal, with a space
between IP header, AH and VRRP. Of the fields, `interval` is in nanoseconds; `auth_type`,
`password`, `checksum_as_v2`, `checksum_for_group` and `ah_sequence` are there only where they say
something. A packet that record.sh recorded also has its Ethernet header, `ethernet`.
refused.jsonl has the reason instead of the fields. announcements.jsonl has whole frames of
gratuitous ARP and neighbour advertisements.

scapy computes the checksums; the ICV of AH is computed here from scapy's fields with the standard
library. The same random seed gives the same files.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import random
import re
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Ether
from scapy.layers.vrrp import VRRP, VRRPv3
from scapy.packet import Packet, Raw
from scapy.utils import checksum, rdpcap

HERE = Path(__file__).parent
GROUPS = {4: "224.0.0.18", 6: "ff02::12"}
SECOND = 1_000_000_000
CENTISECOND = 10_000_000
ADDRESS_COUNTS = (1, 1, 1, 2, 2, 3, 4, 5, 8, 20)
PRIORITIES = (0, 1, 99, 100, 101, 254, 255)

Case = dict[str, Any]


def write(name: str, cases: Iterable[Case]) -> None:
    lines = [json.dumps(case) for case in cases]
    (HERE / name).write_text("\n".join(lines) + "\n")
    print(f"{name}: {len(lines)} cases")


def in_parts(packet: bytes) -> str:
    """Hexadecimal, with a space between the headers of a whole packet."""
    ends = [40] if packet[0] >> 4 == 6 else [(packet[0] & 0x0F) * 4]
    if ends[0] == 20 and len(packet) > 20 and packet[9] == socket.IPPROTO_AH:
        ends.append(44)
    return " ".join(
        packet[start:end].hex() for start, end in zip([0, *ends], [*ends, None], strict=True)
    )


# --- good packets ---------------------------------------------------------------------------------


def random_address(dice: random.Random, family: int) -> str:
    if family == 4:
        return str(ipaddress.IPv4Address(dice.randrange(1 << 24, 224 << 24)))
    return str(ipaddress.IPv6Address(dice.choice((0xFE80, 0x2001)) << 112 | dice.getrandbits(64)))


def random_fields(dice: random.Random, family: int, version: int, number: int) -> Case:
    """Fields that any advert has; the first cases go through the edges of each."""
    counts = (*ADDRESS_COUNTS, 100 if number % 10 == 0 else 2, 255 if number == 30 else 1)
    edges = (1, 255) if version == 2 else (1, 4095)
    interval = (*edges, dice.randint(*edges), 1 if version == 2 else 100)[number % 4]
    is_unicast = number % 5 == 4
    return {
        "family": family,
        "version": version,
        "vrid": (1, 255, dice.randint(1, 255))[number % 3],
        "priority": (*PRIORITIES, dice.randint(1, 254))[number % 8],
        "interval": interval * (SECOND if version == 2 else CENTISECOND),
        "ttl": dice.choice((16, 64, 255)) if is_unicast else 255,
        "source": random_address(dice, family),
        "destination": random_address(dice, family) if is_unicast else GROUPS[family],
        "addresses": [random_address(dice, family) for _ in range(counts[number % len(counts)])],
    }


def ip_header(fields: Case, **more: Any) -> Packet:
    """As fastvrrp writes it: internetwork control, and an atomic datagram for IPv4 (RFC 6864)."""
    ends = {"src": fields["source"], "dst": fields["destination"]}
    if fields["family"] == 6:
        return IPv6(**ends, tc=0xC0, hlim=fields["ttl"], nh=112)
    return IP(**ends, **{"tos": 0xC0, "id": 0, "flags": "DF", "ttl": fields["ttl"], **more})


def vrrp(fields: Case, **more: Any) -> Packet:
    same = {key: fields[key] for key in ("vrid", "priority")}
    if fields["version"] == 3:
        header = {"adv": fields["interval"] // CENTISECOND, "addrlist": fields["addresses"]}
        return VRRPv3(**{**same, **header, **more})
    auth = fields.get("password", "").encode() if fields.get("auth_type") == 1 else b""
    padded = auth.ljust(8, b"\0")
    header = {
        "adv": fields["interval"] // SECOND,
        "authtype": fields.get("auth_type", 0),
        "addrlist": fields["addresses"],
        "auth1": int.from_bytes(padded[:4], "big"),
        "auth2": int.from_bytes(padded[4:], "big"),
    }
    return VRRP(**{**same, **header, **more})


def advert(fields: Case, **more: Any) -> bytes:
    packet = ip_header(fields) / vrrp(fields, **more)
    if fields.get("checksum_as_v2"):
        alone = bytearray(bytes(packet)[20:])
        alone[6:8] = b"\0\0"
        packet = ip_header(fields) / vrrp(fields, **more, chksum=checksum(bytes(alone)))
    return bytes(packet)


def advert_in_ah(fields: Case, inner: bytes | None = None, **more: Any) -> bytes:
    """An advert in AH as keepalived sends it; `inner` is another payload, `more` other fields."""
    sequence = fields["ah_sequence"]
    header = {
        "nh": 112,
        "payloadlen": 4,
        "reserved": 0,
        "spi": int(ipaddress.IPv4Address(fields["source"])),
        "seq": sequence,
    }
    payload = Raw(bytes(vrrp(fields, **more)) if inner is None else inner)
    is_multicast = ipaddress.IPv4Address(fields["destination"]).is_multicast
    mutable = {"tos": 0, "flags": 0, "chksum": 0, **({} if is_multicast else {"ttl": 0})}
    base = {"id": sequence & 0xFFFF or 1, "flags": 0, "proto": 51}
    covered = ip_header(fields, **base | mutable) / AH(**header, icv=bytes(12)) / payload
    icv = hmac.digest(fields["password"].encode(), bytes(covered), "md5")[:12]
    return bytes(ip_header(fields, **base) / AH(**header, icv=icv) / payload)


def good(family: int, version: int, count: int, more: Iterable[Case]) -> Iterator[Case]:
    dice = random.Random(f"{family} {version}")
    variants = list(more)
    for number in range(count):
        fields = random_fields(dice, family, version, number)
        fields |= variants[number % len(variants)]
        if "ah_sequence" in fields:
            fields["ah_sequence"] = (1, 2, 0x10000, dice.getrandbits(32) | 1)[number % 4]
            packet = advert_in_ah(fields)
        else:
            packet = advert(fields)
        yield {"name": f"{number:03}", **fields, "packet": in_parts(packet)}


# --- refused packets ------------------------------------------------------------------------------

V2: Case = {
    "family": 4,
    "version": 2,
    "vrid": 51,
    "priority": 100,
    "interval": SECOND,
    "ttl": 255,
    "source": "10.0.0.1",
    "destination": GROUPS[4],
    "addresses": ["10.0.0.100", "10.0.0.101"],
}
V3: Case = {**V2, "version": 3}
V6: Case = {
    **V3,
    "family": 6,
    "source": "fe80::1",
    "destination": GROUPS[6],
    "addresses": ["fe80::100", "2001:db8::100"],
}
WITH_AH: Case = {**V2, "auth_type": 2, "password": "abc", "ah_sequence": 1}


def patched(packet: bytes, offset: int, value: bytes) -> bytes:
    return packet[:offset] + value + packet[offset + len(value) :]


def with_header(packet: bytes, **fields: Any) -> bytes:
    """An IPv4 packet with other fields in its IP header; lengths and checksum are made anew."""
    return bytes(IP(**{"src": "10.0.0.1", "dst": GROUPS[4], **fields}) / Raw(packet[20:]))


def refused() -> Iterator[Case]:
    v2, v3, v6, ah = advert(V2), advert(V3), advert(V6), advert_in_ah(WITH_AH)

    def case(reason: str, name: str, packet: bytes, **more: Any) -> Case:
        family = 6 if name.startswith("v6") else 4
        return {
            "name": name,
            "reason": reason,
            "family": family,
            **more,
            "packet": in_parts(packet),
        }

    for name, packet in (("v2", v2), ("v3", v3), ("ah", ah), ("v6", v6)):
        header = 40 if name == "v6" else 20
        for size in (0, 1, 7, 8, len(packet) - header - 1):
            yield case("TRUNCATED", f"{name}: {size} bytes of payload", packet[: header + size])
    for size in (1, 19):
        yield case("TRUNCATED", f"{size} bytes of an IP header", v2[:size])
    yield case("TRUNCATED", "total length shorter than VRRP", patched(v2, 2, b"\0\x2b"))
    yield case("TRUNCATED", "total length shorter than the IP header", patched(v2, 2, b"\0\x13"))
    yield case("TRUNCATED", "total length 0", patched(v3, 2, b"\0\0"))
    yield case("TRUNCATED", "options longer than the packet", patched(v3[:32], 0, b"\x4f"))
    for family, fields in (("v2", V2), ("v3", V3), ("v6", V6)):
        for count in (3, 255):
            packet = advert(fields, ipcount=count)
            yield case("TRUNCATED", f"{family}: count {count} of 2 addresses", packet)
    yield case("TRUNCATED", "v2 without authentication data", with_header(v2[:-8], proto=112))
    for first in (0x65, 0x05, 0xF5, 0x44, 0x40, 0x41):
        yield case("IP_HEADER", f"first byte {first:#04x}", patched(v2, 0, bytes([first])))
    for protocol in (0, 17, 50, 255):
        yield case("IP_HEADER", f"protocol {protocol}", with_header(v3, proto=protocol))
    for name, fields, versions in (
        ("v2", V2, (0, 1, 4, 15)),
        ("v3", V3, (0, 1, 4, 15)),
        ("v6", V6, (0, 1, 2, 4)),
    ):
        for version in versions:
            yield case("VERSION", f"{name}: version {version}", advert(fields, version=version))
        for kind in (0, 2, 15):
            yield case("TYPE", f"{name}: type {kind}", advert(fields, type=kind))
    for name, packet, header in (("v2", v2, 20), ("v3", v3, 20), ("v6", v6, 40), ("ah", ah, 44)):
        right = packet[header + 6 : header + 8]
        for wrong in (b"\0\0", bytes([right[0] ^ 1, right[1]]), right[::-1]):
            changed = patched(packet, header + 6, wrong)
            yield case("CHECKSUM", f"{name}: {wrong.hex()} for {right.hex()}", changed)
        changed = patched(packet, header + 2, bytes([packet[header + 2] ^ 0x80]))
        yield case("CHECKSUM", f"{name}: another priority", changed)
    other_source = with_header(v3, src="10.0.0.2", proto=112)
    yield case("CHECKSUM", "v3: another source", other_source)
    yield case("CHECKSUM", "v6: another destination", patched(v6, 39, b"\x13"))
    yield case("CHECKSUM", "v6: without pseudo-header", without_pseudo_header(v6))
    yield case("CHECKSUM", "v2: with pseudo-header", with_pseudo_header(v2))
    for name, fields in (("v2", V2), ("v3", V3), ("v6", V6)):
        yield case("VRID_ZERO", name, advert(fields, vrid=0))
    yield case("VRID_ZERO", "ah", advert_in_ah(WITH_AH, vrid=0))
    for name, fields in (("v3", V3), ("v6", V6)):
        yield case("INTERVAL", f"{name}: 0", advert(fields, adv=0))
        yield case("INTERVAL", f"{name}: 0 beside reserved bits", advert(fields, adv=0, res=15))
    for kind in (3, 4, 128, 255):
        yield case("AUTH_TYPE", f"v2: {kind}", advert(V2, authtype=kind))
    yield case("AUTH_TYPE", "v3 in AH", advert_in_ah(WITH_AH, v3[20:]))
    yield case("AH_HEADER", "type 2 without AH", advert(V2, authtype=2))
    yield case("AH_HEADER", "type 0 in AH", advert_in_ah(WITH_AH, authtype=0))
    yield case("AH_HEADER", "type 1 in AH", advert_in_ah(WITH_AH, authtype=1))
    for name, header_fields in (
        ("next header 6", {"nh": 6}),
        ("next header AH", {"nh": 51}),
        ("length 3", {"payloadlen": 3}),
        ("length 5", {"payloadlen": 5}),
        ("length 255", {"payloadlen": 255}),
        ("SPI 1", {"spi": 1}),
        ("SPI 0", {"spi": 0}),
    ):
        packet = patched_ah(ah, header_fields)
        yield case("AH_HEADER", name, packet)
    options = bytes(
        IP(src="10.0.0.1", dst=GROUPS[4], proto=51, options=b"\x94\x04\0\0") / Raw(ah[20:])
    )
    yield case("AH_HEADER", "router alert beside AH", options)
    password = {"password": "abc"}
    yield case("AH_ICV", "all zeros", patched(ah, 32, bytes(12)), **password)
    yield case("AH_ICV", "one bit", patched(ah, 43, bytes([ah[43] ^ 1])), **password)
    yield case("AH_ICV", "another password", ah, password="abd")
    yield case("AH_ICV", "no password", ah, password="")
    yield case("AH_ICV", "another sequence number", patched(ah, 31, b"\2"), **password)
    yield case("AH_ICV", "another identification", patched(ah, 5, b"\2"), **password)
    yield case("AH_ICV", "another TTL to a group", patched(ah, 8, b"\xfe"), **password)


def patched_ah(packet: bytes, fields: Case) -> bytes:
    header = AH(packet[20:44])
    for key, value in fields.items():
        setattr(header, key, value)
    return packet[:20] + bytes(header)[:24] + packet[44:]


def without_pseudo_header(packet: bytes) -> bytes:
    cleared = patched(packet, 46, b"\0\0")
    return patched(packet, 46, checksum(cleared[40:]).to_bytes(2, "big"))


def with_pseudo_header(packet: bytes) -> bytes:
    cleared = patched(packet, 26, b"\0\0")
    pseudo = packet[12:20] + bytes([0, 112]) + (len(packet) - 20).to_bytes(2, "big")
    return patched(packet, 26, checksum(pseudo + cleared[20:]).to_bytes(2, "big"))


# --- announcements --------------------------------------------------------------------------------


def announcements() -> Iterator[Case]:
    dice = random.Random("announcements")
    for number in range(40):
        family = 4 if number < 15 else 6
        vrid = dice.randint(1, 255)
        mac = f"00:00:5e:00:0{family // 2 - 1}:{vrid:02x}"
        if number % 3 == 2:
            mac = ":".join(f"{byte:02x}" for byte in (2, *dice.randbytes(5)))
        address = random_address(dice, family)
        case: Case = {"name": f"{number:02}", "family": family, "mac": mac, "address": address}
        if family == 4:
            arp = ARP(op=1, hwsrc=mac, psrc=address, hwdst="ff:ff:ff:ff:ff:ff", pdst=address)
            frame = Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / arp
        else:
            case["router"] = number % 2 == 0
            na = ICMPv6ND_NA(R=int(case["router"]), S=0, O=1, tgt=address)
            ip = IPv6(src=address, dst="ff02::1", hlim=255)
            frame = (
                Ether(src=mac, dst="33:33:00:00:00:01") / ip / na / ICMPv6NDOptDstLLAddr(lladdr=mac)
            )
        yield {**case, "frame": bytes(frame).hex()}


# --- recorded packets -----------------------------------------------------------------------------


def passwords_of_ah() -> dict[int, str]:
    """VRID to password, of keepalived.conf's instances with AH."""
    found = {}
    for block in (HERE / "keepalived.conf").read_text().split("vrrp_instance")[1:]:
        vrid = re.search(r"virtual_router_id (\d+)", block)
        password = re.search(r"auth_type AH\s+auth_pass (\S+)", block)
        if vrid and password:
            found[int(vrid[1])] = password[1]
    return found


def recorded(capture: str) -> Iterator[Case]:
    """The first two adverts of each virtual router and priority."""
    seen: dict[tuple[int, int, int], int] = {}
    passwords = passwords_of_ah()
    for frame in rdpcap(capture):
        if ICMPv6ND_NA in frame or not (IP in frame or IPv6 in frame):
            continue
        raw = bytes(frame)
        packet = raw[14:]
        family = packet[0] >> 4
        protocol = packet[9] if family == 4 else packet[6]
        if protocol not in (51, 112):
            continue  # the listener's complaint that nobody hears a unicast advert
        message = packet[40:] if family == 6 else packet[44:] if protocol == 51 else packet[20:]
        version, vrid, priority, count = message[0] >> 4, *message[1:4]
        key = (family, vrid, priority)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > 2:
            continue
        size = 4 if family == 4 else 16
        ends = packet[12:20] if family == 4 else packet[8:40]
        raw_addresses = [message[8 + i * size : 8 + (i + 1) * size] for i in range(count)]
        case: Case = {
            "name": f"IPv{family} VRID {vrid}, priority {priority}, {seen[key]}",
            "family": family,
            "version": version,
            "vrid": vrid,
            "priority": priority,
            "interval": message[5] * SECOND
            if version == 2
            else ((message[4] & 15) << 8 | message[5]) * CENTISECOND,
            "ttl": packet[8] if family == 4 else packet[7],
            "source": str(ipaddress.ip_address(ends[:size])),
            "destination": str(ipaddress.ip_address(ends[size:])),
            "addresses": [str(ipaddress.ip_address(address)) for address in raw_addresses],
        }
        if version == 2 and message[4]:
            case["auth_type"] = message[4]
            case["password"] = message[-8:].rstrip(b"\0").decode()
        if protocol == 51:
            case["password"] = passwords[vrid]
            case["ah_sequence"] = int.from_bytes(packet[28:32], "big")
        if version == 3 and family == 4 and packet[16] < 224 and is_for_group(packet):
            case["checksum_for_group"] = True
        yield {**case, "ethernet": raw[:14].hex(), "packet": in_parts(packet)}


def is_for_group(packet: bytes) -> bool:
    group = socket.inet_aton(GROUPS[4])
    return with_pseudo_header(patched(packet, 16, group))[26:28] == packet[26:28]


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["record"]:
        _, daemon, capture = arguments
        write(f"{daemon}.jsonl", recorded(capture))
        return
    plain: Case = {}
    passwords = [{"auth_type": 1, "password": text} for text in ("a", "secret", "12345678", "")]
    ah = [{"auth_type": 2, "password": text, "ah_sequence": 0} for text in ("abc", "12345678", "x")]
    write("scapy_v2.jsonl", good(4, 2, 64, [plain, plain, *passwords]))
    write("scapy_v2_ah.jsonl", good(4, 2, 36, ah))
    write("scapy_v3_ipv4.jsonl", good(4, 3, 64, [plain, plain, {"checksum_as_v2": True}]))
    write("scapy_v3_ipv6.jsonl", good(6, 3, 64, [plain]))
    write("announcements.jsonl", announcements())
    write("refused.jsonl", refused())


if __name__ == "__main__":
    main(sys.argv[1:])
