"""How `fastvrrp run` starts and ends where something stands in its way."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab import Capture, Fastvrrp, Laboratory, Router, wait_until

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
CONFIGURATION = """\
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    version 3
    advert_int 0.1
    priority 200
    virtual_ipaddress {
        10.0.0.100/24
    }
}
"""


def pid_file_of(daemon: Fastvrrp) -> Path:
    return daemon.folder / "fastvrrp.pid"


def start_in_background(
    daemon: Fastvrrp, *wrapper: str, pid_file: Path | None = None
) -> subprocess.CompletedProcess[str]:
    command = [FASTVRRP, "run", "-f", str(daemon.configuration_file)]
    return daemon.router.run(
        [*wrapper, *command, "-p", str(pid_file or pid_file_of(daemon))], check=False
    )


@pytest.fixture
def router(lab: Laboratory) -> Router:
    made = lab.router("a")
    lab.connect(made, lab.router("b"))
    return made


def test_a_log_that_nobody_reads_keeps_no_advert_and_no_end(
    lab: Laboratory, router: Router
) -> None:
    daemon = Fastvrrp(router, CONFIGURATION)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    with Capture(lab.routers[1]) as capture, open(writing, "wb") as pipe:  # noqa: PTH123
        (command,) = daemon.commands()
        process = router.start_daemon(command, pipe)
        capture.wait_for_advert(51, priority=200)
        wait_until(lambda: router.holds("10.0.0.100"), what="the address")
        process.terminate()
        assert process.wait(30.0) == 0
        capture.wait_for_advert(51, priority=0)
    os.close(reading)
    assert not router.holds("10.0.0.100")
    assert not pid_file_of(daemon).exists()


def test_the_caller_exits_when_the_daemon_has_started(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION)
    begun = start_in_background(daemon)
    assert (begun.returncode, begun.stdout) == (0, "")
    # No waiting: it has started.
    pid = int(pid_file_of(daemon).read_text())
    assert (daemon.folder / "fastvrrp.state").exists()
    second = start_in_background(daemon)
    assert second.returncode == 1
    assert second.stdout == (
        f"fastvrrp: {pid_file_of(daemon)}: a daemon with pid {pid} is running already\n"
    )
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not pid_file_of(daemon).exists(), what="the end")
    assert not router.holds("10.0.0.100")


@pytest.mark.parametrize("options", [["-n"], []])
def test_missing_rights_are_said_with_the_remedy(router: Router, options: list[str]) -> None:
    daemon = Fastvrrp(router, CONFIGURATION)
    failed = router.run(
        [
            *("setpriv", "--bounding-set=-net_raw,-net_admin"),
            *(FASTVRRP, "run", *options, "-f", str(daemon.configuration_file)),
            *("-p", str(pid_file_of(daemon))),
        ],
        check=False,
    )
    assert (failed.returncode, failed.stdout) == (
        1,
        "fastvrrp: cannot open raw sockets and netlink: Operation not permitted: run it as root,"
        " or with the capabilities CAP_NET_RAW and CAP_NET_ADMIN\n",
    )
    assert not pid_file_of(daemon).exists()


def test_a_pid_file_that_cannot_be_written_is_named_to_the_caller(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION)
    path = daemon.folder / "missing" / "pid"
    failed = start_in_background(daemon, pid_file=path)
    assert (failed.returncode, failed.stdout) == (
        1,
        f"fastvrrp: {path}: No such file or directory\n",
    )


def test_a_pid_file_without_rights_is_named_with_the_remedy(router: Router) -> None:
    daemon = Fastvrrp(router, CONFIGURATION)
    path = daemon.folder / "foreign"
    path.touch(0o600)
    os.chown(path, 65534, 65534)
    failed = start_in_background(
        daemon, "setpriv", "--bounding-set=-dac_override,-dac_read_search", pid_file=path
    )
    assert (failed.returncode, failed.stdout) == (
        1,
        f"fastvrrp: {path}: Permission denied:"
        " run it as root, or name a file elsewhere with --pid\n",
    )


def signals_held_back(pid: int) -> set[int]:
    """The signals that a process has blocked, all read at one moment (proc(5), SigBlk)."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk"))
    return {number for number in range(1, 65) if int(mask, 16) >> (number - 1) & 1}


def is_starting(pid: int, number: signal.Signals) -> bool:
    """Whether a daemon lets a signal wait for its event loop. All signals at once are blocked while
    one process starts another, which is not it."""
    held_back = signals_held_back(pid)
    return number in held_back and signal.SIGCONT not in held_back


@pytest.mark.parametrize("module", ["vrrpd_main", "reader"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_ends_it_cleanly(
    router: Router, number: signal.Signals, module: str
) -> None:
    daemon = Fastvrrp(router, CONFIGURATION).start()
    while (pid := daemon.find_child(f"fastvrrp.daemon.{module}")) is None:
        assert daemon.is_running(), daemon.log()
    while module != "reader" and not is_starting(pid, number):  # as soon as can be: no interval
        assert daemon.is_running(), daemon.log()
    daemon.signal(number)
    assert daemon.wait() == 0
    assert "exited" not in daemon.log()
    assert list(daemon.folder.glob("fastvrrp.[ps]*")) == []
    assert not router.holds("10.0.0.100")
