"""tshark as referee: what the codec writes is well-formed, and means to it what it means to us."""

from __future__ import annotations

import ipaddress
import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from fastvrrp._wire import ethernet, garp, multicast_mac, neighbour_advertisement
from packets import MADE, RECORDED, VECTORS, Case, encoded, packed

pytestmark = pytest.mark.skipif(
    shutil.which("tshark") is None, reason="tshark is not installed (apt-get install tshark)"
)

ROUTER = bytes.fromhex("00005e000133")
NEIGHBOUR = bytes.fromhex("020000000001")
GOOD = "1"  # a checksum's status
FIELDS = (
    "frame.protocols",
    "_ws.malformed",
    "_ws.expert.message",
    "ip.checksum.status",
    "ip.src",
    "ip.dst",
    "ip.ttl",
    "ip.dsfield",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.hlim",
    "ipv6.tclass",
    "vrrp.version",
    "vrrp.type",
    "vrrp.virt_rtr_id",
    "vrrp.prio",
    "vrrp.addr_count",
    "vrrp.adver_int",
    "vrrp.short_adver_int",
    "vrrp.checksum.status",
    "vrrp.auth_type",
    "vrrp.auth_string",
    "vrrp.ip_addr",
    "vrrp.ipv6_addr",
    "ah.spi",
    "ah.sequence",
    "ah.icv",
    "arp.isgratuitous",
    "arp.opcode",
    "arp.src.hw_mac",
    "arp.src.proto_ipv4",
    "arp.dst.proto_ipv4",
    "icmpv6.type",
    "icmpv6.checksum.status",
    "icmpv6.nd.na.flag.r",
    "icmpv6.nd.na.flag.s",
    "icmpv6.nd.na.flag.o",
    "icmpv6.nd.na.target_address",
    "icmpv6.opt.linkaddr",
)


def cases(*names: str) -> list[Case]:
    return [
        json.loads(line)
        for name in names
        for line in (VECTORS / f"{name}.jsonl").read_text().splitlines()
    ]


def frame(case: Case, packet: bytes) -> bytes:
    group = packed(case["destination"])
    mac = multicast_mac(group) if ipaddress.ip_address(group).is_multicast else NEIGHBOUR
    return ethernet(mac, ROUTER, 0x0800 if case["family"] == 4 else 0x86DD) + packet


def dissect(frames: list[bytes], capture: Path, *options: str) -> list[dict[str, str]]:
    """What tshark finds in each frame; a field that is not there is empty."""
    with capture.open("wb") as file:
        file.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
        for number, raw in enumerate(frames):
            file.write(struct.pack("=IIII", number, 0, len(raw), len(raw)) + raw)
    command = ["tshark", "-n", "-r", str(capture), "-o", "ip.check_checksum:TRUE", *options]
    command += ["-T", "fields", "-E", "separator=|"]
    for field in FIELDS:
        command += ["-e", field]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    lines = [line.split("|") for line in found.splitlines()]
    assert len(lines) == len(frames)
    return [dict(zip(FIELDS, line, strict=True)) for line in lines]


