"""Scripts, run by the process that runs them, and what the daemon hears of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from fastvrrp.track.runner import as_user
from fastvrrp.track.script import Check, Command, Credentials, Outcome, Tally, Trial
from fastvrrp.track.scripts import Scripts
from lab.waiting import wait_until
from track_loop import Loop

MILLISECOND = 1_000_000
SECOND = 1_000_000_000


class Run:
    """Scripts, and what was heard of them."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.scripts = Scripts(self.loop.loop)
        self.scripts.on_news = lambda name, is_good: self.news.append((name, is_good))
        self.news: list[tuple[str, bool]] = []

    def hear(self, count: int, patience: float = 10.0) -> list[tuple[str, bool]]:
        """The next `count` pieces of news."""
        self.loop.until(lambda: len(self.news) >= count, patience)
        heard, self.news = self.news, []
        return heard

    def pid(self) -> int:
        """Of the process that runs scripts."""
        self.loop.until(lambda: self.scripts.pid is not None, 90.0)
        assert self.scripts.pid is not None
        return self.scripts.pid

    def close(self) -> None:
        self.scripts.close()
        self.loop.close()


@pytest.fixture
def run(caplog: pytest.LogCaptureFixture) -> Iterator[Run]:
    caplog.set_level("INFO")
    made = Run()
    yield made
    made.close()


def shell(text: str) -> Command:
    return Command(("/bin/sh", "-c", text))


def check(
    name: str,
    text: str,
    *,
    interval: int = 100 * MILLISECOND,
    timeout: int = SECOND,
    fall: int = 1,
) -> Check:
    return Check(name, shell(text), interval, timeout, fall=fall)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def log_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# --- results -------------------------------------------------------------------------------------


