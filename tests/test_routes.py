"""Routes, rules and what is static, under our daemon and under keepalived, side by side."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from fastvrrp.config.grammar import OPTION_NAMES
from fastvrrp.config.route_keywords import ROUTE_OPTIONS, RULE_OPTIONS
from lab import Daemon, Fastvrrp, Keepalived, Laboratory
from lab.policy import settled
from policy_configuration import (
    ADDRESSES_4,
    ADDRESSES_6,
    EXCLUDED,
    ROUTES_4,
    ROUTES_6,
    RULES_4,
    RULES_6,
    STATIC,
    everything,
    reloaded,
)

Picture = dict[str, list[dict[str, Any]]]
MASTER = "Entering MASTER STATE"
RELOADED: dict[type[Daemon], str] = {Keepalived: "Reload complete", Fastvrrp: "Reloaded"}
GROUP = pytest.mark.xdist_group("routes")


def options(known: Iterable[str], *texts: str) -> set[str]:
    """The options that stand in some texts."""
    return {word for text in texts for word in text.split()} & set(known)


SHOWN = (
    "virtual_routes/unicast local anycast multicast throw unreachable prohibit blackhole "
    "nexthop onlink inet6 append add prepend no_track mtu hoplimit advmss reordering "
    "window cwnd ssthresh initcwnd initrwnd quickack fastopen_no_cookie rtt rttvar "
    "rto_min via gw src dev oif table protocol scope tos dsfield realms metric priority "
    "preference expires weight congctl features encap ip ip6 id dst ttl tc to pref "
    "ttl-propagate from",
    "virtual_rules/inet6 not l3mdev no_track unreachable blackhole prohibit nop from to "
    "iif oif dev table lookup tos dsfield realms protocol suppress_ifgroup priority "
    "preference order goto tunnel-id suppress_prefixlength ipproto type uidrange sport "
    "dport fwmark",
    "virtual_ipaddress/noprefixroute brd label dev preferred_lft scope no_track",
    "virtual_ipaddress_excluded/home -nodad mngtmpaddr noprefixroute autojoin dev preferred_lft",
    "static_ipaddress/home -nodad mngtmpaddr noprefixroute autojoin brd label dev "
    "preferred_lft scope no_track track_group",
    "static_routes/blackhole brd nexthop onlink append no_track mtu hoplimit advmss "
    "reordering window cwnd ssthresh initcwnd initrwnd fastopen_no_cookie rtt rttvar "
    "rto_min via dev oif table scope tos realms priority preference weight track_group "
    "features to from",
    "static_rules/no_track blackhole from to iif oif dev table tos realms priority "
    "preference track_group uidrange fwmark",
    "At the top/static_ipaddress static_routes static_rules track_group",
    "track_group/group",
    "vrrp_instance/virtual_routes virtual_rules",
    "global_defs/default_interface",
)
"""As markers have it: the words behind the last slash have what is before it in common."""


@dataclass
class History:
    """What a daemon's router, and its backup, had at each moment."""

    pictures: dict[str, Picture]
    log: str


def live(kind: type[Daemon]) -> History:
    """Master and backup, a link that bounces, a reload, and a failover by the master's end."""
    seen: dict[str, Picture] = {}
    with Laboratory() as lab:
        a, b = lab.router("a"), lab.router("b")
        lab.connect(a, b, count=2)
        before = settled(a)
        master = kind(a, everything()).start()
        wait_masters(master, 2)
        backup = kind(b, everything().replace("priority 200", "priority 100")).start()
        backup.wait_log("Entering BACKUP STATE", count=2)
        seen["master"], seen["backup"] = settled(a), settled(b)
        a.ip("link set eth1 down")
        master.wait_log("Entering FAULT STATE", count=2)
        seen["link down"] = settled(a)
        a.ip("link set eth1 up", "address add fd00:1::1/64 dev eth1")
        wait_masters(master, 4)
        seen["link back"] = settled(a)
        master.configure(reloaded())
        master.signal(signal.SIGHUP)
        master.wait_log(RELOADED[kind])
        seen["reload"] = settled(a)
        # It may have been master for a moment, before it noticed that its link was down too.
        before_that = backup.log().count(MASTER)
        master.stop()
        wait_masters(backup, before_that + 2)
        seen["stop"], seen["failover"] = settled(a), settled(b)
        backup.stop()
        assert without_links(seen["stop"]) == without_links(before)
        return History(seen, master.log())


def wait_masters(daemon: Daemon, count: int) -> None:
    daemon.wait_log(MASTER, 20.0, count=count)


def without_links(picture: Picture) -> object:
    """All but what the kernel puts on links itself, and takes away when they go down."""
    kept = [one for one in picture["addresses"] if one["scope"] != "link" and ":" in one["local"]]
    return picture["routes"], picture["rules"], [one["local"] for one in kept]


@pytest.fixture(scope="module")
def histories() -> tuple[History, History]:
    return live(Keepalived), live(Fastvrrp)


@GROUP
@pytest.mark.keywords(*SHOWN)
@pytest.mark.parametrize("what", ["routes", "rules", "addresses"])
@pytest.mark.parametrize(
    "moment", ["master", "backup", "link down", "link back", "reload", "stop", "failover"]
)
def test_the_kernel_has_what_it_has_from_keepalived(
    histories: tuple[History, History], moment: str, what: str
) -> None:
    theirs, ours = (history.pictures[moment][what] for history in histories)
    assert ours == theirs


@GROUP
def test_nothing_is_refused_and_nothing_goes_wrong(histories: tuple[History, History]) -> None:
    assert "cannot" not in histories[1].log
    assert "Traceback" not in histories[1].log
    assert len(histories[1].pictures["master"]["routes"]) > 50
    assert len(histories[1].pictures["master"]["rules"]) > 40


@pytest.mark.parametrize(
    ("block", "written"),
    [
        ("virtual_routes", options(ROUTE_OPTIONS, ROUTES_4, ROUTES_6)),
        ("virtual_rules", options(RULE_OPTIONS, RULES_4, RULES_6)),
        ("virtual_ipaddress", options(OPTION_NAMES, ADDRESSES_4, ADDRESSES_6)),
        ("virtual_ipaddress_excluded", options(OPTION_NAMES, EXCLUDED)),
        ("static_ipaddress", options(OPTION_NAMES, STATIC)),
        ("static_routes", options(ROUTE_OPTIONS, STATIC)),
        ("static_rules", options(RULE_OPTIONS, STATIC)),
    ],
)
def test_what_is_compared_is_what_is_said_to_be_shown(block: str, written: set[str]) -> None:
    [words] = [shown for shown in SHOWN if shown.startswith(f"{block}/")]
    assert set(words.partition("/")[2].split()) == written
