"""What a vrrpd that is started again knows of the one that died: what waits, what was said, and
what was found to be bad."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from every_kind import BACKUP, FAULT, INIT, MASTER, instance, records, wait_all
from fastvrrp.observe import details
from lab import Capture, Fastvrrp, Laboratory, Router, wait_until

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
SECOND = 1_000_000_000
DELAY = 8
"""Seconds."""


def crash(daemon: Fastvrrp) -> None:
    """Kills the process that speaks VRRP, and waits until its successor has started."""
    count = daemon.log().count("Startup complete")
    os.kill(daemon.vrrpd, signal.SIGKILL)
    daemon.wait_log("Startup complete", 60.0, count=count + 1)


def upgrade(daemon: Fastvrrp) -> None:
    done = subprocess.run(
        [FASTVRRP, "upgrade", "--pid", str(daemon.folder / "fastvrrp.pid")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr + daemon.log()


def pair_of(lab: Laboratory) -> tuple[Router, Router]:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    return a, b


def script_in(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    unfinished = folder / f"{name}.new"
    unfinished.write_text(f"#!/bin/sh\n{body}\n")
    unfinished.chmod(0o755)
    unfinished.replace(path)
    return path


@pytest.mark.keywords("vrrp_instance/preempt_delay")
@pytest.mark.parametrize("happen", [crash, upgrade])
def test_who_waits_to_preempt_waits_no_longer_than_without(
    lab: Laboratory, happen: Callable[[Fastvrrp], None]
) -> None:
    a, b = pair_of(lab)
    quick = "version 3"
    other = Fastvrrp(b, instance("VI", 1, quick, priority=100, interval=0.5)).start()
    wait_all(other, MASTER, "VI")
    delayed = instance("VI", 1, quick, f"preempt_delay {DELAY}", interval=0.5)
    daemon = Fastvrrp(a, delayed).start()
    wait_all(daemon, BACKUP, "VI")
    since = records(daemon)["VI"]["changed_at"]
    with Capture(b) as capture:
        for _ in range(DELAY):  # half of the delay
            capture.wait_for_advert(1, after=len(capture.frames))
    before = time.monotonic_ns()
    happen(daemon)
    wait_all(daemon, MASTER, "VI")
    became = records(daemon)["VI"]["changed_at"]
    assert since + DELAY * SECOND <= became < before + DELAY * SECOND
    daemon.wait_log("(VI) Entering MASTER STATE")
    assert daemon.entered("VI") == ["BACKUP", "MASTER"]
    assert [each.stop() for each in (daemon, other)] == [0, 0]


@pytest.mark.keywords("global_defs/startup_script")
def test_the_startup_script_is_of_the_daemon_and_not_of_its_processes(lab: Laboratory) -> None:
    a, _ = pair_of(lab)
    out = a.folder / "out"
    script = script_in(a.folder, "begin", f"echo begun >>{out}")
    head = f"global_defs {{\n script_user root\n startup_script {script}\n}}\n"
    daemon = Fastvrrp(a, head + instance("VI", 1)).start()
    wait_all(daemon, MASTER, "VI")
    crash(daemon)
    upgrade(daemon)
    assert out.read_text() == "begun\n"
    assert daemon.stop() == 0


@pytest.mark.keywords("vrrp_instance/track_script")
@pytest.mark.parametrize("is_known", [True, False])
def test_nobody_in_fault_by_a_script_begins_before_the_script_has_answered(
    lab: Laboratory, is_known: bool
) -> None:
    """Also where nobody knows any more what the script had said."""
    a, b = pair_of(lab)
    script = script_in(a.folder, "check", "exit 1")
    head = f"""
global_defs {{
    script_user root
}}
vrrp_script check {{
    script {script}
    interval 1
    timeout 600
    fall 1
    rise 1
}}
"""
    conf = head + instance("VI", 1, "version 3", "track_script {\n check\n}", interval=0.2)
    daemon = Fastvrrp(a, conf).start()
    wait_all(daemon, FAULT, "VI")
    found = daemon.folder / "fastvrrp.details"

    def is_written() -> bool:
        with found.open("rb") as file:
            return [each.state for each in details.read(file.fileno()).trackers] == [0]

    wait_until(is_written, what="the result in the details")
    waits = a.folder / "go"
    script_in(a.folder, "check", f"touch {waits}.asked; while [ ! -e {waits} ]; do sleep 0.1; done")
    if is_known:
        crash(daemon)
    else:
        parent = daemon.processes[0].pid
        victim = daemon.vrrpd
        os.kill(parent, signal.SIGSTOP)
        os.kill(victim, signal.SIGKILL)
        found.unlink()
        os.kill(parent, signal.SIGCONT)
        daemon.wait_log("Startup complete", 60.0, count=2)
    asked = Path(f"{waits}.asked")
    wait_until(asked.exists, 30.0, what="the script asked")
    with Capture(b) as capture:
        wait_until(lambda: records(daemon)["VI"]["state"] in (INIT, FAULT), what="no state")
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("Reloaded", 30.0)
        assert records(daemon)["VI"]["state"] in (INIT, FAULT)
        waits.touch()
        wait_all(daemon, MASTER, "VI")
    daemon.wait_log("(VI) Entering MASTER STATE")
    entered = daemon.entered("VI")
    assert entered[-2:] == ["BACKUP", "MASTER"]
    assert entered.count("FAULT") == 1
    capture.assert_clean()
    assert daemon.stop() == 0


def test_an_upgrade_with_another_configuration_removes_what_it_does_not_have(
    lab: Laboratory,
) -> None:
    """Routes, rules and VMACs, too, which have no mark of their own."""
    a, _ = pair_of(lab)
    before = a.run(["ip", "route"]).stdout + a.run(["ip", "rule"]).stdout
    stays = instance("stays", 1, "virtual_routes {\n 203.0.113.0/24 dev eth0\n}", interval=1)
    goes = instance(
        "goes",
        2,
        "use_vmac",
        "virtual_routes {\n 198.51.100.0/24 dev eth0\n}",
        "virtual_rules {\n from 198.51.100.0/24 lookup 200\n}",
        interval=1,
    )
    daemon = Fastvrrp(a, stays + goes).start()
    wait_all(daemon, MASTER, "stays", "goes")
    wait_until(lambda: "198.51.100.0/24" in a.run(["ip", "rule"]).stdout, what="the rule")
    daemon.configure(stays)
    upgrade(daemon)
    wait_until(lambda: "vrrp.2" not in a.links(), what="the VMAC gone")
    wait_until(lambda: "198.51.100" not in a.run(["ip", "route"]).stdout, what="the route gone")
    assert "198.51.100" not in a.run(["ip", "rule"]).stdout
    assert not a.holds("10.0.0.102")
    assert "203.0.113.0/24" in a.run(["ip", "route"]).stdout
    assert records(daemon)["stays"]["state"] == MASTER
    assert daemon.entered("stays") == ["BACKUP", "MASTER"]
    assert daemon.stop() == 0
    assert a.run(["ip", "route"]).stdout + a.run(["ip", "rule"]).stdout == before
