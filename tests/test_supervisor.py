"""The parent of the daemon's processes: who dies, hangs or cannot start, beside keepalived."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import Capture, Fastvrrp, Keepalived, Laboratory, Router, wait_until
from lab.daemons import descendants
from test_checkd import checkers_of, virtual
from test_cli_run import CONFIGURATION, FASTVRRP, pid_file_of, start_in_background
from test_metrics_daemon import exporter_of, scrape

BOTH = pytest.mark.parametrize("kind", [Keepalived, Fastvrrp])
ADDRESS = "10.0.0.100"


@pytest.fixture
def router(lab: Laboratory) -> Router:
    made = lab.router("a")
    lab.connect(made, lab.router("b"))
    return made


def vrrp_of(daemon: Keepalived | Fastvrrp) -> int:
    """The process that speaks VRRP."""
    if isinstance(daemon, Fastvrrp):
        return daemon.vrrpd
    return int((daemon.folder / "vrrp.pid").read_text())


def master(daemon: Keepalived | Fastvrrp) -> None:
    """Waits until the daemon that has just started has the address."""
    daemon.wait_log("Entering MASTER STATE")
    wait_until(lambda: daemon.router.holds(ADDRESS), what="the address")


def has_gone(pid: int) -> Callable[[], bool]:
    return lambda: not Path(f"/proc/{pid}/exe").exists()


@BOTH
def test_a_process_that_is_killed_is_started_again(
    router: Router, kind: type[Keepalived | Fastvrrp]
) -> None:
    daemon = kind(router, CONFIGURATION).start()
    master(daemon)
    parent = daemon.processes[0].pid
    first = vrrp_of(daemon)
    assert first != parent
    assert f"Starting VRRP child process, pid={first}\n" in daemon.log()
    os.kill(first, signal.SIGKILL)
    daemon.wait_log("Starting VRRP child process", count=2)
    log = daemon.log()
    assert f"pid {first} exited due to signal 9 (Killed)" in log
    assert f"VRRP child process({first}) died: Respawning\n" in log
    assert "Restart of VRRP process delayed 0 seconds to limit respawn rate\n" in log
    wait_until(lambda: vrrp_of(daemon) not in (first, parent), what="another process")
    wait_until(lambda: router.holds(ADDRESS), what="the address")
    assert daemon.processes[0].poll() is None
    assert daemon.stop() == 0
    assert not router.holds(ADDRESS)


@BOTH
def test_a_process_that_is_told_to_end_resigns_and_is_started_again(
    lab: Laboratory, router: Router, kind: type[Keepalived | Fastvrrp]
) -> None:
    daemon = kind(router, CONFIGURATION).start()
    master(daemon)
    first = vrrp_of(daemon)
    with Capture(lab.routers[1]) as capture:
        os.kill(first, signal.SIGTERM)
        capture.wait_for_advert(51, priority=0)
        daemon.wait_log(f"VRRP child process({first}) died: Respawning")
        capture.wait_for_advert(51, priority=200)
    assert daemon.stop() == 0


def test_a_start_waits_for_the_end_of_a_process_whose_parent_was_killed(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION).start()
    master(daemon)
    orphan = daemon.vrrpd
    os.kill(orphan, signal.SIGSTOP)  # as if there were thousands of addresses to remove
    try:
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        daemon.start().wait_log(f"Waiting for the end of process {orphan}, whose parent was")
    finally:
        os.kill(orphan, signal.SIGCONT)
    master(daemon)
    assert daemon.stop() == 0


def test_a_successor_waits_for_what_is_left_of_the_startup_delay(router: Router) -> None:
    daemon = Fastvrrp(router, f"global_defs {{\n vrrp_startup_delay 600\n}}\n{CONFIGURATION}")
    daemon.start().wait_log("Delaying startup for 600 seconds").wait_log("Startup complete")
    os.kill(daemon.vrrpd, signal.SIGKILL)
    daemon.wait_log("Startup complete", 30.0, count=2)
    daemon.wait_log("Delaying startup for 5", count=1)
    assert daemon.log().count("Delaying startup for") == 2
    assert daemon.stop() == 0


@BOTH
def test_a_parent_that_is_killed_leaves_nothing_behind(
    lab: Laboratory, router: Router, kind: type[Keepalived | Fastvrrp]
) -> None:
    daemon = kind(router, CONFIGURATION).start()
    master(daemon)
    family = descendants([daemon.processes[0].pid])
    with Capture(lab.routers[1]) as capture:
        daemon.signal(signal.SIGKILL)
        capture.wait_for_advert(51, priority=0)
    for pid in family:
        wait_until(has_gone(pid), what=f"the end of process {pid}")
    assert not router.holds(ADDRESS)
    assert daemon.wait() == -signal.SIGKILL


def test_a_process_that_hangs_is_killed_and_started_again(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION).start()
    master(daemon)
    first = daemon.vrrpd
    os.kill(first, signal.SIGSTOP)
    said = f"VRRP child process({first}) has shown no sign of life for 15 seconds and is killed"
    daemon.wait_log(said, 60.0)
    daemon.wait_log("Startup complete", count=2)
    assert daemon.vrrpd != first
    wait_until(lambda: router.holds(ADDRESS), what="the address")
    assert daemon.stop() == 0


def test_a_process_that_hangs_at_the_stop_is_no_end_of_it(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION).start()
    master(daemon)
    os.kill(daemon.vrrpd, signal.SIGSTOP)
    assert daemon.stop(60.0) == 1
    assert not pid_file_of(daemon).exists()


def test_checks_go_on_when_the_process_that_speaks_vrrp_dies(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION + virtual()).start()
    daemon.wait_log("Health checks have begun: 1 virtual servers")
    master(daemon)
    [checker] = checkers_of(daemon)
    os.kill(daemon.vrrpd, signal.SIGKILL)
    # It is told everything again, and finds nothing that is different.
    daemon.wait_log("Health checks are reloaded: 1 virtual servers")
    assert checkers_of(daemon) == [checker]
    assert "Shutting down service" not in daemon.log()
    # What was taken out of the configuration meanwhile goes at a reload, and not before.
    daemon.configure(CONFIGURATION)
    os.kill(daemon.vrrpd, signal.SIGKILL)
    daemon.wait_log("Health checks are reloaded: 1 virtual servers", count=2)
    assert checkers_of(daemon) == [checker]
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("Health checks are reloaded: 0 virtual servers")
    wait_until(has_gone(checker), what="the end of a process that has nothing to do")
    assert daemon.stop() == 0


def test_metrics_are_served_of_the_next_process(router: Router) -> None:
    router.ip("link set lo up")
    text = "global_defs {\n    metrics_listen :9165\n}\n" + CONFIGURATION
    daemon = Fastvrrp(router, text).start()
    daemon.wait_log("Serving metrics on 127.0.0.1:9165")
    master(daemon)
    first = exporter_of(daemon)
    os.kill(daemon.vrrpd, signal.SIGKILL)
    daemon.wait_log("Serving metrics on 127.0.0.1:9165", count=2)
    assert exporter_of(daemon) not in (None, first)
    assert 'fastvrrp_routers{state="master"} ' in scrape(router)
    assert daemon.stop() == 0


def test_a_configuration_that_cannot_be_run_any_more_is_tried_again(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION).start()
    master(daemon)
    daemon.configure("vrrp_instance VI_1 {\n no_such_keyword\n}\n")
    (daemon.folder / "fastvrrp.running").unlink()  # otherwise the one that ran goes on
    os.kill(daemon.vrrpd, signal.SIGKILL)
    daemon.wait_log("no virtual router and no virtual server is left to run", count=2)
    daemon.wait_log("Restart of VRRP process delayed 2 seconds to limit respawn rate")
    assert "keyword no_such_keyword is unknown and ignored" in daemon.log()
    daemon.configure(CONFIGURATION)
    daemon.wait_log("Startup complete", 30.0, count=2)
    assert daemon.stop() == 0


def test_a_crash_after_a_reload_does_not_move_the_daemon(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION).start()
    master(daemon)
    daemon.configure(f"net_namespace elsewhere\n{CONFIGURATION}")
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("net_namespace cannot be changed by a reload").wait_log("Reloaded ")
    os.kill(daemon.vrrpd, signal.SIGKILL)
    daemon.wait_log("Startup complete", 30.0, count=2)
    wait_until(lambda: router.holds(ADDRESS), what="the address")
    assert daemon.stop() == 0
    assert not router.holds(ADDRESS)


def test_what_runs_is_kept_for_the_next_process_and_no_longer(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION).start()
    master(daemon)
    kept = daemon.folder / "fastvrrp.running"
    wait_until(kept.exists, what="the configuration that runs")
    daemon.configure("vrrp_instance VI_1 {\n no_such_keyword\n}\n")
    os.kill(daemon.vrrpd, signal.SIGTERM)
    daemon.wait_log("Startup complete", 30.0, count=2)
    assert "no_such_keyword" not in daemon.log()
    assert daemon.stop() == 0
    assert not kept.exists()


def test_a_daemon_between_two_starts_can_be_stopped(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION).start()
    master(daemon)
    for delay in (0, 1, 2):
        os.kill(daemon.vrrpd, signal.SIGKILL)
        daemon.wait_log(f"Restart of VRRP process delayed {delay} seconds")
        if delay < 2:
            daemon.wait_log("Startup complete", 30.0, count=delay + 2)
            wait_until(lambda: router.holds(ADDRESS), what="the address")
    assert router.holds(ADDRESS)
    assert daemon.stop() == 0
    assert not router.holds(ADDRESS), "the next one was started for that"
    assert not pid_file_of(daemon).exists()


def test_a_reload_waits_for_the_next_process(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION).start()
    master(daemon)
    os.kill(daemon.vrrpd, signal.SIGKILL)
    daemon.wait_log("Startup complete", 30.0, count=2)
    os.kill(daemon.vrrpd, signal.SIGKILL)
    daemon.wait_log("Restart of VRRP process delayed 1 seconds")
    daemon.configure(CONFIGURATION.replace(ADDRESS, "10.0.0.101"))
    daemon.processes[0].send_signal(signal.SIGHUP)
    wait_until(lambda: router.holds("10.0.0.101"), 30.0, what=daemon.log)
    assert daemon.stop() == 0


def test_the_shutdown_script_is_for_the_end_of_the_daemon(router: Router, tmp_path: Path) -> None:
    witness = tmp_path / "ended"
    script = tmp_path / "end"
    script.write_text(f"#!/bin/sh\necho once >>{witness}\n")
    script.chmod(0o755)
    settings = f"global_defs {{\n    script_user root\n    shutdown_script {script}\n}}\n"
    daemon = Fastvrrp(router, settings + CONFIGURATION).start()
    master(daemon)
    os.kill(daemon.vrrpd, signal.SIGTERM)
    daemon.wait_log("Startup complete", 30.0, count=2)
    assert not witness.exists()
    assert daemon.stop() == 0
    assert witness.read_text() == "once\n"


def test_a_process_that_dies_in_the_start_is_told_to_the_caller(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION)
    os.mkfifo(daemon.folder / "more")
    daemon.configure(f"include {daemon.folder}/more\n" + CONFIGURATION)
    begun = subprocess.Popen(
        [
            *("ip", "netns", "exec", router.namespace, FASTVRRP, "run"),
            *("-f", str(daemon.configuration_file), "-p", str(pid_file_of(daemon))),
        ],
        stderr=subprocess.PIPE,
    )
    found: list[int] = []

    def is_reading() -> bool:
        found[:] = [
            int(entry.parent.name)
            for entry in Path("/proc").glob("[0-9]*/cmdline")
            if is_ours(entry, str(daemon.configuration_file))
        ]
        return bool(found)

    wait_until(is_reading, what="the process that reads")
    status = Path(f"/proc/{found[0]}/status").read_text()
    vrrpd = int(status.split("PPid:")[1].split()[0])
    os.kill(vrrpd, signal.SIGKILL)
    _, said = begun.communicate(timeout=30)
    assert begun.returncode == 1
    assert b"fastvrrp: the daemon ended before it had started\n" in said
    wait_until(has_gone(found[0]), what="the end of the process that reads")
    assert not pid_file_of(daemon).exists()


def is_ours(cmdline: Path, file: str) -> bool:
    """Whether this is the reader of a configuration."""
    try:
        words = cmdline.read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return "fastvrrp.daemon.reader" in words and file in words


@pytest.mark.keywords("global_defs/process_names", "global_defs/process_name")
@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ("", ("fastvrrp", "fastvrrp_vrrpd")),
        ("process_names", ("keepalived", "keepalived_vrrp")),
        ("process_name boss", ("boss", "fastvrrp_vrrpd")),
    ],
)
def test_each_process_has_its_name(router: Router, settings: str, names: tuple[str, str]) -> None:
    daemon = Fastvrrp(router, f"global_defs {{\n {settings}\n}}\n{CONFIGURATION}").start()
    daemon.wait_log("Startup complete")
    pids = (daemon.processes[0].pid, daemon.vrrpd)
    assert tuple(Path(f"/proc/{pid}/comm").read_text().strip() for pid in pids) == names
    assert daemon.stop() == 0


def test_the_process_that_speaks_vrrp_takes_signals_itself(router: Router) -> None:
    """keepalived's is named by a pid file of its own, to which people send them."""
    daemon = Fastvrrp(router, CONFIGURATION).start()
    master(daemon)
    os.kill(daemon.vrrpd, signal.SIGHUP)
    daemon.wait_log("0 added, 0 removed, 0 changed, 1 unchanged")
    assert daemon.stop() == 0


def test_who_starts_it_in_the_background_gets_rid_of_its_files(router: Router) -> None:
    """Nothing of the caller's stays open in any process of the daemon."""
    daemon = Fastvrrp(router, CONFIGURATION)
    assert start_in_background(daemon).returncode == 0
    parent = int(pid_file_of(daemon).read_text())
    for pid in descendants([parent]):
        for number in (0, 1):
            assert link(pid, f"fd/{number}") == "/dev/null"
        assert link(pid, "fd/2").startswith(("/dev/null", "/memfd:"))
        assert link(pid, "cwd") == "/"
    os.kill(parent, signal.SIGTERM)
    wait_until(lambda: not pid_file_of(daemon).exists(), what="the end")


def link(pid: int, name: str) -> str:
    return str(Path(f"/proc/{pid}/{name}").readlink())
