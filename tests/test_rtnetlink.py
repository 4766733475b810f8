"""Requests in batches, dumps and notifications, against this machine's kernel."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from fastvrrp._rtmessage import (
    AddressEvent,
    LinkEvent,
    encode_address,
    encode_link,
    encode_link_removal,
    encode_macvlan,
)
from fastvrrp._rtnetlink import Channel, Monitor, Overrun
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
        assert {(link.group, link.mode) for link in made} == {(5, MACVLAN_MODE_PRIVATE)}
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
        events = [event for event in monitor.read(100) if event.ifindex == index("a0")]
        # The kernel may have been behind with telling that the link is up.
        while isinstance(events[0], LinkEvent):
            events.pop(0)
        heard = [(type(event), event.removed) for event in events]
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
