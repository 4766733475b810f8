"""The end of a daemon: its masters say so first, and then nothing of ours is left in the kernel."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from dropin_pair import AsKeepalived
from every_kind import (
    MASTER,
    VRIDS,
    every_kind,
    instance,
    records,
    wait_all,
    write_scripts,
)
from lab import Capture, Fastvrrp, Laboratory, wait_until
from lab.changes import Kernel, kernel_changes, kernel_of

SECOND = 1_000_000_000
UPGRADING = {
    "when an upgrade begins": "Upgrading",
    "while only adverts are sent": "only adverts are sent",
    "when another one has taken over": "handed over",
    "when an upgrade is about to end": "Upgrade done",
}
"""Lines of the log that an upgrade has."""
PLACES = pytest.mark.parametrize("place", ["own", "instance", "global"])


class Master:
    """A master of every kind, and the kernel before it was started."""

    def __init__(self, lab: Laboratory, place: str) -> None:
        self.a, self.b = lab.router("a"), lab.router("b")
        (self.link,) = lab.connect(self.a, self.b)
        start = self.a
        if place != "own":
            start = lab.router("home")
            lab.connect(start, lab.router("neighbour"))
        self.home = self.a if place == "global" else start
        """Where the daemon is, and what is static."""
        write_scripts(self.a.folder)
        namespace = self.a.namespace if place == "instance" else None
        text = every_kind(
            self.a.folder, self.link.address(self.a), self.link.address(self.b), 200, namespace
        )
        self.head = f"net_namespace {self.a.namespace}\n" if place == "global" else ""
        self.text = self.head + text.replace("advert_int 2\n", "advert_int 1\n")
        self.before = self.kernels()
        self.daemon = Fastvrrp(start, self.text).start()
        wait_all(self.daemon, MASTER, *VRIDS)
        wait_until(
            lambda: not self.missing(),
            30.0,
            what=lambda: f"{self.missing()}:\n{self.daemon.log()}",
        )

    def missing(self) -> set[str]:
        """What masters have, and is not in the kernel."""
        kernel, home = kernel_of(self.a), kernel_of(self.home)
        wanted = {f"10.0.0.{100 + vrid}" for name, vrid in VRIDS.items() if name != "six"}
        wanted |= {"fe80::103", "2001:db8::3", "10.0.0.213", "2001:db8::13"}
        there = {each.split()[1].split("/")[0] for each in kernel.addresses}
        found = {
            "virtual route": "203.0.113.0/24" in kernel.routes,
            "virtual rule": "203.0.113.0/24" in kernel.rules,
            "refused address": "10.0.0.112" in kernel.ruleset,
            "VMAC": "vrrp.2" in {name for name, _, _ in kernel.links},
            "static route": "198.51.100.0/24" in home.routes,
            "static rule": "198.51.100.0/24" in home.rules,
            "static address": "lo 192.0.2.77/32" in home.addresses,
            "kernel parameter": kernel.parameters != self.before[0].parameters,
        }
        return (wanted - there) | {name for name, is_there in found.items() if not is_there}

    def kernels(self) -> tuple[Kernel, ...]:
        return kernel_of(self.a), kernel_of(self.home)

    def wait_clean(self, expected: tuple[Kernel, ...] | None = None) -> None:
        expected = self.before if expected is None else expected
        for now, before in zip(self.kernels(), expected, strict=True):
            for part in Kernel.__dataclass_fields__:
                assert getattr(now, part) == getattr(before, part), part


def removals(lines: list[str]) -> list[tuple[int, str]]:
    """When (nanoseconds since the epoch) which addresses were removed, of what `ip monitor` has
    said."""
    found = []
    for line in lines:
        removed = re.match(r"\[([^]]+)\] ?Deleted .* inet6? ([^ /]+)", line)
        if removed is not None:
            moment = datetime.fromisoformat(removed[1])
            found.append((int(moment.timestamp() * 1e6) * 1000, removed[2]))
    return found


@PLACES
def test_a_stop_tells_everybody_first_and_leaves_nothing(lab: Laboratory, place: str) -> None:
    master = Master(lab, place)
    with Capture(master.b) as capture, kernel_changes(master.a) as changes:
        assert master.daemon.stop(60.0) == 0
        gone = removals(changes())
    adverts = [each for each in capture.adverts() if not each.is_outgoing]
    for name, vrid in VRIDS.items():
        mine = [each for each in adverts if each.vrid == vrid]
        # The last word of each is that it leaves, and nothing of it goes before that is said.
        assert [each.priority for each in mine].count(0) == 1, name
        assert mine[-1].priority == 0, name
    farewells = [each.time for each in adverts if each.priority == 0]
    there = {address for _, address in gone}
    assert {"10.0.0.101", "10.0.0.213", "2001:db8::3"} <= there
    virtual = [at for at, address in gone if not address.startswith("192.0.2.")]
    assert max(farewells) < min(virtual)  # the static one goes when it wants to
    master.wait_clean()
    assert not list(master.daemon.folder.glob("fastvrrp.*[!f]"))
    log = master.daemon.log()
    assert "Traceback" not in log


@pytest.mark.parametrize("when", ["while it reloads", "while it starts", *UPGRADING])
def test_a_stop_at_any_moment_leaves_nothing(lab: Laboratory, when: str) -> None:
    master = Master(lab, "own")
    daemon = master.daemon
    if when == "while it reloads":
        daemon.configure(master.text + instance("another", 70, "use_vmac"))
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("Reloading")
    elif when == "while it starts":
        # The one after a crash, which finds masters to go on with.
        count = daemon.log().count("Starting VRRP child process")
        os.kill(daemon.vrrpd, signal.SIGKILL)
        daemon.wait_log("Starting VRRP child process", 30.0, count=count + 1)
    else:
        command = [str(Path(daemon_command(daemon))), "upgrade"]
        command += ["--pid", str(daemon.folder / "fastvrrp.pid")]
        asking = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        daemon.wait_log(UPGRADING[when], 60.0)
    assert daemon.stop(90.0) == 0
    if when in UPGRADING:
        asking.wait(30)
    master.wait_clean()
    assert not list(daemon.folder.glob("fastvrrp.*[!f]"))


def daemon_command(daemon: Fastvrrp) -> str:
    (command,) = daemon.commands()
    return command[0]


@pytest.mark.parametrize("place", ["own", "instance", "global"])
def test_after_a_kill_of_everything_another_configuration_leaves_nothing_of_the_first(
    lab: Laboratory, place: str
) -> None:
    """The next start takes over what it has in common with the dead one, and removes the rest."""
    master = Master(lab, place)
    daemon = master.daemon
    index = {name: number for name, number, _ in kernel_of(master.a).links}["vrrp.2"]
    daemon.kill()
    assert not master.missing()
    namespace = master.a.namespace if place == "instance" else None
    stays = instance("three", 2, "version 3", "use_vmac", interval=1, namespace=namespace)
    daemon.configure(master.head + stays)
    daemon.start()
    daemon.wait_log("Startup complete", 60.0)
    wait_all(daemon, MASTER, "three")
    assert list(records(daemon)) == ["three"]

    def is_rest_gone() -> bool:
        now, home = master.kernels()
        before = master.before
        return (
            now.addresses - before[0].addresses == {"vrrp.2 10.0.0.102/24"}
            and {name for name, _, _ in now.links - before[0].links} == {"vrrp.2"}
            and (now.rules, home.rules) == (before[0].rules, before[1].rules)
            and "203.0.113" not in now.routes
            and "198.51.100" not in home.routes
            and "10.0.0.112" not in now.ruleset
            and "lo 192.0.2.77/32" not in home.addresses
        )

    wait_until(is_rest_gone, 30.0, what=lambda: f"the rest gone: {master.kernels()}")
    if daemon.log().count("go on as they were left, 1 of them as MASTER"):
        assert ("vrrp.2", index) in {(name, at) for name, at, _ in kernel_of(master.a).links}
    assert daemon.stop(60.0) == 0
    master.wait_clean()


def test_what_lies_in_a_namespace_that_is_not_configured_any_more_is_removed(
    lab: Laboratory,
) -> None:
    """Nothing of the next configuration is where everything of the dead one was."""
    master = Master(lab, "instance")
    master.daemon.kill()
    elsewhere = instance("VI", 1, interval=1).replace("eth0", master.home.interfaces[0])
    master.daemon.configure(elsewhere)
    master.daemon.start().wait_log("Startup complete", 60.0)
    wait_all(master.daemon, MASTER, "VI")

    def is_clean() -> bool:
        now, before = kernel_of(master.a), master.before[0]
        return all(
            getattr(now, part) == getattr(before, part) for part in Kernel.__dataclass_fields__
        )

    wait_until(is_clean, 30.0, what=lambda: f"nothing left:\n{kernel_of(master.a)}")
    assert master.daemon.stop(60.0) == 0
    master.wait_clean()


class Keeping(AsKeepalived):
    """Leaves addresses and routes of masters where they are."""

    def commands(self) -> list[list[str]]:
        return [[*super().commands()[0], "--dont-release-vrrp"]]


def test_what_was_left_where_it_is_on_demand_is_found_by_the_next(lab: Laboratory) -> None:
    """-V leaves addresses and routes; a daemon that is started without it, and does not have them,
    removes the addresses."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    before = kernel_of(a)
    routes = "virtual_routes {\n 203.0.113.0/24 dev eth0\n}"
    daemon = Keeping(a, instance("VI", 1, routes, interval=1)).start()
    daemon.wait_log("(VI) Entering MASTER STATE")
    wait_until(lambda: "203.0.113.0/24" in kernel_of(a).routes, what="the route")
    assert daemon.stop() == 0
    after = kernel_of(a)
    assert after.addresses - before.addresses == {"eth0 10.0.0.101/24"}
    assert "203.0.113.0/24" in after.routes
    assert after.parameters == before.parameters
    with_route = Fastvrrp(a, instance("other", 3, routes, interval=1)).start()
    wait_all(with_route, MASTER, "other")
    assert not a.holds("10.0.0.101")
    assert with_route.stop() == 0
    assert kernel_of(a) == before
