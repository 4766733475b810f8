"""Split brain as it happens: links that are cut and joined, hosts that do not hear, addresses that
somebody else has. Daemons and hosts in namespaces."""

from __future__ import annotations

from ipaddress import ip_address
from socket import AF_INET, AF_INET6

import pytest

from fastvrrp.kernel.claims import BLOCKS, Blocks, Claim, ClaimSocket, blocks_of
from lab import Fastvrrp, Laboratory, Link, Router, wait_until
from test_reload import instance, records, wait_master

BACKUP, MASTER = 1, 2
DEAF = (
    "table ip deaf { chain input { type filter hook input priority 0; ip protocol vrrp drop; }; }"
)


def pair(lab: Laboratory, *lines: str) -> tuple[list[Fastvrrp], Router, Link]:
    """A master, its backup and a host, on one switch."""
    a, b, host = lab.router("a"), lab.router("b"), lab.router("host")
    (link,) = lab.connect(a, b, host)
    daemons = [
        Fastvrrp(router, instance("VI_1", 1, *lines, priority=priority)).start()
        for router, priority in ((a, 200), (b, 100))
    ]
    wait_master(daemons[0], "VI_1")
    wait_until(lambda: state(daemons[1]) == BACKUP, what="a backup")
    return daemons, host, link


def state(daemon: Fastvrrp) -> int:
    return int(records(daemon).get("VI_1", {}).get("state", 0))


def split(daemon: Fastvrrp) -> tuple[bool, int]:
    """Whether the segment says that there is one, and how many there were."""
    record = records(daemon)["VI_1"]
    return record["split_since"] is not None, record["split_brains"]


def wait_split(daemon: Fastvrrp, expected: tuple[bool, int], timeout: float = 10.0) -> None:
    wait_until(
        lambda: split(daemon) == expected,
        timeout,
        what=lambda: f"{expected}, not {split(daemon)}:\n{daemon.log()}",
    )


@pytest.mark.parametrize("lines", [(), ("use_vmac",)])
def test_two_halves_of_a_link_that_are_cut_and_joined_are_no_split_brain(
    lab: Laboratory, lines: tuple[str, ...]
) -> None:
    """Each half has its master; when they are joined one yields at once."""
    daemons, _, link = pair(lab, *lines)
    switch = lab.switch_namespace
    assert switch is not None
    switch.ip(
        "link add half type bridge stp_state 0 mcast_snooping 0",
        "link set half up",
        "link add left type veth peer name right",
        f"link set left master br{link.index}",
        "link set right master half",
        "link set left up",
        "link set right up",
        f"link set {link.interface}.2 master half",
    )
    for round_number in range(1, 4):
        switch.ip("link set left down")
        wait_until(lambda: state(daemons[1]) == MASTER, what="a master in each half")
        assert state(daemons[0]) == MASTER
        switch.ip("link set left up")
        wait_until(lambda: state(daemons[1]) == BACKUP, what="one master")
        daemons[1].wait_log("Entering BACKUP STATE", count=round_number + 1)
    # Long enough for what would still be said: ten adverts.
    heard = records(daemons[1])["VI_1"]["adverts_received"]
    wait_until(lambda: records(daemons[1])["VI_1"]["adverts_received"] > heard + 10)
    assert [split(daemon) for daemon in daemons] == [(False, 0), (False, 0)]
    assert [daemon.stop() for daemon in daemons] == [0, 0]
    assert all("Split brain" not in daemon.log() for daemon in daemons)


def test_a_backup_that_is_deaf_makes_a_split_brain_which_the_master_notices(
    lab: Laboratory,
) -> None:
    daemons, _, _ = pair(lab)
    a, b = daemons
    b.router.run(["nft", DEAF])
    wait_until(lambda: state(b) == MASTER, what="two masters")
    wait_split(a, (True, 1))
    a.wait_log("(VI_1) Split brain: 10.0.0.2 speaks as master too, and does not yield")
    b.router.run(["nft", "delete table ip deaf"])
    wait_until(lambda: state(b) == BACKUP, what="one master")
    wait_split(a, (False, 1))
    a.wait_log("(VI_1) Split brain is over after ")
    assert a.log().count("(VI_1) Split brain: ") == 1
    assert [daemon.stop() for daemon in daemons] == [0, 0]


@pytest.mark.parametrize("track", ["", " no_track"])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("lines", [(), ("use_vmac",)])
def test_a_host_that_has_a_virtual_address_is_noticed_until_it_has_it_no_more(
    lab: Laboratory, family: int, lines: tuple[str, ...], track: str
) -> None:
    """The host is heard once, probed, and believed when it answers."""
    a, host = lab.router("a"), lab.router("host")
    (link,) = lab.connect(a, host)
    address = "10.0.0.101/24" if family == 4 else "fd00::101/64"
    plain = ("10.0.0.101/24",) if family == 4 else ("fe80::101/64", "fd00::101/64")
    addresses = tuple(each + track for each in plain)
    daemon = Fastvrrp(a, instance("VI_1", 1, *lines, addresses=addresses)).start()
    wait_master(daemon, "VI_1")
    wait_until(lambda: a.holds(address.partition("/")[0]), what="the address")
    begun = records(daemon)["VI_1"]["adverts_sent"]
    wait_until(lambda: records(daemon)["VI_1"]["adverts_sent"] > begun + 5, what="some adverts")
    assert split(daemon) == (False, 0)
    # The kernel of the host announces what it has when its link comes up.
    host.set_sysctl(f"net/ipv4/conf/{link.interface}/arp_notify", "1")
    host.set_sysctl(f"net/ipv6/conf/{link.interface}/ndisc_notify", "1")
    host.set_sysctl(f"net/ipv6/conf/{link.interface}/keep_addr_on_down", "1")
    host.ip(f"address add {address} dev {link.interface}")
    announce(host, link)
    wait_split(daemon, (True, 1))
    mac = next(each["address"] for each in host.show("link", "show") if each["ifname"] == "eth0")
    daemon.wait_log(f"(VI_1) Split brain: {mac} answers for {address.partition('/')[0]}")
    assert daemon.stop() == 0


