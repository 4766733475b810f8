"""`auth_hmac`: the trailer on the wire, and its refusals. What is right is computed from the
description alone (hmac_reference)."""

from __future__ import annotations

import struct

import pytest

import hmac_reference as reference
from fastvrrp._trailer import Authenticator
from hmac_pair import (
    BACKUP,
    EPOCH,
    ETHERNET,
    MASTER,
    OLD,
    OTHER,
    Keyed,
    changed,
    record,
    refusals,
)
from packets import decode_ip
from simulation import IFINDEX, SECOND, Router

EVERY_KIND = [(4, 2), (4, 3), (6, 3)]


# --- on the wire ----------------------------------------------------------------------------------


@pytest.mark.keywords("vrrp_instance/auth_hmac", "vrrp_instance/auth_hmac/key")
@pytest.mark.parametrize(("family", "version"), EVERY_KIND)
def test_two_that_share_a_key_elect_and_their_adverts_are_what_the_description_says(
    family: int, version: int
) -> None:
    keyed = Keyed(family, version)
    sent: list[bytes] = []
    keyed.settle()
    for _ in range(3):
        frame = keyed.next_frame()
        sent.append(frame)
        assert keyed.hear(frame) == {}
    before = 0
    for frame in sent:
        packet = frame[ETHERNET:]
        message = reference.message_of(packet)
        trailer = message[-28:]
        kind, number, reserved, sequence = struct.unpack("!BBHQ", trailer[:12])
        assert (kind, number, reserved) == (1, 1, 0)
        assert trailer[12:] == reference.digest(OLD, reference.source_of(packet), message)
        assert int.from_bytes(message[6:8], "big") == reference.checksum(packet)
        assert before < sequence
        before = sequence
        advert = decode_ip(packet)
        assert (advert.trailer, advert.vrid, advert.priority) == (trailer, 51, 200)
        if family == 4:
            assert len(packet) == int.from_bytes(packet[2:4], "big")
        else:
            assert len(packet) - 40 == int.from_bytes(packet[4:6], "big")


def test_the_sequence_is_the_clock_in_seconds_and_65536ths() -> None:
    keyed = Keyed()
    keyed.settle()
    trailer = keyed.next_frame()[-28:]
    sequence = int.from_bytes(trailer[4:12], "big")
    now = keyed.clock()
    assert sequence >> 32 == now // SECOND
    assert sequence >> 16 & 0xFFFF == (now % SECOND << 16) // SECOND
    assert sequence & 0xFFFF == 0


@pytest.mark.parametrize("setback", [0, 3600 * SECOND])
def test_a_clock_that_stands_still_or_goes_back_does_not_take_the_sequence_along(
    setback: int,
) -> None:
    keyed = Keyed(window=0)
    keyed.settle()
    stopped = keyed.clock() - setback
    before = keyed.next_frame()
    keyed.hear(before)
    keyed.authenticators[0] = Authenticator([(1, OLD)], 1, clock=lambda: stopped)
    keyed.high.engine.authenticate(0, keyed.authenticators[0])
    first = keyed.next_frame()[-24:-16]
    second = keyed.next_frame()[-24:-16]
    assert int.from_bytes(second, "big") == int.from_bytes(first, "big") + 1


VECTORS = {
    # From 10.0.0.1 or fe80::1 with priority 255 every second, VRID 51, for 10.0.0.100 or fe80::64,
    # on 2027-01-15 at 08:00:00.5 UTC; key 7 is the bytes 0 to 31. By family and version.
    (4, 2): "2133ff01000189a40a0000640000000000000000010700006b49d20080000000"
    "1a482cbedc4bd846dc34bf301266e40a",
    (4, 3): "3133ff0100641f950a000064010700006b49d20080000000b0b4845b22e7f7dcd644c47e10b80120",
    (6, 3): "3133ff0100647b52fe800000000000000000000000000064010700006b49d200"
    "80000000f7082953c47befdefbbb5854ac1ac3c0",
}


