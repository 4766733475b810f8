"""The process of health checkers, as `global_defs` has it."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from dropin_pair import ONE_ROUTER, ONE_SERVER, AsKeepalived, has_pid
from lab import Laboratory, wait_until
from test_scheduling import standing


class WithCheckers(AsKeepalived):
    """Started as keepalived, with a pid file of the checkers."""

    @property
    def checkers(self) -> Path:
        return self.folder / "checkers.pid"

    def commands(self) -> list[list[str]]:
        return [[*super().commands()[0], "-c", str(self.checkers)]]

    def wait_checkers(self) -> int:
        wait_until(partial(has_pid, self.checkers), what="the pid of the checkers")
        return int(self.checkers.read_text())


def begun(lab: Laboratory, settings: str) -> WithCheckers:
    router, other = lab.router("a"), lab.router("b")
    lab.connect(router, other)
    text = f"global_defs {{\n {settings}\n}}\n{ONE_ROUTER}{ONE_SERVER}"
    return WithCheckers(router, text).start()


@pytest.mark.keywords("global_defs/checker_no_swap checker_cpu_affinity checker_rlimit_rttime")
@pytest.mark.keywords("global_defs/checker_rt_priority")
def test_it_stands_as_it_is_written(lab: Laboratory) -> None:
    daemon = begun(
        lab,
        "checker_no_swap\n checker_cpu_affinity 0\n checker_rt_priority 7\n"
        " checker_rlimit_rttime 200000\n checker_process_name checks",
    )
    pid = daemon.wait_checkers()
    wait_until(lambda: standing(pid).priority == 7, what=daemon.log)
    found = standing(pid)
    assert (found.name, found.policy, found.cpus) == ("checks", os.SCHED_RR, frozenset({0}))
    wait_until(lambda: standing(pid).is_locked, what="its memory locked")
    assert standing(pid).realtime_limit == "100000"
    assert standing(daemon.processes[0].pid).priority == 0
    assert daemon.stop() == 0


@pytest.mark.keywords("global_defs/max_auto_priority", "global_defs/min_auto_priority_delay")
def test_one_that_wakes_late_raises_its_priority(lab: Laboratory) -> None:
    daemon = begun(lab, "max_auto_priority 1\n min_auto_priority_delay 200000")
    pid = daemon.wait_checkers()
    daemon.wait_log("Health checks have begun")
    for _ in range(2):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.6)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.5)
    wait_until(lambda: standing(pid).priority == 1, what=daemon.log)
    assert standing(pid).policy == os.SCHED_RR
    assert standing(daemon.processes[0].pid).priority == 0
    assert daemon.stop() == 0
