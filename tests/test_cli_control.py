"""`fastvrrp reload`, `resign`, `drain` and `undrain` of real daemons."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fastvrrp._table import Segment
from fastvrrp.observe.files import Files
from lab import Capture, Fastvrrp, Laboratory, wait_until
from test_reload import BACKUP, MASTER, instance, records, wait_master

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))


def tell(
    daemon: Fastvrrp | Path, *arguments: str, timeout: float = 30
) -> subprocess.CompletedProcess[str]:
    folder = daemon.folder if isinstance(daemon, Fastvrrp) else daemon
    return subprocess.run(
        [FASTVRRP, *arguments, "--pid", str(folder / "fastvrrp.pid")],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def wait_states(daemon: Fastvrrp, state: int, *names: str) -> None:
    wait_until(
        lambda: all(records(daemon).get(name, {}).get("state") == state for name in names),
        what=lambda: f"states {state}:\n{daemon.log()}",
    )


def several(count: int, priority: int, *lines: str) -> str:
    return "".join(
        instance(f"VI_{number}", number, *lines, priority=priority)
        for number in range(1, count + 1)
    )


def names(count: int) -> tuple[str, ...]:
    return tuple(f"VI_{number}" for number in range(1, count + 1))


def pair(lab: Laboratory, count: int, more: str = "", *lines: str) -> tuple[Fastvrrp, Fastvrrp]:
    """One that is master of all, and one that is its backup."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    ours = Fastvrrp(a, several(count, 200, *lines) + more).start()
    wait_master(ours, *names(count))
    theirs = Fastvrrp(b, several(count, 100, *lines) + more).start()
    wait_states(theirs, BACKUP, *names(count))
    wait_until(lambda: all(record["heard_at"] for record in records(theirs).values()))
    return ours, theirs


def test_a_reload_says_what_it_has_done(lab: Laboratory) -> None:
    daemon = Fastvrrp(lab.router("a"), instance("VI_1", 1, interface="lo")).start()
    daemon.wait_log("Startup complete")
    daemon.configure(instance("VI_2", 2, interface="lo") + "unknown_word\n")
    checked = tell(daemon, "reload", "--check")
    assert "unknown_word" in checked.stdout
    assert "would be reloaded: 1 added, 1 removed, 0 changed, 0 unchanged" in checked.stdout
    assert (checked.returncode, checked.stderr) == (0, "")
    assert list(records(daemon)) == ["VI_1"]
    assert "unknown_word" not in daemon.log()
    done = tell(daemon, "reload")
    assert (done.returncode, done.stderr) == (0, "")
    complaint, said = done.stdout.splitlines()
    assert "unknown_word" in complaint
    assert complaint in daemon.log()
    assert said.startswith(f"Reloaded {daemon.configuration_file}: 1 added, 1 removed, 0 changed")
    assert said in daemon.log()
    wait_until(lambda: list(records(daemon)) == ["VI_2"], what="the one that was removed gone")
    assert daemon.stop() == 0


def test_a_reload_that_is_refused_says_why_and_changes_nothing(lab: Laboratory) -> None:
    daemon = Fastvrrp(lab.router("a"), instance("VI_1", 1, interface="lo")).start()
    daemon.wait_log("Startup complete")
    daemon.configure(instance("VI_1", 300, interface="lo"))
    for option in (["--check"], []):
        done = tell(daemon, "reload", *option)
        assert done.returncode == 5
        *complaints, said = done.stdout.splitlines()
        assert any("virtual_router_id 300" in complaint for complaint in complaints)
        assert "it has errors" in said
    assert all(complaint in daemon.log() for complaint in complaints)
    assert said in daemon.log()
    assert daemon.log().count(complaints[0]) == 1
    totals = Segment(daemon.folder / "fastvrrp.state").totals()
    assert (totals["reloads_done"], totals["reloads_refused"]) == (0, 1)
    daemon.configuration_file.unlink()
    assert tell(daemon, "reload").returncode == 5
    assert list(records(daemon)) == ["VI_1"]
    assert daemon.stop() == 0