@pytest.mark.keywords("vrrp_instance/auth_hmac/key", "vrrp_instance/auth_hmac/active_key")
@pytest.mark.parametrize(("family", "version"), EVERY_KIND)
def test_a_fixed_advert_has_the_bytes_of_the_vector(family: int, version: int) -> None:
    router = Router("one", 1)
    router.add(51, family=family, version=version, priority=255, signs=True)
    keys = [(7, bytes(range(32))), (8, OTHER)]
    router.engine.authenticate(
        0, Authenticator(keys, 7, clock=lambda: EPOCH + SECOND // 2, window=SECOND)
    )
    router.engine.start(0, 0)
    router.engine.flush()
    ((_, frame),) = router.recorder.take_frames()
    assert reference.message_of(frame[ETHERNET:]).hex() == VECTORS[family, version]


def test_one_digest_serves_all_unicast_peers() -> None:
    router = Router("one", 1)
    peers = [(bytes((10, 0, 0, last)), 0, 255) for last in (7, 8, 9)]
    router.add(51, priority=255, signs=True, peers=peers)
    router.engine.authenticate(0, Authenticator([(1, OLD)], 1))
    router.engine.start(0, 0)
    router.engine.flush()
    packets = [packet for _, packet in router.recorder.take_packets()]
    assert [packet[16:20] for packet in packets] == [address for address, _, _ in peers]
    assert len({packet[-28:] for packet in packets}) == 1
    for packet in packets:
        message = reference.message_of(packet)
        assert message[-16:] == reference.digest(OLD, packet[12:16], message)
        assert int.from_bytes(message[6:8], "big") == reference.checksum(packet)


def test_a_new_priority_and_a_resignation_are_signed_too() -> None:
    keyed = Keyed()
    keyed.settle()
    keyed.high.engine.set_priority(0, 150)
    assert keyed.hear(keyed.next_frame()) == {}
    assert record(keyed.low)["master_priority"] == 150
    keyed.high.engine.stop(0, keyed.link.now)
    keyed.high.engine.flush()
    ((_, frame),) = keyed.high.recorder.take_frames()
    assert keyed.hear(frame) == {}
    assert record(keyed.low)["resigns_received"] == 1


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.keywords("vrrp_instance/auth_hmac/mode")
def test_one_without_a_key_does_not_elect_with_those_who_have_one() -> None:
    keyed = Keyed()
    stranger = Router("stranger", 3)
    stranger.add(51, priority=150)
    stranger.engine.start(0, 0)
    keyed.link.routers = [*keyed.link.routers, stranger]
    keyed.link.run_until(10 * SECOND)
    assert (keyed.high.state(0), keyed.low.state(0), stranger.state(0)) == (MASTER, BACKUP, MASTER)
    assert set(refusals(stranger)) == {"AUTH_TYPE"}
    assert set(refusals(keyed.low)) == set(refusals(keyed.high)) == {"HMAC_MISSING"}


@pytest.mark.parametrize(("family", "version"), EVERY_KIND)
def test_no_byte_of_the_message_can_be_changed(family: int, version: int) -> None:
    """Neither with the checksum as it was nor with one that fits; the checksum itself included."""
    keyed = Keyed(family, version)
    keyed.settle()
    frame = keyed.next_frame()
    start = len(frame) - len(reference.message_of(frame[ETHERNET:]))
    received = record(keyed.low)["adverts_received"]
    for position in range(len(frame) - start):
        broken = bytearray(frame)
        broken[start + position] ^= 0x41
        keyed.hear(bytes(broken))
        if position not in (6, 7):
            keyed.hear(changed(frame, position))
        assert record(keyed.low)["adverts_received"] == received, position
    assert keyed.hear(frame) == {}
    assert record(keyed.low)["adverts_received"] == received + 1


@pytest.mark.parametrize("cut", range(1, 29))
def test_a_trailer_that_is_cut_is_none(cut: int) -> None:
    keyed = Keyed()
    keyed.settle()
    frame = keyed.next_frame()
    packet = frame[ETHERNET:-cut]
    packet = packet[:2] + len(packet).to_bytes(2, "big") + packet[4:]
    assert set(keyed.hear(frame[:ETHERNET] + packet)) == {"CHECKSUM"}
    message = reference.message_of(packet)[: 8 + 4]
    bare = packet[:2] + (20 + len(message)).to_bytes(2, "big") + packet[4:20] + message
    made = reference.with_message(bare, message) + reference.message_of(packet)[8 + 4 :]
    assert set(keyed.hear(frame[:ETHERNET] + made)) == {"HMAC_MISSING"}


def test_an_advert_counts_once() -> None:
    keyed = Keyed()
    keyed.settle()
    first, second = keyed.next_frame(), keyed.next_frame()
    assert keyed.hear(second) == {}
    assert keyed.hear(second) == {"HMAC_REPLAY": 1}
    assert keyed.hear(first) == {"HMAC_REPLAY": 1}, "one that was overtaken"


@pytest.mark.keywords("vrrp_instance/auth_hmac/anti_replay", "vrrp_instance/auth_hmac/time_window")
def test_an_advert_that_was_held_back_is_refused_also_by_one_that_never_heard_another() -> None:
    keyed = Keyed(window=5 * SECOND)
    keyed.settle()
    frame = keyed.next_frame()
    keyed.give_key(keyed.low, 0)  # it has just started
    keyed.link.now += 5 * SECOND + SECOND // 1000
    assert keyed.hear(frame) == {"HMAC_TIME": 1}
    keyed.link.now -= SECOND // 500
    assert keyed.hear(frame) == {}


def test_an_advert_from_the_future_is_refused() -> None:
    """A sender whose clock is ahead would be locked out by its own sequence when it is set."""
    keyed = Keyed(window=5 * SECOND)
    keyed.settle()
    ahead = Authenticator([(1, OLD)], 1, clock=lambda: keyed.clock() + 6 * SECOND)
    keyed.high.engine.authenticate(0, ahead)
    assert keyed.hear(keyed.next_frame()) == {"HMAC_TIME": 1}


@pytest.mark.keywords("vrrp_instance/auth_hmac/anti_replay")
def test_monotonic_takes_what_is_late_but_never_what_is_old() -> None:
    keyed = Keyed(window=0)
    keyed.settle()
    first, second, third = keyed.next_frame(), keyed.next_frame(), keyed.next_frame()
    keyed.link.now += 3600 * SECOND
    assert keyed.hear(second) == {}
    assert keyed.hear(first) == {"HMAC_REPLAY": 1}
    assert keyed.hear(third) == {}


def test_every_sender_has_a_sequence_of_its_own() -> None:
    keyed = Keyed(window=0)
    keyed.settle()
    ahead = keyed.next_frame()
    assert keyed.hear(ahead) == {}
    third = Router("third", 3)
    third.add(51, priority=255, signs=True)
    third.engine.authenticate(0, Authenticator([(1, OLD)], 1, clock=lambda: EPOCH - 60 * SECOND))
    third.engine.start(0, 0)
    third.engine.flush()
    ((_, behind),) = third.recorder.take_frames()
    assert behind[-24:-16] < ahead[-24:-16]
    assert keyed.hear(behind) == {}


def test_an_advert_of_one_virtual_router_is_none_of_another() -> None:
    keyed = Keyed()
    keyed.low.add(52, priority=100, signs=True)
    keyed.give_key(keyed.low, 1)
    keyed.low.engine.start(1, 0)
    keyed.settle()
    spliced = changed(keyed.next_frame(), 1, 52)
    keyed.low.engine.receive_frame(IFINDEX, spliced, keyed.link.now)
    assert refusals(keyed.low, 1) == {"HMAC_DIGEST": 1}


@pytest.mark.parametrize("family", [4, 6])
def test_an_advert_of_one_sender_is_none_of_another(family: int) -> None:
    keyed = Keyed(family)
    keyed.settle()
    frame = keyed.next_frame()
    source = reference.source_of(frame[ETHERNET:])
    spliced = changed(frame, 0, 0x31, source=source[:-1] + b"\x09")
    assert keyed.hear(spliced) == {"HMAC_DIGEST": 1}


def test_an_advert_of_one_version_is_none_of_the_other() -> None:
    """The digest of a VRRPv3 advert is not right for a VRRPv2 one with the same bytes behind."""
    message = bytes.fromhex("3133c801006400000a000064") + bytes(28)
    other = b"\x21" + message[1:]
    source = bytes((10, 0, 0, 1))
    assert reference.digest(OLD, source, message) != reference.digest(OLD, source, other)


def test_a_forged_advert_does_not_open_the_way_for_a_replay() -> None:
    keyed = Keyed(window=0)
    keyed.settle()
    frame = keyed.next_frame()
    assert keyed.hear(frame) == {}
    sequence = int.from_bytes(frame[-24:-16], "big")
    forged = reference.signed(frame[ETHERNET:], OTHER, 1, sequence + 1)
    assert keyed.hear(frame[:ETHERNET] + forged) == {"HMAC_DIGEST": 1}
    right = reference.signed(frame[ETHERNET:], OLD, 1, sequence + 1)
    assert keyed.hear(frame[:ETHERNET] + right) == {}
    assert keyed.hear(frame) == {"HMAC_REPLAY": 1}


@pytest.mark.parametrize("second", [2**31, 2**32, 2**32 + 2**31])
def test_the_sequence_runs_over_as_rfc_1982_says(second: int) -> None:
    """The seconds have 32 bits: 2038, when they are no int32 any more, and 2106, when they begin
    again at 0."""
    keyed = Keyed(start=(second - 8) * SECOND)
    keyed.settle()
    for _ in range(10):
        assert keyed.hear(keyed.next_frame()) == {}
    assert keyed.clock() > second * SECOND
