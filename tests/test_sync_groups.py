"""Sync groups of real daemons in namespaces, side by side with keepalived on the same files."""

from __future__ import annotations

import re
import signal
from itertools import groupby

import pytest

from fastvrrp._table import Segment
from lab import Capture, Daemon, Fastvrrp, Keepalived, Laboratory, Router, wait_until

BACKUP, MASTER, FAULT = 1, 2, 3
ARP = 0
"""Instead of a VRID."""
BOTH = pytest.mark.parametrize("kind", [Fastvrrp, Keepalived])
EVENT = re.compile(r"\((?:VI_\d|G)\) (?:Entering|Syncing instances to) \w+ (?i:state)")


def instance(name: str, vrid: int, priority: int, interface: str, *lines: str) -> str:
    body = "\n    ".join(
        (
            f"interface {interface}",
            f"virtual_router_id {vrid}",
            f"priority {priority}",
            "version 3",
            "advert_int 0.5",
            f"virtual_ipaddress {{\n        10.{vrid}.0.100/24\n    }}",
            *lines,
        )
    )
    return f"vrrp_instance {name} {{\n    {body}\n}}\n"


def group(*members: str) -> str:
    return (
        "vrrp_sync_group G {\n    group {\n        " + "\n        ".join(members) + "\n    }\n}\n"
    )


def two(first: int, second: int, *lines: str) -> str:
    """A virtual router on each of two links, with different priorities: the second one is always
    the last to miss a master."""
    return (
        group("VI_1", "VI_2")
        + instance("VI_1", 51, first, "eth0", *lines)
        + instance("VI_2", 52, second, "eth1", *lines)
    )


def three_routers(lab: Laboratory) -> tuple[Router, Router, Router]:
    """On two switches, so that no link of one is down because the other's is."""
    routers = lab.router("a"), lab.router("b"), lab.router("c")
    lab.connect(*routers, count=2)
    return routers


def wait_all(daemon: Daemon, state: str, count: int = 1, *names: str) -> None:
    for name in names or ("VI_1", "VI_2"):
        daemon.wait_log(f"({name}) Entering {state} STATE", count=count)


def adverts(capture: Capture, vrid: int) -> list[tuple[str, int]]:
    """Who sent adverts of a virtual router, with which priority, without repetitions."""
    runs = groupby((each.source, each.priority) for each in capture.adverts() if each.vrid == vrid)
    return [run for run, _ in runs]


def sent_by(capture: Capture, number: int) -> list[int]:
    """What the router of that number has sent: VRIDs of adverts, and ARP."""
    sent: list[int] = []
    for frame in capture.frames:
        data = frame.data
        if data[6:10] != bytes((2, 0, 0, 0)) or data[11] != number:
            continue
        if data[12:14] == b"\x08\x06":
            sent.append(ARP)
        elif data[12:14] == b"\x08\x00" and data[23] == 112:
            sent.append(data[35])
    return sent


class History:
    """What a daemon of each kind does in one and the same story."""

    def __init__(self, lab: Laboratory, kind: type[Daemon]) -> None:
        a, b, c = three_routers(lab)
        with Capture(c) as capture:
            ours = kind(a, two(200, 190)).start()
            wait_all(ours, "MASTER")
            preferred = Keepalived(b, two(220, 210)).start()
            wait_all(ours, "BACKUP", 2)
            preferred.stop()
            wait_all(ours, "MASTER", 2)
            a.ip("link set eth0 down")
            wait_all(ours, "FAULT")
            a.ip("link set eth0 up")
            wait_all(ours, "MASTER", 3)
            seen = len(capture.frames)
            ours.stop()
            capture.wait_for_advert(52, priority=0, after=seen)
        self.log = ours.log()
        self.events = EVENT.findall(self.log)
        self.wire = {vrid: adverts(capture, vrid) for vrid in (51, 52)}
        self.capture = capture


@pytest.fixture(scope="module")
def histories() -> dict[type[Daemon], History]:
    told: dict[type[Daemon], History] = {}
    for kind in (Fastvrrp, Keepalived):
        with Laboratory() as laboratory:
            told[kind] = History(laboratory, kind)
    return told


