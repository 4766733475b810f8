"""Everything that is refused of forged adverts is counted by its own reason, on a real link, and
is seen in `show`, in metrics and in the segment.

Who hears them has heard a master and has taken over since: so nothing comes but what is forged.
"""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import pytest

import hmac_reference as reference
from fastvrrp._wire import encode, encode_ah, ethernet, multicast_mac
from lab import Capture, Fastvrrp, Laboratory, Router, wait_until
from test_cli_looking import ask
from test_metrics_daemon import scrape, value
from test_reload import BACKUP, MASTER, SECOND, instance, records, wait_master

KEY = "0123456789abcdef0123456789ABCDEF"
GROUP = bytes((224, 0, 0, 18))
MASTER_ADDRESS = bytes((10, 0, 0, 1))
STRANGER = bytes((10, 0, 0, 9))
HMAC, LATE, ALONE, PLAIN, AH = 1, 2, 3, 4, 5
"""The VRIDs: `auth_hmac` at any time, in a minute, of nobody else; `PASS`; `AH`."""
BEHIND = ("HMAC", "LATE", "PLAIN", "AH")
"""Those of which a master was heard."""
PASSWORD, AH_PASSWORD = b"right", b"ah-right"
TOTAL = "fastvrrp_packets_refused_total"
METRICS = "global_defs {\n  metrics_listen :9165\n}\n"


def configuration(priority: int, *, is_alone: bool = False) -> str:
    key = f"key 1 {KEY}"
    monotonic = f"auth_hmac {{\n    {key}\n    anti_replay monotonic\n  }}"
    parts = [
        instance("HMAC", HMAC, monotonic, priority=priority, interval="0.5"),
        instance(
            "LATE",
            LATE,
            f"auth_hmac {{\n    {key}\n    time_window 60\n  }}",
            priority=priority,
            interval="0.5",
        ),
        version_2("PLAIN", PLAIN, "PASS", PASSWORD, priority),
        version_2("AH", AH, "AH", AH_PASSWORD, priority),
    ]
    if is_alone:
        parts.append(instance("ALONE", ALONE, monotonic, priority=priority, interval="0.5"))
    return "".join(parts)


def version_2(name: str, vrid: int, kind: str, password: bytes, priority: int) -> str:
    authentication = (
        f"authentication {{\n    auth_type {kind}\n    auth_pass {password.decode()}\n  }}"
    )
    text = instance(name, vrid, authentication, priority=priority, interval="1")
    return text.replace("version 3", "version 2")


def stamped(packet: bytes) -> bytes:
    """With a right checksum of the IP header."""
    head = packet[:10] + b"\0\0" + packet[12:20]
    return head[:10] + reference.internet_checksum(head).to_bytes(2, "big") + packet[12:]


def send(router: Router, packet: bytes) -> None:
    def put() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as opened:
            opened.bind(("eth0", 0))
            mac = bytes((2, 0, 0, 0, 0, 9))
            opened.send(ethernet(multicast_mac(GROUP), mac, 0x0800) + packet)

    router.call(put)


class Forgery:
    """One that was the backup of a master that has gone, and somebody else on their link."""

    def __init__(self, lab: Laboratory) -> None:
        a, b, self.other = (lab.router(name) for name in "abc")
        lab.connect(a, b, self.other)
        b.ip("link set lo up")
        self.router = b
        self.master = Fastvrrp(a, configuration(200)).start()
        wait_master(self.master, *BEHIND)
        self.backup = Fastvrrp(b, METRICS + configuration(100, is_alone=True)).start()
        wait_master(self.backup, "ALONE")
        self.backup.wait_log("Serving metrics on")
        self.vrids = {"HMAC": HMAC, "LATE": LATE, "ALONE": ALONE, "PLAIN": PLAIN, "AH": AH}
        with Capture(self.other) as capture:
            wait_until(
                lambda: all(self.seen(capture, name) for name in BEHIND),
                what="adverts of the master",
            )
            self.adverts = {name: self.seen(capture, name)[0] for name in BEHIND}
        # It is heard to go by who has heard all that it sent.
        assert self.master.stop() == 0
        wait_master(self.backup, *BEHIND)

    def heard(self, name: str) -> int:
        found: int = records(self.backup)[name]["adverts_received"]
        return found

    def shown(self, name: str) -> dict[str, int]:
        facts: dict[str, Any] = json.loads(ask(self.backup, "show", name, "--json").stdout)
        refused: dict[str, int] = facts["refused"]
        return refused

    def seen(self, capture: Capture, name: str) -> list[bytes]:
        """The packets of the master's adverts."""
        protocol, at = (51, 14 + 20 + 24 + 1) if name == "AH" else (112, 14 + 20 + 1)
        return [
            frame.data[14:]
            for frame in capture.frames
            if frame.data[12:14] == b"\x08\x00"
            and frame.data[23] == protocol
            and frame.data[26:30] == MASTER_ADDRESS
            and frame.data[at] == self.vrids[name]
        ]

    def expect(self, name: str, reason: str, *packets: bytes) -> None:
        """Sends these, each of which counts once more for that reason and for nothing else."""
        before, received = self.shown(name), self.heard(name)
        for packet in packets:
            send(self.other, packet)
        expected = before | {reason: before.get(reason, 0) + len(packets)}
        wait_until(
            lambda: self.shown(name) == expected,
            what=lambda: f"{name}: {reason}; there is {self.shown(name)}",
        )
        label = f'vrid="{self.vrids[name]}"'
        metric = "fastvrrp_router_advertisements_refused_total"
        text = scrape(self.router)
        assert value(text, metric, label, f'reason="{reason}"') == expected[reason]
        assert value(text, TOTAL, f'reason="{reason}"') >= 1
        assert self.heard(name) == received
        assert records(self.backup)[name]["state"] == MASTER

    def follow(self, name: str, packet: bytes) -> None:
        """Sends one that is right, and by which it becomes a backup."""
        received = self.heard(name)
        send(self.other, packet)
        wait_until(lambda: self.heard(name) > received, what=f"an advert of {name} that is right")
        wait_until(
            lambda: records(self.backup)[name]["state"] == BACKUP, what=f"{name} to be a backup"
        )

    def stop(self) -> None:
        assert self.backup.stop() == 0


