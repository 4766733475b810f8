"""The table of nftables: what it lets through is tried with packets, between two namespaces."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator

import pytest

from fastvrrp.kernel.nftables import (
    Element,
    PacketFilter,
    Shape,
    idle,
    our_tables,
    refused,
    solicits_nothing,
)
from kernel_namespace import Namespace, add_veth, inside_namespace, ip, needs_root
from lab.waiting import wait_until

pytestmark = needs_root

PORT = 9
PATIENCE = 2.0
ADDRESSES = {"10.0.0.1": 24, "10.0.0.50": 32, "2001:db8::1": 64, "2001:db8::50": 128}


def packed(text: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


@pytest.fixture
def peer() -> Iterator[Namespace]:
    """This thread is in a namespace with eth0 and ADDRESSES; the other end is the peer's."""
    other = Namespace()
    try:
        with inside_namespace():
            add_veth("eth0", "eth1")
            ip(f"link set eth1 netns {other.path}")
            ip("address add fe80::1/64 dev eth0 nodad")
            for address, length in ADDRESSES.items():
                ip(f"address add {address}/{length} dev eth0 {'nodad' if ':' in address else ''}")
            with other.entered():
                ip("link set eth1 up")
                ip("address add 10.0.0.2/24 dev eth1")
                ip("address add 2001:db8::2/64 dev eth1 nodad")
                ip("address add fe80::2/64 dev eth1 nodad")
            yield other
    finally:
        other.close()


def find_neighbours(peer: Namespace, family: socket.AddressFamily, address: str) -> None:
    """Lets the peer ask where the address is, and the one that it is compared with: what waits for
    that could be overtaken."""
    with peer.entered(), socket.socket(family, socket.SOCK_DGRAM) as sender:
        scope = socket.if_nametoindex("eth1") if address.startswith("fe80") else 0
        reference = "2001:db8::1" if ":" in address else "10.0.0.1"
        for each in (address, reference):
            port = PORT + 1
            sender.sendto(b"where?", (each, port, 0, scope) if ":" in each else (each, port))
            wait_until(
                lambda each=each: "lladdr" in ip(f"neighbour show {each}"),  # type: ignore[misc]
                what=f"where {each} is",
            )


