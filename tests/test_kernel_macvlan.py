"""VMACs: what is made, what it answers, and what stays of it.

A peer on the other side of the parent sends frames made by hand and looks at what comes back.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from fastvrrp._rtmessage import LinkEvent, encode_address, encode_link, encode_macvlan
from fastvrrp._rtnetlink import Channel
from fastvrrp.kernel.addresses import AddressBatch, AddressQueue, Applied
from fastvrrp.kernel.macvlan import (
    GROUP,
    MACVLAN_MODE_PRIVATE,
    MACVLAN_MODE_VEPA,
    Vmacs,
    Wanted,
    ipv6_gate,
)
from fastvrrp.kernel.sysctl import Sysctls
from fastvrrp.kernel.sysctl import write as write_sysctl
from fastvrrp.model import VirtualAddress
from kernel_namespace import Namespace, add_veth, inside_namespace, ip, needs_root, sysctl

pytestmark = needs_root

AF_INET, AF_INET6 = socket.AF_INET, socket.AF_INET6
FOREVER = 10**15
IP_PKTINFO = 8  # linux/in.h; Python names it from 3.14 on
IFF_UP = 1

MAC4 = b"\x00\x00\x5e\x00\x01\x33"
MAC6 = b"\x00\x00\x5e\x00\x02\x34"
PEER_MAC = b"\x02\x00\x00\x00\x00\x99"
PEER4 = socket.inet_aton("10.0.0.2")
PEER6 = socket.inet_pton(AF_INET6, "fe80::2")

PARENT4, VIP4 = "10.0.0.1", "10.0.0.50"
PARENT6, VIP6, GLOBAL6 = "fe80::1", "fe80::50", "2001:db8::50"


def packed(text: str) -> bytes:
    return socket.inet_pton(AF_INET6 if ":" in text else AF_INET, text)


def virtual(text: str, prefixlen: int) -> VirtualAddress:
    return VirtualAddress(AF_INET6 if ":" in text else AF_INET, packed(text), prefixlen)


# --- frames (RFC 826, RFC 4861 section 4.3) ------------------------------------------------------


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def arp_request(address: str) -> bytes:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + PEER_MAC + PEER4 + bytes(6)
    return b"\xff" * 6 + PEER_MAC + b"\x08\x06" + body + packed(address)


def neighbour_solicitation(address: str) -> bytes:
    target = packed(address)
    group = packed("ff02::1:ff00:0")[:13] + target[13:]
    body = target + b"\x01\x01" + PEER_MAC
    pseudo = PEER6 + group + struct.pack("!II", 4 + 4 + len(body), 58)
    sum_ = checksum(pseudo + struct.pack("!BBHI", 135, 0, 0, 0) + body)
    payload = struct.pack("!BBHI", 135, 0, sum_, 0) + body
    header = struct.pack("!IHBB", 6 << 28, len(payload), 58, 255) + PEER6 + group
    return b"\x33\x33" + group[12:] + PEER_MAC + b"\x86\xdd" + header + payload


def advert_of(source_mac: bytes) -> bytes:
    """An IPv4 packet of protocol 112 to 224.0.0.18."""
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28, 1, 0, 255, 112, 0) + PEER4
    header += socket.inet_aton("224.0.0.18")
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return b"\x01\x00\x5e\x00\x00\x12" + source_mac + b"\x08\x00" + header + bytes(8)


class Peer:
    """The far end of the parent link, in a namespace of its own."""

    def __init__(self, namespace: Namespace) -> None:
        with namespace.entered():
            add_addressless_up("b0")
            self.socket = socket.socket(
                socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(3)
            )
            self.socket.bind(("b0", 3))

    def send(self, frame: bytes) -> None:
        self.socket.send(frame)

    def frames(self, seconds: float) -> Iterator[bytes]:
        """What arrives until nothing has for `seconds`."""
        while select.select([self.socket], [], [], seconds)[0]:
            frame, (_, _, kind, *_) = self.socket.recvfrom(2048)
            if kind != socket.PACKET_OUTGOING:
                yield frame

    def answers(self, address: str, until: bytes | None = None) -> set[bytes]:
        """MACs that say `address` is theirs: asks until `until` has answered, or once."""
        is_ipv6 = ":" in address
        request = neighbour_solicitation(address) if is_ipv6 else arp_request(address)
        found: set[bytes] = set()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self.send(request)
            for frame in self.frames(0.3):
                found |= set(claimed_mac(frame, packed(address)))
            if until is None or until in found:
                return found
        pytest.fail(f"{until!r} did not answer for {address}; {found} did")


def claimed_mac(frame: bytes, address: bytes) -> Iterator[bytes]:
    """The MAC that an ARP reply or a neighbour advertisement gives for an address."""
    if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and frame[28:32] == address:
        yield frame[22:28]
    if frame[12:14] == b"\x86\xdd" and frame[54:55] == b"\x88" and frame[62:78] == address:
        yield frame[80:86]


def add_addressless_up(name: str) -> None:
    ip(f"link set {name} addrgenmode none")
    ip(f"link set {name} up")


class Lab:
    """A parent link a0 with addresses, VMACs on it, and a peer."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.parent = socket.if_nametoindex("a0")
        self.parent_mac = self.link("a0").mac
        self.channel = Channel()
        self.sysctls = Sysctls()
        self.vmacs = Vmacs(self.channel, self.sysctls)
        self.queue = AddressQueue(self.channel, self.applied)
        self.wanted4 = Wanted("vrrp.51", MAC4, self.parent, has_ipv4=True)
        self.wanted6 = Wanted("vrrp6.52", MAC6, self.parent, has_ipv4=False)

    @staticmethod
    def applied(applied: Applied) -> None:
        assert applied.failures == ()

    def settle(self, *wanted: Wanted) -> None:
        assert self.vmacs.settle(wanted) == []

    def become(self, wanted: Wanted, master: bool) -> None:
        """Puts the addresses of a VMAC in place, or takes them away."""
        index = self.vmacs.indexes[wanted.name]
        if wanted is self.wanted4:
            batch = AddressBatch([virtual(VIP4, 32)], [index])
        else:
            batch = AddressBatch(
                [virtual(VIP6, 128), virtual(GLOBAL6, 64)],
                [index, index],
                (ipv6_gate(wanted.name),),
            )
        self.queue.put(wanted.name, batch, master)
        assert not self.queue.drain(FOREVER)

    @staticmethod
    def link(name: str) -> LinkEvent:
        channel = Channel()
        [link] = [link for link in channel.dump_links() if link.name == name]
        channel.close()
        return link

    def macvlans(self) -> dict[str, LinkEvent]:
        return {link.name: link for link in self.channel.dump_links() if link.kind == "macvlan"}

    def addresses(self, name: str) -> set[str]:
        index = socket.if_nametoindex(name)
        return {
            socket.inet_ntop(event.family, event.address)
            for event in self.channel.dump_addresses()
            if event.ifindex == index
        }


