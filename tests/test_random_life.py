"""A pair of daemons, one of which lives dangerously: it is killed, reloaded, upgraded and stopped
at random, and the neighbours never see two masters for longer than an election takes.

What happens, and in which order, follows from the seed alone. FASTVRRP_SEED in the environment is
another one; a failure says which one it was.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from every_kind import BACKUP, FAULT, INIT, MASTER, instance, records, wait_all
from lab import Advert, Capture, Fastvrrp, Laboratory, wait_until
from lab.changes import Kernel, kernel_of

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
SEED = int(os.environ.get("FASTVRRP_SEED", "20261122"))
ACTIONS = 20
"""Some 40 seconds."""
TURNS = 3
"""Adverts that each is followed by one of the other master, at most, in an election: the first of
the new master, and one of the old one that was on its way, or is its last word."""
INTERVAL = 0.5
COUNT = 6
KEPT = 3
"""So many virtual routers are in every configuration; the others come and go."""


def kinds(vrid: int) -> tuple[str, ...]:
    return {
        1: (),
        2: ("use_vmac",),
        3: ("auth_hmac {\n key 1 0123456789abcdef0123456789ABCDEF\n}",),
        4: ("use_vmac", "no_accept"),
        5: ("virtual_routes {\n 203.0.113.0/24 dev eth0\n}",),
        6: ("nopreempt",),
    }[vrid]


def configuration(priority: int, vrids: set[int]) -> str:
    text = "".join(
        instance(
            f"VI_{vrid}", vrid, "version 3", *kinds(vrid), priority=priority, interval=INTERVAL
        )
        for vrid in sorted(vrids)
    )
    return text + "vrrp_sync_group both {\n group {\n VI_1\n VI_2\n }\n}\n"


class Life:
    """The one of two to which everything happens."""

    def __init__(self, daemon: Fastvrrp, chance: random.Random) -> None:
        self.daemon = daemon
        self.chance = chance
        self.history: list[str] = []
        self.upgrades: list[tuple[int, int]] = []
        """When they began and ended, in nanoseconds since the epoch."""
        self.is_renewed = False
        """An upgrade was done."""
        kinds = (
            self.kill_vrrpd,
            self.kill_vrrpd,
            self.kill_parent,
            self.kill_everything,
            self.reload,
            self.reload,
            self.reload_what_is_refused,
            self.upgrade,
            self.upgrade,
            self.stop,
            self.stand_still,
        )
        coming = [*kinds, *chance.choices(kinds, k=ACTIONS - len(kinds))]
        chance.shuffle(coming)
        self.coming: list[Callable[[], None]] = coming

    def live(self) -> None:
        for happen in self.coming:
            self.history.append(happen.__name__)
            happen()
            time.sleep(self.chance.choice((0.0, 0.3, 1.5)))

    def starts(self) -> int:
        return self.daemon.log().count("Startup complete")

    def wait_started(self, count: int) -> None:
        self.daemon.wait_log("Startup complete", 60.0, count=count + 1)

    def start(self) -> None:
        self.daemon.start()
        self.wait_started(0)

    def kill_vrrpd(self) -> None:
        count = self.starts()
        os.kill(self.daemon.vrrpd, signal.SIGKILL)
        self.wait_started(count)

    def kill_parent(self) -> None:
        self.daemon.processes[0].kill()
        self.daemon.wait()
        self.start()

    def kill_everything(self) -> None:
        self.daemon.kill()
        time.sleep(self.chance.choice((0.0, 0.5, 2.5)))
        self.start()

    def reload(self) -> None:
        others = self.chance.sample(range(KEPT + 1, COUNT + 1), self.chance.randint(0, 3))
        priority = self.chance.choice((200, 150, 50))
        self.daemon.configure(configuration(priority, {*range(1, KEPT + 1), *others}))
        count = self.daemon.log().count("Reloaded")
        self.daemon.signal(signal.SIGHUP)
        if self.chance.random() < 0.7:  # otherwise something else happens meanwhile
            self.daemon.wait_log("Reloaded", 60.0, count=count + 1)

    def reload_what_is_refused(self) -> None:
        before = self.daemon.configuration_file.read_text()
        count = self.daemon.log().count("The configuration is not reloaded")
        self.daemon.configure("vrrp_instance broken {")
        self.daemon.signal(signal.SIGHUP)
        self.daemon.wait_log("The configuration is not reloaded", 60.0, count=count + 1)
        self.daemon.configure(before)

    def upgrade(self) -> None:
        begin = time.time_ns()
        done = subprocess.run(
            [FASTVRRP, "upgrade", "--pid", str(self.daemon.folder / "fastvrrp.pid")],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        self.upgrades.append((begin, time.time_ns()))
        # One that is refused is one that nobody sees.
        assert done.returncode in (0, 5), done.stdout + done.stderr
        self.is_renewed |= done.returncode == 0
        if done.returncode == 5:
            self.history[-1] += f" ({done.stdout.strip()})"

    def stop(self) -> None:
        assert self.daemon.stop(60.0) == 0
        self.start()

    def stand_still(self) -> None:
        self.daemon.signal(signal.SIGSTOP)
        time.sleep(self.chance.choice((0.2, 1.0, 2.5)))
        self.daemon.signal(signal.SIGCONT)


def longest_contest(adverts: list[Advert], upgrades: list[tuple[int, int]]) -> int:
    """How many adverts in a row, of one virtual router, each have one of the other master behind
    and before them. Who is about to be replaced by an upgrade hears nobody until that is done,
    which takes as long as the machine lets it: what is said meanwhile does not count."""
    speaking = [each for each in adverts if each.priority]
    runs = [list(run) for _, run in groupby(speaking, lambda each: each.source)]
    longest = row = 0
    for run in runs:
        is_deaf = any(begin <= run[0].time <= end for begin, end in upgrades)
        row = row + 1 if len(run) == 1 and not is_deaf else 0
        longest = max(longest, row)
    return longest


def test_nobody_ever_sees_two_masters_for_long_and_nothing_is_left(lab: Laboratory) -> None:
    chance = random.Random(SEED)
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    before = kernel_of(a), kernel_of(b)
    every = set(range(1, COUNT + 1))
    life = Life(Fastvrrp(a, configuration(200, every)), chance)
    other = Fastvrrp(b, configuration(100, every)).start()
    with Capture(b) as capture:
        life.start()
        wait_all(life.daemon, MASTER, "VI_1", "VI_2", "VI_3")
        life.live()
        # And when all is quiet each is master on one of them, and its address is there alone.
        wait_until(
            lambda: is_settled(life.daemon, other),
            60.0,
            what=lambda: f"one master of each:\n{life.daemon.log()}\n{other.log()}",
        )
        for vrid in range(1, COUNT + 1):
            wait_until(
                lambda vrid=vrid: len(lab.holders_of(f"10.0.0.{100 + vrid}")) == 1,  # type: ignore[misc]
                what=lambda vrid=vrid: f"one holder of {vrid}",  # type: ignore[misc]
            )
    what = f"seed {SEED}: {life.history}"
    print(what)
    assert life.is_renewed, what
    adverts = capture.adverts()
    for vrid in every:
        contest = longest_contest([each for each in adverts if each.vrid == vrid], life.upgrades)
        assert contest <= TURNS, f"{what}: {vrid} for {contest} adverts"
    for daemon in (life.daemon, other):
        assert "Traceback" not in daemon.log(), what
        assert daemon.stop(60.0) == 0, what
    for now, was in zip((kernel_of(a), kernel_of(b)), before, strict=True):
        for part in Kernel.__dataclass_fields__:
            assert getattr(now, part) == getattr(was, part), f"{what}: {part}"
    for daemon in (life.daemon, other):
        assert not list(daemon.folder.glob("fastvrrp.*[!f]")), what


def is_settled(*daemons: Fastvrrp) -> bool:
    found = [records(daemon) for daemon in daemons]
    names = {name for each in found for name in each}
    return all(
        sorted(each[name]["state"] for each in found if name in each)
        in ([BACKUP, MASTER], [MASTER])
        for name in names
    ) and not any(each["state"] in (INIT, FAULT) for record in found for each in record.values())