def arrives(peer: Namespace, address: str, interface: str = "") -> bool:
    """Whether a packet of the peer to one of our addresses comes in."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    find_neighbours(peer, family, address)
    with socket.socket(family, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("", PORT))
        with peer.entered(), socket.socket(family, socket.SOCK_DGRAM) as sender:
            scope = socket.if_nametoindex("eth1") if address.startswith("fe80") else 0
            sender.sendto(b"?", (address, PORT, 0, scope) if ":" in address else (address, PORT))
            # What comes after it on the same way, and always arrives.
            sender.sendto(b"!", ("2001:db8::1", PORT) if ":" in address else ("10.0.0.1", PORT))
        receiver.settimeout(PATIENCE)
        came = receiver.recv(16) == b"?"
        if came:
            assert receiver.recv(16) == b"!"
        return came


def tables() -> str:
    return subprocess.run(
        ["nft", "list", "ruleset"], check=True, capture_output=True, text=True
    ).stdout


def made(*elements: Element, shape: Shape | None = None) -> PacketFilter:
    table = PacketFilter()
    table.make(shape or Shape(), elements)
    return table


@pytest.mark.parametrize("address", ["10.0.0.50", "2001:db8::50"])
def test_a_refused_address_takes_no_packets(peer: Namespace, address: str) -> None:
    assert arrives(peer, address)
    table = made(refused(packed(address), "eth0"))
    assert not arrives(peer, address)
    table.make(Shape(), [refused(packed("10.0.0.77"), "eth0")])
    assert arrives(peer, address)


def test_a_refused_address_sends_nothing(peer: Namespace) -> None:
    made(refused(packed("10.0.0.50"), "eth0"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("10.0.0.50", 0))
        with pytest.raises(PermissionError):
            sender.sendto(b"?", ("10.0.0.2", PORT))


def test_a_link_local_address_is_refused_on_its_own_link(peer: Namespace) -> None:
    ip("address add fe80::50/64 dev eth0 nodad")
    table = made(refused(packed("fe80::50"), "elsewhere"))
    assert arrives(peer, "fe80::50")
    table.make(Shape(), [refused(packed("fe80::50"), "eth0")])
    assert not arrives(peer, "fe80::50")
    assert arrives(peer, "fe80::1")


def test_a_neighbour_is_answered_for_a_refused_address(peer: Namespace) -> None:
    made(refused(packed("2001:db8::50"), "eth0"))
    assert not arrives(peer, "2001:db8::50")
    with peer.entered():
        assert "lladdr" in ip("-6 neighbour show 2001:db8::50")


def test_an_idle_link_is_deaf_and_mute(peer: Namespace) -> None:
    assert arrives(peer, "10.0.0.50")  # and nothing waits for ARP any more
    table = made(idle("eth0"), idle("eth7"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("10.0.0.1", PORT))
        receiver.settimeout(0.3)
        with peer.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"deaf", ("10.0.0.1", PORT))
        with pytest.raises(TimeoutError):
            receiver.recv(16)
        with pytest.raises(PermissionError):
            receiver.sendto(b"mute", ("10.0.0.2", PORT))
    table.change({idle("eth0"): False})
    assert arrives(peer, "10.0.0.50")
    table.change({idle("eth0"): True, idle("eth7"): False, idle("eth8"): False})
    with pytest.raises(TimeoutError):
        arrives(peer, "10.0.0.50")


def test_a_vmac_solicits_no_routers(peer: Namespace) -> None:
    def solicits() -> bool:
        """Whether a router solicitation from eth0 goes out."""
        solicitation = bytes((133, 0, 0, 0, 0, 0, 0, 0))
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sender:
            sender.setsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth0")
            )
            try:
                sender.sendto(solicitation, ("ff02::2", 0))
            except PermissionError:
                return False
            return True

    assert solicits()
    table = made(solicits_nothing("eth0"))
    assert not solicits()
    table.change({solicits_nothing("eth0"): False})
    assert solicits()


def test_thousands_of_addresses_are_one_change(peer: Namespace) -> None:
    addresses = [f"10.{n >> 8}.{n & 255}.9" for n in range(4080)]
    table = made(refused(packed("10.0.0.50"), "eth0"))
    table.change({refused(packed(address), "eth0"): True for address in addresses})
    listed = tables()
    assert all(address in listed for address in addresses)


def test_there_is_no_table_without_need(peer: Namespace) -> None:
    table = made()
    assert tables() == ""
    table.make(Shape(), [idle("eth0")])
    assert "table inet fastvrrp" in tables()
    table.remove()
    assert tables() == ""


def test_there_are_no_rules_without_need(peer: Namespace) -> None:
    table = made(idle("eth0"))
    assert "hook input" not in tables()
    table.make(Shape(), [refused(packed("10.0.0.50"), "eth0")])
    assert "hook input" in tables()
    assert "hook prerouting" not in tables()


def test_the_table_looks_as_it_is_told(peer: Namespace) -> None:
    made(refused(packed("10.0.0.50"), "eth0"), shape=Shape("mine", 7, counts=True))
    assert not arrives(peer, "10.0.0.50")
    listed = tables()
    assert "table inet mine" in listed
    assert "priority filter + 7" in listed
    assert "ip daddr @refused4 counter packets 2 bytes 63 drop" in listed


def test_what_a_crash_left_is_replaced_whatever_its_name(peer: Namespace) -> None:
    made(refused(packed("10.0.0.50"), "eth0"))
    made(refused(packed("10.0.0.50"), "eth0"), shape=Shape("other"))
    assert our_tables() == {"other"}
    made()
    assert tables() == ""


def test_the_tables_of_others_stay(peer: Namespace) -> None:
    subprocess.run(["nft", "add", "table", "inet", "filter"], check=True)
    made(idle("eth0")).remove()
    assert tables().split() == ["table", "inet", "filter", "{", "}"]


def test_a_table_of_somebody_else_is_not_taken(peer: Namespace) -> None:
    subprocess.run(["nft", "add", "table", "inet", "filter"], check=True)
    with pytest.raises(OSError, match="nftables: Could not process rule: File exists"):
        made(idle("eth0"), shape=Shape("filter"))
    assert tables().split() == ["table", "inet", "filter", "{", "}"]


def test_a_change_that_cannot_be_made_says_why(peer: Namespace) -> None:
    table = made(idle("eth0"))
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    with pytest.raises(OSError, match=r"nftables: .*No such file or directory"):
        table.change({idle("eth1"): True})


def test_a_name_that_would_be_a_command_is_refused() -> None:
    with pytest.raises(ValueError, match="no word for an interface called"):
        idle('x" } ; flush ruleset ; "')
