"""Virtual routers without an interface: unicast adverts that are routed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvrrp._sockets import interface_number, number_anywhere, place_and_ifindex
from fastvrrp._table import Table
from fastvrrp.config import Reading, read
from lab import Fastvrrp, Keepalived, Laboratory, Router
from test_daemon import wait_state

BACKUP, MASTER = 1, 2
ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
ADDRESSES = {4: "10.0.0.100/24 dev eth0", 6: "fe80::100 dev eth0\nfd00::100/64 dev eth0"}


def instance(number: int, family: int = 4, *lines: str, priority: int = 200) -> str:
    """One that is master after 1.5 s, at the first or the second of two ends."""
    own, other = ENDS[family][number], ENDS[family][1 - number]
    body = "\n    ".join(lines)
    return f"""
vrrp_instance V {{
    virtual_router_id 7
    version 3
    advert_int 0.5
    priority {priority}
    unicast_src_ip {own}
    unicast_peer {{
        {other}
    }}
    {body}
    virtual_ipaddress {{
        {ADDRESSES[family]}
    }}
}}
"""


def route(a: Router, b: Router, family: int) -> None:
    """Addresses on neither of two links, which are reached by the first, or else the second."""
    for router, peer, number in ((a, b, 0), (b, a, 1)):
        length = 32 if family == 4 else 128
        router.ip(
            f"address add {ENDS[family][number]}/{length} dev lo",
            *(
                f"route add {ENDS[family][1 - number]} via {link.address(peer, family)}"
                f" dev {link.interface} metric {100 + link.index}"
                for link in a.laboratory.links
            ),
        )


@pytest.mark.keywords("vrrp_instance/interface", "vrrp_instance/unicast_src_ip")
@pytest.mark.parametrize("family", [4, 6])
def test_adverts_go_the_way_that_the_routing_table_has_for_them(
    lab: Laboratory, family: int
) -> None:
    vip = "10.0.0.100" if family == 4 else "fd00::100"
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b, count=2)
    route(a, b, family)
    first = Fastvrrp(a, instance(0, family)).start()
    second = Fastvrrp(b, instance(1, family, priority=100)).start()
    wait_state(first, MASTER, "V")
    wait_state(second, BACKUP, "V")
    lab.wait_for_holder(vip, a)
    # Another way, and nobody takes over: who did would say so.
    for router, peer, number in ((a, b, 0), (b, a, 1)):
        router.ip(
            f"route replace {ENDS[family][1 - number]} via {lab.links[1].address(peer, family)}"
            f" dev eth1 metric 1"
        )
    first.kill()
    wait_state(second, MASTER, "V")
    first.start()
    wait_state(second, BACKUP, "V")
    assert first.stop() == 0
    wait_state(second, MASTER, "V")
    assert second.stop() == 0
    assert "Traceback" not in first.log() + second.log()


def test_keepalived_with_an_interface_is_a_peer(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    (link,) = lab.connect(a, b)
    ends = [link.address(a), link.address(b)]
    text = [instance(number, priority=200 - number) for number in (0, 1)]
    for number, end in enumerate(ends):
        text = [each.replace(ENDS[4][number], end) for each in text]
    ours = Fastvrrp(a, text[0]).start()
    theirs = Keepalived(
        b, text[1].replace("virtual_router_id", "interface eth0\nvirtual_router_id")
    )
    theirs.start().wait_log("Entering BACKUP STATE")
    lab.wait_for_holder("10.0.0.100", a)
    assert ours.stop() == 0
    lab.wait_for_holder("10.0.0.100", b)
    ours.start()
    lab.wait_for_holder("10.0.0.100", a)


def test_a_table_finds_the_interface_first_then_its_vrf_then_none() -> None:
    table = Table(None, 8)
    other = number_anywhere(5)
    assert place_and_ifindex(number_anywhere(0)) == (0, 0)
    assert place_and_ifindex(other) == (5, 0)
    at = {
        number: table.add(f"V{number}", "", number, 4, 7, 100)
        for number in (3, 9, number_anywhere(0), other)
    }

    def found(number: int) -> list[int]:
        return table.lookup(number, 4, 7)

    assert found(4) == []
    table.roam(3, [(5, 9), (4, 9), (interface_number(5, 4), interface_number(5, 8))])
    assert found(3) == [at[3]]
    assert found(4) == found(5) == found(9) == [at[9]]
    assert found(6) == [at[number_anywhere(0)]]
    assert found(interface_number(5, 6)) == [at[other]]
    assert found(interface_number(5, 4)) == found(interface_number(4, 4)) == []
    table.roam(0, [])
    assert found(4) == found(6) == []
    assert found(3) == [at[3]]


def taken(tmp_path: Path, text: str) -> Reading:
    path = tmp_path / "x.conf"
    path.write_text(text)
    return read(str(path))


@pytest.mark.keywords("global_defs/default_interface")
def test_addresses_that_name_no_interface_go_to_the_default_one(tmp_path: Path) -> None:
    text = "global_defs {\n default_interface eth9\n}\n" + instance(0)
    reading = taken(tmp_path, text.replace("10.0.0.100/24", "10.0.0.99/24\n10.0.0.100/24"))
    assert not reading.complaints
    [router] = reading.configuration.virtual_routers
    assert (router.interface, router.where) == ("", "any interface")
    assert [address.interface for address in router.addresses] == ["eth9", "eth0"]


@pytest.mark.parametrize(
    ("text", "complaint", "is_taken"),
    [
        (instance(0).replace("192.0.2.2", ""), "has no interface; write interface", False),
        (instance(0).replace("unicast_src_ip", "#"), "and no unicast_src_ip", False),
        (
            instance(0, 6).replace("2001:db8::2", "fe80::2"),
            "has no interface, which link-local addresses need",
            False,
        ),
        (instance(0, 4, "use_vmac"), "use_vmac is left out: V has no interface", True),
        (instance(0, 4, "interface eth0", "vrf red"), "vrf is ignored: V has an interface", True),
        (instance(0) + instance(0).replace(" V ", " W "), "on any interface, as V", True),
        (instance(0, 4, "vrf red") + instance(0).replace(" V ", " W "), "also an address", True),
    ],
)
@pytest.mark.keywords("vrrp_instance/vrf")
def test_what_an_instance_without_an_interface_needs(
    tmp_path: Path, text: str, complaint: str, is_taken: bool
) -> None:
    reading = taken(tmp_path, text)
    assert any(complaint in each.text for each in reading.complaints), reading.complaints
    assert bool(reading.configuration.virtual_routers) == is_taken
