"""Routes and rules that a daemon has left, and its successor does not want, or wants otherwise."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from every_kind import BACKUP, MASTER, instance, wait_all
from fastvrrp._table import Segment
from fastvrrp.config import read
from fastvrrp.model import NextHop, Prefix, Route, Rule
from fastvrrp.vrrp.orphans import Left, orphans
from fastvrrp.vrrp.wording import in_words, of_words
from lab import Fastvrrp, Laboratory, Router, wait_until
from policy_configuration import everything

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
AF_INET = 2
STATIC = ("198.51.100.0/24 dev eth0", "2001:db8:1::/48 dev eth0")
VIRTUAL = ("203.0.113.0/24 dev eth0", "2001:db8:2::/48 dev eth0")
OTHER_VERSION = """
import fastvrrp
fastvrrp.__version__ = "0.0.1"
"""


def configuration(more: str = "", *, priority: int = 200) -> str:
    """With routes and rules that stay, and some that go with a master, all with the same words
    more."""
    static, virtual = ("\n".join(f"{route} {more}" for route in each) for each in (STATIC, VIRTUAL))
    tracking = more if more == "no_track" else ""
    return (
        f"static_routes {{\n{static}\n}}\n"
        f"static_rules {{\nfrom 198.51.100.0/24 lookup 210 preference 300 {tracking}\n}}\n"
    ) + instance(
        "VI",
        1,
        f"virtual_routes {{\n{virtual}\n}}",
        f"virtual_rules {{\nfrom 203.0.113.0/24 lookup 200 preference 400 {tracking}\n}}",
        priority=priority,
        interval=1,
    )


def policy(router: Router) -> list[str]:
    """Routes and rules of the router that are ours, in the words of ip(8)."""
    found = []
    for family in ("-4", "-6"):
        shown = router.run(("ip", family, "route", "show", "table", "main")).stdout
        found += [line.strip() for line in shown.splitlines() if "keepalived" in line]
        shown = router.run(("ip", family, "rule", "show")).stdout
        found += [line for line in shown.splitlines() if "lookup 2" in line]
    return sorted(found)


def wait_policy(daemon: Fastvrrp, expected: list[str]) -> None:
    wait_until(
        lambda: policy(daemon.router) == expected,
        30.0,
        what=lambda: f"{expected}, and not {policy(daemon.router)}:\n{daemon.log()}",
    )


def wait_removed(daemon: Fastvrrp) -> None:
    """All that is to be done at the start has been done."""
    daemon.wait_log("Startup complete", 60.0)
    wait_all(daemon, MASTER, "VI")


def expected_of(daemon: Fastvrrp) -> list[str]:
    """What a daemon puts into a kernel in which nothing was left."""
    wait_removed(daemon.start())
    wait_until(lambda: len(policy(daemon.router)) == 6, what=lambda: str(policy(daemon.router)))
    return policy(daemon.router)


def reload_to(daemon: Fastvrrp, text: str, count: int) -> None:
    """Waits until there are so many routes and rules."""
    daemon.configure(text)
    reloads = daemon.log().count("Reloaded")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Reloaded", 60.0, count=reloads + 1)
    wait_until(lambda: len(policy(daemon.router)) == count, what=lambda: str(policy(daemon.router)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "no_track"),
        ("no_track", ""),
        ("", "mtu 1400"),
        ("mtu 1400", ""),
        ("mtu 1400", "mtu 1300"),
        ("", "metric 50"),
        ("metric 50", ""),
        ("", "add"),
        ("", "hoplimit 9 append"),
    ],
)
def test_what_is_wanted_otherwise_is_there_as_it_is_wanted_and_nothing_else(
    lab: Laboratory, before: str, after: str
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, configuration(after))
    expected = expected_of(daemon)
    reload_to(daemon, configuration(before), 6)
    daemon.kill()
    daemon.configure(configuration(after))
    daemon.start()
    wait_removed(daemon)
    wait_policy(daemon, expected)
    if "no_track" in (before, after):
        assert "routes and rules that were left behind" not in daemon.log()
    assert daemon.stop(30.0) == 0
    assert policy(a) == []
    assert not list(daemon.folder.glob("fastvrrp.*[!f]"))


def test_an_upgrade_to_another_version_removes_what_nobody_wants(
    lab: Laboratory, tmp_path: Path
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, configuration("mtu 1400"))
    expected = expected_of(daemon)
    more = "static_rules {\nfrom 192.0.2.1 lookup 230\n}\n"
    reload_to(daemon, configuration() + more, 7)
    daemon.configure(configuration("mtu 1400"))
    (tmp_path / "sitecustomize.py").write_text(OTHER_VERSION)
    python, home = tmp_path / "python", Path(__file__).parent.parent
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}:{home} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    count = daemon.log().count("Startup complete")
    said = (daemon.folder / "log").stat().st_size
    done = subprocess.run(
        [FASTVRRP, "upgrade", "--pid", str(daemon.folder / "fastvrrp.pid"), "--with", str(python)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr + daemon.log()
    assert Segment(daemon.folder / "fastvrrp.state").totals()["version"] == "0.0.1"
    daemon.wait_log("Startup complete", 60.0, count=count + 1)
    wait_policy(daemon, expected)
    log = (daemon.folder / "log").read_bytes()[said:].decode()
    assert "is not taken from it" not in log
    assert daemon.stop(30.0) == 0
    assert policy(a) == []


def test_what_somebody_added_by_hand_where_ours_was_a_backup_stays(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    master = Fastvrrp(b, instance("VI", 1, priority=250, interval=1)).start()
    wait_all(master, MASTER, "VI")
    text = configuration() + instance("mine", 2, interval=1)
    daemon = Fastvrrp(a, text).start()
    wait_all(daemon, MASTER, "mine")
    wait_all(daemon, BACKUP, "VI")
    daemon.kill()
    a.ip("route add 203.0.113.0/24 dev eth0 proto keepalived scope global")
    daemon.configure(instance("mine", 2, interval=1))
    daemon.start()
    daemon.wait_log("Startup complete", 60.0)
    # What is static was ours in any case.
    wait_policy(daemon, ["203.0.113.0/24 dev eth0 proto keepalived"])


def test_every_route_and_rule_comes_back_from_its_words(tmp_path: Path) -> None:
    file = tmp_path / "fastvrrp.conf"
    file.write_text(everything())
    configuration = read(str(file)).configuration
    things: list[Route | Rule] = [*configuration.static_routes, *configuration.static_rules]
    for model in configuration.virtual_routers:
        things += [*model.options.routes, *model.options.rules]
    assert len(things) > 50
    for thing in things:
        words = in_words(thing)
        again = of_words(json.loads(json.dumps(words)))
        assert type(again) is type(thing)
        assert in_words(again) == words
        for name in thing.__slots__:
            if name not in ("is_tracked", "track_group"):
                assert getattr(again, name) == getattr(thing, name)
                assert type(getattr(again, name)) is type(getattr(thing, name))


def test_what_only_another_version_knows_is_left_where_it_is() -> None:
    known = in_words(Rule(AF_INET, table=7, priority=5))
    for words in ({**known, "colour": "red"}, {**known, "is": "nexthop"}, {"is": "route"}):
        with pytest.raises(ValueError, match="nothing that is known here"):
            of_words(words)
        left = [Left(None, None, [words, known])]
        assert orphans(left, None, [], lambda: None) == {None: [of_words(known)]}


def test_a_namespace_is_the_same_by_its_name_and_as_the_daemons_own() -> None:
    route = Route(AF_INET, Prefix(b"\x0a\x01\0\0", 16), next_hops=(NextHop(None, "eth0"),))
    for written in (None, "home"):
        for wanted in (None, "home"):
            left = [Left(written, None, [in_words(route)])]
            assert orphans(left, "home", [(wanted, [route])], lambda: None) == {}
    left = [Left("other", None, [in_words(route)])]
    assert orphans(left, "home", [(None, [route])], lambda: None) == {"other": [route]}
