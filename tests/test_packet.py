"""The packet codec against scapy's and recorded packets, and its properties."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastvrrp._packet import REASONS
from fastvrrp._wire import (
    Advert,
    PacketError,
    ah_icv,
    decode,
    encode,
    encode_ah,
    ethernet,
    garp,
    multicast_mac,
    neighbour_advertisement,
    set_priority,
    verify_ah,
)
from packets import MADE, RECORDED, Case, decode_ip, encoded, guarded, load, packed

SECOND = 1_000_000_000
CENTISECOND = 10_000_000


def expected(case: Case) -> Advert:
    """What a case's fields say. The ICV is its packet's: `verify_ah` judges it."""
    packet = bytes.fromhex(case["packet"])
    is_in_ah = "ah_sequence" in case
    password = case.get("password", "") if case.get("auth_type") == 1 else ""
    return Advert(
        family=case["family"],
        version=case["version"],
        vrid=case["vrid"],
        priority=case["priority"],
        interval=case["interval"],
        addresses=tuple(packed(address) for address in case["addresses"]),
        source=packed(case["source"]),
        destination=packed(case["destination"]),
        ttl=case["ttl"],
        auth_type=case.get("auth_type", 0),
        auth_data=password.encode().ljust(8, b"\0") if case["version"] == 2 else b"",
        checksum_as_v2=case.get("checksum_as_v2", False),
        checksum_for_group=case.get("checksum_for_group", False),
        ah_spi=int.from_bytes(packed(case["source"]), "big") if is_in_ah else None,
        ah_sequence=case.get("ah_sequence"),
        ah_icv=packet[32:44] if is_in_ah else b"",
    )


# --- vectors --------------------------------------------------------------------------------------


def test_there_are_at_least_two_hundred_vectors() -> None:
    assert len(load(*MADE, *RECORDED)) >= 200


@pytest.mark.parametrize("case", load(*MADE, *RECORDED))
def test_decodes_to_the_fields(case: Case) -> None:
    packet = bytes.fromhex(case["packet"])
    assert decode_ip(packet) == expected(case)
    if "ah_sequence" in case:
        password = case["password"].encode()
        assert verify_ah(packet, password)
        assert verify_ah(packet, password.ljust(8, b"\0"))


@pytest.mark.parametrize("case", load(*MADE))
def test_encodes_to_the_same_bytes_as_scapy(case: Case) -> None:
    assert encoded(case).hex() == case["packet"].replace(" ", "")


@pytest.mark.parametrize("case", load(*RECORDED))
def test_encodes_to_what_was_recorded(case: Case) -> None:
    """With AH, all of it. Else the sender's kernel chose what nobody has to choose alike: IPv4's
    identification, flags (and so its checksum), IPv6's flow label."""
    recorded = bytes.fromhex(case["packet"])
    ours = encoded(case)
    if case.get("checksum_for_group"):
        recorded = recorded[:26] + ours[26:28] + recorded[28:]  # heard, but never spoken
    if case["family"] == 6:
        ours = ours[:1] + recorded[1:4] + ours[4:]
        assert recorded[0] << 4 | recorded[1] >> 4 == 0x6C0  # version 6, internetwork control
    elif "ah_sequence" not in case:
        ours = ours[:4] + recorded[4:8] + ours[8:10] + recorded[10:12] + ours[12:]
    assert ours == recorded


@pytest.mark.parametrize("case", load(*RECORDED))
def test_ethernet_headers_are_as_recorded(case: Case) -> None:
    recorded = bytes.fromhex(case["ethernet"])
    ethertype = 0x0800 if case["family"] == 4 else 0x86DD
    assert ethernet(recorded[:6], recorded[6:12], ethertype) == recorded
    group = packed(case["destination"])
    if recorded[0] & 1:
        assert multicast_mac(group) == recorded[:6]


@pytest.mark.parametrize("case", load("announcements"))
def test_announcements_are_as_scapy_writes_them(case: Case) -> None:
    mac = bytes.fromhex(case["mac"].replace(":", ""))
    address = packed(case["address"])
    if case["family"] == 4:
        assert garp(mac, address).hex() == case["frame"]
    else:
        assert neighbour_advertisement(mac, address, case["router"]).hex() == case["frame"]