@pytest.fixture
def lab() -> Iterator[Lab]:
    far = Namespace()
    try:
        with inside_namespace():
            ip("link set lo up")
            ip(f"link add a0 type veth peer name b0 netns {far.path}")
            # A MLD report is due within this many milliseconds, so that tests need not wait for it.
            assert write_sysctl("ipv6/conf/default/mldv2_unsolicited_report_interval", "10")
            add_addressless_up("a0")
            peer = Peer(far)
            channel = Channel()
            for address, prefixlen in ((PARENT4, 24), (PARENT6, 64)):
                request = encode_address(
                    True,
                    AF_INET6 if ":" in address else AF_INET,
                    socket.if_nametoindex("a0"),
                    packed(address),
                    prefixlen,
                    flags=0x02 if ":" in address else 0,
                )
                channel.apply([request], 0, 0)
            assert channel.take_errors() == []
            channel.close()
            lab = Lab(peer)
            yield lab
            lab.channel.close()
            peer.socket.close()
    finally:
        far.close()


class TestMaking:
    def test_a_vmac_is_up_marked_and_without_an_address(self, lab: Lab) -> None:
        lab.settle(lab.wanted4, lab.wanted6)
        for wanted in (lab.wanted4, lab.wanted6):
            link = lab.link(wanted.name)
            assert (link.kind, link.mac, link.parent) == ("macvlan", wanted.mac, lab.parent)
            assert (link.group, link.mode) == (GROUP, MACVLAN_MODE_VEPA)
            assert link.flags & IFF_UP
            assert lab.vmacs.indexes[wanted.name] == link.ifindex
            assert lab.addresses(wanted.name) == set()
            assert "addrgenmode none" in ip(f"-d link show {wanted.name}")
            assert sysctl(ipv6_gate(wanted.name)) == "1"

    def test_kernel_parameters_are_those_of_keepalived(self, lab: Lab) -> None:
        lab.settle(lab.wanted4, lab.wanted6)

        def values(link: str, *names: str) -> list[str]:
            return [sysctl(f"ipv4/conf/{link}/{name}") for name in names]

        ours = ("accept_local", "arp_ignore", "promote_secondaries", "rp_filter")
        assert values("vrrp.51", *ours) == ["1", "1", "1", "0"]
        assert values("vrrp6.52", "arp_ignore") == ["8"]
        assert values("a0", "arp_ignore", "arp_filter") == ["1", "1"]
        assert sysctl("ipv6/conf/vrrp6.52/accept_ra") == "0"

    def test_a_parent_of_ipv6_vmacs_only_is_left_alone(self, lab: Lab) -> None:
        lab.settle(lab.wanted6)
        assert lab.sysctls.originals == {}

    def test_what_was_changed_on_other_links_is_restored(self, lab: Lab) -> None:
        write_sysctl("ipv4/conf/a0/arp_ignore", "2")
        lab.settle(lab.wanted4)
        assert sysctl("ipv4/conf/a0/arp_ignore") == "1"
        lab.settle()
        assert lab.macvlans() == {}
        assert lab.vmacs.indexes == {}
        assert sysctl("ipv4/conf/a0/arp_ignore") == "2"
        assert sysctl("ipv4/conf/a0/arp_filter") == "0"

    def test_rp_filter_of_all_moves_to_every_link_and_back(self, lab: Lab) -> None:
        for link, value in (("all", "1"), ("default", "0"), ("a0", "2"), ("lo", "0")):
            write_sysctl(f"ipv4/conf/{link}/rp_filter", value)

        def values() -> list[str]:
            return [
                sysctl(f"ipv4/conf/{link}/rp_filter") for link in ("all", "default", "a0", "lo")
            ]

        lab.settle(lab.wanted4)
        assert values() == ["0", "1", "2", "1"]
        assert sysctl("ipv4/conf/vrrp.51/rp_filter") == "0"
        lab.settle(lab.wanted4, Wanted("vrrp.7", MAC4[:5] + b"\x07", lab.parent, has_ipv4=True))
        assert values() == ["0", "1", "2", "1"]
        assert sysctl("ipv4/conf/vrrp.51/rp_filter") == "0"
        assert sysctl("ipv4/conf/vrrp.7/rp_filter") == "0"
        lab.settle()
        assert values() == ["1", "0", "2", "0"]

    def test_settling_again_changes_nothing(self, lab: Lab) -> None:
        lab.settle(lab.wanted4, lab.wanted6)
        lab.become(lab.wanted6, master=True)
        before = dict(lab.vmacs.indexes)
        lab.settle(lab.wanted4, lab.wanted6)
        assert lab.vmacs.indexes == before
        assert lab.addresses("vrrp6.52") == {VIP6, GLOBAL6}

    def test_one_that_is_no_longer_wanted_goes(self, lab: Lab) -> None:
        lab.settle(lab.wanted4, lab.wanted6)
        lab.settle(lab.wanted6)
        assert set(lab.macvlans()) == {"vrrp6.52"}

    def test_nothing_of_a_user_goes_with_ours(self, lab: Lab) -> None:
        ip("link add link a0 name mine type macvlan mode bridge")
        ip("link set mine group 7")
        lab.settle(lab.wanted4)
        lab.settle()
        assert set(lab.macvlans()) == {"mine"}


