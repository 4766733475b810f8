"""Whatever happens to the daemon, what did not change is not touched: a router of each kind goes on
as master through reloads, upgrades and the deaths of processes, in each kind of network namespace.

What the kernel has, the neighbours, scripts, FIFOs and TCP connections see nothing of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from every_kind import (
    BACKUP,
    FAULT,
    HELD,
    MASTER,
    PATIENCE,
    PRIORITIES,
    VRIDS,
    every_kind,
    instance,
    records,
    wait_all,
    wait_known,
    write_scripts,
)
from fastvrrp._table import Segment
from fastvrrp.daemon.child import LEAVING
from lab import Capture, Fastvrrp, Laboratory, wait_until
from lab.changes import Kernel, kernel_changes, kernel_of
from lab.talk import Talk

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
SECOND = 1_000_000_000
ARP = b"\x08\x06"
SAME = ("state", "changes", "changed_at", "became_master", "released_master", "priority")
ELSEWHERE = "203.0.114."
"""Addresses that a reload brings and takes."""
EXTRA = instance("extra", 60, addresses=f"{ELSEWHERE}1/24").replace("eth0", "eth1")


class Pair:
    """A master of all kinds and its backup, both started, and what is seen of them."""

    def __init__(self, lab: Laboratory, place: str) -> None:
        self.a, self.b = lab.router("a"), lab.router("b")
        (link, _) = lab.connect(self.a, self.b, count=2)
        # For a connection to an address of the other one's.
        self.b.ip("address add 2001:db8::b/64 dev eth0")
        home = lab.router("home") if place != "own" else self.a
        write_scripts(self.a.folder)
        write_scripts(self.b.folder)
        self.text = every_kind(
            self.a.folder,
            link.address(self.a),
            link.address(self.b),
            200,
            self.a.namespace if place == "instance" else None,
        )
        if place == "global":
            self.text = f"net_namespace {self.a.namespace}\n{self.text}"
        self.extra = EXTRA.replace("{", f"{{\n net_namespace {self.a.namespace}", 1)
        if place != "instance":
            self.extra = EXTRA
        self.ours = Fastvrrp(home, self.text)
        self.ours.options = ["--metrics", "127.0.0.1:9165"]
        self.ours.start()
        wait_all(self.ours, MASTER, *VRIDS)
        theirs = every_kind(self.b.folder, link.address(self.b), link.address(self.a), 100)
        self.theirs = Fastvrrp(self.b, theirs).start()
        wait_all(self.theirs, BACKUP, *VRIDS)
        wait_all(self.ours, FAULT, HELD)
        wait_known(self.ours)
        wait_known(self.theirs)
        wait_until(lambda: "203.0.113.0/24" in kernel_of(self.a).routes, what="the virtual route")
        self.ours.wait_log("Serving metrics on")

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [FASTVRRP, *words, "--pid", str(self.ours.folder / "fastvrrp.pid")],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def wait_started(self, count: int) -> None:
        self.ours.wait_log("Startup complete", 60.0, count=count + 1)

    def starts(self) -> int:
        return self.ours.log().count("Startup complete")


# --- what happens ---------------------------------------------------------------------------------


def reload_of_the_same(pair: Pair) -> None:
    done = pair.command("reload")
    assert done.returncode == 0, done.stdout
    assert f"0 added, 0 removed, 0 changed, {len(VRIDS) + 1} unchanged" in done.stdout


def reload_with_one_more(pair: Pair) -> None:
    pair.ours.configure(pair.text + pair.extra)
    done = pair.command("reload")
    assert "1 added, 0 removed, 0 changed" in done.stdout
    wait_until(lambda: "extra" in records(pair.ours), what="the new one")


def reload_with_one_less(pair: Pair) -> None:
    pair.ours.configure(pair.text)
    assert "0 added, 1 removed, 0 changed" in pair.command("reload").stdout
    wait_until(lambda: "extra" not in records(pair.ours), what="the end of the new one")


def reload_that_is_refused(pair: Pair) -> None:
    pair.ours.configure(pair.text.replace("virtual_router_id 1\n", "virtual_router_id 256\n"))
    done = pair.command("reload")
    pair.ours.configure(pair.text)
    assert done.returncode == 5
    (complaint,) = [line for line in done.stdout.splitlines() if "virtual_router_id 256 " in line]
    pair.ours.wait_log(complaint)


def death_of_vrrpd(pair: Pair) -> None:
    before = pair.starts()
    # What runs counts, and not what was written since.
    pair.ours.configure("vrrp_instance broken {")
    os.kill(pair.ours.vrrpd, signal.SIGKILL)
    pair.wait_started(before)
    pair.ours.configure(pair.text)
    pair.ours.wait_log(f"go on as they were left, {len(VRIDS)} of them as MASTER")


def death_of_a_companion(module: str) -> Callable[[Pair], None]:
    def death(pair: Pair) -> None:
        before = pair.ours.find_child(module)
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_until(
            lambda: pair.ours.find_child(module) not in (None, before), 30.0, what="the next one"
        )

    return death


def upgrade(pair: Pair) -> None:
    done = pair.command("upgrade")
    assert done.returncode == 0, done.stdout + done.stderr + pair.ours.log()


def restart(pair: Pair) -> None:
    """As systemd does it, with the unit of deploy/."""
    pair.ours.processes[0].send_signal(LEAVING)
    assert pair.ours.wait(60.0) == 0
    pair.ours.start()
    pair.wait_started(0)


def death_of_everything(pair: Pair) -> None:
    pair.ours.kill()
    pair.ours.start()
    pair.wait_started(0)


HAPPENINGS: dict[str, Callable[[Pair], None]] = {
    "a reload of the same": reload_of_the_same,
    "a reload with one more": reload_with_one_more,
    "a reload with one less": reload_with_one_less,
    "a reload that is refused": reload_that_is_refused,
    "the death of vrrpd": death_of_vrrpd,
    "the death of what runs scripts": death_of_a_companion("fastvrrp.track.runner"),
    "the death of what watches processes": death_of_a_companion("fastvrrp.track.watcher"),
    "the death of what serves metrics": death_of_a_companion("fastvrrp.daemon.exporter"),
    "an upgrade": upgrade,
    "a restart": restart,
    "the death of everything": death_of_everything,
}


# --- what is seen of it ---------------------------------------------------------------------------


def heard(descriptor: int) -> str:
    try:
        return os.read(descriptor, 1 << 16).decode()
    except BlockingIOError:
        return ""


class Look:
    """All that must be the same afterwards."""

    def __init__(self, pair: Pair, fifo: int) -> None:
        self.kernel = without_elsewhere(kernel_of(pair.a))
        self.home = kernel_of(pair.ours.router)
        self.ours = self.of(pair.ours)
        self.theirs = self.of(pair.theirs)
        self.refused = sum(sum(each["refused"]) for each in records(pair.theirs).values())
        self.split_brains = sum(each["split_brains"] for each in records(pair.theirs).values())
        self.told = (pair.a.folder / "told").read_text()
        self.fifo = heard(fifo)
        self.changes = Segment(pair.ours.folder / "fastvrrp.state").totals()["changes"]

    def of(self, daemon: Fastvrrp) -> dict[str, dict[str, Any]]:
        return {
            name: {key: each[key] for key in SAME}
            for name, each in records(daemon).items()
            if name != "extra"
        }


def without_elsewhere(kernel: Kernel) -> Kernel:
    return Kernel(
        frozenset(each for each in kernel.addresses if ELSEWHERE not in each),
        kernel.links,
        "".join(line + "\n" for line in kernel.routes.splitlines() if ELSEWHERE not in line),
        kernel.rules,
        kernel.ruleset,
        kernel.parameters,
    )


def wait_for_adverts_of_all(pair: Pair) -> None:
    """The peer has heard another advert of each."""
    before = {name: each["adverts_received"] for name, each in records(pair.theirs).items()}
    wait_until(
        lambda: all(
            each["adverts_received"] > before[name]
            for name, each in records(pair.theirs).items()
            if name in VRIDS
        ),
        30.0,
        what=lambda: f"an advert of each:\n{pair.ours.log()}",
    )


def compare(before: Look, after: Look, what: str) -> None:
    for part in ("addresses", "links", "routes", "rules", "ruleset", "parameters"):
        for kernel in ("kernel", "home"):
            was = getattr(getattr(before, kernel), part)
            now = getattr(getattr(after, kernel), part)
            assert now == was, f"{what}: {part} of {kernel}"
    assert after.ours == before.ours, what
    assert after.theirs == before.theirs, what
    assert after.refused == before.refused, f"{what}: the peer refuses"
    assert after.split_brains == before.split_brains, what
    assert after.told == before.told, f"{what}: scripts were run"
    extra = [line for line in after.fifo.splitlines() if '"extra"' not in line]
    assert not extra, f"{what}: the FIFO tells {extra}"


def judge(capture: Capture) -> None:
    """Nobody but the master has spoken, with nothing but its priorities, and none was late."""
    capture.assert_clean()
    adverts = [each for each in capture.adverts() if each.interface == "eth0"]
    assert not [each for each in adverts if each.is_outgoing], "the backup has spoken"
    assert {(each.vrid, each.priority) for each in adverts} == {
        (vrid, 200 + PRIORITIES.get(name, 0)) for name, vrid in VRIDS.items()
    }
    for vrid in VRIDS.values():
        mine = [each for each in adverts if each.vrid == vrid]
        gaps = [later.time - earlier.time for earlier, later in pairwise(mine)]
        assert max(gaps) < PATIENCE * SECOND, vrid
    sequence = [each.ah_sequence for each in adverts if each.vrid == VRIDS["ah"]]
    assert all(one < next_one for one, next_one in pairwise(sequence) if one and next_one)
    announced = [
        frame
        for frame in capture.frames
        if frame.interface == "eth0" and not frame.is_outgoing and is_announcement(frame.data)
    ]
    assert not announced, "addresses were announced again"


def is_only_said_again(line: str) -> bool:
    """Whether a line of `ip monitor` is of a link that is, and is up: the kernel says so when
    anything is set to what it was."""
    return ": <" in line and ",UP" in line and "Deleted" not in line


def is_announcement(data: bytes) -> bool:
    """Whether a frame is a gratuitous ARP: who asks is whom it asks for."""
    return data[12:14] == ARP and data[28:32] == data[38:42]


@pytest.mark.parametrize("place", ["own", "instance", "global"])
def test_nothing_moves(lab: Laboratory, place: str) -> None:
    pair = Pair(lab, place)
    happenings = HAPPENINGS
    if place != "own":
        rare = ("what runs", "what watches", "what serves", "refused")
        happenings = {
            name: happen
            for name, happen in HAPPENINGS.items()
            if not any(word in name for word in rare)
        }
    with ExitStack() as ending:
        fifo = os.open(pair.a.folder / "fifo", os.O_RDONLY | os.O_NONBLOCK)
        ending.callback(os.close, fifo)
        talks = [
            ending.enter_context(Talk(pair.a, address, pair.b))
            for address in ("10.0.0.101", "10.0.0.102", "2001:db8::3", "10.0.0.213")
        ]
        wait_second_round(pair)
        heard(fifo)
        before = Look(pair, fifo)
        capture = ending.enter_context(Capture(pair.b))
        changes = ending.enter_context(kernel_changes(pair.a, without="eth1"))
        for what, happen in happenings.items():
            wait_for_adverts_of_all(pair)
            happen(pair)
            wait_for_adverts_of_all(pair)
            after = Look(pair, fifo)
            compare(before, after, what)
            assert [line for line in changes() if not is_only_said_again(line)] == [], what
            assert after.changes >= before.changes, what
            for talk in talks:
                talk.goes_on()
            assert "Traceback" not in pair.ours.log(), what
    judge(capture)
    assert pair.theirs.entered("plain") == ["BACKUP"]
    assert [pair.ours.stop(60.0), pair.theirs.stop(60.0)] == [0, 0]


def wait_second_round(pair: Pair) -> None:
    """Who has just become master announces again after a crash: that is not what is watched."""
    announced = -1

    def is_quiet() -> bool:
        nonlocal announced
        before = announced
        announced = sum(each["announcements_sent"] for each in records(pair.ours).values())
        return announced == before

    # garp_master_delay is 5 s.
    wait_until(is_quiet, 60.0, interval=6.0, what="the end of all announcements")