def as_text(case: Case, packet: bytes) -> dict[str, str]:
    """What tshark should find in an advert."""
    expected = dict.fromkeys(FIELDS, "")
    addresses = ",".join(case["addresses"])
    expected |= {
        "frame.protocols": "eth:ethertype:ipv6:vrrp",
        "vrrp.version": str(case["version"]),
        "vrrp.type": "1",
        "vrrp.virt_rtr_id": str(case["vrid"]),
        "vrrp.prio": str(case["priority"]),
        "vrrp.addr_count": str(len(case["addresses"])),
        "vrrp.checksum.status": GOOD,
    }
    if case["family"] == 4:
        expected |= {
            "frame.protocols": "eth:ethertype:ip:vrrp",
            "ip.checksum.status": GOOD,
            "ip.src": case["source"],
            "ip.dst": case["destination"],
            "ip.ttl": str(case["ttl"]),
            "ip.dsfield": "0xc0",
            "vrrp.ip_addr": addresses,
        }
    else:
        expected |= {
            "ipv6.src": case["source"],
            "ipv6.dst": case["destination"],
            "ipv6.hlim": str(case["ttl"]),
            "ipv6.tclass": "0x000000c0",
            "vrrp.ipv6_addr": addresses,
        }
    if case["version"] == 2:
        expected["vrrp.adver_int"] = str(case["interval"] // 1_000_000_000)
        expected["vrrp.auth_type"] = str(case.get("auth_type", 0))
        if case.get("auth_type") == 1:
            expected["vrrp.auth_string"] = case["password"]
    else:
        expected["vrrp.short_adver_int"] = str(case["interval"] // 10_000_000)
    if "ah_sequence" in case:
        expected |= {
            "frame.protocols": "eth:ethertype:ip:ah:vrrp",
            "ah.spi": f"0x{packed(case['source']).hex()}",
            "ah.sequence": str(case["ah_sequence"]),
            "ah.icv": packet[32:44].hex(),
        }
    return expected


def assert_tshark_agrees(wanted: list[Case], capture: Path, *options: str) -> None:
    packets = [encoded(case) for case in wanted]
    frames = [frame(case, packet) for case, packet in zip(wanted, packets, strict=True)]
    found = dissect(frames, capture, *options)
    for case, packet, fields in zip(wanted, packets, found, strict=True):
        assert fields == as_text(case, packet), case["name"]


def test_tshark_reads_our_adverts_as_we_do(tmp_path: Path) -> None:
    """All vectors, but for those whose checksum leaves out the pseudo-header."""
    wanted = [case for case in cases(*MADE, *RECORDED) if not case.get("checksum_as_v2")]
    assert len(wanted) >= 200
    assert_tshark_agrees(wanted, tmp_path / "adverts.pcap")


def test_tshark_reads_adverts_without_pseudo_header_as_we_do(tmp_path: Path) -> None:
    wanted = [case for case in cases(*MADE) if case.get("checksum_as_v2")]
    assert wanted
    option = "vrrp.v3_checksum_as_in_v2:TRUE"
    assert_tshark_agrees(wanted, tmp_path / "adverts.pcap", "-o", option)


def test_tshark_sees_a_wrong_checksum(tmp_path: Path) -> None:
    """The referee is awake."""
    case = cases("scapy_v3_ipv4")[0]
    packet = bytearray(encoded(case))
    packet[22] ^= 1
    (fields,) = dissect([frame(case, bytes(packet))], tmp_path / "wrong.pcap")
    assert fields["vrrp.checksum.status"] != GOOD
    assert "Bad checksum" in fields["_ws.expert.message"]


def test_tshark_reads_our_announcements_as_we_do(tmp_path: Path) -> None:
    wanted = cases("announcements")
    frames = []
    for case in wanted:
        mac = bytes.fromhex(case["mac"].replace(":", ""))
        address = packed(case["address"])
        frames.append(
            garp(mac, address)
            if case["family"] == 4
            else neighbour_advertisement(mac, address, case["router"])
        )
    for case, fields in zip(wanted, dissect(frames, tmp_path / "frames.pcap"), strict=True):
        expected = dict.fromkeys(FIELDS, "")
        if case["family"] == 4:
            expected |= {
                "frame.protocols": "eth:ethertype:arp",
                "arp.isgratuitous": "1",
                "arp.opcode": "1",
                "arp.src.hw_mac": case["mac"],
                "arp.src.proto_ipv4": case["address"],
                "arp.dst.proto_ipv4": case["address"],
            }
        else:
            expected |= {
                "frame.protocols": "eth:ethertype:ipv6:icmpv6",
                "ipv6.src": case["address"],
                "ipv6.dst": "ff02::1",
                "ipv6.hlim": "255",
                "ipv6.tclass": "0x00000000",
                "icmpv6.type": "136",
                "icmpv6.checksum.status": GOOD,
                "icmpv6.nd.na.flag.r": str(int(case["router"])),
                "icmpv6.nd.na.flag.s": "0",
                "icmpv6.nd.na.flag.o": "1",
                "icmpv6.nd.na.target_address": case["address"],
                "icmpv6.opt.linkaddr": case["mac"],
            }
        assert fields == expected, case["name"]
