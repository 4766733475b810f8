"""Gratuitous ARP and neighbour advertisements on the wire, beside keepalived's."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest

from lab import Capture, Daemon, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from test_filtering import instance, reload

FIELDS = (
    *("frame.time_epoch", "frame.interface_name", "eth.src"),
    *("arp.src.proto_ipv4", "icmpv6.nd.na.target_address"),
)
PAUSE = 0.4
"""Seconds between two frames for one address that are not of one set."""


class Announced(NamedTuple):
    """An address, as it is announced."""

    interface: str
    mac: str
    address: str


Heard = dict[Announced, list[float]]


def announcements(capture: Capture) -> Heard:
    """Times (seconds) at which each address was announced."""
    heard: Heard = {}
    for line in capture.dissect("arp.isgratuitous || icmpv6.type == 136", FIELDS):
        time, interface, mac, ipv4, ipv6 = line.split("\t")
        if ipv4 or ipv6:
            announced = Announced(interface, mac, ipv4 or ipv6)
            heard.setdefault(announced, []).append(float(time))
    return heard


def sets(times: list[float]) -> list[int]:
    """How many frames each set has."""
    found = [1]
    for before, after in pairwise(times):
        if after - before > PAUSE:
            found.append(0)
        found[-1] += 1
    return found


def hear(
    kind: type[Daemon], configuration: str, least: int, links: int = 2, disturb: str = ""
) -> Heard:
    """What a daemon announces from its start until some address was announced in that many sets;
    `disturb` is the configuration of a router of lower priority that hears no advert."""
    with Laboratory() as lab:
        a, b = lab.router("a"), lab.router("b")
        lab.connect(a, b, count=links)
        with Capture(b) as capture:
            daemon = kind(a, configuration).start().wait_log("Entering MASTER STATE")
            if disturb:
                deaf(b)
                Keepalived(b, disturb).start().wait_log("Entering MASTER STATE")
            wait_until(
                lambda: any(len(sets(t)) >= least for t in announcements(capture).values()),
                30.0,
                what=lambda: f"{least} sets:\n{announcements(capture)}\n{daemon.log()}",
                interval=0.3,
            )
            capture.stop()
        return {
            announced: times
            for announced, times in announcements(capture).items()
            if announced.mac != "02:00:00:00:00:02"
        }


def deaf(router: Router) -> None:
    """Lets a router hear no advert."""
    router.run(["nft", "add", "table", "ip", "deaf"])
    chain = "{ type filter hook input priority 0 ; }"
    router.run(["nft", "add", "chain", "ip", "deaf", "in", chain])
    router.run(["nft", "add", "rule", "ip", "deaf", "in", "ip", "protocol", "112", "drop"])


def counted(heard: Heard, least: int) -> dict[Announced, list[int]]:
    """The first sets of each address."""
    return {announced: sets(times)[:least] for announced, times in heard.items()}


BOTH = "10.0.0.101/24"
SCENES = {
    "repeats and delay": (
        2,
        "",
        instance(
            "V", 51, "garp_master_repeat 3", "garp_master_delay 1", excluded=("fd00::101/64",)
        ),
    ),
    "refresh": (
        4,
        "",
        instance(
            *("V", 51, "garp_master_repeat 2", "garp_master_delay 1"),
            *("garp_master_refresh 2", "garp_master_refresh_repeat 3"),
            excluded=("fd00::101/64",),
        ),
    ),
    "defaults of all": (
        3,
        "vrrp_garp_master_repeat 2\nvrrp_garp_master_delay 1\nvrrp_garp_master_refresh 3\n"
        "vrrp_garp_master_refresh_repeat 4",
        instance("V", 51, "use_vmac", addresses=("fe80::51", "fd00::51/64")),
    ),
    "extra interfaces with VMACs": (
        3,
        "vrrp_min_garp\nvrrp_garp_extra_if 1",
        instance(
            *("V", 51, "use_vmac"),
            addresses=(
                *("10.0.0.101", "10.0.1.101 dev eth1", "10.0.1.102 dev eth1 use_vmac"),
                "10.0.1.103 dev eth1 use_vmac",
            ),
            excluded=("fd00::101", "fd00::102 use_vmac", "fd00:1::102 dev eth1 use_vmac"),
        ),
    ),
    "all extra interfaces": (
        3,
        "vrrp_min_garp",
        instance(
            *("V", 51, "garp_extra_if all 1"),
            addresses=("10.0.0.101", "10.0.1.101 dev eth1", "10.0.1.102 dev eth1"),
            excluded=("fd00::101", "fd00:1::102 dev eth1", "10.0.1.103 dev eth1 use_vmac"),
        ),
    ),
}


@pytest.mark.keywords(
    "vrrp_instance/garp_master_repeat",
    "vrrp_instance/garp_master_delay",
    "vrrp_instance/garp_master_refresh",
    "vrrp_instance/garp_master_refresh_repeat",
    "vrrp_instance/garp_extra_if",
    "global_defs/vrrp_garp_master_repeat",
    "global_defs/vrrp_garp_master_delay",
    "global_defs/vrrp_garp_master_refresh",
    "global_defs/vrrp_garp_master_refresh_repeat",
    "global_defs/vrrp_garp_extra_if",
    "global_defs/vrrp_min_garp",
    "virtual_ipaddress/use_vmac",
)
@pytest.mark.parametrize("scene", SCENES)
def test_as_many_in_as_many_sets_as_keepalived(scene: str) -> None:
    least, definitions, text = SCENES[scene]
    text = f"global_defs {{\n{definitions}\n}}\n{text}"
    ours = counted(hear(Fastvrrp, text, least), least)
    assert max(map(len, ours.values())) == least
    assert ours == counted(hear(Keepalived, text, least), least)


@pytest.mark.keywords(
    "vrrp_instance/garp_lower_prio_repeat",
    "vrrp_instance/garp_lower_prio_delay",
    "global_defs/vrrp_garp_lower_prio_repeat",
    "global_defs/vrrp_garp_lower_prio_delay",
)
@pytest.mark.parametrize("where", ["instance", "global_defs"])
def test_another_master_of_lower_priority_is_answered_as_under_keepalived(where: str) -> None:
    lines = ("garp_lower_prio_repeat 3", "garp_lower_prio_delay 30")
    once = ("garp_master_repeat 1", "garp_master_delay 0")
    text = instance("V", 51, *once, *(lines if where == "instance" else ()), version=2)
    if where == "global_defs":
        text = "global_defs {\n" + "\n".join(f"vrrp_{line}" for line in lines) + "\n}\n" + text
    other = instance("V", 51, *once, priority=100, version=2)
    ours = counted(hear(Fastvrrp, text, 2, disturb=other), 2)
    assert list(ours.values()) == [[1, 3]]
    assert ours == counted(hear(Keepalived, text, 2, disturb=other), 2)


PACED = """
global_defs {
    vrrp_garp_interval 0.05
    vrrp_gna_interval 0.02
    vrrp_garp_master_repeat 2
    vrrp_garp_master_delay 2
}
garp_group {
    gna_interval 0.2
    interface eth1
}
garp_group {
    garp_interval 0.1
    interfaces {
        eth2
        eth3
    }
}
""" + "".join(
    instance(
        f"V{n}",
        51 + n,
        *lines,
        interface=f"eth{n}",
        addresses=(f"10.0.{n}.101", f"10.0.{n}.102"),
        excluded=(f"fd00:{n}::101", f"fd00:{n}::102"),
    )
    for n, lines in enumerate(((), (), (), ("use_vmac",)))
)
GAPS = {
    ("eth0", "ARP"): 0.05,
    ("eth0", "NA"): 0.02,
    ("eth1", "NA"): 0.2,
    ("eth2+eth3", "ARP"): 0.1,
}
"""What has to lie between two frames; in all other places there is no gap."""


def gaps(heard: Heard) -> dict[tuple[str, str], float]:
    """The smallest gap between two frames of a kind, by place."""
    times: dict[tuple[str, str], list[float]] = {}
    for announced, at in heard.items():
        kind = "NA" if ":" in announced.address else "ARP"
        place = announced.interface
        if kind == "ARP" and place in ("eth2", "eth3"):
            place = "eth2+eth3"
        times.setdefault((place, kind), []).extend(at)
    return {
        place: min(after - before for before, after in pairwise(sorted(at)))
        for place, at in times.items()
    }


@pytest.mark.keywords(
    "global_defs/vrrp_garp_interval",
    "global_defs/vrrp_gna_interval",
    "garp_group/garp_interval",
    "garp_group/gna_interval",
    "garp_group/interface",
    "garp_group/interfaces",
)
def test_announcements_keep_their_distance_as_under_keepalived() -> None:
    ours = hear(Fastvrrp, PACED, 2, links=4)
    theirs = hear(Keepalived, PACED, 2, links=4)
    assert set(ours) == set(theirs)
    for heard in (ours, theirs):
        found = gaps(heard)
        for place, gap in GAPS.items():
            # What a frame's time is short of the gap is how late the frame before it was.
            assert found[place] > gap * 0.5, place
        for place in set(found) - set(GAPS):
            assert found[place] < 0.05, place
    # keepalived forgets the repeats of what has to wait; ours sends them all.
    assert all(len(times) >= 2 for times in ours.values())


def test_a_reload_changes_the_distance_and_forgets_nothing(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    text = instance(
        *("V", 51, "garp_master_repeat 2", "garp_master_delay 0"),
        addresses=[f"10.0.0.{n}" for n in range(101, 111)],
    )
    slow = "garp_group {\ngarp_interval 100\ninterface eth0\n}\n"
    with Capture(b) as capture:
        daemon = Fastvrrp(a, slow + text).start().wait_log("Entering MASTER STATE")
        wait_until(lambda: len(announcements(capture)) == 1, interval=0.2, what="the first one")
        reload(daemon, slow.replace("100", "0.05") + text)
        wait_until(
            lambda: sum(map(len, announcements(capture).values())) == 20,
            interval=0.2,
            what=lambda: f"all twenty: {announcements(capture)}",
        )
    times = sorted(time for each in announcements(capture).values() for time in each)
    assert min(after - before for before, after in pairwise(times)) > 0.04
