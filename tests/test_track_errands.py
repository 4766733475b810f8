"""Commands that are no checks: run once, or for as long as the daemon lives."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastvrrp.track.runner import as_user
from fastvrrp.track.script import Command, Credentials, Resident
from fastvrrp.track.scripts import Scripts
from track_loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def scripts(loop: Loop) -> Iterator[Scripts]:
    made = Scripts(loop.loop)
    yield made
    made.close()


def shell(text: str) -> Command:
    return Command(("/bin/sh", "-c", text))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_program_is_executed_by_its_path_without_links(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/usr/bin/true")
    assert as_user(Command((str(link), "x"))) == ["/usr/bin/true", "x"]
    assert as_user(Command((str(link), "x"), keeps_links=True)) == [str(link), "x"]
    assert as_user(Command(("true",))) == [shutil.which("true")]


def listen(loop: Loop, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Runs the loop until the log has `text`."""
    loop.until(lambda: text in caplog.text)


def test_a_command_outlives_the_daemon_that_ran_it(loop: Loop, tmp_path: Path) -> None:
    done = tmp_path / "done"
    scripts = Scripts(loop.loop)
    scripts.run(shell(f"sleep 0.5; echo yes >{done}"))
    scripts.close()
    loop.until(done.exists)


def test_what_was_said_last_is_still_run(loop: Loop, tmp_path: Path) -> None:
    scripts = Scripts(loop.loop)
    # More than a socket holds: the last ones wait for room.
    for number in range(400):
        scripts.run(Command(("/usr/bin/touch", str(tmp_path / str(number)))))
    scripts.close()
    loop.until(lambda: len(list(tmp_path.iterdir())) == 400, 30)


def test_why_a_command_is_not_run_is_said_once(
    loop: Loop, scripts: Scripts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "script"
    scripts.run(Command((str(script),)))
    listen(loop, caplog, f"script {script} is not run: it is not on this machine")
    script.write_text("#!/bin/sh\n")
    scripts.run(Command((str(script),)))
    listen(loop, caplog, f"script {script} is not run: it is not executable for uid:gid 0:0")
    scripts.run(Command((str(script),)))
    script.chmod(0o777)
    scripts.inspect(Command((str(script),), is_guarded=True))
    listen(loop, caplog, f"others than root may write {script}")
    scripts.run(Command((str(script),), Credentials(65534, 65534), is_guarded=True))
    scripts.run(Command((str(tmp_path),)))
    listen(loop, caplog, f"script {tmp_path} is not run: it is no file")
    assert caplog.text.count("is not executable") == 1


def test_a_guarded_command_is_not_run_by_root(
    loop: Loop, scripts: Scripts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    script, ran = folder / "script", tmp_path / "ran"
    script.write_text(f"#!/bin/sh\necho yes >{ran}\n")
    script.chmod(0o755)
    folder.chmod(0o777)  # who may write the folder can put another script there
    scripts.run(Command((str(script),), is_guarded=True))
    listen(loop, caplog, f"others than root may write {folder};")
    assert not ran.exists()
    folder.chmod(0o755)
    scripts.run(Command((str(script),), is_guarded=True))
    loop.until(ran.exists)


def test_a_link_that_others_may_change_is_not_followed_by_root(
    loop: Loop, scripts: Scripts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, script, ran = tmp_path / "folder", tmp_path / "script", tmp_path / "ran"
    folder.mkdir()
    script.write_text(f"#!/bin/sh\necho yes >{ran}\n")
    script.chmod(0o755)
    link = folder / "link"
    link.symlink_to(script)
    folder.chmod(0o777)  # who may write the folder can let the link lead elsewhere
    for keeps_links in (False, True):
        command = Command((str(link),), is_guarded=True, keeps_links=keeps_links)
        scripts.inspect(command)
        listen(loop, caplog, f"others than root may write {folder};")
        scripts.run(command)
    folder.chmod(0o755)
    scripts.run(Command((str(link),), is_guarded=True))
    loop.until(ran.exists)
    assert ran.read_text() == "yes\n"


def test_a_script_has_the_callers_path_for_modules_and_not_ours(
    loop: Loop, scripts: Scripts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    monkeypatch.delenv("PYTHONPATH", raising=False)
    scripts.run(
        shell(f'echo "path=${{PYTHONPATH-none}} ${{FASTVRRP_CALLERS_PYTHONPATH-none}}" >{said}')
    )
    loop.until(lambda: said.exists() and said.read_text() != "")
    assert said.read_text() == "path=none none\n"


def test_a_resident_runs_until_it_is_not_wanted(
    loop: Loop, scripts: Scripts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pids = tmp_path / "pids"
    resident = Resident("notify fifo", shell(f"echo $$ >>{pids}; exec sleep 1000"))

    def begun() -> list[int]:
        return [int(line) for line in pids.read_text().split()] if pids.exists() else []

    scripts.house([resident])
    loop.until(lambda: len(begun()) == 1)
    scripts.house([resident, Resident("other", shell("exit 3"))])
    listen(loop, caplog, "other script /bin/sh terminated (exited with status 3)")
    assert len(begun()) == 1
    os.kill(begun()[0], signal.SIGKILL)
    listen(loop, caplog, "notify fifo script /bin/sh terminated (due to signal 9)")
    scripts.house([resident])
    loop.until(lambda: len(begun()) == 2)
    scripts.house([])
    loop.until(lambda: not is_alive(begun()[1]))


def test_a_resident_may_read_to_the_end_when_the_daemon_goes(loop: Loop, tmp_path: Path) -> None:
    fifo, read = tmp_path / "fifo", tmp_path / "read"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    scripts = Scripts(loop.loop)
    opened = tmp_path / "opened"
    script = f"exec 3<{fifo}; echo yes >{opened}; exec cat <&3 >{read}"
    scripts.house([Resident("fifo", shell(script))])
    loop.until(opened.exists)
    os.write(writer, b"last words")
    os.close(writer)
    scripts.close()
    assert read.read_text() == "last words"


def test_a_resident_of_a_runner_that_was_killed_ends_before_it_is_started_again(
    loop: Loop, scripts: Scripts, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    # Its own child has the FIFO open too, and must not stay either.
    scripts.house([Resident("fifo", shell(f"echo $$ >>{started}; sleep 1000 & wait"))])
    loop.until(lambda: started.exists() and len(started.read_text().split()) == 1)
    (first,) = map(int, started.read_text().split())
    children = Path(f"/proc/{first}/task/{first}/children")
    loop.until(lambda: children.read_text().split() != [])
    (child,) = map(int, children.read_text().split())
    assert scripts.pid is not None
    loop.run(0.3)  # it has said as which process it runs
    os.kill(scripts.pid, signal.SIGKILL)
    loop.until(lambda: len(started.read_text().split()) == 2)
    loop.until(lambda: not is_alive(first) and not is_alive(child))
    second = int(started.read_text().split()[1])
    assert is_alive(second)
    scripts.house([])
    loop.until(lambda: not is_alive(second))