@pytest.mark.parametrize("case", load("refused"))
def test_refuses_with_the_reason(case: Case) -> None:
    packet = bytes.fromhex(case["packet"])
    if case["reason"] == "AH_ICV":
        decode(packet)
        assert not verify_ah(packet, case["password"].encode())
        return
    with pytest.raises(PacketError) as refusal:
        decode_ip(packet, case["family"])
    assert refusal.value.reason == case["reason"]


def test_every_reason_of_the_codec_has_several_vectors() -> None:
    counts = Counter(parameter.values[0]["reason"] for parameter in load("refused"))
    told_by_the_virtual_router = {
        "TTL",
        "VRID_UNKNOWN",
        "ADDRESS_COUNT",
        "ADDRESS_LIST",
        "PASSWORD",
        "AH_REPLAY",
        "SOURCE",
        "DESTINATION",
        "HMAC_MISSING",
        "HMAC_KEY",
        "HMAC_TIME",
        "HMAC_REPLAY",
        "HMAC_DIGEST",
    }
    assert set(counts) == set(REASONS) - told_by_the_virtual_router - {"OK"}
    assert min(counts.values()) >= 3


# --- properties -----------------------------------------------------------------------------------

priorities = st.integers(0, 255)


@st.composite
def specs(draw: st.DrawFn) -> Case:
    """Arguments of `encode`."""
    family, version = draw(st.sampled_from(((4, 2), (4, 3), (6, 3))))
    spec: Case = {**draw(common_fields(family, version)), "family": family, "version": version}
    if version == 2 and draw(st.booleans()):
        spec |= {"auth_type": 1, "password": draw(st.binary(max_size=8))}
    if version == 3 and family == 4:
        spec["checksum_as_v2"] = draw(st.booleans())
    return spec


@st.composite
def ah_specs(draw: st.DrawFn) -> Case:
    """Arguments of `encode_ah`."""
    spec: Case = draw(common_fields(4, 2))
    spec["password"] = draw(st.binary(max_size=8))
    spec["sequence"] = draw(st.integers(1, 0xFFFFFFFF))
    return spec


any_specs = st.one_of(specs(), ah_specs())


@st.composite
def common_fields(draw: st.DrawFn, family: int, version: int) -> Case:
    size = 4 if family == 4 else 16
    address = st.binary(min_size=size, max_size=size)
    group = packed("224.0.0.18" if family == 4 else "ff02::12")
    return {
        "vrid": draw(st.integers(1, 255)),
        "priority": draw(priorities),
        "interval": draw(st.integers(1, 255)) * SECOND
        if version == 2
        else draw(st.integers(1, 4095)) * CENTISECOND,
        "ttl": draw(st.integers(0, 255)),
        "source": draw(address),
        "destination": draw(st.one_of(address, st.just(group))),
        "addresses": draw(st.lists(address, max_size=draw(st.sampled_from((3, 3, 20, 255))))),
    }


def made(spec: Case) -> bytes:
    return encode_ah(**spec) if "sequence" in spec else encode(**spec)


@settings(deadline=None)
@given(any_specs)
def test_what_was_encoded_is_decoded(spec: Case) -> None:
    packet = made(spec)
    advert = decode_ip(packet)
    for key in ("vrid", "priority", "interval", "ttl", "source", "destination"):
        assert getattr(advert, key) == spec[key]
    assert advert.addresses == tuple(spec["addresses"])
    if "sequence" in spec:
        assert (advert.auth_type, advert.ah_sequence) == (2, spec["sequence"])
        assert advert.ah_icv == ah_icv(packet, spec["password"])
        assert verify_ah(packet, spec["password"])
        assert advert.auth_data == bytes(8)
        return
    assert (advert.family, advert.version) == (spec["family"], spec["version"])
    assert advert.auth_type == spec.get("auth_type", 0)
    if advert.version == 2:
        assert advert.auth_data == spec.get("password", b"").ljust(8, b"\0")
    if not spec.get("checksum_as_v2"):
        assert not advert.checksum_as_v2
    assert not advert.checksum_for_group


