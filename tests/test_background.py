"""Who holds the pid file, and what the caller of a daemon hears."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fastvrrp.daemon.background import AlreadyRunning, PidFile, segment_path
from lab import wait_until


def python(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a script to its end, and until nobody can write to its stderr any more."""
    return subprocess.run(
        [sys.executable, "-c", script, *arguments], check=False, capture_output=True, text=True
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fastvrrp.pid"


def test_a_pid_file_has_our_pid_until_it_is_removed(path: Path) -> None:
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_a_pid_file_that_is_taken_names_who_has_it(path: Path) -> None:
    with PidFile(path):
        second = PidFile(path)
        with pytest.raises(AlreadyRunning) as refused:
            second.take()
        second.remove()
        assert path.exists(), "who was refused does not remove it"
    assert str(refused.value) == f"{path}: a daemon with pid {os.getpid()} is running already"


@pytest.mark.parametrize(
    "content",
    ["", "0", "-1", "1\n", "garbage", "9" * 5000, "4194305\n", "\udcff\udcfe", "12 34", "²"],
)
def test_what_a_dead_process_left_is_no_obstacle(path: Path, content: str) -> None:
    path.write_bytes(content.encode(errors="surrogateescape"))
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize("content", ["", "-1", "garbage", "\udcff"])
def test_who_has_a_pid_file_may_not_have_written_it_yet(path: Path, content: str) -> None:
    with PidFile(path):
        path.write_bytes(content.encode(errors="surrogateescape"))
        with pytest.raises(AlreadyRunning, match="another daemon is running already"):
            PidFile(path).take()


def test_a_killed_process_gives_its_pid_file_back(path: Path) -> None:
    script = (
        "import os, pathlib, signal, sys\n"
        "from fastvrrp.daemon.background import PidFile\n"
        "PidFile(pathlib.Path(sys.argv[1])).take()\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert python(script, str(path)).returncode == -9
    assert path.read_text() != ""
    with PidFile(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_of_many_that_start_at_once_one_has_the_pid_file(path: Path) -> None:
    """Again and again: each also removes the file under the others' hands."""
    holders = 0
    most = 0
    guard = threading.Lock()

    def start_often() -> None:
        nonlocal holders, most
        for _ in range(300):
            try:
                with PidFile(path):
                    with guard:
                        holders += 1
                        most = max(most, holders)
                    assert path.read_text() == f"{os.getpid()}\n"
                    with guard:
                        holders -= 1
            except AlreadyRunning:
                continue

    threads = [threading.Thread(target=start_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, holders, path.exists()) == (1, 0, False)


def test_a_pid_file_in_a_missing_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "pid"
    with pytest.raises(FileNotFoundError, match=str(path)):
        PidFile(path).take()


@pytest.mark.parametrize(
    ("pid_file", "segment"),
    [
        ("/run/fastvrrp.pid", "/run/fastvrrp.state"),
        ("/run/a.x", "/run/a.x.state"),
        ("/run/a.y", "/run/a.y.state"),
        ("/run/pid", "/run/pid.state"),
        ("/run/x.pid/a", "/run/x.pid/a.state"),
        ("/run/.pid", "/run/.state"),
    ],
)
def test_the_segment_is_beside_the_pid_file(pid_file: str, segment: str) -> None:
    assert segment_path(Path(pid_file)) == Path(segment)


LEAVE = """
import os, signal, sys, time
from pathlib import Path
from fastvrrp.daemon.background import leave_terminal
pid_file = Path(sys.argv[1])
caller = leave_terminal()
"""


@pytest.mark.parametrize("status", [0, 1, 5])
def test_the_caller_exits_as_it_is_told(path: Path, status: int) -> None:
    finished = python(
        f"{LEAVE}print('said', file=sys.stderr)\n"
        f"caller.tell({status})\n"
        "caller.tell(77)\n"
        "print('too late', file=sys.stderr)\n"
        "pid_file.write_text('done')",
        str(path),
    )
    assert (finished.returncode, finished.stderr) == (status, "said\n")
    wait_until(path.exists, what="the process in the background goes on")


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", ""),
        ("raise ValueError('at the start')", "ValueError: at the start"),
    ],
)
def test_a_daemon_that_ends_without_a_word_has_failed(path: Path, end: str, said: str) -> None:
    finished = python(f"{LEAVE}{end}", str(path))
    assert finished.returncode == 1
    assert said in finished.stderr
    assert "fastvrrp: the daemon ended before it had started" in finished.stderr


def test_a_caller_that_waits_can_be_ended(path: Path) -> None:
    reading, writing = os.pipe()
    script = (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))\n"
        f"{LEAVE}pid_file.touch()\nos.read({reading}, 1)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], pass_fds=[reading]) as caller:
        os.close(reading)
        wait_until(path.exists, what="the process in the background")
        caller.terminate()
        wait_until(lambda: caller.poll() is not None, what="the end of the caller")
        os.write(writing, b"x")
        os.close(writing)
    assert caller.returncode == -signal.SIGTERM


def test_the_daemon_has_a_session_of_its_own_and_is_not_its_leader(path: Path) -> None:
    finished = python(
        f"{LEAVE}print(os.getsid(0), os.getpid(), os.getcwd(), file=sys.stderr)\n"
        "print('lost', flush=True)\n"
        "caller.tell(0)",
        str(path),
    )
    session, pid, folder = finished.stderr.split()
    assert session not in (pid, str(os.getsid(0)))
    assert (folder, finished.stdout) == ("/", "")
