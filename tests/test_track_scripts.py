"""Scripts, run by the process that runs them, and what the daemon hears of it."""

from __future__ import annotations

import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastvrrp.track.runner import as_user
from fastvrrp.track.script import Check, Command, Credentials, News, Resident, Tally
from fastvrrp.track.scripts import Scripts
from lab.waiting import wait_until

MILLISECOND = 1_000_000
SECOND = 1_000_000_000


@pytest.fixture
def scripts() -> Iterator[Scripts]:
    made = Scripts()
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


def hear(scripts: Scripts, count: int, patience: float = 10.0) -> list[News]:
    """The next `count` pieces of news."""
    news: list[News] = []
    end = time.monotonic() + patience
    while len(news) < count:
        events = select.POLLIN | (select.POLLOUT if scripts.is_behind else 0)
        poll = select.poll()
        poll.register(scripts, events)
        ready = poll.poll(max(0.0, end - time.monotonic()) * 1000)
        assert ready, f"only {news} after {patience} s"
        scripts.flush()
        news += scripts.read()
    return news


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# --- results -------------------------------------------------------------------------------------


def test_the_first_result_decides(scripts: Scripts) -> None:
    scripts.check([check("good", "exit 0"), check("bad", "exit 3", fall=5)])
    assert sorted(hear(scripts, 2)) == [
        News("bad", False, "exited with status 3"),
        News("good", True, "exited with status 0"),
    ]


