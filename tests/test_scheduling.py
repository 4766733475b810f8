"""How the daemon's process is scheduled and called, beside keepalived's."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from fastvrrp.daemon.reload_files import reload_time
from fastvrrp.daemon.scheduling import Role, name_of
from fastvrrp.model import Process, Processes
from lab import Fastvrrp, Keepalived, Laboratory, wait_until

REALTIME = "vrrp_rt_priority 7\n vrrp_rlimit_rttime 200000"
SETTINGS = "vrrp_no_swap\n vrrp_cpu_affinity 0\n vrrp_process_name elector"
ROUTER = """
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress { 10.0.0.9/24 }
}
"""


class Standing(NamedTuple):
    """How a process stands before the scheduler."""

    name: str
    nice: int
    policy: int
    priority: int
    cpus: frozenset[int]
    is_locked: bool
    realtime_limit: str
    """In microseconds, or `unlimited`."""


def standing(pid: int) -> Standing:
    status = Path(f"/proc/{pid}/status").read_text()
    locked = next(line for line in status.splitlines() if line.startswith("VmLck:"))
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    limit = next(line for line in limits if line.startswith("Max realtime timeout"))
    return Standing(
        Path(f"/proc/{pid}/comm").read_text().strip(),
        os.getpriority(os.PRIO_PROCESS, pid),
        os.sched_getscheduler(pid) & ~os.SCHED_RESET_ON_FORK,
        os.sched_getparam(pid).sched_priority,
        frozenset(os.sched_getaffinity(pid)),
        int(locked.split()[1]) > 0,
        limit.split()[3],
    )


def configuration(settings: str) -> str:
    return f"global_defs {{\n {settings}\n}}\n{ROUTER}"


@pytest.mark.keywords(
    "global_defs/vrrp_priority",
    "global_defs/vrrp_rt_priority",
    "global_defs/vrrp_no_swap",
    "global_defs/vrrp_cpu_affinity",
    "global_defs/vrrp_rlimit_rttime",
    "global_defs/vrrp_process_name",
)
@pytest.mark.parametrize(
    ("setting", "nice", "policy", "priority"),
    [
        ("vrrp_priority -5", -5, os.SCHED_OTHER, 0),
        (REALTIME, os.getpriority(os.PRIO_PROCESS, 0), os.SCHED_RR, 7),
        (f"vrrp_priority -5\n {REALTIME}", os.getpriority(os.PRIO_PROCESS, 0), os.SCHED_RR, 7),
    ],
)
def test_the_process_stands_as_keepalived_s_does(
    lab: Laboratory, setting: str, nice: int, policy: int, priority: int
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    text = configuration(f"{SETTINGS}\n {setting}")
    ours = Fastvrrp(a, text).start()
    theirs = Keepalived(b, text).start()
    for daemon in (ours, theirs):
        daemon.wait_log("Startup complete")
    child = int((theirs.folder / "vrrp.pid").read_text())
    wait_until(lambda: standing(child).priority == priority, what="keepalived's priority")
    mine = standing(ours.vrrpd)
    # Both have half of what is written as the soft limit; all of it is keepalived's hard one.
    assert mine == standing(child)
    limit = "100000" if priority else "unlimited"
    assert mine == Standing(
        "elector", nice, policy, priority, frozenset({0}), is_locked=True, realtime_limit=limit
    )
    before = standing(os.getpid())
    ours.configure(configuration("router_id x"))
    ours.signal(signal.SIGHUP)
    ours.wait_log("Reloaded")
    after = standing(ours.vrrpd)
    assert after == Standing(
        *("fastvrrp_vrrpd", before.nice, os.SCHED_OTHER, 0, before.cpus),
        is_locked=False,
        realtime_limit="unlimited",
    )
    assert ours.stop() == theirs.stop() == 0


@pytest.mark.keywords("global_defs/vrrp_priority")
@pytest.mark.parametrize("setting", ["vrrp_priority -5", REALTIME])
def test_what_runs_for_the_daemon_has_no_better_priority(
    lab: Laboratory, tmp_path: Path, setting: str
) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    script = tmp_path / "script"
    script.write_text(
        f"#!/bin/sh\ncut -d' ' -f19,40,41 /proc/self/stat > {tmp_path}/new\n"
        f"mv {tmp_path}/new {tmp_path}/stat\n"
    )
    script.chmod(0o755)
    daemon = Fastvrrp(
        a,
        f"global_defs {{\n {setting}\n script_user root\n}}\n"
        f"vrrp_script check {{\n script {script}\n interval 1\n}}\n"
        + ROUTER.replace("virtual_router_id", "track_script { check }\n virtual_router_id"),
    ).start()
    wait_until((tmp_path / "stat").exists, what="a run of the script")
    nice, priority, policy = map(int, (tmp_path / "stat").read_text().split())
    assert nice >= 0
    assert (priority, policy) == (0, os.SCHED_OTHER)
    assert daemon.stop() == 0


@pytest.mark.keywords(
    "global_defs/process_names",
    "global_defs/process_name",
    "global_defs/checker_process_name",
    "global_defs/lvs_process_name",
)
def test_names_are_those_of_the_configuration() -> None:
    plain = Processes()
    assert name_of(plain, Role.VRRP, "x") == "x"
    named = Processes(has_names=True)
    assert [name_of(named, role, "x") for role in Role] == [
        *("keepalived", "keepalived_vrrp", "keepalived_lvs")
    ]
    own = Processes(has_names=True, checker=Process(name="checks"), parent_name="all")
    assert name_of(own, Role.CHECKERS, "x") == "checks"
    assert name_of(own, Role.PARENT, "x") == "all"


@pytest.mark.keywords("global_defs/max_auto_priority", "global_defs/min_auto_priority_delay")
def test_a_process_that_wakes_late_raises_its_priority(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    text = configuration("max_auto_priority 2\n min_auto_priority_delay 200000")
    daemon = Fastvrrp(a, text).start()
    daemon.wait_log("Startup complete")
    process = daemon.vrrpd
    for _ in range(3):
        os.kill(process, signal.SIGSTOP)
        time.sleep(0.6)
        os.kill(process, signal.SIGCONT)
        time.sleep(0.5)
    daemon.wait_log("realtime priority is 2 now")
    assert "realtime priority is 3" not in daemon.log()
    assert os.sched_getparam(process).sched_priority == 2
    assert daemon.stop() == 0


# --- reloads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-02 03:04:05Z", 1893553445),
        ("30-01-02 03:04:05Z", 1893553445),
        ("1999-01-02 03:04:05Z", 915246245),
        ("00:00:30Z", 86430),
        ("00:02:00Z", 120),
        ("00:01:00Z", 86460),
        (" 00:02:00Z", None),
        ("00:02:00Z ", None),
        ("0:02:00Z", None),
        ("24:00:00Z", None),
        ("2030-02-30 00:00:00Z", None),
        ("2030-01-02  03:04:05Z", None),
        ("", None),
        ("now", None),
    ],
)
def test_a_reload_time_is_read_as_the_manual_has_it(text: str, expected: float | None) -> None:
    assert reload_time(text, 60.0) == expected


def test_a_local_time_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    try:
        assert reload_time("2030-07-02 03:04:05", 0.0) == reload_time("2030-07-02 01:04:05Z", 0.0)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.keywords("global_defs/reload_time_file", "global_defs/reload_repeat")
@pytest.mark.parametrize("repeats", [False, True])
def test_a_file_says_when_to_reload(lab: Laboratory, tmp_path: Path, repeats: bool) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    file = tmp_path / "when"
    settings = f"reload_time_file {file}" + ("\n reload_repeat" if repeats else "")
    daemon = Fastvrrp(a, configuration(settings)).start()
    daemon.wait_log("Startup complete")
    file.write_text(time.strftime("%H:%M:%SZ\n", time.gmtime(time.time() + 3600)))
    daemon.wait_log("A reload is scheduled for")
    file.unlink()
    daemon.wait_log("The scheduled reload is cancelled")
    file.write_text("soon\n")
    daemon.wait_log("'soon' is no time to reload at")
    assert "Reloading" not in daemon.log()
    file.write_text(time.strftime("%H:%M:%SZ\n", time.gmtime(time.time() + 2)))
    daemon.wait_log("Reloaded")
    assert file.exists() == repeats
    if repeats:
        daemon.wait_log("A reload is scheduled for", count=3)
    assert daemon.stop() == 0


@pytest.mark.keywords("global_defs/reload_file", "global_defs/reload_check_config")
def test_a_file_stands_while_the_configuration_is_read(lab: Laboratory, tmp_path: Path) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    file, complaints = tmp_path / "reading", tmp_path / "complaints"
    settings = f"reload_file {file}\n reload_check_config {complaints}"
    daemon = Fastvrrp(a, configuration(settings)).start()
    daemon.wait_log("Startup complete")
    assert not file.exists()
    # A configuration that takes its time, so that the file is seen while it stands.
    many = "".join(f"track_file t{number} {{\n file /x/{number}\n}}\n" for number in range(3000))
    daemon.configure(configuration(f"{settings}\n no_such_keyword") + many)
    file.write_text("not empty")
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: file.exists() and file.stat().st_size == 0, what="the empty file")
    wait_until(lambda: not file.exists(), what="the end of the file")
    wait_until(complaints.exists, what="the complaints")
    wait_until(lambda: "no_such_keyword" in complaints.read_text(), what="the complaint")
    assert daemon.stop() == 0