@settings(deadline=None)
@given(specs(), priorities)
def test_setting_the_priority_is_encoding_afresh(spec: Case, priority: int) -> None:
    assert set_priority(encode(**spec), priority) == encode(**{**spec, "priority": priority})


@settings(max_examples=500, deadline=None)
@given(specs(), st.data())
def test_a_flipped_bit_does_not_go_unnoticed(spec: Case, data: st.DataObject) -> None:
    """In the VRRP part, and for VRRPv3 also in what the pseudo-header covers."""
    packet = encode(**spec)
    header = 20 if spec["family"] == 4 else 40
    bit = data.draw(st.integers(header * 8, len(packet) * 8 - 1))
    changed = bytearray(packet)
    changed[bit // 8] ^= 0x80 >> bit % 8
    try:
        advert = decode_ip(bytes(changed))
    except PacketError:
        return
    assert advert != decode_ip(packet)


@settings(max_examples=300, deadline=None)
@given(ah_specs(), st.data())
def test_a_flipped_bit_in_ah_does_not_verify(spec: Case, data: st.DataObject) -> None:
    """But in the fields that change on the way: TOS, flags and offset, checksum, unicast TTL."""
    packet = made(spec)
    mutable = {1, 6, 7, 10, 11} | (set() if 224 <= packet[16] < 240 else {8})
    # Without its identity as an IPv4 packet of this length there is nothing to verify.
    structure = {0, 2, 3, 9}
    places = [i for i in range(len(packet)) if i not in mutable | structure]
    changed = bytearray(packet)
    place = data.draw(st.sampled_from(places))
    changed[place] ^= data.draw(st.sampled_from([1 << bit for bit in range(8)]))
    assert not verify_ah(bytes(changed), spec["password"])
    for place in mutable:
        carried = bytearray(packet)
        carried[place] ^= 0x5A
        assert verify_ah(bytes(carried), spec["password"])


def answer(data: bytes, family: int) -> None:
    """Decodes at the end of the memory that may be read: a byte behind it would end the process."""
    with guarded(data) as view:
        try:
            decode(view, family)
        except PacketError as refusal:
            reason = refusal.reason
        else:
            reason = "OK"
    assert reason in REASONS


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=120), st.sampled_from((4, 6)))
def test_any_bytes_have_an_answer(data: bytes, family: int) -> None:
    answer(data, family)


@settings(max_examples=500, deadline=None)
@given(any_specs, st.data())
def test_a_spoilt_packet_has_an_answer(spec: Case, data: st.DataObject) -> None:
    """Lengths, counts and protocols that promise more than there is."""
    packet = made(spec)
    family = packet[0] >> 4
    spoilt = bytearray(packet if family == 4 else packet[40:])
    places = [0, 2, 3, 9, 20, 21, 23, 47] if family == 4 else [0, 3]
    for place in data.draw(st.lists(st.sampled_from(places), max_size=3)):
        if place < len(spoilt):
            spoilt[place] = data.draw(st.sampled_from((0, 4, 0x4F, 0x70, 255)))
    answer(bytes(spoilt[: data.draw(st.integers(0, len(spoilt)))]), family)


@settings(max_examples=200, deadline=None)
@given(any_specs, st.data())
def test_a_cut_packet_is_truncated(spec: Case, data: st.DataObject) -> None:
    packet = made(spec)
    header = 40 if packet[0] >> 4 == 6 else 0
    size = data.draw(st.integers(header, len(packet) - 1))
    with guarded(packet[header:size]) as view, pytest.raises(PacketError) as refusal:
        decode(view, 6 if header else 4)
    assert refusal.value.reason == "TRUNCATED"


@settings(deadline=None)
@given(any_specs, st.binary(max_size=50))
def test_padding_of_a_short_frame_is_not_looked_at(spec: Case, padding: bytes) -> None:
    packet = made(spec)
    assert decode_ip(packet + padding) == decode_ip(packet)
    if "sequence" in spec:
        assert verify_ah(packet + padding, spec["password"])


