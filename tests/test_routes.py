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


def words(block: str, known: Iterable[str], *texts: str) -> list[str]:
    """The options of a block that stand in some texts."""
    written = {word for text in texts for word in text.split()}
    return [f"{block}/{word}" for word in known if word in written]


BLOCKS = ("static_ipaddress", "static_routes", "static_rules")
SHOWN = (
    *words("virtual_routes", ROUTE_OPTIONS, ROUTES_4, ROUTES_6),
    *words("virtual_rules", RULE_OPTIONS, RULES_4, RULES_6),
    *words("virtual_ipaddress", OPTION_NAMES, ADDRESSES_4, ADDRESSES_6),
    *words("virtual_ipaddress_excluded", OPTION_NAMES, EXCLUDED),
    *words("static_ipaddress", OPTION_NAMES, STATIC),
    *words("static_routes", ROUTE_OPTIONS, STATIC),
    *words("static_rules", RULE_OPTIONS, STATIC),
    *(f"At the top/{name}" for name in (*BLOCKS, "track_group")),
    "track_group/group",
    *("vrrp_instance/virtual_routes", "vrrp_instance/virtual_rules"),
    "global_defs/default_interface",
)


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
