"""Requests, dumps and notifications of rtnetlink, against this machine's kernel and any bytes."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastvrrp._rtnetlink import (
    AddressEvent,
    Channel,
    LinkEvent,
    Monitor,
    Overrun,
    decode,
    encode_address,
    encode_link,
    encode_link_removal,
    encode_macvlan,
)
from kernel_namespace import add_veth, inside_namespace, ip, needs_root

IFF_UP, IFF_RUNNING = 0x1, 0x40
IFA_F_NODAD, IFA_F_DEPRECATED, IFA_F_PERMANENT = 0x02, 0x20, 0x80
MACVLAN_MODE_PRIVATE = 1
FOREVER = 10**15

A = socket.inet_aton


def A6(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, text)


@pytest.fixture
def channel() -> Iterator[Channel]:
    """A channel in a namespace where the link `a0` and its peer `b0` are up."""
    with inside_namespace():
        ip("link set lo up")
        add_veth("a0", "b0")
        channel = Channel()
        yield channel
        channel.close()


def index(name: str) -> int:
    return socket.if_nametoindex(name)


def apply_one(channel: Channel, request: bytes) -> int:
    """The errno with which the kernel answers; 0 where it does not."""
    assert channel.apply([request], 0, FOREVER) == 1
    errors = channel.take_errors()
    return errors[0][1] if errors else 0


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
                macvlan_mode=1,
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


@needs_root
class TestChannel:
    def test_an_ipv4_address_arrives_as_it_was_asked_for(self, channel: Channel) -> None:
        request = encode_address(
            True,
            socket.AF_INET,
            index("a0"),
            A("10.0.0.1"),
            24,
            broadcast=A("10.0.0.255"),
            scope=253,
            label="a0:1",
            protocol=112,
        )
        assert apply_one(channel, request) == 0
        [event] = [e for e in channel.dump_addresses(socket.AF_INET) if e.ifindex == index("a0")]
        assert event == AddressEvent(
            removed=False,
            family=socket.AF_INET,
            ifindex=index("a0"),
            address=A("10.0.0.1"),
            prefixlen=24,
            scope=253,
            flags=IFA_F_PERMANENT,
            label="a0:1",
            protocol=112,
        )
        assert "brd 10.0.0.255" in ip("address show dev a0")

    def test_an_ipv6_address_is_usable_at_once_and_deprecated(self, channel: Channel) -> None:
        request = encode_address(
            True,
            socket.AF_INET6,
            index("a0"),
            A6("2001:db8::1"),
            128,
            preferred_lifetime=0,
            flags=IFA_F_NODAD,
        )
        assert apply_one(channel, request) == 0
        [event] = [
            e for e in channel.dump_addresses(socket.AF_INET6) if e.address == A6("2001:db8::1")
        ]
        assert event.flags == IFA_F_NODAD | IFA_F_DEPRECATED | IFA_F_PERMANENT

    def test_what_is_there_or_not_there_already_is_answered(self, channel: Channel) -> None:
        add, remove = (
            encode_address(add, socket.AF_INET, index("a0"), A("10.0.0.1"), 32)
            for add in (True, False)
        )
        assert apply_one(channel, remove) == errno.EADDRNOTAVAIL
        assert apply_one(channel, add) == 0
        assert apply_one(channel, add) == errno.EEXIST
        assert apply_one(channel, remove) == 0

    def test_errors_carry_the_index_of_their_request_and_stop_nothing(
        self, channel: Channel
    ) -> None:
        wrong = {3, 4, 17, 99}
        requests = [
            encode_address(
                True, socket.AF_INET, 9999 if i in wrong else index("a0"), bytes([10, 0, 1, i]), 32
            )
            for i in range(100)
        ]
        assert channel.apply(requests, 0, FOREVER) == 100
        assert channel.take_errors() == [(i, errno.ENODEV) for i in sorted(wrong)]
        assert channel.take_errors() == []
        assert len(channel.dump_addresses(socket.AF_INET)) == 96 + 1  # and that of lo

    def test_a_batch_is_applied_in_slices(self, channel: Channel) -> None:
        requests = [
            encode_address(True, socket.AF_INET, index("a0"), bytes([10, 0, 1, i]), 32)
            for i in range(100)
        ]
        at = channel.apply(requests, 0, 0)
        assert 0 < at < 100
        assert len(channel.dump_addresses(socket.AF_INET)) == at + 1
        while at < 100:
            before, at = at, channel.apply(requests, at, 0)
            assert at > before
        assert channel.apply(requests, 100, 0) == 100
        assert channel.take_errors() == []
        assert len(channel.dump_addresses(socket.AF_INET)) == 101

    @pytest.mark.parametrize("junk", [b"", b"\0" * 20, bytes(15), b"\x14\0\0\0" + bytes(32)])
    def test_what_is_no_request_is_refused(self, channel: Channel, junk: bytes) -> None:
        with pytest.raises(ValueError, match=r"messages\[0\]"):
            channel.apply([junk], 0, 0)

    def test_a_closed_channel_is_an_error_and_not_silence(self, channel: Channel) -> None:
        channel.close()
        with pytest.raises(OSError, match="cannot ask"):
            channel.dump_links()

    def test_macvlans_are_made_changed_and_removed_as_a_group(self, channel: Channel) -> None:
        parent = index("a0")
        macs = [bytes([0, 0, 0x5E, 0, 1, i]) for i in range(1, 21)]
        requests = [
            encode_macvlan(f"vrrp.{mac[5]}", parent, mac, MACVLAN_MODE_PRIVATE, 5) for mac in macs
        ]
        assert channel.apply(requests, 0, FOREVER) == 20
        assert channel.take_errors() == []
        made = [link for link in channel.dump_links() if link.kind == "macvlan"]
        assert [(link.name, link.mac, link.parent) for link in made] == [
            (f"vrrp.{mac[5]}", mac, parent) for mac in macs
        ]
        assert {(link.group, link.macvlan_mode) for link in made} == {(5, MACVLAN_MODE_PRIVATE)}
        assert not made[0].flags & IFF_UP

        kept, rest = made[0], made[1:]
        changes = [encode_link(link.ifindex, group=6, addr_gen_mode=1) for link in rest]
        changes += [encode_link(link.ifindex, up=True) for link in made]
        channel.apply(changes, 0, FOREVER)
        assert channel.take_errors() == []
        assert "addrgenmode none" in ip(f"-d link show {rest[0].name}")
        assert "addrgenmode none" not in ip(f"-d link show {kept.name}")
        assert apply_one(channel, encode_link_removal(group=6)) == 0
        left = [link for link in channel.dump_links() if link.kind == "macvlan"]
        assert [link.ifindex for link in left] == [kept.ifindex]
        assert left[0].flags & IFF_UP
        assert apply_one(channel, encode_link_removal(ifindex=kept.ifindex)) == 0
        assert apply_one(channel, encode_link_removal(ifindex=kept.ifindex)) == errno.ENODEV


@needs_root
class TestMonitor:
    def test_it_hears_of_links_and_addresses_in_their_order(self, channel: Channel) -> None:
        monitor = Monitor()
        assert monitor.read(100) == []
        ip("address add 10.0.0.1/24 dev a0")
        ip("link set a0 mtu 1400")
        ip("address del 10.0.0.1/24 dev a0")
        heard = [
            (type(event), event.removed)
            for event in monitor.read(100)
            if event.ifindex == index("a0")
        ]
        assert heard[0] == (AddressEvent, False)
        assert (LinkEvent, False) in heard
        assert heard[-1] == (AddressEvent, True)
        monitor.close()

    def test_it_reads_no_more_than_it_is_asked_to(self, channel: Channel) -> None:
        monitor = Monitor()
        for i in range(1, 6):
            ip(f"address add 10.0.0.{i}/32 dev a0")
        reads = [monitor.read(2) for _ in range(20)]
        assert max(map(len, reads)) == 2
        added = [e.address[3] for read in reads for e in read if isinstance(e, AddressEvent)]
        assert added == [1, 2, 3, 4, 5]
        monitor.close()

    def test_an_overrun_is_told_and_hearing_goes_on(self, channel: Channel) -> None:
        monitor = Monitor(4096)
        requests = [
            encode_address(True, socket.AF_INET, index("a0"), bytes([10, 0, 1, i]), 32)
            for i in range(256)
        ]
        channel.apply(requests, 0, FOREVER)
        with pytest.raises(Overrun):
            monitor.read(1000)
        while monitor.read(1000):
            pass
        ip("address add 10.0.0.1/32 dev a0")
        [event] = [e for e in monitor.read(1000) if isinstance(e, AddressEvent)]
        assert event.address == A("10.0.0.1")
        monitor.close()