def test_everybody_who_asks_hears_of_a_reload_that_began_after_that(lab: Laboratory) -> None:
    daemon = Fastvrrp(lab.router("a"), instance("VI_1", 1, interface="lo")).start()
    daemon.wait_log("Startup complete")
    askers = [
        subprocess.Popen(
            [FASTVRRP, "reload", "--pid", str(daemon.folder / "fastvrrp.pid")],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for asker in askers:
        assert "0 added, 0 removed, 0 changed, 1 unchanged" in asker.communicate(timeout=30)[0]
        assert asker.returncode == 0
    assert daemon.stop() == 0


@pytest.mark.parametrize("command", [["reload"], ["resign", "VI_1"], ["drain"], ["undrain"]])
def test_no_daemon_is_a_clear_message(tmp_path: Path, command: list[str]) -> None:
    done = tell(tmp_path, *command)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(
        f"fastvrrp: no daemon runs: there is nobody at {tmp_path}/fastvrrp.control; start it with"
    )


def test_one_that_resigns_is_followed_within_an_advert(lab: Laboratory) -> None:
    """The other one's Skew_Time, and no Master_Down_Interval; and it stays so."""
    ours, theirs = pair(lab, 2)
    with Capture(theirs.router) as capture:
        done = tell(ours, "resign", "VI_1", "--for", "600")
        assert done.stdout.splitlines() == [
            "VI_1 was master, and has resigned",
            "It does not preempt for 600 s",
        ]
        assert (done.returncode, done.stderr) == (0, "")
        wait_states(theirs, MASTER, "VI_1")
        farewell = capture.wait_for_advert(1, priority=0)
        follower = capture.wait_for_advert(1, priority=100)
    # 0.06 s are the Skew_Time of priority 100.
    assert 50_000_000 < follower.time - farewell.time < 300_000_000
    assert records(ours)["VI_1"]["state"] == BACKUP
    assert records(ours)["VI_2"]["state"] == MASTER
    shown = tell(ours, "show", "VI_1").stdout
    assert "BACKUP for" in shown
    assert "it has resigned, and does not preempt for now" in shown
    assert "does not preempt for 9 min" in shown
    assert "1 resigned, and not to preempt for now." in tell(ours, "status").stdout
    wait_until(lambda: ours.router.holds("10.0.0.102") and not ours.router.holds("10.0.0.101"))
    # Ended before its time.
    done = tell(ours, "undrain")
    assert done.stdout == (
        "1 virtual router takes part again; 1 with a higher priority than the master's takes over\n"
    )
    wait_master(ours, "VI_1")
    assert tell(ours, "resign", "VI_3").returncode == 4
    for daemon in (ours, theirs):
        assert daemon.stop() == 0


def test_a_short_time_is_over_by_itself(lab: Laboratory) -> None:
    ours, theirs = pair(lab, 1)
    assert tell(ours, "resign", "VI_*", "--for", "1").returncode == 0
    wait_states(theirs, MASTER, "VI_1")
    ours.wait_log("(VI_1) may preempt again")
    wait_master(ours, "VI_1")
    assert not Files.beside(ours.folder / "fastvrrp.pid").maintenance.exists()
    for daemon in (ours, theirs):
        assert daemon.stop() == 0


def test_a_sync_group_resigns_as_a_whole(lab: Laboratory) -> None:
    group = "vrrp_sync_group G {\n  group {\n    VI_1\n    VI_2\n  }\n}\n"
    ours, theirs = pair(lab, 3, group)
    done = tell(ours, "resign", "VI_2")
    assert sorted(done.stdout.splitlines()[:2]) == [
        "VI_1 was master, and has resigned",
        "VI_2 was master, and has resigned",
    ]
    wait_states(theirs, MASTER, "VI_1", "VI_2")
    assert records(ours)["VI_3"]["state"] == MASTER
    for daemon in (ours, theirs):
        assert daemon.stop() == 0


def test_a_drain_is_spread_and_lasts_until_it_is_taken_back(lab: Laboratory) -> None:
    count = 20
    ours, theirs = pair(lab, count)
    with Capture(theirs.router) as capture:
        done = tell(ours, "drain", "--rate", "20")
        assert done.stdout.splitlines()[-1] == f"drained: {count} masters were given away"
        assert done.returncode == 0
        wait_states(theirs, MASTER, *names(count))
        farewells = sorted(advert.time for advert in capture.adverts() if advert.priority == 0)
    assert len(farewells) == count
    gaps = [after - before for before, after in pairwise(farewells)]
    assert farewells[-1] - farewells[0] > 900_000_000  # nineteen gaps of 0.05 s
    assert max(gaps) < 500_000_000
    status = tell(ours, "status").stdout
    assert f"{count} drained, and not to be master until 'fastvrrp undrain'." in status
    assert "Not as configured" not in status
    said = json.loads(tell(ours, "status", "--json").stdout)
    assert (said["drained"], said["routers"][0]["restraint"]) == (count, "drained")
    facts = json.loads(tell(ours, "show", "VI_1", "--json").stdout)
    assert facts["timers"]["takes_over_in"] is None

    # Nobody becomes master, with nobody else there, and what a reload adds neither.
    assert theirs.stop() == 0
    ours.configure(several(count + 1, 200))
    assert "1 added" in tell(ours, "reload").stdout
    wait_states(ours, BACKUP, *names(count + 1))
    changes = Segment(ours.folder / "fastvrrp.state").totals()["changes"]
    with Capture(ours.router) as capture, pytest.raises(TimeoutError):
        capture.wait_for_advert(1, timeout=1.0)
    assert Segment(ours.folder / "fastvrrp.state").totals()["changes"] == changes
    assert tell(ours, "resign", "VI_1").returncode == 5

    assert tell(ours, "undrain").returncode == 0
    wait_master(ours, *names(count + 1))
    assert ours.stop() == 0


def vrrpd_of(daemon: Fastvrrp) -> int:
    """The process that speaks VRRP."""
    pid: int = Segment(daemon.folder / "fastvrrp.state").pid
    return pid


def test_what_is_drained_is_so_after_a_crash_and_not_after_a_stop(lab: Laboratory) -> None:
    router = lab.router("a")
    lab.connect(router, lab.router("b"))
    daemon = Fastvrrp(router, several(3, 255)).start()
    wait_master(daemon, *names(3))
    assert tell(daemon, "drain").returncode == 0
    wait_states(daemon, BACKUP, *names(3))
    first = vrrpd_of(daemon)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: records(daemon) and vrrpd_of(daemon) != first, what="another process")
    daemon.wait_log("The daemon is drained, as it was when it ended before its time")
    wait_states(daemon, BACKUP, *names(3))
    assert {each["restraint"] for each in records(daemon).values()} == {2}
    assert daemon.stop() == 0
    assert not Files.beside(daemon.folder / "fastvrrp.pid").maintenance.exists()
    assert not Files.beside(daemon.folder / "fastvrrp.pid").control.exists()
    daemon.start()
    wait_master(daemon, *names(3))
    assert daemon.stop() == 0


def test_a_command_that_is_interrupted_leaves_the_daemon_at_it(lab: Laboratory) -> None:
    ours, theirs = pair(lab, 6)
    asking = subprocess.Popen(
        [FASTVRRP, "drain", "--rate", "4", "--pid", str(ours.folder / "fastvrrp.pid")],
        stderr=subprocess.PIPE,
        text=True,
    )
    ours.wait_log("Draining: masters are given away, 4 a second")
    asking.send_signal(signal.SIGINT)
    assert "the daemon goes on with it" in asking.communicate(timeout=10)[1]
    assert asking.returncode == 130
    wait_states(theirs, MASTER, *names(6))
    for daemon in (ours, theirs):
        assert daemon.stop() == 0


UNUSABLE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"request": "resign", "arguments": {}}, "name is that of a virtual router, or a pattern"),
    ({"request": "resign", "arguments": {"name": "VI_1", "for": -1}}, "for is -1, outside"),
    ({"request": "drain", "arguments": {"rate": "fast"}}, "rate is a number"),
    ({"request": "drain", "arguments": {"rate": True}}, "rate is a number"),
    ({"request": "drain", "arguments": {"rate": float("inf")}}, "rate is a number"),
    ({"request": "undrain", "arguments": {"rate": 0}}, "rate is 0, outside"),
    ({"request": "reload", "arguments": {"check": 1}}, "check is true or false"),
    ({"request": "dance"}, "the daemon knows no order dance"),
)


def test_arguments_are_looked_at(lab: Laboratory) -> None:
    daemon = Fastvrrp(lab.router("a"), instance("VI_1", 1, interface="lo")).start()
    daemon.wait_log("Startup complete")
    for request, said in UNUSABLE:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(daemon.folder / "fastvrrp.control"))
            client.sendall(json.dumps(request).encode() + b"\n")
            line, end = (json.loads(each) for each in client.makefile("rb").read().splitlines())
        assert said in line["line"]
        assert end["ok"] is False
    assert daemon.is_running()
    assert daemon.stop() == 0
