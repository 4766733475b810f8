"""Messages of rtnetlink: what is refused to be encoded, and what is made of any bytes."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastvrrp._rtmessage import (
    AddressEvent,
    LinkEvent,
    decode,
    encode_address,
    encode_link_removal,
    encode_macvlan,
)

IFF_UP, IFF_RUNNING = 0x1, 0x40

A = socket.inet_aton


def A6(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


# --- messages made by hand, as linux/netlink.h lays them out -------------------------------------


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR = 16, 17, 20


def link_message(*attributes: bytes, family: int = 0, ifindex: int = 7, kind: int = 16) -> bytes:
    header = struct.pack("=BxHiII", family, 1, ifindex, IFF_UP | IFF_RUNNING, 0)
    return message(kind, header + b"".join(attributes))


def address_message(*attributes: bytes, family: int = 2, ifindex: int = 7) -> bytes:
    header = struct.pack("=BBBBI", family, 24, 0x80, 0, ifindex)
    return message(RTM_NEWADDR, header + b"".join(attributes))


IFNAME = attribute(3, b"eth0\0")


class TestDecode:
    def test_a_link_with_all_its_attributes(self) -> None:
        info = attribute(1, b"macvlan\0") + attribute(2, attribute(1, struct.pack("=I", 1)))
        data = link_message(
            IFNAME,
            attribute(1, b"\0\0\x5e\0\1\x33"),
            attribute(4, struct.pack("=I", 1500)),
            attribute(5, struct.pack("=I", 3)),
            attribute(16, b"\6"),
            attribute(27, struct.pack("=I", 112)),
            attribute(10, struct.pack("=I", 9)),
            attribute(18, info),
        )
        assert decode(data) == [
            LinkEvent(
                removed=False,
                ifindex=7,
                name="eth0",
                flags=IFF_UP | IFF_RUNNING,
                operstate=6,
                mac=b"\0\0\x5e\0\1\x33",
                parent=3,
                kind="macvlan",
                mtu=1500,
                group=112,
                mode=1,
                alias="",
                master=9,
            )
        ]

    def test_a_parent_in_another_namespace_is_none_of_ours(self) -> None:
        [event] = decode(
            link_message(
                IFNAME, attribute(5, struct.pack("=I", 3)), attribute(37, struct.pack("=I", 0))
            )
        )
        assert isinstance(event, LinkEvent)
        assert event.parent == 0

    def test_a_port_leaving_its_bridge_is_not_a_link_leaving(self) -> None:
        assert decode(link_message(IFNAME, family=socket.AF_BRIDGE, kind=RTM_DELLINK)) == []

    def test_a_wireless_event_is_not_a_link(self) -> None:
        assert decode(link_message(IFNAME, attribute(11, bytes(8)))) == []

    def test_the_local_address_is_taken_and_not_the_peers(self) -> None:
        data = address_message(attribute(1, A("10.0.0.2")), attribute(2, A("10.0.0.1")))
        [event] = decode(data)
        assert isinstance(event, AddressEvent)
        assert event.address == A("10.0.0.1")

    def test_all_32_bits_of_an_addresss_flags(self) -> None:
        data = address_message(
            attribute(1, A6("fe80::1")), attribute(8, struct.pack("=I", 0x280)), family=10
        )
        [event] = decode(data)
        assert event.flags == 0x280

    def test_several_messages_in_one_read(self) -> None:
        data = link_message(IFNAME) + address_message(attribute(1, A("10.0.0.1")))
        assert [type(event) for event in decode(data)] == [LinkEvent, AddressEvent]

    @pytest.mark.parametrize(
        "data",
        [
            link_message(),
            link_message(IFNAME, ifindex=0),
            link_message(IFNAME, ifindex=-5),
            address_message(),
            address_message(attribute(1, b"\1\2\3")),
            address_message(attribute(1, A("10.0.0.1")), family=10),
            address_message(attribute(1, A("10.0.0.1")), ifindex=0xFFFFFFFF),
            message(RTM_NEWLINK, b""),
            message(RTM_NEWADDR, b""),
        ],
    )
    def test_what_lacks_something_is_left_out(self, data: bytes) -> None:
        assert decode(data) == []

    @given(data=st.binary(max_size=512))
    def test_any_bytes(self, data: bytes) -> None:
        decode(data)

    @given(
        kind=st.sampled_from([16, 17, 20, 21]),
        family=st.sampled_from([0, 2, 7, 10]),
        attributes=st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=40)), max_size=12),
        length=st.integers(0, 0xFFFF),
        cut=st.integers(0, 64),
    )
    def test_attributes_whose_lengths_lie(
        self,
        kind: int,
        family: int,
        attributes: list[tuple[int, bytes]],
        length: int,
        cut: int,
    ) -> None:
        body = struct.pack("=BBBBi", family, 24, 0, 0, 7) + bytes(8 if kind < 20 else 0)
        body += b"".join(attribute(kind, data) for kind, data in attributes)
        body += struct.pack("=HH", length, 18)
        data = message(kind, body)
        for event in decode(data[: len(data) - cut] if cut else data):
            assert event.ifindex == 7

    @given(data=st.binary(max_size=256), length=st.integers(0, 0xFFFFFFFF))
    def test_a_message_whose_length_lies(self, data: bytes, length: int) -> None:
        decode(struct.pack("=IHHII", length, RTM_NEWLINK, 0, 0, 0) + data)


class TestEncode:
    @pytest.mark.parametrize(
        ("family", "address", "prefixlen"),
        [
            (socket.AF_UNIX, A("10.0.0.1"), 24),
            (socket.AF_INET, A6("fe80::1"), 24),
            (socket.AF_INET, A("10.0.0.1"), 33),
            (socket.AF_INET6, A6("fe80::1"), 129),
        ],
    )
    def test_what_is_no_address_is_refused(
        self, family: int, address: bytes, prefixlen: int
    ) -> None:
        with pytest.raises(ValueError, match="address"):
            encode_address(True, family, 1, address, prefixlen)

    @pytest.mark.parametrize("label", ["", "a" * 16, "a\0b"])
    def test_what_is_no_label_is_refused(self, label: str) -> None:
        with pytest.raises(ValueError, match="1 to 15 bytes"):
            encode_address(True, socket.AF_INET, 1, A("10.0.0.1"), 24, label=label)

    def test_a_broadcast_of_another_family_is_refused(self) -> None:
        with pytest.raises(ValueError, match="broadcast"):
            encode_address(True, socket.AF_INET, 1, A("10.0.0.1"), 24, broadcast=A6("::1"))

    @pytest.mark.parametrize(("ifindex", "group"), [(0, 0), (3, 3)])
    def test_a_removal_names_exactly_one_thing(self, ifindex: int, group: int) -> None:
        with pytest.raises(ValueError, match="names an ifindex"):
            encode_link_removal(ifindex=ifindex, group=group)

    @pytest.mark.parametrize("mac", [b"", bytes(33)])
    def test_what_is_no_mac_is_refused(self, mac: bytes) -> None:
        with pytest.raises(ValueError, match="link-layer"):
            encode_macvlan("vrrp.1", 1, mac, 1, 0)
