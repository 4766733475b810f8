"""What a reload would change: what goes on, what leaves MASTER, and how it is said."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fastvrrp.config.diff import compare
from fastvrrp.model import (
    SECOND,
    Announcements,
    CheckTarget,
    CheckTiming,
    Command,
    Configuration,
    GlobalDefinitions,
    Hmac,
    HmacKey,
    InstanceOptions,
    Notifications,
    Prefix,
    RealServer,
    Route,
    State,
    SyncGroup,
    TcpCheck,
    TlsClient,
    Tracked,
    Tracker,
    TrackFile,
    Transport,
    UnicastPeer,
    VirtualAddress,
    VirtualRouter,
    VirtualServer,
    Vmac,
)

ADDRESS = VirtualAddress(2, bytes((192, 0, 2, 1)), 24)
OTHER = VirtualAddress(2, bytes((192, 0, 2, 9)), 24, interface="eth1")
PEERS = tuple(UnicastPeer(bytes((192, 0, 2, 200 + n))) for n in range(3))
GROUP = bytes((224, 0, 0, 18))
ROUTER = VirtualRouter(
    "VI_1", "eth0", 1, 2, priority=150, addresses=(ADDRESS,), multicast_group=GROUP
)


def lines_of(old: list[VirtualRouter], new: list[VirtualRouter]) -> list[str]:
    before = Configuration(virtual_routers=tuple(old))
    return list(compare(before, Configuration(virtual_routers=tuple(new))).lines())


def test_nothing_changes() -> None:
    assert lines_of([ROUTER], [ROUTER]) == [
        "0 added, 0 removed, 0 changed, 1 unchanged; none would leave MASTER"
    ]


def test_added_and_removed() -> None:
    assert lines_of([ROUTER], [replace(ROUTER, name="VI_2", vrid=2)]) == [
        "- VI_1 (eth0, IPv4, VRID 1)",
        "    leaves MASTER: it is removed",
        "+ VI_2 (eth0, IPv4, VRID 2)",
        "1 added, 1 removed, 0 changed, 0 unchanged; 1 would leave MASTER",
    ]


@pytest.mark.parametrize(
    ("changed", "differences"),
    [
        (replace(ROUTER, name="VI_9"), ["name: VI_1 -> VI_9"]),
        (replace(ROUTER, priority=200), ["priority: 150 -> 200"]),
        (replace(ROUTER, advert_interval=SECOND // 2), ["advert_interval: 1 -> 0.5"]),
        (replace(ROUTER, state=State.MASTER), ["state: BACKUP -> MASTER"]),
        (replace(ROUTER, password=b"secret"), ["password: changed"]),
        (replace(ROUTER, addresses=(OTHER,)), ["addresses: -192.0.2.1/24 +192.0.2.9/24[interface"]),
        (
            replace(ROUTER, announcements=Announcements(master_delay=0)),
            ["announcements.master_delay: 5 -> 0"],
        ),
        (replace(ROUTER, vmac=Vmac("vrrp.1", bytes(6))), ["vmac: none -> vrrp.1"]),
        (replace(ROUTER, source_address=PEERS[0].address), ["source_address: none -> 192.0.2.200"]),
    ],
)
def test_what_stays_master(changed: VirtualRouter, differences: list[str]) -> None:
    first, *said, summary = lines_of([ROUTER], [changed])
    assert first.startswith("~ ")
    assert len(said) == len(differences)
    for line, difference in zip(said, differences, strict=True):
        assert line.startswith("    " + difference)
    assert summary.endswith("none would leave MASTER")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (replace(ROUTER, interface="eth1"), "it becomes another virtual router"),
        (replace(ROUTER, vrid=7), "it becomes another virtual router"),
        (replace(ROUTER, unicast_peers=PEERS), "it becomes another virtual router"),
        (
            replace(ROUTER, multicast_group=bytes((224, 0, 0, 19))),
            "it becomes another virtual router",
        ),
        (replace(ROUTER, priority=90), "if a backup has a priority above 90, and preempts"),
    ],
)
def test_what_leaves_master(changed: VirtualRouter, reason: str) -> None:
    *_, said, summary = lines_of([ROUTER], [changed])
    assert said == f"    leaves MASTER: {reason}"
    assert summary.endswith("1 would leave MASTER")


def test_unicast_goes_on_while_a_peer_remains() -> None:
    old = replace(ROUTER, unicast_peers=PEERS[:2])
    assert lines_of([old], [replace(old, unicast_peers=PEERS[1:])])[1:] == [
        "    unicast_peers: -192.0.2.200 +192.0.2.202",
        "0 added, 0 removed, 1 changed, 0 unchanged; none would leave MASTER",
    ]
    assert lines_of([old], [replace(old, unicast_peers=PEERS[2:])])[-1].endswith(
        "1 would leave MASTER"
    )


def test_addresses_in_another_order() -> None:
    old = replace(ROUTER, addresses=(ADDRESS, OTHER))
    assert lines_of([old], [replace(ROUTER, addresses=(OTHER, ADDRESS))])[1] == (
        "    addresses: in another order"
    )


def test_names_that_are_exchanged_follow_their_vrids() -> None:
    other = replace(ROUTER, name="VI_2", vrid=2)
    exchanged = [replace(ROUTER, name="VI_2"), replace(other, name="VI_1")]
    assert lines_of([ROUTER, other], exchanged)[-1] == (
        "0 added, 0 removed, 2 changed, 0 unchanged; none would leave MASTER"
    )


def test_what_holds_for_the_whole_daemon() -> None:
    new = Configuration(GlobalDefinitions(router_id="left", garp_interval=SECOND))
    assert list(compare(Configuration(), new).lines())[:2] == [
        "~ global_defs: router_id: none -> left",
        "~ global_defs: garp_interval: 0 -> 1",
    ]


def test_notifications_and_options_are_said_field_by_field() -> None:
    command = Command(("/bin/tell", "me"), "root")
    hmac = Hmac((HmacKey(1, "the old secret"),), 1)
    old = replace(ROUTER, options=InstanceOptions(hmac=hmac))
    new = replace(
        ROUTER,
        options=InstanceOptions(
            Notifications(master=command),
            hmac=Hmac((HmacKey(1, "the new secret"), HmacKey(2, "another secret")), 2),
        ),
    )
    said = lines_of([old], [new])
    assert said[1:-1] == [
        "    options.notifications.master: none -> /bin/tell me (as root)",
        "    options.hmac.keys: +2",
        "    options.hmac.keys[1].key: changed",
        "    options.hmac.active_key: 1 -> 2",
    ]
    assert "secret" not in " ".join(lines_of([ROUTER], [new]) + lines_of([new], [ROUTER]))


def test_what_is_tracked_is_said_by_its_name() -> None:
    old = replace(
        ROUTER, tracked=(Tracked(Tracker.SCRIPT, "a", 5), Tracked(Tracker.INTERFACE, "eth1"))
    )
    new = replace(
        ROUTER, tracked=(Tracked(Tracker.SCRIPT, "a", 7), Tracked(Tracker.FILE, "b", 1, True))
    )
    assert lines_of([old], [new])[1:-1] == [
        "    tracked: -interface eth1 +file b weight 1 reverse",
        "    tracked[script a].weight: 5 -> 7",
    ]


SERVER = RealServer(bytes((192, 0, 2, 21)), 80)
CHECK = TcpCheck(CheckTarget(SERVER.address, 80), CheckTiming())
VIRTUAL = VirtualServer(
    bytes((192, 0, 2, 20)), 80, family=2, protocol=Transport.TCP, real_servers=(SERVER,)
)


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (
            Configuration(sync_groups=(SyncGroup("G", ("A", "B")),)),
            Configuration(sync_groups=(SyncGroup("G", ("A", "C")), SyncGroup("H", ("B", "D")))),
            ["~ vrrp_sync_group G", "    members: -B +C", "+ vrrp_sync_group H"],
        ),
        (
            Configuration(track_files=(TrackFile("F", "/a"), TrackFile("G", "/b"))),
            Configuration(track_files=(TrackFile("G", "/b", 2),)),
            ["- track_file F", "~ track_file G", "    weight: 1 -> 2"],
        ),
        (
            Configuration(virtual_servers=(VIRTUAL,)),
            Configuration(
                virtual_servers=(
                    replace(VIRTUAL, real_servers=(replace(SERVER, weight=3, checkers=(CHECK,)),)),
                )
            ),
            [
                "~ virtual_server 192.0.2.20:80 TCP",
                "    real_servers[192.0.2.21:80].weight: 1 -> 3",
                "    real_servers[192.0.2.21:80].checkers: +TCP_CHECK[target 192.0.2.21:80]",
            ],
        ),
        (
            Configuration(virtual_servers=(VIRTUAL,)),
            Configuration(virtual_servers=(replace(VIRTUAL, real_servers=()),)),
            ["~ virtual_server 192.0.2.20:80 TCP", "    real_servers: -192.0.2.21:80"],
        ),
        (
            Configuration(),
            Configuration(static_routes=(Route(2, Prefix(bytes(4), 0)),)),
            ["+ static_routes 0.0.0.0/0"],
        ),
        (
            Configuration(tls_client=TlsClient(password="one secret")),
            Configuration(tls_client=TlsClient(password="two secrets")),
            ["~ SSL: password: changed"],
        ),
    ],
)
def test_what_is_no_virtual_router(
    old: Configuration, new: Configuration, lines: list[str]
) -> None:
    assert list(compare(old, new).lines())[:-1] == lines