def test_it_is_over_when_nobody_answers_for_the_address_any_more(lab: Laboratory) -> None:
    """Three probes, ten seconds apart, without an answer."""
    a, host = lab.router("a"), lab.router("host")
    (link,) = lab.connect(a, host)
    daemon = Fastvrrp(a, instance("VI_1", 1)).start()
    wait_master(daemon, "VI_1")
    begun = records(daemon)["VI_1"]["adverts_sent"]
    wait_until(lambda: records(daemon)["VI_1"]["adverts_sent"] > begun + 5, what="some adverts")
    host.set_sysctl(f"net/ipv4/conf/{link.interface}/arp_notify", "1")
    host.ip(f"address add 10.0.0.101/24 dev {link.interface}")
    announce(host, link)
    wait_split(daemon, (True, 1))
    host.ip(f"address del 10.0.0.101/24 dev {link.interface}")
    wait_split(daemon, (False, 1), timeout=60.0)
    daemon.wait_log("(VI_1) Split brain is over after ")
    assert daemon.stop() == 0


@pytest.mark.parametrize("lines", [(), ("use_vmac",)])
def test_ordinary_changes_of_the_master_are_none(lab: Laboratory, lines: tuple[str, ...]) -> None:
    """The preferred one stops, comes back and is killed, three times."""
    daemons, _, _ = pair(lab, *lines)
    a, b = daemons
    for round_number in range(1, 4):
        if round_number == 2:
            a.kill()
        else:
            assert a.stop() == 0
        b.wait_log("(VI_1) Entering MASTER STATE", count=round_number)
        a.start()
        wait_master(a, "VI_1")
        wait_until(lambda: state(b) == BACKUP, what="one master")
        heard = records(b)["VI_1"]["adverts_received"]
        wait_until(lambda heard=heard: records(b)["VI_1"]["adverts_received"] > heard + 10)  # type: ignore[misc]
    assert [split(daemon) for daemon in daemons] == [(False, 0), (False, 0)]
    assert [daemon.stop() for daemon in daemons] == [0, 0]


def announce(host: Router, link: Link) -> None:
    """Lets a host's kernel say which MAC its addresses have: the MAC changes to what it is."""
    mac = next(
        each["address"] for each in host.show("link", "show") if each["ifname"] == link.interface
    )
    host.ip(
        f"link set {link.interface} address 02:00:00:00:00:99",
        f"link set {link.interface} address {mac}",
    )


def test_blocks_are_exact_for_few_and_cover_many() -> None:
    few = [(AF_INET, ip_address(text).packed) for text in ("10.0.0.1", "10.9.0.200")]
    few.append((AF_INET6, ip_address("fd00::1:2").packed))
    assert list(blocks_of(few)) == [
        {AF_INET: Blocks(0, (0x0A000001, 0x0A0900C8)), AF_INET6: Blocks(0, (0x00010002,))}
    ]
    many = [(AF_INET, (0x0A000000 + 3 * i).to_bytes(4, "big")) for i in range(65_280)]
    *steps, found = blocks_of(many)
    assert len(steps) == 65_280 // 512
    assert found is not None
    blocks = found[AF_INET]
    assert len(blocks.heads) <= BLOCKS
    assert {int.from_bytes(each, "big") >> blocks.shift for _, each in many} == set(blocks.heads)


@pytest.mark.parametrize("count", [1, 32, 500])
def test_the_kernel_lets_claims_of_those_addresses_through_and_no_others(
    lab: Laboratory, count: int
) -> None:
    a, host = lab.router("a"), lab.router("host")
    (link,) = lab.connect(a, host)
    ours = [(0x0A000100 + 2 * i).to_bytes(4, "big") for i in range(count)]
    found = list(blocks_of((AF_INET, each) for each in ours))[-1]
    assert found is not None
    blocks = found[AF_INET]
    hears = a.call(lambda: ClaimSocket(AF_INET, blocks))
    speaks = host.call(lambda: ClaimSocket(AF_INET, Blocks(0, ())))
    mac = bytes.fromhex("020000000009")
    try:
        heard: list[Claim] = []
        strangers = [bytes((192, 168, 0, last)) for last in range(20)]
        for address in (*strangers, *ours[:20]):
            frame = b"\xff" * 6 + mac + bytes.fromhex("0806 0001080006040001")
            frame += mac + address + bytes(6) + address
            speaks._socket.sendto(frame, (link.interface, 0x0806))

        def take() -> bool:
            heard.extend(a.call(lambda: list(hears.receive())))
            return len(heard) >= min(count, 20)

        wait_until(take, what=lambda: f"claims, not only {heard}")
        assert heard == [Claim(link.interface, AF_INET, each, mac) for each in ours[:20]]
    finally:
        hears.close()
        speaks.close()
