"""What went over the wires of a router, with the kernel's time of each frame, judged by tshark.

The socket is open before `start` returns, so nothing that happens later is missed; what it has to
drop is counted by the kernel, and a capture with a drop is no evidence and raises.
"""

import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from ctypes import get_errno
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple, Self

from lab.network import Router, libc

ETH_P_ALL = 0x0003  # linux/if_ether.h
SO_TIMESTAMPNS = 35  # asm-generic/socket.h
SOL_PACKET = 263  # linux/socket.h
PACKET_STATISTICS = 6  # linux/if_packet.h
PACKET_OUTGOING = 4
PACKET_LOOPBACK = 5
SO_RCVBUFFORCE = 33
IPPROTO_AH = 51
IPPROTO_VRRP = 112
LINKTYPE_ETHERNET = 1
INBOUND, OUTBOUND = 1, 2  # epb_flags of pcapng
SECOND = 1_000_000_000

FIELDS = (
    "frame.time_epoch",
    "frame.interface_name",
    "frame.packet_flags_direction",
    "eth.src",
    "eth.dst",
    "ip.src",
    "ipv6.src",
    "ip.dst",
    "ipv6.dst",
    "ip.ttl",
    "ipv6.hlim",
    "vrrp.version",
    "vrrp.virt_rtr_id",
    "vrrp.prio",
    "vrrp.adver_int",
    "vrrp.short_adver_int",
    "vrrp.auth_type",
    "vrrp.ip_addr",
    "vrrp.ipv6_addr",
    "ah.sequence",
)
# What tshark checks only when told to; and what it takes amiss although it is a failover's
# purpose: an address that answers from another hardware address than before.
PREFERENCES = (
    "ip.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    "arp.detect_duplicate_ips:FALSE",
)
# Severities: epan/proto.h. PI_WARN is 0x600000, PI_ERROR 0x800000. A checksum's status 0 is bad.
UNCLEAN = (
    "_ws.malformed || _ws.expert.severity >= 0x600000 || ip.checksum.status == 0"
    " || vrrp.checksum.status == 0 || icmpv6.checksum.status == 0 || igmp.checksum.status == 0"
)


@dataclass(frozen=True)
class Advert:
    """One advertisement as tshark reads it."""

    time: int
    """Nanoseconds since the epoch, when the kernel had the frame."""
    interface: str
    is_outgoing: bool
    """Whether the router of the capture sent it."""
    source_mac: str
    destination_mac: str
    source: str
    destination: str
    ttl: int
    version: int
    vrid: int
    priority: int
    interval: int
    """Nanoseconds."""
    authentication: int
    """As on the wire: 0 none, 1 simple password, 2 AH; 0 for VRRPv3."""
    addresses: tuple[str, ...]
    ah_sequence: int | None

    @property
    def family(self) -> int:
        return 6 if ":" in self.source else 4

    def __str__(self) -> str:
        return (
            f"{self.time / SECOND:.6f} {self.interface} {self.source} > {self.destination}"
            f" v{self.version} vrid {self.vrid} priority {self.priority}"
        )


@dataclass(frozen=True)
class Frame:
    time: int
    """Nanoseconds since the epoch."""
    interface: str
    is_outgoing: bool
    """Whether the router of the capture sent it."""
    data: bytes


class Capture:
    """A capture of a router's interfaces; a context manager that starts and stops it."""

    def __init__(self, router: Router, interfaces: Iterable[str] | None = None) -> None:
        """Takes the interfaces named, or all that the laboratory gave the router until now."""
        self.interfaces = list(router.interfaces if interfaces is None else interfaces)
        self.router = router
        self.frames: list[Frame] = []
        self.arrival = threading.Condition()
        self.drops = 0
        self.is_running = False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        self.socket = self.router.call(open_socket)
        self.wakeup = os.eventfd(0)
        self.thread = threading.Thread(target=self.receive)
        self.is_running = True
        self.thread.start()
        self.router.laboratory.closing.callback(self.stop)
        return self

    def stop(self) -> None:
        """Ends the capture; every frame that the kernel had before is in it."""
        if self.is_running:
            self.is_running = False
            os.eventfd_write(self.wakeup, 1)
            self.thread.join()
            statistics = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
            self.drops = struct.unpack("=II", statistics)[1]
            self.socket.close()
            os.close(self.wakeup)

    def receive(self) -> None:
        while True:
            ready, _, _ = select.select([self.socket.fileno(), self.wakeup], [], [])
            if self.socket.fileno() not in ready:
                return  # told to stop, and nothing is left to read
            data, ancillary, _, address = self.socket.recvmsg(65536, 128)
            interface, _, kind, *_ = address
            # The copy of a multicast that a sender's own host gets was on no wire.
            if interface not in self.interfaces or kind == PACKET_LOOPBACK:
                continue
            seconds, nanoseconds = struct.unpack("=qq", ancillary[0][2])
            with self.arrival:
                self.frames.append(
                    Frame(seconds * SECOND + nanoseconds, interface, kind == PACKET_OUTGOING, data)
                )
                self.arrival.notify_all()

    def wait_for_advert(
        self,
        vrid: int,
        *,
        source: str | None = None,
        priority: int | None = None,
        after: int = 0,
        timeout: float = 10.0,
    ) -> Frame:
        """Returns the first such advertisement that is not among the capture's first `after`
        frames (`len(capture.frames)` is from now on), once it is there.

        Raises TimeoutError when it has not come in `timeout` seconds.
        """
        position = after
        end = time.monotonic() + timeout
        with self.arrival:
            while True:
                for frame in self.frames[position:]:
                    position += 1
                    sight = glance(frame.data)
                    if (
                        sight is not None
                        and sight.vrid == vrid
                        and source in (None, sight.source)
                        and priority in (None, sight.priority)
                    ):
                        return frame
                if not self.arrival.wait(end - time.monotonic()):
                    raise TimeoutError(
                        f"no advert of VRID {vrid} (source {source or 'any'}, priority"
                        f" {'any' if priority is None else priority}) in {timeout:g} s"
                    )

    def pcapng(self) -> bytes:
        """What was captured until now, as a file that Wireshark opens."""
        with self.arrival:
            frames = sorted(self.frames, key=lambda frame: frame.time)
        return pcapng(frames, self.interfaces)

    def dissect(self, expression: str, fields: Sequence[str] = ()) -> list[str]:
        """tshark's line on each frame for which a display filter holds: its summary, or fields
        with tabs between them."""
        if self.drops:
            raise AssertionError(f"the kernel dropped {self.drops} frames: no evidence")
        command = ["tshark", "-n", "-r", "-", "-Y", expression]
        for preference in PREFERENCES:
            command += ["-o", preference]
        if fields:
            command += ["-T", "fields", "-E", "separator=/t", "-E", "occurrence=a"]
            for field in fields:
                command += ["-e", field]
        tshark = subprocess.run(command, check=False, capture_output=True, input=self.pcapng())
        if tshark.returncode:
            raise AssertionError(f"tshark: {tshark.stderr.decode()}")
        return tshark.stdout.decode().splitlines()

    def adverts(self) -> list[Advert]:
        """Every advertisement until now, oldest first."""
        # An ICMP error quotes the advert that a host without a VRRP daemon was sent.
        lines = self.dissect("vrrp && !icmp && !icmpv6", FIELDS)
        return [advert(line.split("\t")) for line in lines]

    def assert_clean(self) -> None:
        """Raises AssertionError when tshark finds a frame malformed, a checksum wrong, or anything
        else worth a warning."""
        unclean = self.dissect(UNCLEAN, ("frame.number", "_ws.col.Info", "_ws.expert.message"))
        assert not unclean, "\n".join(unclean)