@pytest.mark.keywords("vrrp_script/script")
def test_the_first_result_decides(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.scripts.watch(check("good", "exit 0"))
    run.scripts.watch(check("bad", "exit 3", fall=5))
    assert sorted(run.hear(2)) == [("bad", False), ("good", True)]
    assert run.scripts.known == {"good": True, "bad": False}
    said = log_of(caplog)
    assert "VRRP_Script(good) succeeded" in said
    assert "Script `bad` now returning 3" in said
    assert "VRRP_Script(bad) failed (exited with status 3)" in said


def test_only_a_change_is_news(run: Run, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    runs = tmp_path / "runs"
    run.scripts.watch(check("flag", f"echo >>{runs}; test -e {flag}"))
    assert run.hear(1) == [("flag", False)]
    run.loop.until(lambda: runs.read_text().count("\n") >= 5)
    assert run.news == []
    flag.touch()
    assert run.hear(1) == [("flag", True)]


def test_another_exit_status_is_said(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    status = tmp_path / "status"
    status.write_text("3")
    run.scripts.watch(check("fails", f"exit $(cat {status})"))
    assert run.hear(1) == [("fails", False)]
    (tmp_path / "new").write_text("4")
    (tmp_path / "new").replace(status)  # at once: an empty one would be another status
    run.loop.until(lambda: "Script `fails` now returning 4" in log_of(caplog))
    assert run.news == []


@pytest.mark.parametrize("number", [9, 45])
def test_a_script_that_a_signal_ends_has_failed(
    run: Run, caplog: pytest.LogCaptureFixture, number: int
) -> None:
    run.scripts.watch(check("killed", f"kill -{number} $$"))
    assert run.hear(1) == [("killed", False)]
    assert f"VRRP_Script(killed) failed (due to signal {number})" in log_of(caplog)


def test_a_script_that_does_not_exist_has_failed(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run.scripts.watch(Check("none", Command(("/no/such/script",))))
    assert run.hear(1) == [("none", False)]
    text = "VRRP_Script(none) failed (cannot be run: No such file or directory)"
    assert text in log_of(caplog)


@pytest.mark.keywords("vrrp_script/timeout")
@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
def test_a_script_that_hangs_ends_with_all_it_started(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, stubborn: str
) -> None:
    pids = tmp_path / "pids"
    text = f"{stubborn}sleep 1000 & echo $! >>{pids}; sleep 1000"
    run.scripts.watch(check("hangs", text, timeout=2 * SECOND, interval=60 * SECOND))
    assert run.hear(1) == [("hangs", False)]
    assert "VRRP_Script(hangs) timed_out" in log_of(caplog)
    child = int(pids.read_text())
    run.loop.until(lambda: not is_alive(child))


def test_what_a_script_leaves_running_goes_on(run: Run, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    run.scripts.watch(check("forks", f"sleep 1000 & echo $! >{pids}; exit 0", interval=60 * SECOND))
    assert run.hear(1) == [("forks", True)]
    child = int(pids.read_text())
    assert is_alive(child)
    os.kill(child, signal.SIGKILL)


def test_a_script_may_print_megabytes(run: Run) -> None:
    run.scripts.watch(check("talks", "head -c 9000000 /dev/zero", timeout=9 * SECOND))
    assert run.hear(1) == [("talks", True)]


def test_arguments_may_be_long(run: Run) -> None:
    words = ("x" * 100_000,) * 10
    command = Command(("/bin/sh", "-c", "test ${#10} -eq 100000", "sh", *words))
    run.scripts.watch(Check("long", command, 60 * SECOND, 9 * SECOND))
    assert run.hear(1) == [("long", True)]


@pytest.mark.keywords("vrrp_script/interval")
def test_a_run_is_not_started_while_another_goes_on(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runs = tmp_path / "runs"
    text = f"echo >>{runs}; sleep 0.35"
    run.scripts.watch(check("slow", text, timeout=9 * SECOND))
    run.hear(1)
    began = runs.read_text().count("\n")
    run.loop.run(1.0)
    assert runs.read_text().count("\n") - began <= 3
    said = log_of(caplog)
    text = "Track script slow is already running, expect idle - skipping run"
    assert 1 <= said.count(text) <= 5


def test_signals_of_the_runner_are_ordinary_in_a_script(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    run.scripts.watch(check("terminates", "kill -TERM $$; exit 0"))
    assert run.hear(1) == [("terminates", False)]
    assert "VRRP_Script(terminates) failed (due to signal 15)" in log_of(caplog)


def test_an_interval_of_weeks_is_no_error(run: Run) -> None:
    run.scripts.watch(check("rare", "exit 0", interval=40 * 86400 * SECOND))
    assert run.hear(1) == [("rare", True)]
    pid = run.pid()
    run.loop.run(0.2)
    assert run.scripts.pid == pid
    assert is_alive(pid)


# --- what is run ---------------------------------------------------------------------------------


def test_a_check_is_changed_and_forgotten(run: Run, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run.scripts.watch(check("one", "exit 0"))
    run.scripts.watch(check("two", f"echo >>{runs}"))
    run.hear(2)
    run.scripts.forget("two")
    run.scripts.watch(check("one", "exit 1"))
    assert run.hear(1) == [("one", False)]
    run.loop.run(0.2)
    ran = runs.read_text()
    run.loop.run(0.4)
    assert runs.read_text() == ran
    assert run.scripts.known == {"one": False}


def test_a_changed_check_is_as_good_as_it_was(run: Run, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    run.scripts.watch(check("one", "exit 0"))
    run.hear(1)
    run.scripts.watch(check("one", f"echo >>{runs}; exit 1", fall=4))
    assert run.hear(1) == [("one", False)]
    assert runs.read_text().count("\n") >= 4


def test_an_unchanged_check_goes_on(run: Run) -> None:
    unchanged = check("one", "exit 0")
    run.scripts.watch(unchanged)
    run.hear(1)
    run.scripts.watch(unchanged)
    run.scripts.watch(check("two", "exit 0"))
    assert run.hear(1) == [("two", True)]


def test_a_command_is_run_once(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run.scripts.run(Command(("/bin/sh", "-c", 'echo "$1" >>' + str(out), "sh", "two words; $HOME")))
    run.loop.until(lambda: out.exists() and out.read_text() == "two words; $HOME\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="runs scripts as another user")
@pytest.mark.keywords("vrrp_script/user")
def test_a_script_runs_as_its_user(run: Run) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        out = Path(folder, "out")
        out.touch()
        out.chmod(0o666)
        command = shell(f"(id -u; id -g; id -G) >{out}")
        run.scripts.run(command._replace(credentials=Credentials(65534, 65533, (4, 20))))
        run.loop.until(lambda: out.read_text().split() == ["65534", "65533", "65533", "4", "20"])


def test_the_own_user_needs_no_help() -> None:
    own = Credentials(os.getuid(), os.getgid(), tuple(os.getgroups()))
    assert as_user(Command(("/usr/bin/true",), own)) == ["/usr/bin/true"]


# --- the process ---------------------------------------------------------------------------------


def test_no_process_runs_before_something_is_to_be_run(run: Run) -> None:
    run.loop.run(0.1)
    assert run.scripts.pid is None


def test_a_runner_that_ends_is_started_again(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag = tmp_path / "flag"
    flag.touch()
    run.scripts.watch(check("good", f"test -e {flag}", fall=2))
    bad = check("bad", f"test ! -e {flag}")
    run.scripts.watch(bad._replace(starts_bad=True))
    assert run.hear(1) == [("good", True)]
    first = run.pid()
    os.kill(first, signal.SIGKILL)
    run.loop.until(lambda: run.scripts.pid not in (None, first))
    assert "the process that runs scripts ended: -9" in caplog.text
    run.loop.run(1.0)
    assert run.news == []  # what is as it was is no news
    flag.unlink()
    assert sorted(run.hear(2)) == [("bad", True), ("good", False)]


def test_a_runner_that_ends_again_and_again_is_given_time(run: Run) -> None:
    run.scripts.watch(check("good", "exit 0"))
    first = run.pid()
    os.kill(first, signal.SIGKILL)
    run.loop.until(lambda: run.scripts.pid not in (None, first))
    os.kill(run.pid(), signal.SIGKILL)
    run.loop.until(lambda: run.scripts.pid is None)
    run.loop.run(0.5)
    assert run.scripts.pid is None
    run.scripts.run(Command(("/bin/true",)))  # waits, and does not start it before its time
    assert run.scripts.pid is None
    run.loop.until(lambda: run.scripts.pid is not None)
    assert run.hear(1) == [("good", True)]


def test_whoever_reads_our_output_need_not_wait_for_the_runner(tmp_path: Path) -> None:
    text = (
        "import os, sys\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        "from test_track_scripts import Run, check\n"
        "run = Run()\n"
        "run.scripts.watch(check('slow', 'sleep 1000'))\n"
        "print(run.pid(), flush=True)\n"
        "os.kill(run.pid(), 19)\n"  # SIGSTOP
        "os._exit(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False
    )
    runner = int(done.stdout)
    assert done.returncode == 0, done.stderr
    assert is_alive(runner)
    os.kill(runner, signal.SIGCONT)
    wait_until(lambda: not is_alive(runner))


@pytest.mark.parametrize("stubborn", ["exec ", "trap '' TERM; "])
def test_checks_end_with_the_daemon(tmp_path: Path, stubborn: str) -> None:
    run = Run()
    pids = tmp_path / "pids"
    text = f"echo $$ >{pids}; {stubborn}sleep 1000"
    run.scripts.watch(check("hangs", text, timeout=999 * SECOND))
    run.loop.until(lambda: pids.exists() and pids.read_text())
    run.close()
    assert not is_alive(int(pids.read_text()))


def test_commands_that_are_run_once_go_on_without_the_daemon(tmp_path: Path) -> None:
    run = Run()
    out = tmp_path / "out"
    started = tmp_path / "started"
    run.scripts.run(shell(f"touch {started}; sleep 0.5; echo done >{out}"))
    run.loop.until(started.exists)
    # What is said last is done as well: `notify_stop` is.
    run.scripts.run(shell(f"touch {tmp_path}/last"))
    run.close()
    wait_until(lambda: out.exists() and out.read_text() == "done\n")
    assert (tmp_path / "last").exists()


def test_a_thousand_scripts_a_second(run: Run) -> None:
    count = 1000
    for n in range(count):
        run.scripts.watch(Check(f"script {n}", Command(("/bin/true",)), timeout=20 * SECOND))
    news = run.hear(count, 30.0)
    assert sorted(news) == sorted((f"script {n}", True) for n in range(count))


# --- counting ------------------------------------------------------------------------------------


@pytest.mark.keywords("vrrp_script/rise", "vrrp_script/fall", "vrrp_script/init_fail")
@pytest.mark.parametrize(
    ("rise", "fall", "starts_bad", "results", "expected"),
    [
        (1, 1, False, "+-+", ["+", "-", "+"]),
        (2, 3, False, "+---+-++", ["+", "", "", "-", "", "", "", "+"]),
        (2, 3, False, "-++", ["-", "", "+"]),
        (2, 1, True, "-+-++", ["", "", "", "", "+"]),
    ],
)
def test_rise_and_fall(
    rise: int, fall: int, starts_bad: bool, results: str, expected: list[str]
) -> None:
    tally = Tally(Check("x", Command(("x",)), rise=rise, fall=fall, starts_bad=starts_bad))
    told = [result if tally.count(result == "+") else "" for result in results]
    assert told == expected


def test_the_end_of_a_run_that_was_given_up_is_not_that_of_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both have the name of their checker; the first one's end was on its way already."""
    loop = asyncio.new_event_loop()
    scripts = Scripts(loop)
    sent: list[Trial] = []
    monkeypatch.setattr(scripts, "_runner", SimpleNamespace(pid=1, send=sent.append))
    ends: list[Outcome] = []
    trial = Trial("checker", Command(("/bin/true",)))
    scripts.try_out(trial, ends.append)
    scripts.give_up("checker")
    scripts.try_out(trial, ends.append)
    first, _, second = (each.name for each in sent)
    for name, status in ((first, 1), (second, 0)):
        scripts._on_message(json.dumps(Outcome(name, status, "")._asdict()).encode())
    assert ends == [Outcome("checker", 0, "")]
    loop.close()
