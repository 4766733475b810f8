"""The parent goes on by the code of a new version, as the same process: copies of this package that
have other versions, and faults, take the place of the one that runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

import fastvrrp
from fastvrrp._table import Segment
from fastvrrp.daemon.child import LEAVING
from fastvrrp.observe.files import Files
from fastvrrp.observe.requests import ask
from lab import Fastvrrp, Laboratory, wait_until
from lab.daemons import descendants
from test_checkd import virtual
from test_cli_run import start_in_background
from test_metrics_daemon import scrape
from test_reload import instance, records, wait_master
from test_service_state import Serviced, hear, hear_until, listen
from test_upgrade import configuration, names, pair, undisturbed, upgrade, vrrpd_of

HOME = Path(fastvrrp.__file__).parent
MAIN = "daemon/supervisor_main.py"
RENEWAL = "daemon/renewal.py"


def version(folder: Path, number: str, *changes: tuple[str, str, str]) -> Path:
    """The interpreter of an environment that has this package as another version; `changes` are a
    file of it each, what stands there, and what is to."""
    home = folder / number
    shutil.copytree(HOME, home / "fastvrrp")  # with the times of files, so that caches are right
    replace(home / "fastvrrp/__init__.py", f'"{fastvrrp.__version__}"', f'"{number}"')
    for path, old, new in changes:
        replace(home / "fastvrrp" / path, old, new)
    python = home / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={home} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def running_version(daemon: Fastvrrp) -> str:
    """Of the parent, as it says itself."""
    control = Files.beside(daemon.folder / "fastvrrp.pid").control
    outcome = ask(control, "version", {}, lambda _: None)
    assert outcome.ok
    found: str = outcome.value["version"]
    return found


def home_of(pid: int) -> str:
    """The folder that has the package of a process."""
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    path = next(each for each in variables if each.startswith(b"PYTHONPATH="))
    return path.decode().removeprefix("PYTHONPATH=").split(":")[0]


def descriptors(pid: int) -> list[str]:
    """What a process has open, by kind."""
    found = Path(f"/proc/{pid}/fd").iterdir()
    return sorted(str(entry.readlink()).partition(":[")[0] for entry in found)


def modules(daemon: Fastvrrp) -> list[str]:
    """What the daemon's processes run, from the parent on."""
    found = []
    for pid in descendants([process.pid for process in daemon.processes]):
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        found.append(words[words.index("-m") + 1])
    return sorted(found)


def test_every_process_runs_the_new_version(lab: Laboratory, tmp_path: Path) -> None:
    head = "global_defs {\n    metrics_listen 127.0.0.1:9165\n}\n" + virtual()
    router = lab.router("c")
    router.ip("link set lo up")
    lab.connect(router, lab.router("d"))
    daemon = Fastvrrp(router, head + configuration(200)).start()
    wait_master(daemon, *names())
    daemon.wait_log("Serving metrics on 127.0.0.1:9165").wait_log("Health checks have begun")
    parent = daemon.processes[0].pid
    status = Path(f"/proc/{parent}/comm").read_text()
    assert running_version(daemon) == fastvrrp.__version__
    before, ran = modules(daemon), fastvrrp.__version__
    opened = []
    for count, number in enumerate(("0.2.0", "0.3.0"), 1):
        python = version(tmp_path, number)
        done = upgrade(daemon, "--with", str(python))
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + daemon.log()
        assert done.stdout == f"fastvrrp {number} runs in the place of {ran}\n"
        ran = number
        daemon.wait_log("Serving metrics on 127.0.0.1:9165", count=count + 1)
        daemon.wait_log("Health checks have begun", count=count + 1)
        wait_until(lambda: modules(daemon) == before, what="no process more")
        assert daemon.processes[0].poll() is None
        assert (daemon.folder / "fastvrrp.pid").read_text() == f"{parent}\n"
        assert Path(f"/proc/{parent}/comm").read_text() == status
        assert running_version(daemon) == number
        assert Segment(daemon.folder / "fastvrrp.state").totals()["version"] == number
        assert f'fastvrrp_build_info{{version="{number}"}} 1' in scrape(router)
        for pid in descendants([parent]):
            assert home_of(pid) == str(python.parent), Path(f"/proc/{pid}/cmdline").read_text()
        opened.append(descriptors(parent))
    # One without --with is from where the parent is now.
    assert upgrade(daemon).returncode == 0
    assert running_version(daemon) == "0.3.0"
    daemon.wait_log("Health checks have begun", count=4)
    wait_until(lambda: modules(daemon) == before, what="no process more")
    opened.append(descriptors(parent))
    assert opened[0] == opened[1] == opened[2]
    assert "Traceback" not in daemon.log()
    assert "died" not in daemon.log()

    # It is a parent like any other: who dies is started again, and a stop leaves nothing.
    first = daemon.vrrpd
    os.kill(first, signal.SIGKILL)
    daemon.wait_log(f"VRRP child process({first}) died: Respawning")
    wait_until(lambda: daemon.find_child("fastvrrp.daemon.vrrpd_main"), what="another process")
    wait_master(daemon, *names())
    assert home_of(daemon.vrrpd) == str(tmp_path / "0.3.0")
    family = descendants([parent])
    assert daemon.stop() == 0
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in family)
    assert not (daemon.folder / "fastvrrp.pid").exists()
    assert not Files.beside(daemon.folder / "fastvrrp.pid").control.exists()
    assert not any("10.100" in address for address in router.addresses())