class TestWhatIsThereAlready:
    def test_one_left_by_a_crash_is_taken_over_with_its_addresses(self, lab: Lab) -> None:
        lab.settle(lab.wanted4, lab.wanted6)
        lab.become(lab.wanted4, master=True)
        lab.become(lab.wanted6, master=True)
        before = {name: link.ifindex for name, link in lab.macvlans().items()}
        lab.vmacs = Vmacs(lab.channel, Sysctls(lab.sysctls.originals))
        lab.settle(lab.wanted4, lab.wanted6)
        assert lab.vmacs.indexes == before
        assert lab.addresses("vrrp.51") == {VIP4}
        assert lab.addresses("vrrp6.52") == {VIP6, GLOBAL6}
        lab.settle()
        assert sysctl("ipv4/conf/a0/arp_ignore") == "0"

    def test_one_left_by_a_crash_that_nobody_wants_goes(self, lab: Lab) -> None:
        lab.settle(lab.wanted4)
        lab.vmacs = Vmacs(lab.channel, lab.sysctls)
        lab.settle(lab.wanted6)
        assert set(lab.macvlans()) == {"vrrp6.52"}

    @pytest.mark.parametrize("mac", [MAC4, MAC4[:5] + b"\x09"])
    def test_one_of_keepalived_is_replaced(self, lab: Lab, mac: bytes) -> None:
        made = encode_macvlan("vrrp.51", lab.parent, mac, MACVLAN_MODE_PRIVATE, 0)
        lab.channel.apply([made], 0, 0)
        before = lab.link("vrrp.51").ifindex
        lab.settle(lab.wanted4)
        link = lab.link("vrrp.51")
        assert link.ifindex != before
        assert (link.mac, link.mode) == (MAC4, MACVLAN_MODE_VEPA)

    @pytest.mark.parametrize(
        "command",
        ["add vrrp.51 type bridge", "add link a0 name vrrp.51 type macvlan mode bridge"],
    )
    def test_a_link_of_somebody_else_is_refused_and_stays(self, lab: Lab, command: str) -> None:
        ip("link " + command)
        before = lab.link("vrrp.51")
        [refusal] = lab.vmacs.settle([lab.wanted4, lab.wanted6])
        assert refusal.name == "vrrp.51"
        assert "exists and is not ours; rename or remove it" in refusal.reason
        assert lab.link("vrrp.51") == before
        assert set(lab.vmacs.indexes) == {"vrrp6.52"}

    def test_a_parent_that_cannot_carry_one_is_named(self, lab: Lab) -> None:
        ip("link add br0 type bridge")
        ip("link set a0 master br0")
        [refusal] = lab.vmacs.settle([lab.wanted4])
        assert "cannot make vrrp.51 on a0" in refusal.reason
        assert lab.vmacs.indexes == {}

    def test_a_parent_that_is_not_there(self, lab: Lab) -> None:
        [refusal] = lab.vmacs.settle([Wanted("vrrp.51", MAC4, 9999, has_ipv4=True)])
        assert "no parent link" in refusal.reason

    def test_two_with_one_mac_on_one_parent(self, lab: Lab) -> None:
        twin = Wanted("vrrp.99", MAC4, lab.parent, has_ipv4=True)
        [refusal] = lab.vmacs.settle([lab.wanted4, twin])
        assert refusal.name == "vrrp.99"
        assert "same MAC" in refusal.reason
        assert set(lab.macvlans()) == {"vrrp.51"}


