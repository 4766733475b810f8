"""What virtual servers are as services, which marks groups get, and what a difference is."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from socket import AF_INET, AF_INET6

import pytest

from fastvrrp.kernel.ipvs import Action, Change
from fastvrrp.lvs.marks import Marks
from fastvrrp.lvs.services import destination_of, services_of
from fastvrrp.lvs.table import Entry, difference
from fastvrrp.model import (
    SECOND,
    AddressRange,
    Configuration,
    Firewall,
    Forwarding,
    ForwardingMethod,
    GlobalDefinitions,
    IpvsServiceKey,
    Mark,
    RealServer,
    SchedulerFlag,
    Transport,
    Tunnel,
    VirtualServer,
    VirtualServerGroup,
)


def packed(text: str) -> bytes:
    return ip_address(text).packed


GROUP = VirtualServerGroup(
    "G",
    (
        AddressRange(packed("10.0.0.254"), packed("10.0.1.1"), 80),
        AddressRange(packed("fd00::ffff"), packed("fd00::1:0"), 80),
    ),
)
SERVER = VirtualServer(group="G", protocol=Transport.TCP)
REAL = RealServer(packed("10.9.0.1"), 80, 5)


def test_a_range_goes_over_the_ends_of_octets() -> None:
    keys = [service.key for service in services_of(SERVER, GROUP)]
    assert [str(ip_address(key.address)) for key in keys] == [
        *("10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1", "fd00::ffff", "fd00::1:0"),
    ]
    assert {(key.family, len(key.address)) for key in keys} == {(AF_INET, 4), (AF_INET6, 16)}


def test_a_mark_stands_for_all_addresses_of_a_family() -> None:
    assert [service.key for service in services_of(SERVER, GROUP, 7)] == [
        IpvsServiceKey(AF_INET, mark=7),
        IpvsServiceKey(AF_INET6, mark=7),
    ]


def test_a_mask_of_persistence_is_of_the_services_of_its_family() -> None:
    mask = packed("255.255.255.0")
    server = replace(SERVER, persistence_timeout=SECOND, persistence_mask=mask)
    masks = {service.key.family: service.persistence_mask for service in services_of(server, GROUP)}
    assert masks == {AF_INET: mask, AF_INET6: None}


def test_what_counts_only_for_persistence_or_tunnels_makes_no_difference_without() -> None:
    plain = services_of(SERVER, GROUP)
    unused = replace(
        SERVER,
        persistence_mask=packed("255.255.255.0"),
        persistence_engine="sip",
        scheduler_flags=SchedulerFlag.HASHED,  # which the kernel sets by itself
    )
    assert services_of(unused, GROUP) == plain
    direct = replace(REAL, forwarding=Forwarding(ForwardingMethod.DR, Tunnel.GUE, 6080))
    assert destination_of(direct, 5).forwarding == Forwarding(ForwardingMethod.DR)


def entry(*weights: int, scheduler: str = "rr") -> Entry:
    server = VirtualServer(address=packed("10.0.0.1"), port=80, scheduler=scheduler)
    (service,) = services_of(server)
    found = [
        destination_of(replace(REAL, port=80 + number), weight)
        for number, weight in enumerate(weights)
        if weight >= 0
    ]
    return Entry(service, {one.key: one for one in found})


def told(changes: list[Change]) -> list[tuple[Action, int | None]]:
    """What is done, and with the destination of which port."""
    return [
        (change.action, None if change.destination is None else change.destination.key.port)
        for change in changes
    ]


@pytest.mark.parametrize(
    ("have", "want", "expected"),
    [
        (None, None, []),
        (None, entry(1, 1), [(Action.ADD, None), (Action.ADD, 80), (Action.ADD, 81)]),
        (entry(1, 1), None, [(Action.REMOVE, None)]),
        (entry(1, 1), entry(1, 1), []),
        (entry(1, 1), entry(1, 2), [(Action.EDIT, 81)]),
        (entry(1, 1), entry(-1, 1, 1), [(Action.ADD, 82), (Action.REMOVE, 80)]),
        (entry(1), entry(1, scheduler="wlc"), [(Action.EDIT, None)]),
    ],
)
def test_a_difference_touches_what_is_different(
    have: Entry | None, want: Entry | None, expected: list[tuple[Action, int | None]]
) -> None:
    assert told(list(difference(have, want))) == expected


def configuration(*names: str, first: int = 1000, is_on: bool = True) -> Configuration:
    firewall = Firewall(marks_for_ipvs=is_on, ipvs_first_mark=first)
    return Configuration(
        GlobalDefinitions(firewall=firewall),
        virtual_server_groups=tuple(replace(GROUP, name=name) for name in names),
        virtual_servers=tuple(replace(SERVER, group=name) for name in names),
    )


def marks_of(marks: Marks, *names: str) -> list[int | None]:
    return [marks.mark_of(replace(SERVER, group=name)) for name in names]


@pytest.mark.keywords("global_defs/nftables_ipvs_start_fwmark")
def test_marks_are_given_in_order_and_stay_over_reloads() -> None:
    marks = Marks()
    marks.configure(configuration("A", "B", "C", first=50))
    assert marks_of(marks, "A", "B", "C") == [50, 51, 52]
    marks.configure(configuration("C", "D", first=50))
    assert marks_of(marks, "A", "C", "D") == [None, 52, 50]
    assert {each.mark for each in marks.marked} == {50, 52}
    marks.configure(configuration("C", "D", is_on=False))
    assert marks_of(marks, "C", "D") == [None, None]
    assert marks.marked == ()


def test_a_mark_that_a_reload_uses_is_taken_back() -> None:
    marks = Marks()
    before = configuration("A")
    marks.configure(before)
    own = VirtualServer(mark=1000, family=AF_INET, protocol=None)
    marks.configure(replace(before, virtual_servers=(*before.virtual_servers, own)))
    assert marks_of(marks, "A") == [1001]


def test_a_mark_that_the_configuration_uses_is_given_to_nobody() -> None:
    used = configuration("A", "B")
    used = replace(
        used,
        virtual_server_groups=(
            *used.virtual_server_groups,
            VirtualServerGroup("OWN", marks=(Mark(1001),)),
        ),
        virtual_servers=(
            *used.virtual_servers,
            VirtualServer(mark=1000, family=AF_INET, protocol=None),
            replace(SERVER, group="OWN"),
        ),
    )
    marks = Marks()
    marks.configure(used)
    assert marks_of(marks, "A", "B", "OWN") == [1002, 1003, None]