@pytest.mark.xdist_group("sync group history")
class TestHistory:
    @pytest.mark.keywords("At the top/vrrp_sync_group", "vrrp_sync_group/group")
    def test_members_change_in_the_order_in_which_keepalived_changes_them(
        self, histories: dict[type[Daemon], History]
    ) -> None:
        ours, theirs = histories[Fastvrrp], histories[Keepalived]
        assert ours.events == theirs.events, ours.log + theirs.log
        assert len(theirs.events) == 2 + 6 * 3

    def test_the_adverts_are_those_of_keepalived(
        self, histories: dict[type[Daemon], History]
    ) -> None:
        ours, theirs = histories[Fastvrrp], histories[Keepalived]
        assert ours.wire == theirs.wire
        # The one whose own link is up resigns for the fault of the other.
        assert theirs.wire[52].count(("10.0.1.1", 0)) == 2

    def test_all_adverts_leave_before_the_first_announcement(
        self, histories: dict[type[Daemon], History]
    ) -> None:
        """keepalived announces the addresses of one member before the next one's advert leaves."""
        kinds = sent_by(histories[Fastvrrp].capture, 1)
        assert kinds[: kinds.index(ARP)] == [52, 51]


@BOTH
def test_a_group_follows_a_master_as_long_as_one_member_does(
    lab: Laboratory, kind: type[Daemon]
) -> None:
    a, b, c = three_routers(lab)
    master = Keepalived(a, two(200, 200)).start()
    wait_all(master, "MASTER")
    backup = kind(b, two(100, 100)).start()
    wait_all(backup, "BACKUP")
    deafen(b, "eth0")
    backup.wait_log("(VI_1) Receive advertisement timeout", count=2)
    assert "Entering MASTER" not in backup.log()
    with Capture(c) as capture:
        master.kill()
        wait_all(backup, "MASTER")
        capture.wait_for_advert(51, source="10.0.0.2")
        capture.wait_for_advert(52, source="10.0.1.2")
    assert EVENT.findall(backup.log())[-3:] == [
        "(VI_2) Entering MASTER STATE",
        "(G) Syncing instances to MASTER state",
        "(VI_1) Entering MASTER STATE",
    ]


@BOTH
def test_a_group_with_a_fault_does_not_become_master(lab: Laboratory, kind: type[Daemon]) -> None:
    a, b, _ = three_routers(lab)
    a.ip("link set eth1 down")
    daemon = kind(a, two(200, 200)).start()
    daemon.wait_log("(VI_1) Entering FAULT STATE" if kind is Fastvrrp else "(VI_1) entering FAULT")
    other = Keepalived(b, two(100, 100)).start()
    wait_all(other, "MASTER")  # we would have been, long before
    assert "Entering MASTER" not in daemon.log()
    a.ip("link set eth0 down")
    daemon.wait_log("Netlink reports eth0 down")
    a.ip("link set eth1 up")
    daemon.wait_log("Netlink reports eth1 up")
    assert "Entering BACKUP" not in daemon.log()
    a.ip("link set eth0 up")
    wait_all(daemon, "MASTER")
    assert EVENT.findall(daemon.log())[-6:] == [
        "(VI_1) Entering BACKUP STATE",
        "(G) Syncing instances to BACKUP state",
        "(VI_2) Entering BACKUP STATE",
        *EVENT.findall(daemon.log())[-3:],
    ]


@BOTH
def test_a_group_of_owners_starts_as_master(lab: Laboratory, kind: type[Daemon]) -> None:
    a, _, c = three_routers(lab)
    with Capture(c) as capture:
        daemon = kind(a, two(255, 255, "state MASTER")).start()
        wait_all(daemon, "MASTER")
        capture.wait_for_advert(51, priority=255)
        capture.wait_for_advert(52, priority=255)
    assert "BACKUP" not in daemon.log()
    assert "Syncing" not in daemon.log()


@BOTH
def test_a_group_with_one_owner_waits_at_the_start(lab: Laboratory, kind: type[Daemon]) -> None:
    a, _, _ = three_routers(lab)
    configuration = two(255, 200).replace("priority 255", "priority 255\n    state MASTER")
    daemon = kind(a, configuration).start()
    wait_all(daemon, "MASTER")
    assert EVENT.findall(daemon.log())[:2] == [
        "(VI_1) Entering BACKUP STATE",
        "(VI_2) Entering BACKUP STATE",
    ]


def test_a_reload_moves_no_address_of_a_master_that_gets_a_new_member(lab: Laboratory) -> None:
    a, _, c = three_routers(lab)
    one = instance("VI_1", 51, 200, "eth0")
    daemon = Fastvrrp(a, group("VI_1") + one).start()
    wait_all(daemon, "MASTER", 1, "VI_1")
    with Capture(c) as capture:
        daemon.configure(two(200, 200))
        daemon.signal(signal.SIGHUP)
        wait_all(daemon, "MASTER", 1, "VI_2")
        capture.wait_for_advert(52)
    assert [each.priority for each in capture.adverts() if each.priority == 0] == []
    assert daemon.log().count("(VI_1) Entering") == 2
    wait_until(lambda: a.holds("10.52.0.100"), what="the new member's address")
    # From now on they are one.
    a.ip("link set eth1 down")
    wait_all(daemon, "FAULT")
    # And no more.
    daemon.configure(two(200, 200).replace(group("VI_1", "VI_2"), ""))
    daemon.signal(signal.SIGHUP)
    wait_all(daemon, "MASTER", 2, "VI_1")
    assert states(daemon) == {"VI_1": MASTER, "VI_2": FAULT}
    # keepalived too stays backup with a group that it cannot be master of.
    daemon.configure(two(200, 200))
    daemon.signal(signal.SIGHUP)
    wait_all(daemon, "FAULT", 2, "VI_1")
    assert daemon.stop() == 0