class TestReadOnlyParameters:
    @pytest.fixture
    def forbid(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
        """Makes /proc/sys read-only below a path, as in many a container."""

        def forbid(prefix: str) -> None:
            def write(path: str, value: str) -> bool:
                if path.startswith(prefix):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
                return write_sysctl(path, value)

            monkeypatch.setattr("fastvrrp.kernel.sysctl.write", write)

        return forbid

    @pytest.mark.parametrize("prefix", ["ipv4/conf/a0/", "ipv4/conf/vrrp.51/"])
    def test_a_vmac_that_would_not_be_silent_is_refused(
        self, lab: Lab, forbid: Callable[[str], None], prefix: str
    ) -> None:
        forbid(prefix)
        [refusal] = lab.vmacs.settle([lab.wanted4, lab.wanted6])
        assert refusal.name == "vrrp.51"
        assert "mount /proc/sys writable" in refusal.reason
        assert set(lab.macvlans()) == set(lab.vmacs.indexes) == {"vrrp6.52"}


class TestWhatIsAnswered:
    @pytest.mark.parametrize("parent_answers_first", [PARENT4, PARENT6])
    def test_a_backup_answers_for_nothing(self, lab: Lab, parent_answers_first: str) -> None:
        lab.settle(lab.wanted4, lab.wanted6)
        for _ in range(2):
            # The parent's own answer shows that frames come through, and that no VMAC gives it.
            answers = lab.peer.answers(parent_answers_first, until=lab.parent_mac)
            assert answers == {lab.parent_mac}
            for address in (VIP4, VIP6, GLOBAL6):
                assert lab.peer.answers(address) == set()
            # And so it is after it has been master.
            for master in (True, False):
                lab.become(lab.wanted4, master)
                lab.become(lab.wanted6, master)

    def test_a_master_answers_for_its_addresses_with_the_virtual_mac(self, lab: Lab) -> None:
        lab.settle(lab.wanted4, lab.wanted6)
        lab.become(lab.wanted4, master=True)
        lab.become(lab.wanted6, master=True)
        assert lab.peer.answers(VIP4, until=MAC4) == {MAC4}
        assert lab.peer.answers(VIP6, until=MAC6) == {MAC6}
        assert lab.peer.answers(GLOBAL6, until=MAC6) == {MAC6}
        assert lab.peer.answers(PARENT4, until=lab.parent_mac) == {lab.parent_mac}
        assert lab.peer.answers(PARENT6, until=lab.parent_mac) == {lab.parent_mac}

    def test_a_vmac_is_silent_except_while_it_is_master(self, lab: Lab) -> None:
        def spoken(wait: float = 0.5) -> list[bytes]:
            return [frame for frame in lab.peer.frames(wait) if frame[6:12] in (MAC4, MAC6)]

        lab.settle(lab.wanted4, lab.wanted6)
        assert spoken() == []
        lab.become(lab.wanted4, master=True)
        lab.become(lab.wanted6, master=True)
        reports = spoken(2)
        # Only MLD reports for the groups of its addresses, which a snooping switch needs to hear.
        assert reports
        assert {frame[12:14] for frame in reports} == {b"\x86\xdd"}
        assert {frame[62] for frame in reports} == {143}
        lab.become(lab.wanted4, master=False)
        lab.become(lab.wanted6, master=False)
        assert spoken() == []
        assert lab.addresses("vrrp6.52") == set()

    def test_addresses_taken_off_without_the_gate_would_speak(self, lab: Lab) -> None:
        """Why there is a gate: the leaving of a group has the virtual MAC as its source."""
        lab.settle(lab.wanted6)
        lab.become(lab.wanted6, master=True)
        list(lab.peer.frames(0.5))
        ip(f"address del {GLOBAL6}/64 dev vrrp6.52")
        ip(f"address del {VIP6}/128 dev vrrp6.52")
        assert any(frame[6:12] == MAC6 for frame in lab.peer.frames(10))


class TestWhereAdvertsAreHeard:
    @pytest.fixture
    def receiver(self, lab: Lab) -> Iterator[socket.socket]:
        """A raw socket for all links; the group is joined on the parent."""
        with (
            socket.socket(AF_INET, socket.SOCK_RAW, 112) as receiver,
            socket.socket(AF_INET, socket.SOCK_DGRAM) as membership,
        ):
            receiver.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            request = struct.pack("4s4si", socket.inet_aton("224.0.0.18"), bytes(4), lab.parent)
            membership.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            yield receiver

    def heard_on(self, receiver: socket.socket, packets: int) -> list[int]:
        """ifindexes on which the next packets arrived."""
        found = []
        for _ in range(packets):
            assert select.select([receiver], [], [], 20)[0]
            _, [(_, _, info)], _, _ = receiver.recvmsg(2048, 64)
            found.append(struct.unpack("i", info[:4])[0])
        return found

    @pytest.mark.parametrize("master", [False, True])
    def test_on_the_parent_once_whoever_sends_them(
        self, lab: Lab, receiver: socket.socket, master: bool
    ) -> None:
        lab.settle(lab.wanted4)
        lab.become(lab.wanted4, master)
        for mac in (MAC4, PEER_MAC, MAC4):
            lab.peer.send(advert_of(mac))
        assert self.heard_on(receiver, 3) == [lab.parent] * 3
        assert not select.select([receiver], [], [], 0.2)[0]

    def test_in_private_mode_the_parent_would_miss_a_peers_vmac(
        self, lab: Lab, receiver: socket.socket
    ) -> None:
        """Why VEPA: of three adverts only the one with another MAC as its source is heard."""
        made = encode_macvlan("vrrp.51", lab.parent, MAC4, MACVLAN_MODE_PRIVATE, GROUP)
        lab.channel.apply([made], 0, 0)
        lab.channel.apply([encode_link(socket.if_nametoindex("vrrp.51"), up=True)], 0, 0)
        for mac in (MAC4, PEER_MAC, MAC4):
            lab.peer.send(advert_of(mac))
        assert self.heard_on(receiver, 1) == [lab.parent]
        assert not select.select([receiver], [], [], 0.2)[0]


class TestParent:
    def test_a_vmac_goes_with_its_parent_and_comes_back_with_it(self, lab: Lab) -> None:
        lab.settle(lab.wanted4)
        ip("link del a0")
        assert lab.macvlans() == {}
        [refusal] = lab.vmacs.settle([lab.wanted4])
        assert "no parent link" in refusal.reason
        add_veth("a0", "c0")
        again = Wanted("vrrp.51", MAC4, socket.if_nametoindex("a0"), has_ipv4=True)
        lab.settle(again)
        assert lab.link("vrrp.51").parent == again.parent
        assert sysctl("ipv4/conf/a0/arp_ignore") == "1"
