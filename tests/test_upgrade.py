"""`fastvrrp upgrade`: another process takes over from the one that runs, or does not, and nobody on
the link notices.

A new version that is broken is one whose interpreter changes what it does (sitecustomize), started
by `--with`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from fastvrrp._table import Segment
from fastvrrp.daemon.child import LEAVING
from fastvrrp.observe.files import Files
from fastvrrp.observe.requests import ask
from lab import Capture, Fastvrrp, Laboratory, wait_until
from lab.daemons import descendants
from test_metrics_daemon import scrape, value
from test_reload import BACKUP, MASTER, instance, records, wait_master

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
SECOND = 1_000_000_000
COUNT = 5
BROKEN = {
    "dies when it holds": "hold: os._exit(3)",
    "hangs when it holds": "hold: time.sleep(600)",
    "dies when the other is frozen": "take: os._exit(3)",
    "hangs when the other is frozen": "take: time.sleep(600)",
    "ends with a traceback": "hold: 1 / 0",
}
SITE = """
import os, time
import fastvrrp.daemon.handover as handover

whole = handover.Taking.{method}

def broken(self):
    whole(self)
    {statement}

handover.Taking.{method} = broken
"""


def upgrade(daemon: Fastvrrp, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FASTVRRP, "upgrade", "--pid", str(daemon.folder / "fastvrrp.pid"), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def vrrpd_of(daemon: Fastvrrp) -> int:
    """The process that speaks VRRP."""
    pid: int = Segment(daemon.folder / "fastvrrp.state").pid
    return pid


def names(count: int = COUNT) -> tuple[str, ...]:
    return tuple(f"VI_{number}" for number in range(1, count + 1))


def configuration(priority: int, *lines: str, interval: str = "1") -> str:
    return "".join(
        instance(name, number, *lines, priority=priority, interval=interval)
        for number, name in enumerate(names(), 1)
    )


def pair(
    lab: Laboratory, more: str = "", *lines: str, interval: str = "1"
) -> tuple[Fastvrrp, Fastvrrp]:
    """One that is master of all, and one that is its backup."""
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    ours = Fastvrrp(a, more + configuration(200, *lines, interval=interval)).start()
    wait_until(
        lambda: [each["state"] for each in records(ours).values()] == [MASTER] * COUNT,
        30.0,
        what=lambda: f"masters:\n{ours.log()}",
    )
    theirs = Fastvrrp(b, configuration(100, interval=interval)).start()
    wait_until(
        lambda: (
            {each["state"] for each in records(theirs).values()} == {BACKUP}
            and all(each["heard_at"] for each in records(theirs).values())
        ),
        what="the backup",
    )
    return ours, theirs


@contextmanager
def undisturbed(ours: Fastvrrp, theirs: Fastvrrp, late: float = 0.5) -> Iterator[None]:
    """Sees to it that meanwhile no advert of a master is later than so many seconds, none resigns,
    no backup speaks, and no address comes or goes."""
    watched = ours.folder / "addresses"
    with watched.open("wb") as file, Capture(theirs.router) as capture:
        watching = subprocess.Popen(
            ["ip", "-n", ours.router.namespace, "monitor", "address"], stdout=file
        )
        changes = {name: each["changes"] for name, each in records(theirs).items()}
        for number in range(1, COUNT + 1):
            capture.wait_for_advert(number)
        yield
        seen = len(capture.frames)
        for number in range(1, COUNT + 1):
            capture.wait_for_advert(number, after=seen)
        watching.terminate()
        watching.wait()
    adverts = capture.adverts()
    assert {advert.priority for advert in adverts} == {200}
    assert not any(advert.is_outgoing for advert in adverts), "the backup has spoken"
    capture.assert_clean()
    for number in range(1, COUNT + 1):
        times = [advert.time for advert in adverts if advert.vrid == number]
        longest = max(later - earlier for earlier, later in pairwise(times))
        assert longest < (1 + late) * SECOND, f"VRID {number}: {longest / SECOND:.2f} s"
    assert watched.read_text() == ""
    assert {name: each["changes"] for name, each in records(theirs).items()} == changes


def processes(daemon: Fastvrrp, module: str) -> set[int]:
    """Descendants of a daemon that run a module."""
    found = set()
    for pid in descendants([process.pid for process in daemon.processes]):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if module.encode() in command.split(b"\0"):
            found.add(pid)
    return found


def test_masters_go_on_in_another_process(lab: Laboratory) -> None:
    ours, theirs = pair(lab)
    parent, first = ours.processes[0].pid, vrrpd_of(ours)
    before = records(ours)
    seen = [first]
    for _ in range(2):
        with undisturbed(ours, theirs):
            done = upgrade(ours)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout + ours.log()
        assert vrrpd_of(ours) not in seen
        wait_until(
            lambda: processes(ours, "fastvrrp.daemon.vrrpd_main") == {vrrpd_of(ours)},
            what="the end of the process before",
        )
        seen.append(vrrpd_of(ours))
    assert ours.processes[0].pid == parent
    assert ours.is_running()
    after = records(ours)
    for name in names():
        assert after[name]["became_master"] == before[name]["became_master"]
        assert after[name]["adverts_sent"] > before[name]["adverts_sent"]
    assert ours.log().count("Entering MASTER STATE") == COUNT
    assert ours.log().count("Upgrade done") == 2
    assert "Traceback" not in ours.log()

    # It is a daemon like any other: it reloads, fails over, and removes all that it has taken over.
    ours.configure(configuration(200).replace("VI_5", "VI_6"))
    ours.signal(signal.SIGHUP)
    ours.wait_log("0 added, 0 removed, 1 changed, 4 unchanged")
    assert ours.stop() == 0
    assert not any("10.100" in address for address in ours.router.addresses())
    wait_master(theirs, *names())


def test_backups_go_on_as_backups(lab: Laboratory) -> None:
    ours, theirs = pair(lab)
    with undisturbed(ours, theirs):
        done = upgrade(theirs)
        assert done.returncode == 0, done.stdout + done.stderr
    assert {each["state"] for each in records(theirs).values()} == {BACKUP}
    ours.kill()
    wait_master(theirs, *names())


@pytest.mark.parametrize("fault", BROKEN)
def test_a_new_version_that_fails_takes_nothing(
    lab: Laboratory, fault: str, tmp_path: Path
) -> None:
    ours, theirs = pair(lab)
    before = vrrpd_of(ours)
    method, statement = BROKEN[fault].split(": ")
    (tmp_path / "sitecustomize.py").write_text(SITE.format(method=method, statement=statement))
    python = tmp_path / "python"
    home = Path(__file__).parent.parent
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path}:{home} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    with undisturbed(ours, theirs):
        done = upgrade(ours, "--with", str(python))
        assert done.returncode == 5, done.stdout + done.stderr + ours.log()
        assert done.stdout
    assert vrrpd_of(ours) == before
    wait_until(
        lambda: processes(ours, "fastvrrp.daemon.vrrpd_main") == {before}, what="one process"
    )
    assert "the daemon runs on as it was" in ours.log()
    # A sound one takes over after that.
    with undisturbed(ours, theirs):
        done = upgrade(ours)
        assert done.returncode == 0, done.stdout + done.stderr + ours.log()
    assert vrrpd_of(ours) != before
    assert ours.stop() == 0


def test_a_new_process_that_is_killed_while_it_builds_takes_nothing(lab: Laboratory) -> None:
    ours, theirs = pair(lab)
    before = vrrpd_of(ours)

    def successor() -> int | None:
        others = processes(ours, "fastvrrp.daemon.vrrpd_main") - {before}
        return min(others, default=None)

    with undisturbed(ours, theirs):
        asking = subprocess.Popen(
            [FASTVRRP, "upgrade", "--pid", str(ours.folder / "fastvrrp.pid")],
            stdout=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: successor() is not None, what="the new process", interval=0.001)
        os.kill(successor() or 0, signal.SIGKILL)
        said, _ = asking.communicate(timeout=30)
    assert asking.returncode == 5
    assert "has ended with status -9" in said
    assert vrrpd_of(ours) == before


def test_what_serves_metrics_is_of_the_new_version_too(lab: Laboratory) -> None:
    router = lab.router("a")
    lab.connect(router, lab.router("b"))
    router.ip("link set lo up")
    daemon = Fastvrrp(router, configuration(200))
    daemon.options = ["--metrics", "127.0.0.1:9165"]
    daemon.start()
    daemon.wait_log("Serving metrics on 127.0.0.1:9165")
    wait_master(daemon, *names())
    (before,) = processes(daemon, "fastvrrp.daemon.exporter")
    done = upgrade(daemon)
    assert done.returncode == 0, done.stdout + daemon.log()
    daemon.wait_log("Serving metrics on 127.0.0.1:9165", count=2)
    (after,) = processes(daemon, "fastvrrp.daemon.exporter")
    assert after != before
    assert "died" not in daemon.log()
    text = scrape(router)
    for name in names():
        assert value(text, "fastvrrp_router_state", f'vrrp_instance="{name}"') == 2
    assert daemon.stop() == 0


def test_nobody_serves_metrics_where_the_new_configuration_has_none(lab: Laboratory) -> None:
    router = lab.router("a")
    lab.connect(router, lab.router("b"))
    settings = "global_defs {\n    metrics_listen 127.0.0.1:9165\n}\n"
    router.ip("link set lo up")
    daemon = Fastvrrp(router, settings + configuration(200)).start()
    daemon.wait_log("Serving metrics on 127.0.0.1:9165")
    wait_master(daemon, *names())
    daemon.configure(configuration(200))
    done = upgrade(daemon)
    assert done.returncode == 0, done.stdout + daemon.log()
    wait_until(
        lambda: not processes(daemon, "fastvrrp.daemon.exporter"), what="the end of the exporter"
    )
    assert "died" not in daemon.log()
    assert daemon.stop() == 0


def test_a_configuration_with_errors_is_refused(lab: Laboratory) -> None:
    ours, theirs = pair(lab)
    before = vrrpd_of(ours)
    ours.configure(configuration(300))
    with undisturbed(ours, theirs):
        done = upgrade(ours)
    assert done.returncode == 5
    assert "priority 300" in done.stdout
    assert "has errors" in done.stdout
    assert vrrpd_of(ours) == before


def test_scripts_and_fifos_hear_nothing_of_it(lab: Laboratory, tmp_path: Path) -> None:
    heard = tmp_path / "heard"
    script = tmp_path / "note.sh"
    script.write_text(f'#!/bin/sh\necho "$@" >> {heard}\n')
    script.chmod(0o755)
    head = f"global_defs {{\n script_user root\n vrrp_notify_fifo {tmp_path / 'fifo'}\n}}\n"
    ours, theirs = pair(lab, head, f"notify {script}")
    wait_until(lambda: heard.exists() and heard.read_text().count("MASTER") == COUNT, what="notify")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    told(reader)
    before = heard.read_text()
    with undisturbed(ours, theirs):
        assert upgrade(ours).returncode == 0
    assert heard.read_text() == before
    assert not told(reader)
    assert ours.stop() == 0
    wait_until(lambda: heard.read_text() != before, what="the stop told")
    assert b"STOP" in told(reader)
    os.close(reader)


def told(reader: int) -> bytes:
    try:
        return os.read(reader, 65536)
    except BlockingIOError:
        return b""


def test_one_upgrade_is_under_way_at_a_time(lab: Laboratory) -> None:
    ours, theirs = pair(lab)
    with undisturbed(ours, theirs):
        command = [FASTVRRP, "upgrade", "--pid", str(ours.folder / "fastvrrp.pid")]
        both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        said = [each.communicate(timeout=60)[0] for each in both]
    assert sorted(each.returncode for each in both) == [0, 5]
    assert any("under way already" in each for each in said)


def test_a_daemon_that_leaves_is_followed_by_the_next_one(lab: Laboratory) -> None:
    """As `systemctl restart` does it: RestartKillSignal, and then the same command again."""
    ours, theirs = pair(lab, interval="4")
    adverts = {name: each["adverts_sent"] for name, each in records(ours).items()}
    # A start takes seconds on a busy machine; backups are patient for three intervals.
    with undisturbed(ours, theirs, late=11.0):
        ours.processes[0].send_signal(LEAVING)
        assert ours.wait() == 0
        assert not processes(ours, "fastvrrp.daemon.vrrpd_main")
        assert not (ours.folder / "fastvrrp.pid").exists()
        ours.start()
        wait_master(ours, *names())
    for name, each in records(ours).items():
        assert each["became_master"] == 1
        assert each["adverts_sent"] > adverts[name]
    assert "Entering" not in ours.log()
    assert ours.stop() == 0
    assert not any("10.100" in address for address in ours.router.addresses())


def test_nobody_but_the_parent_may_ask_for_a_handover(lab: Laboratory) -> None:
    router = lab.router("a")
    daemon = Fastvrrp(router, instance("VI_1", 1, interface="lo")).start()
    daemon.wait_log("Startup complete")
    control = Files.beside(daemon.folder / "fastvrrp.pid").control
    lines: list[str] = []
    outcome = ask(control, "handover", {"pid": os.getpid()}, lines.append)
    assert not outcome.ok
    assert "ask for upgrade" in lines[0]
