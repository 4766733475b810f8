"""Marks on packets to the addresses of groups: seen by another chain, on packets between two
namespaces.

The witness is the last one before IPVS takes packets (NF_IP_PRI_NAT_SRC - 2 on the input hook, in
net/netfilter/ipvs/ip_vs_core.c): what it sees is what IPVS finds. That IPVS sends marked packets to
their servers is shown in a guest (test_balanced_traffic), whose kernel has no nftables for IP.
"""

from __future__ import annotations

import select
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from fastvrrp.kernel import group_marks
from fastvrrp.kernel.group_marks import Marked
from fastvrrp.lvs.marks import Marking
from fastvrrp.model import Transport
from kernel_namespace import Namespace, add_veth, inside_namespace, ip, needs_root

pytestmark = needs_root

WITNESS = """
table inet witness {
    chain input {
        type filter hook input priority 97
        meta mark 7 counter
        meta mark 8 counter
        meta mark 9 counter
    }
}
"""


def packed(text: str) -> bytes:
    return ip_address(text).packed


@pytest.fixture
def peer() -> Iterator[Namespace]:
    """This thread is in a namespace whose eth0 has addresses; the other end is the peer's."""
    other = Namespace()
    try:
        with inside_namespace():
            add_veth("eth0", "eth1")
            ip(f"link set eth1 netns {other.path}")
            for number in (1, 2, 3, 4):
                ip(f"address add 10.0.0.{number}/24 dev eth0")
                ip(f"address add 2001:db8::{number}/64 dev eth0 nodad")
            nft(WITNESS)
            with other.entered():
                ip("link set eth1 up")
                ip("address add 10.0.0.9/24 dev eth1")
                ip("address add 2001:db8::9/64 dev eth1 nodad")
            yield other
    finally:
        other.close()


def nft(script: str) -> str:
    return subprocess.run(
        ["nft", "-f", "-"], input=script, check=True, capture_output=True, text=True
    ).stdout


def seen() -> dict[int, int]:
    """How many packets had each of the witness's marks."""
    listed = subprocess.run(
        ["nft", "list", "chain", "inet", "witness", "input"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    words = [line.split() for line in listed.splitlines() if "meta mark" in line]
    return {int(line[2], 16): int(line[5]) for line in words}


def send(peer: Namespace, address: str, port: int) -> None:
    """Sends one datagram."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with peer.entered(), socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.settimeout(5)
        sender.connect((address, port))
        sender.send(b"?")
        # Port unreachable: it has passed by the witness.
        with pytest.raises(ConnectionRefusedError):
            sender.recv(1)


def call(peer: Namespace, address: str, port: int) -> None:
    """Asks for one connection of TCP."""
    with peer.entered(), socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
        caller.settimeout(5)
        with pytest.raises(ConnectionRefusedError):
            caller.connect((address, port))


MARKED = (
    Marked(packed("10.0.0.1"), packed("10.0.0.2"), Transport.UDP, 53, 7),
    Marked(packed("10.0.0.3"), packed("10.0.0.3"), Transport.UDP, 0, 8),
    Marked(packed("10.0.0.1"), packed("10.0.0.1"), Transport.TCP, 53, 9),
    Marked(packed("2001:db8::1"), packed("2001:db8::2"), Transport.UDP, 53, 8),
)


@pytest.mark.keywords("global_defs/nftables_ipvs", "global_defs/nftables_ipvs_priority")
def test_packets_to_addresses_of_a_group_are_marked_and_no_others(peer: Namespace) -> None:
    group_marks.put("marks", -1, False, MARKED)
    send(peer, "10.0.0.1", 53)
    send(peer, "10.0.0.2", 53)
    send(peer, "10.0.0.2", 54)  # another port
    send(peer, "10.0.0.4", 53)  # another address
    assert seen() == {7: 2, 8: 0, 9: 0}
    send(peer, "10.0.0.3", 1)  # no port: every one
    send(peer, "10.0.0.3", 65535)
    assert seen() == {7: 2, 8: 2, 9: 0}
    call(peer, "10.0.0.1", 53)  # another protocol, another mark
    assert seen() == {7: 2, 8: 2, 9: 1}
    send(peer, "2001:db8::2", 53)
    assert seen() == {7: 2, 8: 3, 9: 1}


def test_what_is_marked_is_replaced_as_a_whole_and_removed(peer: Namespace) -> None:
    group_marks.put("marks", -1, True, MARKED)
    group_marks.put("others", -1, True, MARKED[1:2])
    assert not group_marks.stands("marks")
    assert group_marks.stands("others")
    send(peer, "10.0.0.1", 53)
    send(peer, "10.0.0.3", 53)
    assert seen() == {7: 0, 8: 1, 9: 0}
    group_marks.put("", 0, False, ())
    assert not group_marks.stands("others")
    send(peer, "10.0.0.3", 53)
    assert seen() == {7: 0, 8: 1, 9: 0}


def test_a_table_of_somebody_else_is_refused_and_stays(peer: Namespace) -> None:
    nft("add table inet marks")
    with pytest.raises(OSError, match="File exists"):
        group_marks.put("marks", -1, False, MARKED)
    assert group_marks.stands("marks")
    send(peer, "10.0.0.1", 53)
    assert seen() == {7: 0, 8: 0, 9: 0}


def test_a_firewall_that_flushes_all_is_noticed_and_the_table_put_back(peer: Namespace) -> None:
    marking = Marking(None)
    table = ("marks", -1, False)
    marking.settle(table, MARKED)
    marking.read()
    assert not select.select([marking.fileno()], [], [], 0)[0]
    nft("flush ruleset\n" + WITNESS)
    assert select.select([marking.fileno()], [], [], 5)[0]
    marking.read()
    assert not group_marks.stands("marks")
    marking.settle(table, MARKED)
    send(peer, "10.0.0.1", 53)
    assert seen() == {7: 1, 8: 0, 9: 0}
    marking.settle(table, ())
    assert not group_marks.stands("marks")
    marking.close()