@BOTH
@pytest.mark.keywords("At the top/vrrp_sync_group")
def test_a_reload_brings_members_together(lab: Laboratory, kind: type[Daemon]) -> None:
    a, b, _ = three_routers(lab)
    grouped = two(200, 200)
    alone = grouped.removeprefix(group("VI_1", "VI_2"))

    def reload(configuration: str) -> None:
        end = "Reloaded" if kind is Fastvrrp else "Reload complete"
        before = daemon.log().count(end)
        daemon.configure(configuration)
        daemon.signal(signal.SIGHUP)
        daemon.wait_log(end, count=before + 1)

    def wait_holds(*vrids: int) -> None:
        wait_until(
            lambda: {vrid for vrid in (51, 52) if a.holds(f"10.{vrid}.0.100")} == set(vrids),
            what=lambda: f"addresses of {vrids}:\n{daemon.log()}",
        )

    daemon = kind(a, alone).start()
    wait_holds(51, 52)
    a.ip("link set eth1 down")
    wait_holds(51)
    # One in FAULT takes the other along, and lets it go.
    reload(grouped)
    wait_holds()
    reload(alone)
    wait_holds(51)
    a.ip("link set eth1 up")
    wait_holds(51, 52)
    # One that is BACKUP makes the other one BACKUP.
    preferred = Keepalived(b, instance("VI_2", 52, 250, "eth1")).start()
    wait_holds(51)
    reload(grouped)
    wait_holds()
    preferred.stop()
    wait_holds(51, 52)
    # The group goes, and they stay masters, each for itself.
    daemon.wait_log("Syncing instances to MASTER")
    changes = daemon.log().count("Entering")
    reload(alone)
    a.ip("link set eth0 down")
    wait_holds(52)
    assert daemon.log().count("Entering") == changes + 1


def test_a_hundred_members_move_with_one_link(lab: Laboratory) -> None:
    a, b, c = three_routers(lab)
    names = [f"VI_{number}" for number in range(1, 101)]

    def hundred(priority: int) -> str:
        return group(*names) + "".join(
            instance(name, number, priority, f"eth{number % 2}")
            for number, name in enumerate(names, 1)
        )

    preferred = Fastvrrp(a, hundred(200)).start()
    wait_until(lambda: set(states(preferred).values()) == {MASTER}, what="all master")
    other = Fastvrrp(b, hundred(100)).start()
    other.wait_log("Entering BACKUP STATE (init)", count=100)
    with Capture(c) as capture:
        a.ip("link set eth0 down")
        wait_until(lambda: set(states(other).values()) == {MASTER}, what="all taken over")
        for number in range(1, 101):
            wait_until(
                lambda number=number: b.holds(f"10.{number}.0.100"),  # type: ignore[misc]
                what=f"address {number}",
            )
    assert set(states(preferred).values()) == {FAULT}
    assert other.log().count("Syncing instances to MASTER") == 1
    kinds = sent_by(capture, 2)
    assert sorted(kinds[: kinds.index(ARP)]) == list(range(1, 101))
    resigned = {each.vrid for each in capture.adverts() if each.priority == 0}
    assert resigned == {number for number in range(1, 101) if number % 2}
    a.ip("link set eth0 up")
    wait_until(lambda: set(states(preferred).values()) == {MASTER}, what="all back")
    wait_until(lambda: set(states(other).values()) == {BACKUP}, what="the other yields")
    assert preferred.stop() == other.stop() == 0


def deafen(router: Router, interface: str) -> None:
    """Lets a router hear no adverts on an interface, whose link stays."""
    for command in (
        "add table ip deaf",
        "add chain ip deaf input { type filter hook input priority 0; }",
        f"add rule ip deaf input iif {interface} ip protocol 112 drop",
    ):
        router.run(["nft", command])


def states(daemon: Fastvrrp) -> dict[str, int]:
    path = daemon.folder / "fastvrrp.state"
    return {router["name"]: router["state"] for router in Segment(path)} if path.exists() else {}
