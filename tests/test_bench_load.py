"""The load generator: that it says what it should, counts what it hears, and harms nobody.

How fast it is is for the bench; here it is slow, and fails only where something is wrong.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fastvrrp._packet import REASONS
from fastvrrp._table import Segment
from fastvrrp._wire import Advert, PacketError, decode
from fastvrrp.bench.case import CaseError
from fastvrrp.bench.crowd import Port, Speech, VirtualRouter, spread
from fastvrrp.bench.hostile import HOSTILE, frames
from fastvrrp.bench.load import Load
from lab import Fastvrrp, Laboratory, Router, wait_until
from lab.turns import turn

PORT = Port("eth0", 7, bytes(6), {4: bytes([10, 0, 0, 1]), 6: b"\xfe\x80" + bytes(13) + b"\1"})
ADDRESSES = {4: "10.64.{interface}.{vrid}", 6: "fe80::1:{vrid:x}"}
SPEECH = {"speech": Speech(2, 1.0, ADDRESSES)}


def test_a_crowd_is_spread_over_interfaces_and_families() -> None:
    other = Port("eth1", 8, bytes(6), {})
    crowd = spread([PORT, other], (4, 6), 6)
    assert [(each.port.name, each.family, each.vrid) for each in crowd] == [
        ("eth0", 4, 1),
        ("eth1", 4, 1),
        ("eth0", 6, 1),
        ("eth1", 6, 1),
        ("eth0", 4, 2),
        ("eth1", 4, 2),
    ]
    with pytest.raises(CaseError, match="1 to 255"):
        spread([PORT], (4,), 256)


def decode_frame(frame: bytes, family: int) -> Advert:
    packet = frame[14:]
    if family == 4:
        return decode(packet)
    return decode(packet[40:], 6, packet[8:24], packet[24:40], packet[7])


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        ("version", 6),  # over IPv4 the other version is one, too; the virtual router refuses it
        *(
            (kind, family)
            for kind in ("checksum", "type", "interval", "length")
            for family in (4, 6)
        ),
    ],
)
def test_a_wrong_advert_is_wrong_in_that_alone(kind: str, family: int) -> None:
    speech = Speech(3, 1.0, ADDRESSES)
    ((_, frame),) = frames([kind], speech, [VirtualRouter(PORT, 0, family, 9)])
    with pytest.raises(PacketError) as refused:
        decode_frame(frame, family)
    assert refused.value.reason == HOSTILE[kind][0]


def test_a_right_advert_says_what_was_asked_for() -> None:
    router = VirtualRouter(PORT, 3, 4, 9)
    advert = decode_frame(Speech(2, 2.0, ADDRESSES).frame(router, 77), 4)
    assert (advert.vrid, advert.priority, advert.interval) == (9, 77, 2_000_000_000)
    assert advert.addresses == (bytes([10, 64, 3, 9]),)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"kind": "hostile"}, "--hostile"),
        ({"hostile": ("ttl",)}, "--hostile"),
        ({"kind": "hostile", "hostile": ("manners",)}, "manners"),
        ({"duration": 1e6}, "duration"),
        ({"rate": 0.0}, "packets a second"),
        ({"priority": 256}, "outside 1-255"),
        ({"families": (6,)}, "VRRPv2 has no IPv6"),
        ({"kind": "flapping", "flap_interval": 20.0}, "--flap-interval"),
    ],
)
def test_a_load_that_cannot_be_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(CaseError, match=says):
        Load(**{"kind": "masters", "routers": 1, "duration": 1.0, **SPEECH, **changes})


def load(router: Router, *arguments: str) -> dict[str, Any]:
    """What `bench load` says of what it sent and heard."""
    file = router.folder / "load.json"
    bench = [sys.executable, "-m", "fastvrrp", "bench", "load", "-i", "eth0", "--routers", "9"]
    finished = router.run([*bench, *arguments, "--json", str(file)], check=False)
    assert finished.returncode == 0, finished.stdout
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def configuration(priority: int, vrids: Sequence[int]) -> str:
    return "".join(
        f"vrrp_instance V{vrid} {{\n interface eth0\n virtual_router_id {vrid}\n"
        f" priority {priority}\n virtual_ipaddress {{\n  10.64.0.{vrid}\n }}\n}}\n"
        for vrid in vrids
    )


def device(lab: Laboratory) -> tuple[Router, Fastvrrp]:
    """A device that is master of VRIDs 1 to 9, and whoever may load it."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(b, configuration(100, range(1, 10))).start()
    daemon.wait_log("Entering MASTER STATE", count=9)
    return a, daemon