@settings(deadline=None)
@given(specs())
def test_options_of_ipv4_are_skipped(spec: Case) -> None:
    assume(spec["family"] == 4)
    packet = encode(**spec)
    options = b"\x94\x04\0\0"
    length = (len(packet) + len(options)).to_bytes(2, "big")
    with_options = b"\x46" + packet[1:2] + length + packet[4:20] + options + packet[20:]
    assert decode(with_options) == decode(packet)


def test_reserved_bits_of_version_3_are_ignored() -> None:
    """RFC 9568 section 5.2.6. The checksum covers them."""
    spec: Case = {"family": 4, "version": 3, "vrid": 1, "priority": 2, "interval": SECOND}
    ends: Case = {"source": b"\x0a\0\0\1", "destination": b"\xe0\0\0\x12", "addresses": []}
    packet = bytearray(encode(**spec, **ends))
    packet[24] |= 0xF0
    total = int.from_bytes(packet[26:28], "big") - 0xF000
    packet[26:28] = (total % 0xFFFF).to_bytes(2, "big")
    assert decode(packet).interval == SECOND


# --- what cannot be said --------------------------------------------------------------------------

SPEC: Case = {
    "family": 4,
    "version": 3,
    "vrid": 1,
    "priority": 100,
    "interval": SECOND,
    "source": b"\x0a\0\0\1",
    "destination": b"\xe0\0\0\x12",
    "addresses": [b"\x0a\0\0\2"],
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"vrid": 0}, "vrid 0 is outside 1-255"),
        ({"vrid": 256}, "vrid 256 is outside 1-255"),
        ({"priority": 256}, "priority 256 is outside 0-255"),
        ({"interval": 0}, "VRRPv3 cannot say an interval of 0 ns"),
        ({"interval": 5_000_000}, "VRRPv3 cannot say an interval of 5000000 ns"),
        ({"interval": 41 * SECOND}, "VRRPv3 cannot say"),
        ({"version": 2, "interval": SECOND // 2}, "VRRPv2 cannot say"),
        ({"version": 2, "interval": 256 * SECOND}, "VRRPv2 cannot say"),
        ({"version": 2, "password": b"123456789"}, "length of the password 9 is outside 0-8"),
        ({"auth_type": 1}, "auth_type 1 is outside 0-0"),
        ({"version": 2, "auth_type": 2}, "use encode_ah"),
        ({"source": bytes(16)}, "source .* is not 4 bytes long"),
        ({"addresses": [bytes(16)]}, "address .* is not 4 bytes long"),
        ({"addresses": [bytes(4)] * 256}, "number of addresses 256 is outside 0-255"),
        ({"family": 5}, "family 5 is neither 4 nor 6"),
        ({"ttl": 256}, "ttl 256 is outside 0-255"),
    ],
)
def test_refuses_to_encode_what_cannot_be_said(change: Case, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        encode(**{**SPEC, **change})


@pytest.mark.parametrize(("family", "version"), [(6, 2), (4, 1), (4, 4)])
def test_refuses_to_encode_a_version_that_is_not(family: int, version: int) -> None:
    ends: Case = {"source": bytes(16), "destination": bytes(16), "addresses": []}
    with pytest.raises(PacketError, match="VERSION"):
        encode(**{**SPEC, **ends, "family": family, "version": version})


def test_set_priority_refuses_other_packets() -> None:
    in_ah: Case = {"vrid": 1, "priority": 1, "interval": SECOND, "password": b"a", "sequence": 1}
    ends: Case = {"source": bytes(4), "destination": bytes(4), "addresses": []}
    for packet in (b"", bytes(60), encode_ah(**in_ah, **ends), encode(**SPEC)[:27]):
        with pytest.raises(ValueError, match="not a packet made by encode"):
            set_priority(packet, 1)


@pytest.mark.parametrize(
    ("group", "mac"),
    [
        ("224.0.0.18", "01005e000012"),
        ("239.255.129.7", "01005e7f8107"),
        ("ff02::12", "333300000012"),
        ("ff02::1:ff80:102", "3333ff800102"),
    ],
)
def test_group_macs(group: str, mac: str) -> None:
    assert multicast_mac(packed(group)).hex() == mac
