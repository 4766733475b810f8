"""What a daemon that is master of all may live through: reloads, an upgrade, the end of the process
that speaks VRRP. Nothing of it may lose a virtual router.

The longest gap is the one between two adverts of the same virtual router from before it until all
is as before. A virtual router is lost when the other side has spoken for it meanwhile.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Mapping

from fastvrrp.bench.case import MASTER_PRIORITY
from fastvrrp.bench.kinds import Daemon
from fastvrrp.bench.processes import Sample
from fastvrrp.bench.recording import gaps
from fastvrrp.bench.setting import Setting, not_measured

RECOVERY_TIMEOUT = 20.0
UPGRADE_TIMEOUT = 120.0
LITTLE = 5e7
"""Processor time a second, ns, that is no work worth waiting for."""
SHORTEST_RECOVERY = 5.0
"""Seconds that a daemon is watched at least."""


def reload(now: Setting) -> None:
    """Reads the same configuration again."""
    now.say("reloading an unchanged configuration")
    _disturb(now, "reload", lambda: os.kill(now.a.pid, signal.SIGHUP))


def change(now: Setting) -> None:
    """Reloads a configuration that has one virtual router less and another one more, on a cable of
    its own: elsewhere every VRID may be taken. What is measured is what becomes of the others."""
    now.say("reloading with one virtual router added and one removed")
    now.network.lay_spare_cables()
    now.a.configuration.write_text(now.case.changed_configuration(MASTER_PRIORITY))
    case = now.case
    removed = (
        now.network.ifindex(f"eth{case.interfaces - 1}") << 16
        | case.family << 8
        | case.vrids(case.interfaces - 1)[-1]
    )
    _disturb(now, "change", lambda: os.kill(now.a.pid, signal.SIGHUP), {removed})
    if not now.a.log_count(f"({case.added_name}) Entering MASTER STATE"):
        raise now.a.error("the virtual router that was added is no master")


def upgrade(now: Setting) -> None:
    """Lets another version, which is the same one here, take its place."""
    before = now.a.worker()
    now.say("upgrading")

    def act() -> None:
        finished = subprocess.run(
            now.a.upgrading(), capture_output=True, text=True, check=False, timeout=UPGRADE_TIMEOUT
        )
        if finished.returncode != 0:
            raise now.a.error(f"the upgrade has failed: {finished.stdout}{finished.stderr}")

    _disturb(now, "upgrade", act)
    if now.a.worker() == before:
        raise now.a.error("the process that speaks VRRP is still the one before the upgrade")


def crash(now: Setting) -> None:
    """Kills the process that speaks VRRP."""
    now.say("killing the VRRP process")
    before = now.a.worker()
    _disturb(now, "crash", lambda: os.kill(before, signal.SIGKILL))
    if now.a.worker() == before:
        raise now.a.error("nobody has started the process again that speaks VRRP")


DISTURBANCES: Mapping[str, Callable[[Setting], None]] = {
    "change": change,
    "upgrade": upgrade,
    "crash": crash,
}
"""Those that have a pair of daemons each, by the beginning of their figures' keys."""


def is_possible(kind: type[Daemon], name: str) -> bool:
    """Whether this kind of daemon knows of such a thing."""
    return name != "upgrade" or kind.upgrades


def _disturb(
    now: Setting, name: str, act: Callable[[], None], removed: Collection[int] = ()
) -> None:
    """Does something to the master, and watches until all is as before; virtual routers that are
    `removed` may become the other side's."""
    interval = now.case.interval
    start = now.recording.count
    now.recording.look(True)
    time.sleep(2 * interval)
    began = time.monotonic()
    act()
    longest = RECOVERY_TIMEOUT + 2 * now.figures.values["reading"]
    is_over = False
    while not is_over and time.monotonic() - began < longest:
        place = now.recording.count
        before = Sample.of(now.a.pid)
        time.sleep(2 * interval + 0.2)
        after = Sample.of(now.a.pid)
        if now.a.has_ended():
            raise now.a.error(f"it has ended after the {name}")
        load = (after.processor - before.processor) / (after.time - before.time)
        is_over = (
            time.monotonic() - began > SHORTEST_RECOVERY
            # A daemon that reads its configuration again may be speaking as before meanwhile.
            and load < 1.5 * now.steady + LITTLE
            and len(now.recording.speakers(place, from_b=False)) == now.case.routers - len(removed)
            and now.recording.speakers(place, from_b=True) <= set(removed)
        )
    now.recording.look(False)
    values = now.figures.values
    times = now.recording.times(start, now.recording.count, from_b=False)
    ordered = gaps({router: each for router, each in times.items() if router not in removed})
    values[f"{name}_gap"] = ordered[-1] / 1e6 if ordered else 0.0
    values[f"{name}_lost"] = len(now.recording.speakers(start, from_b=True) - set(removed))
    if is_over:
        values[f"{name}_recovery"] = time.monotonic() - began
    else:
        not_measured(now.figures, name, f"not as before after {longest:.0f} s")