def test_only_a_change_is_news(scripts: Scripts, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    runs = tmp_path / "runs"
    scripts.check([check("flag", f"echo >>{runs}; test -e {flag}")])
    assert not hear(scripts, 1)[0].is_good
    wait_until(lambda: runs.read_text().count("\n") >= 5)
    assert scripts.read() == []
    flag.touch()
    assert hear(scripts, 1)[0].is_good


@pytest.mark.parametrize(
    ("text", "reason"),
    [("kill -9 $$", "ended by SIGKILL"), ("kill -45 $$", "ended by signal 45")],
)
def test_a_script_that_a_signal_ends_has_failed(scripts: Scripts, text: str, reason: str) -> None:
    scripts.check([check("killed", text)])
    assert hear(scripts, 1) == [News("killed", False, reason)]


def test_a_script_that_does_not_exist_has_failed(scripts: Scripts) -> None:
    scripts.check([Check("none", Command(("/no/such/script",)))])
    assert hear(scripts, 1) == [News("none", False, "cannot be run: No such file or directory")]


@pytest.mark.parametrize("stubborn", ["", "trap '' TERM; "])
def test_a_script_that_hangs_ends_with_all_it_started(
    scripts: Scripts, tmp_path: Path, stubborn: str
) -> None:
    pids = tmp_path / "pids"
    text = f"{stubborn}sleep 1000 & echo $! >>{pids}; sleep 1000"
    scripts.check([check("hangs", text, timeout=300 * MILLISECOND, interval=60 * SECOND)])
    assert hear(scripts, 1) == [News("hangs", False, "timed out")]
    child = int(pids.read_text())
    wait_until(lambda: not is_alive(child))


def test_a_script_may_print_megabytes(scripts: Scripts) -> None:
    scripts.check([check("talks", "head -c 9000000 /dev/zero", timeout=9 * SECOND)])
    assert hear(scripts, 1)[0].is_good


def test_a_run_is_not_started_while_another_goes_on(scripts: Scripts, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    text = f"echo >>{runs}; sleep 0.35"
    scripts.check([check("slow", text, timeout=9 * SECOND)])
    hear(scripts, 1)
    began = runs.read_text().count("\n")
    time.sleep(1.0)
    assert runs.read_text().count("\n") - began <= 3


def test_signals_of_the_runner_are_ordinary_in_a_script(scripts: Scripts) -> None:
    scripts.check([check("terminates", "kill -TERM $$; exit 0")])
    assert hear(scripts, 1) == [News("terminates", False, "ended by SIGTERM")]


# --- what is run ---------------------------------------------------------------------------------


def test_a_check_is_changed_and_forgotten(scripts: Scripts, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    scripts.check([check("one", "exit 0"), check("two", f"echo >>{runs}")])
    hear(scripts, 2)
    scripts.check([check("one", "exit 1")])
    assert hear(scripts, 1) == [News("one", False, "exited with status 1")]
    time.sleep(0.2)
    ran = runs.read_text()
    time.sleep(0.4)
    assert runs.read_text() == ran


def test_an_unchanged_check_goes_on(scripts: Scripts) -> None:
    unchanged = check("one", "exit 0")
    scripts.check([unchanged])
    hear(scripts, 1)
    scripts.check([unchanged, check("two", "exit 0")])
    assert [news.name for news in hear(scripts, 1)] == ["two"]


def test_a_command_is_run_once(scripts: Scripts, tmp_path: Path) -> None:
    out = tmp_path / "out"
    scripts.run(Command(("/bin/sh", "-c", 'echo "$1" >>' + str(out), "sh", "two words; $HOME")))
    wait_until(lambda: out.exists() and out.read_text() == "two words; $HOME\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="runs scripts as another user")
def test_a_script_runs_as_its_user(scripts: Scripts) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        Path(folder).chmod(0o755)
        out = Path(folder, "out")
        out.touch()
        out.chmod(0o666)
        command = shell(f"(id -u; id -g; id -G) >{out}")
        scripts.run(command._replace(credentials=Credentials(65534, 65533, (4, 20))))
        wait_until(lambda: out.read_text().split() == ["65534", "65533", "65533", "4", "20"])


def test_the_own_user_needs_no_help() -> None:
    own = Credentials(os.getuid(), os.getgid(), tuple(os.getgroups()))
    assert as_user(Command(("/usr/bin/true",), own)) == ["/usr/bin/true"]


def test_a_program_is_executed_by_its_path_without_links(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/usr/bin/true")
    assert as_user(Command((str(link), "x"))) == ["/usr/bin/true", "x"]
    assert as_user(Command((str(link), "x"), keeps_links=True)) == [str(link), "x"]
    assert as_user(Command(("true",))) == [shutil.which("true")]


# --- the process ---------------------------------------------------------------------------------


def test_a_runner_that_ends_is_started_again(
    scripts: Scripts, caplog: pytest.LogCaptureFixture
) -> None:
    scripts.check([check("good", "exit 0")])
    hear(scripts, 1)
    assert scripts._process is not None
    os.kill(scripts._process.pid, signal.SIGKILL)
    assert hear(scripts, 1) == [News("good", True, "exited with status 0")]
    assert "the process that runs scripts ended: -9" in caplog.text


def test_scripts_end_with_the_daemon(tmp_path: Path) -> None:
    scripts = Scripts()
    pids = tmp_path / "pids"
    scripts.check([check("hangs", f"echo $$ >{pids}; exec sleep 1000", timeout=999 * SECOND)])
    wait_until(lambda: pids.exists() and pids.read_text())
    scripts.close()
    wait_until(lambda: not is_alive(int(pids.read_text())))


def test_a_thousand_scripts_a_second(scripts: Scripts) -> None:
    count = 1000
    scripts.check(
        [Check(f"script {n}", Command(("/bin/true",)), timeout=20 * SECOND) for n in range(count)]
    )
    news = hear(scripts, count, 30.0)
    assert {item.name for item in news} == {f"script {n}" for n in range(count)}
    assert all(item.is_good for item in news)


# --- counting ------------------------------------------------------------------------------------


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


# --- commands that are no checks -----------------------------------------------------------------


def listen(scripts: Scripts, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Reads until the log has `text`."""

    def is_said() -> bool:
        scripts.read()
        return text in caplog.text

    wait_until(is_said, what=lambda: f"{text!r} in {caplog.text!r}")


def test_a_command_outlives_the_daemon_that_ran_it(tmp_path: Path) -> None:
    done = tmp_path / "done"
    scripts = Scripts()
    scripts.run(shell(f"sleep 0.5; echo yes >{done}"))
    scripts.close()
    wait_until(done.exists)


def test_what_was_said_last_is_still_run(tmp_path: Path) -> None:
    scripts = Scripts()
    # More than a socket holds: the last ones wait for room.
    for number in range(400):
        scripts.run(Command(("/usr/bin/touch", str(tmp_path / str(number)))))
    scripts.close()
    wait_until(lambda: len(list(tmp_path.iterdir())) == 400, 30)


def test_why_a_command_is_not_run_is_said_once(
    scripts: Scripts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "script"
    scripts.run(Command((str(script),)))
    listen(scripts, caplog, f"script {script} is not run: it is not on this machine")
    script.write_text("#!/bin/sh\n")
    scripts.run(Command((str(script),)))
    listen(scripts, caplog, f"script {script} is not run: it is not executable for uid:gid 0:0")
    scripts.run(Command((str(script),)))
    script.chmod(0o777)
    scripts.inspect(Command((str(script),), is_guarded=True))
    listen(scripts, caplog, f"others than root may write {script}")
    scripts.run(Command((str(script),), Credentials(65534, 65534), is_guarded=True))
    scripts.run(Command((str(tmp_path),)))
    listen(scripts, caplog, f"script {tmp_path} is not run: it is no file")
    assert caplog.text.count("is not executable") == 1


def test_a_guarded_command_is_not_run_by_root(
    scripts: Scripts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    script, ran = folder / "script", tmp_path / "ran"
    script.write_text(f"#!/bin/sh\necho yes >{ran}\n")
    script.chmod(0o755)
    folder.chmod(0o777)  # who may write the folder can put another script there
    scripts.run(Command((str(script),), is_guarded=True))
    listen(scripts, caplog, f"others than root may write {folder};")
    assert not ran.exists()
    folder.chmod(0o755)
    scripts.run(Command((str(script),), is_guarded=True))
    wait_until(ran.exists)


def test_a_resident_runs_until_it_is_not_wanted(
    scripts: Scripts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pids = tmp_path / "pids"
    resident = Resident("notify fifo", shell(f"echo $$ >>{pids}; exec sleep 1000"))

    def begun() -> list[int]:
        return [int(line) for line in pids.read_text().split()] if pids.exists() else []

    scripts.house([resident])
    wait_until(lambda: len(begun()) == 1)
    scripts.house([resident, Resident("other", shell("exit 3"))])
    listen(scripts, caplog, "other script /bin/sh terminated (exited with status 3)")
    assert len(begun()) == 1
    os.kill(begun()[0], signal.SIGKILL)
    listen(scripts, caplog, "notify fifo script /bin/sh terminated (ended by SIGKILL)")
    scripts.house([resident])
    wait_until(lambda: len(begun()) == 2)
    scripts.house([])
    wait_until(lambda: not is_alive(begun()[1]))


def test_a_resident_may_read_to_the_end_when_the_daemon_goes(tmp_path: Path) -> None:
    fifo, read = tmp_path / "fifo", tmp_path / "read"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    scripts = Scripts()
    opened = tmp_path / "opened"
    script = f"exec 3<{fifo}; echo yes >{opened}; exec cat <&3 >{read}"
    scripts.house([Resident("fifo", shell(script))])
    wait_until(opened.exists)
    os.write(writer, b"last words")
    os.close(writer)
    scripts.close()
    assert read.read_text() == "last words"