@pytest.fixture
def forgery(lab: Laboratory) -> Forgery:
    return Forgery(lab)


def sequence_of(packet: bytes) -> int:
    return int.from_bytes(packet[-24:-16], "big")


@pytest.mark.keywords(
    "vrrp_instance/auth_hmac",
    "vrrp_instance/auth_hmac/anti_replay",
    "vrrp_instance/auth_hmac/time_window",
)
def test_adverts_with_hmac(forgery: Forgery) -> None:
    packet, key = forgery.adverts["HMAC"], KEY.encode()
    forgery.expect("HMAC", "hmac_replay", packet, packet)
    late = forgery.adverts["LATE"]
    an_hour = 3600 << 32
    forgery.expect("LATE", "hmac_time", reference.signed(late, key, 1, sequence_of(late) - an_hour))
    # Of another virtual router, and of another sender.
    spliced = bytearray(reference.message_of(packet))
    spliced[1], spliced[11] = ALONE, 100 + ALONE
    forgery.expect("ALONE", "hmac_digest", reference.with_message(packet, bytes(spliced)))
    message = reference.message_of(packet)
    forgery.expect(
        "HMAC", "hmac_digest", stamped(reference.with_message(packet, message, STRANGER))
    )
    # A key that nobody has, and one that is another.
    ahead = sequence_of(packet) + an_hour
    forgery.expect("HMAC", "hmac_key", reference.signed(packet, key, 9, ahead))
    forgery.expect("HMAC", "hmac_digest", reference.signed(packet, bytes(32), 1, ahead))
    # Without a trailer, and with one of another type, which is none: the checksum is not its.
    bare = unsigned(HMAC)
    forgery.expect("HMAC", "hmac_missing", bare)
    other_type = packet[:20] + message[:-28] + b"\2" + message[-27:]
    forgery.expect("HMAC", "checksum", other_type)
    forgery.follow("HMAC", reference.signed(packet, key, 1, ahead))
    forgery.stop()


def typed(vrid: int, auth_type: int) -> bytes:
    """An advert of version 2 that says it has that authentication."""
    packet = unsigned(vrid, 2, 1, PASSWORD)
    message = bytearray(reference.message_of(packet))
    message[4] = auth_type
    return reference.with_message(packet, bytes(message))


def unsigned(vrid: int, version: int = 3, auth_type: int = 0, password: bytes = b"") -> bytes:
    return encode(
        family=4,
        version=version,
        vrid=vrid,
        priority=250,
        interval=SECOND if version == 2 else SECOND // 2,
        source=STRANGER,
        destination=GROUP,
        addresses=[bytes((10, 0, 0, 100 + vrid))],
        auth_type=auth_type,
        password=password,
    )


@pytest.mark.keywords(
    "vrrp_instance/authentication",
    "vrrp_instance/authentication/auth_type",
    "vrrp_instance/authentication/auth_pass",
)
def test_adverts_with_a_password_and_with_ah(forgery: Forgery) -> None:
    forgery.expect("PLAIN", "password", unsigned(PLAIN, 2, 1, b"wrong"))
    forgery.expect("PLAIN", "auth_type", unsigned(PLAIN, 2))
    forgery.expect("PLAIN", "ah_header", typed(PLAIN, 2))
    forgery.expect("PLAIN", "version", unsigned(PLAIN, 3))
    # A trailer where there is no `auth_hmac` could be anybody's.
    room = unsigned(PLAIN, 2, 1, PASSWORD)
    room = stamped(room[:2] + struct.pack("!H", len(room) + 28) + room[4:] + bytes(28))
    forgery.expect("PLAIN", "auth_type", reference.signed(room, KEY.encode(), 1, 1))
    packet = forgery.adverts["AH"]
    forgery.expect("AH", "ah_replay", packet, packet)
    number = int.from_bytes(packet[28:32], "big") + 3600
    forged = packet[:28] + number.to_bytes(4, "big") + packet[32:]
    forgery.expect("AH", "ah_icv", forged, ah(b"wrong", number))
    forgery.expect("AH", "auth_type", unsigned(AH, 2), unsigned(AH, 2, 1, AH_PASSWORD))
    forgery.follow("AH", ah(AH_PASSWORD, number))
    # What is no AH header is of no virtual router, and counts for the daemon.
    text = scrape(forgery.router)
    refused = value(text, TOTAL, 'reason="ah_header"')
    send(forgery.other, stamped(packet[:20] + b"\6" + packet[21:]))
    wait_until(
        lambda: value(scrape(forgery.router), TOTAL, 'reason="ah_header"') == refused + 1,
        what="ah_header",
    )
    forgery.stop()


def ah(password: bytes, sequence: int) -> bytes:
    return encode_ah(
        vrid=AH,
        priority=250,
        interval=SECOND,
        source=STRANGER,
        destination=GROUP,
        addresses=[bytes((10, 0, 0, 100 + AH))],
        password=password,
        sequence=sequence,
    )