def open_socket() -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    opened.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    opened.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    # Bound only now, so that the first frame has its time and the large buffer; and by libc, since
    # Python 3.11 cannot bind to all interfaces. struct sockaddr_ll: packet(7).
    address = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(ETH_P_ALL), 0, 0, 0, 0)
    if libc.bind(opened.fileno(), address, len(address)):
        raise OSError(get_errno(), "bind to all interfaces")
    return opened


class Sight(NamedTuple):
    source: str
    vrid: int
    priority: int


def glance(frame: bytes) -> Sight | None:
    """What is needed to wait for an advertisement, read from an Ethernet frame, or None."""
    if frame[12:14] == b"\x08\x00":
        source, protocol, start = frame[26:30], frame[23], 14 + (frame[14] & 15) * 4
    elif frame[12:14] == b"\x86\xdd":
        source, protocol, start = frame[22:38], frame[20], 54
    else:
        return None
    if protocol == IPPROTO_AH:  # RFC 2402 section 2: next header, length in words less two
        protocol, start = frame[start], start + (frame[start + 1] + 2) * 4
    if protocol != IPPROTO_VRRP or len(frame) < start + 3:
        return None
    return Sight(str(ip_address(source)), frame[start + 1], frame[start + 2])


def advert(values: list[str]) -> Advert:
    row = dict(zip(FIELDS, values, strict=True))
    seconds, _, fraction = row["frame.time_epoch"].partition(".")
    whole, hundredths = row["vrrp.adver_int"], row["vrrp.short_adver_int"]
    return Advert(
        time=int(seconds) * SECOND + int(fraction.ljust(9, "0")),
        interface=row["frame.interface_name"],
        is_outgoing=int(row["frame.packet_flags_direction"], 0) == OUTBOUND,
        source_mac=row["eth.src"],
        destination_mac=row["eth.dst"],
        source=row["ip.src"] or row["ipv6.src"],
        destination=row["ip.dst"] or row["ipv6.dst"],
        ttl=int(row["ip.ttl"] or row["ipv6.hlim"]),
        version=int(row["vrrp.version"]),
        vrid=int(row["vrrp.virt_rtr_id"]),
        priority=int(row["vrrp.prio"]),
        interval=int(whole) * SECOND if whole else int(hundredths) * SECOND // 100,
        authentication=int(row["vrrp.auth_type"] or 0),
        addresses=tuple(filter(None, (row["vrrp.ip_addr"] or row["vrrp.ipv6_addr"]).split(","))),
        ah_sequence=int(row["ah.sequence"]) if row["ah.sequence"] else None,
    )


def pcapng(frames: list[Frame], interfaces: list[str]) -> bytes:
    """The frames as a pcapng section (draft-ietf-opsawg-pcapng): nanoseconds, named interfaces."""
    blocks = [block(0x0A0D0D0A, struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1))]
    for name in interfaces:
        options = option(2, name.encode()) + option(9, b"\x09")  # if_name, if_tsresol: 10^-9 s
        blocks.append(block(1, struct.pack("=HHI", LINKTYPE_ETHERNET, 0, 0) + options))
    for frame in frames:
        header = struct.pack(
            "=IIIII",
            interfaces.index(frame.interface),
            frame.time >> 32,
            frame.time & 0xFFFFFFFF,
            len(frame.data),
            len(frame.data),
        )
        flags = option(2, struct.pack("=I", OUTBOUND if frame.is_outgoing else INBOUND))
        blocks.append(block(6, header + padded(frame.data) + flags))
    return b"".join(blocks)


def block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("=II", kind, length) + body + struct.pack("=I", length)


def option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + padded(value)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