def test_the_device_takes_over_from_who_dies_and_is_heard_to_announce(lab: Laboratory) -> None:
    a, _ = device(lab)
    found = load(a, "--kind", "dying", "--duration", "2")
    assert found["sent"]["packets"] == 18
    answered = found["answered"]
    assert answered["speaking_before"] == answered["takeover_routers"] == 9
    assert answered["stopped"] == 9  # it gave way, and came back
    assert answered["began"] == 18
    # Its Master_Down_Interval, counted from our last advert; a busy machine is later.
    assert answered["takeover_ms"]["p50"] > 3600
    assert answered["announced_addresses"] == 9


def test_the_device_takes_over_from_who_says_farewell_and_from_who_flaps(lab: Laboratory) -> None:
    a, daemon = device(lab)
    assert load(a, "--duration", "2")["answered"]["takeover_routers"] == 9
    flapping = ("--kind", "flapping", "--duration", "8", "--flap-interval", "4")
    answered = load(a, *flapping, "--low-priority", "50")["answered"]
    assert (answered["stopped"], answered["takeover_routers"]) == (9, 9)
    assert all(router["became_master"] == 3 for router in Segment(daemon.folder / "fastvrrp.state"))


def test_every_hostile_advert_is_counted_under_its_reason_and_moves_nobody(lab: Laboratory) -> None:
    a, daemon = device(lab)
    kinds = [kind for kind in HOSTILE if kind != "priority"]
    named = [argument for kind in kinds for argument in ("--hostile", kind)]
    rounds = 50
    rate = 9 * len(kinds) * rounds / 2
    found = load(a, "--kind", "hostile", *named, "--duration", "2", "--rate", f"{rate}")
    assert found["sent"]["packets"] == 9 * len(kinds) * rounds
    assert found["answered"]["stopped"] == 0
    totals = Segment(daemon.folder / "fastvrrp.state").totals()
    counted = {name: n for name, n in zip(REASONS, totals["refused"], strict=False) if n}
    assert totals["dropped"] == 0
    assert counted == {HOSTILE[kind][0]: 9 * rounds for kind in kinds}


def test_a_higher_priority_is_obeyed(lab: Laboratory) -> None:
    a, _ = device(lab)
    hostile = ("--kind", "hostile", "--hostile", "priority", "--rate", "90", "--duration", "5")
    answered = load(a, *hostile)["answered"]
    assert answered["stopped_routers"] == 9


def test_an_interface_with_the_default_route_is_left_alone_unless_told_so(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    (link,) = lab.connect(a, b)
    a.ip(f"route add default via {link.address(b)}")
    command = [sys.executable, "-m", "fastvrrp", "bench", "load", "-i", "eth0", "--duration", "0.1"]
    refused = a.run(command, check=False)
    assert refused.returncode == 1
    assert "--even-default-route" in refused.stdout
    assert len(refused.stdout.splitlines()) == 1


def test_a_flood_loses_no_virtual_router_and_every_packet_is_accounted_for(tmp_path: Path) -> None:
    file = tmp_path / "flood.json"
    command = [sys.executable, "-m", "fastvrrp", "bench", "flood", "--rate", "9000"]
    with turn(alone=True):
        finished = subprocess.run(
            [*command, "--duration", "3", "--json", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (found,) = json.loads(file.read_text())["daemons"]
    assert found["packets"] == 36_000
    assert found["lost"] == 0
    assert found["unaccounted"] == 0
    assert found["refused"].keys() == {"CHECKSUM", "TTL", "VRID_UNKNOWN"}


def test_what_the_kernel_drops_before_it_is_read_is_counted(lab: Laboratory) -> None:
    """A device that is stopped reads nothing; its queue is full at some time."""
    a, daemon = device(lab)
    daemon.signal(signal.SIGSTOP)
    hostile = ("--kind", "hostile", "--hostile", "checksum", "--rate", "50000", "--duration", "2")
    sent = load(a, *hostile)["sent"]["packets"]
    daemon.signal(signal.SIGCONT)
    segment = Segment(daemon.folder / "fastvrrp.state")
    wait_until(lambda: segment.totals()["packets"] > 0)

    def accounted() -> int:
        totals = segment.totals()
        return int(totals["packets"] + totals["dropped"])

    wait_until(lambda: accounted() == sent, what=lambda: f"{accounted()} of {sent}")
    assert segment.totals()["dropped"] > 0