GOES_ON = "    Supervisor.go_on(plain)\n"
REFUSED = {
    "does not start": (MAIN, "def main()", "sys.exit('no')\n\n\ndef main()"),
    "reads older layouts only": (RENEWAL, "LAYOUT = 1\n", "LAYOUT = 0\n"),
    "misses something": (MAIN, GOES_ON, "    plain['new']\n"),
    "dies": (MAIN, GOES_ON, "    os.kill(os.getpid(), 9)\n"),
    "says nothing": (RENEWAL, "    os.pwrite(descriptor, json.dumps(said).encode(), 0)\n", ""),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_version_whose_parent_cannot_go_on_changes_nothing(
    lab: Laboratory, tmp_path: Path, fault: str
) -> None:
    ours, theirs = pair(lab)
    before = vrrpd_of(ours)
    python = version(tmp_path, "0.2.0", REFUSED[fault])
    family = descendants([ours.processes[0].pid])
    with undisturbed(ours, theirs):
        done = upgrade(ours, "--with", str(python))
        assert done.returncode == 5, done.stdout + done.stderr + ours.log()
    assert "the new version cannot go on as parent: " in done.stdout
    assert vrrpd_of(ours) == before
    assert running_version(ours) == fastvrrp.__version__
    assert descendants([ours.processes[0].pid]) == family
    assert "the daemon runs on as it was" in ours.log()
    assert ours.stop() == 0


HALF = {
    "is gone when it is wanted": (RENEWAL, '"python": sys.executable', '"python": "/none/python"'),
    "fails at the second look": (
        *(MAIN, GOES_ON),
        "    if plain['number']:\n        sys.exit('not twice')\n" + GOES_ON,
    ),
}


@pytest.mark.parametrize("fault", HALF)
def test_a_parent_that_cannot_be_followed_goes_on(
    lab: Laboratory, tmp_path: Path, fault: str
) -> None:
    ours, theirs = pair(lab)
    before = vrrpd_of(ours)
    with undisturbed(ours, theirs):
        done = upgrade(ours, "--with", str(version(tmp_path, "0.2.0", HALF[fault])))
        assert done.returncode == 5, done.stdout + done.stderr + ours.log()
        assert "and the parent of the processes in the old one" in done.stdout
        assert running_version(ours) == fastvrrp.__version__
        assert vrrpd_of(ours) != before
        ours.signal(signal.SIGHUP)
        ours.wait_log("0 added, 0 removed, 0 changed, 5 unchanged")
        done = upgrade(ours, "--with", str(version(tmp_path, "0.3.0")))
        assert done.returncode == 0, done.stdout + done.stderr + ours.log()
    assert running_version(ours) == "0.3.0"
    assert ours.stop() == 0


SLOW = (
    GOES_ON
    + """
    if CONDITION:
        import pathlib, time
        pathlib.Path("MARK").touch()
        time.sleep(1)
"""
)


def slow(tmp_path: Path, condition: str) -> tuple[Path, Path]:
    """A version that takes its time where the condition holds, and the file that says so."""
    mark = tmp_path / "looks"
    text = SLOW.replace("CONDITION", condition).replace("MARK", str(mark))
    return version(tmp_path, "0.2.0", (MAIN, GOES_ON, text)), mark


def begin(daemon: Fastvrrp, python: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(str(Path(sys.executable).with_name("fastvrrp")), "upgrade"),
            *("--pid", str(daemon.folder / "fastvrrp.pid"), "--with", str(python)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_signal_that_comes_meanwhile_is_for_the_new_one(lab: Laboratory, tmp_path: Path) -> None:
    ours, theirs = pair(lab)
    python, mark = slow(tmp_path, "plain['number']")
    with undisturbed(ours, theirs):
        asking = begin(ours, python)
        wait_until(mark.exists, 30.0, what="the second look")
        ours.signal(signal.SIGHUP)
        assert asking.wait(60) == 0, ours.log()
        ours.wait_log("0 added, 0 removed, 0 changed, 5 unchanged")
    log = ours.log()
    assert log.index("Upgrade done") < log.index("5 unchanged")
    assert ours.stop() == 0


@pytest.mark.parametrize("condition", ["not plain['number']", "plain['number']"])
def test_a_stop_that_comes_meanwhile_counts(
    lab: Laboratory, tmp_path: Path, condition: str
) -> None:
    ours, _ = pair(lab)
    python, mark = slow(tmp_path, condition)
    asking = begin(ours, python)
    wait_until(mark.exists, 30.0, what="the look")
    family = descendants([ours.processes[0].pid])
    assert ours.stop() == 0
    assert asking.wait(60) != 0
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in family)
    assert not any("10.100" in address for address in ours.router.addresses())


def test_a_stop_right_behind_an_upgrade_stops_all(lab: Laboratory, tmp_path: Path) -> None:
    ours, _ = pair(lab)
    assert upgrade(ours, "--with", str(version(tmp_path, "0.2.0"))).returncode == 0
    family = descendants([ours.processes[0].pid])
    assert ours.stop() == 0
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in family)
    assert not any("10.100" in address for address in ours.router.addresses())


def test_a_renewed_parent_can_leave_everything_to_the_next_daemon(
    lab: Laboratory, tmp_path: Path
) -> None:
    """`systemctl restart` behind an upgrade."""
    ours, theirs = pair(lab, interval="4")
    assert upgrade(ours, "--with", str(version(tmp_path, "0.2.0"))).returncode == 0
    # A start takes seconds on a busy machine; backups are patient for three intervals.
    with undisturbed(ours, theirs, late=11.0):
        ours.processes[0].send_signal(LEAVING)
        assert ours.wait() == 0
        ours.start()
        wait_master(ours, *names())
    assert running_version(ours) == fastvrrp.__version__
    assert [each["became_master"] for each in records(ours).values()] == [1] * len(names())
    assert "Entering" not in ours.log()
    assert ours.stop() == 0


def test_a_daemon_in_the_background_is_renewed_too(lab: Laboratory, tmp_path: Path) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, configuration(200))
    assert start_in_background(daemon).returncode == 0
    pid_file = daemon.folder / "fastvrrp.pid"
    parent = int(pid_file.read_text())
    done = upgrade(daemon, "--with", str(version(tmp_path, "0.2.0")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(pid_file.read_text()) == parent
    assert running_version(daemon) == "0.2.0"
    for pid in descendants([parent]):
        for number in (0, 1):
            assert str(Path(f"/proc/{pid}/fd/{number}").readlink()) == "/dev/null"
    # Another one still finds that this one runs.
    second = start_in_background(daemon)
    assert second.returncode == 1
    assert int(pid_file.read_text()) == parent
    os.kill(parent, signal.SIGTERM)
    wait_until(lambda: not pid_file.exists(), 30.0, what="the end")


def test_systemd_hears_of_the_same_process(lab: Laboratory, tmp_path: Path) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Serviced(a, configuration(200))
    with listen(str(daemon.folder / "notify")) as systemd:
        daemon.start()
        hear_until(systemd, "READY")
        wait_master(daemon, *names())
        done = upgrade(daemon, "--with", str(version(tmp_path, "0.2.0")))
        assert done.returncode == 0, done.stdout + daemon.log()
        systemd.setblocking(False)
        try:
            while "STOPPING" not in hear(systemd):
                pass
            pytest.fail("systemd was told that the service stops")
        except BlockingIOError:
            pass
        systemd.settimeout(60.0)
        while hear(systemd) != {"WATCHDOG": "1"}:
            pass
        for pid in descendants([process.pid for process in daemon.processes]):
            assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
        daemon.signal(signal.SIGHUP)
        hear_until(systemd, "RELOADING")
        hear_until(systemd, "READY")
        daemon.signal(signal.SIGTERM)
        hear_until(systemd, "STOPPING")
        assert daemon.wait() == 0


def test_the_rights_of_the_parent_are_the_same(lab: Laboratory, tmp_path: Path) -> None:
    from fastvrrp.daemon.privileges import SUPERVISOR
    from test_privileges import sets_of, wanted

    ours, _ = pair(lab)
    parent = ours.processes[0].pid
    assert upgrade(ours, "--with", str(version(tmp_path, "0.2.0"))).returncode == 0
    assert sets_of(parent) == wanted(SUPERVISOR)
    assert ours.stop() == 0


class Old(Fastvrrp):
    """Another version, or one that has a fault, from the start."""

    python = ""

    def commands(self) -> Iterable[Sequence[str]]:
        ((_, *words),) = super().commands()
        return [[self.python, "-P", "-m", "fastvrrp", *words]]


def test_a_process_that_cannot_tell_its_wards_of_their_successors_ends_all_the_same(
    lab: Laboratory, tmp_path: Path
) -> None:
    """Files of its version may be gone, of which it has not imported all."""
    router = lab.router("a")
    lab.connect(router, lab.router("b"))
    says = "return {NAME: pickle.dumps(Stop(releases=False))}"
    old = version(tmp_path, "0.0.9", ("daemon/checking.py", says, "raise ImportError(Stop)"))
    daemon = Old(router, virtual() + configuration(200))
    daemon.python = str(old)
    daemon.start()
    wait_master(daemon, *names())
    daemon.wait_log("Health checks have begun")
    first = daemon.vrrpd
    done = upgrade(daemon, "--with", str(version(tmp_path, "0.2.0")))
    assert done.returncode == 0, done.stdout + done.stderr + daemon.log()
    assert done.stdout == "fastvrrp 0.2.0 runs in the place of 0.0.9\n"
    assert "The health checkers cannot be told of their successor" in daemon.log()
    wait_until(lambda: not Path(f"/proc/{first}/exe").exists(), what="the end of the old one")
    daemon.wait_log("Health checks have begun", count=2)
    assert daemon.log().count("Entering MASTER STATE") == len(names())
    assert daemon.stop() == 0


ASKED = '"launch": asdict(self._launch),'
PROMOTED = "self._upgrade and self._upgrade.is_promoted"
HALF_DONE = "in the new version, and the parent of the processes in the old one"
UNFORESEEN = {
    "at the first look": (
        *(ASKED, ASKED.replace("asdict(self._launch)", "object()")),
        *("TypeError", "the daemon runs on as it was"),
    ),
    "at the second look": (
        *(ASKED, ASKED.replace("(self._launch)", f"(7 if {PROMOTED} else self._launch)")),
        *("TypeError", HALF_DONE),
    ),
    "at the end": (
        *("become(successor, Legacy(self.plain), self._launch.words)", "raise ValueError"),
        *("ValueError", HALF_DONE),
    ),
}


@pytest.mark.parametrize("fault", UNFORESEEN)
def test_what_nobody_has_foreseen_ends_an_upgrade_and_not_the_parent(
    lab: Laboratory, tmp_path: Path, fault: str
) -> None:
    written, broken, error, said = UNFORESEEN[fault]
    router = lab.router("a")
    lab.connect(router, lab.router("b"))
    daemon = Old(router, configuration(200))
    changed = ("daemon/supervisor.py", written, broken)
    daemon.python = str(version(tmp_path, "0.0.9", changed))
    daemon.start()
    wait_master(daemon, *names())
    opened = descriptors(daemon.processes[0].pid)
    for count in (1, 2):
        done = upgrade(daemon)
        assert done.returncode == 5, done.stdout + done.stderr + daemon.log()
        assert f"something went wrong ({error}" in done.stdout
        daemon.wait_log(said, count=count)
        assert daemon.log().count("Traceback") == count
        daemon.signal(signal.SIGHUP)
        daemon.wait_log("0 added, 0 removed, 0 changed, 5 unchanged", count=count)
    wait_until(lambda: descriptors(daemon.processes[0].pid) == opened, what="no descriptor more")
    assert daemon.stop() == 0


class AsKeepalived(Fastvrrp):
    """With a pid file of the process that speaks VRRP."""

    def commands(self) -> Iterable[Sequence[str]]:
        ((program, _, *words),) = super().commands()
        return [[program, "keepalived", *words, "-r", str(self.folder / "vrrp.pid")]]


def test_the_pid_file_of_the_process_that_speaks_vrrp_goes_to_the_next_one(
    lab: Laboratory,
) -> None:
    router = lab.router("a")
    lab.connect(router, lab.router("b"))
    daemon = AsKeepalived(router, configuration(200)).start()
    wait_master(daemon, *names())
    file = daemon.folder / "vrrp.pid"
    seen = [int(file.read_text())]
    assert seen == [daemon.vrrpd]
    for _ in range(2):
        assert upgrade(daemon).returncode == 0
        # It takes it in a thread: it speaks while the old one, which has the file, still ends.
        wait_until(
            lambda: file.exists() and int(file.read_text() or 0) == vrrpd_of(daemon),
            what=daemon.log,
        )
        assert vrrpd_of(daemon) not in seen
        seen.append(vrrpd_of(daemon))
    wait_until(lambda: not Path(f"/proc/{seen[1]}/exe").exists(), what="the end of the old one")
    assert int(file.read_text()) == seen[2]
    assert daemon.stop() == 0
    assert not file.exists()


def test_no_descriptor_is_left_to_programs_that_are_started(
    lab: Laboratory, tmp_path: Path
) -> None:
    """Those that came by a socket, by an execve or were opened have FD_CLOEXEC alike."""
    script = "vrrp_script fine {\n    script /bin/true\n    interval 1\n}\n"
    head = "global_defs {\n    script_user root\n}\n" + script
    router, other = lab.router("a"), lab.router("c")
    lab.connect(router, lab.router("b"))
    there = lab.connect(other, lab.router("d"))[0].interface
    text = head + configuration(200, "track_script { fine }")
    text += instance("VI_9", 9, f"net_namespace {other.namespace}", interface=there)
    daemon = Fastvrrp(router, text).start()
    wait_master(daemon, *names(), "VI_9")
    assert upgrade(daemon, "--with", str(version(tmp_path, "0.2.0"))).returncode == 0
    for pid in descendants([daemon.processes[0].pid]):
        for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
            with suppress(FileNotFoundError):  # it was closed meanwhile
                flags = int(entry.read_text().split("flags:")[1].split()[0], 8)
                what = Path(f"/proc/{pid}/fd/{entry.name}").readlink()
                program = Path(f"/proc/{pid}/cmdline").read_text()
                assert int(entry.name) < 3 or flags & os.O_CLOEXEC, (program, what)
    assert daemon.stop() == 0
