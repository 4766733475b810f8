"""Commands that are no checks: run once, or for as long as the daemon wants them."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from fastvrrp.track.runner import as_user
from fastvrrp.track.script import Command, Credentials, Resident
from lab.waiting import wait_until
from test_track_scripts import Run, is_alive, run, shell

__all__ = ["run"]


def listen(run: Run, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Waits until the log has `text`."""
    run.loop.until(lambda: text in caplog.text, 30.0)


def test_a_command_outlives_the_daemon_that_ran_it(tmp_path: Path) -> None:
    done = tmp_path / "done"
    run = Run()
    run.scripts.run(shell(f"sleep 0.5; echo yes >{done}"))
    run.close()
    wait_until(done.exists)


def test_what_was_said_last_is_still_run(tmp_path: Path) -> None:
    run = Run()
    # More than a socket holds: the last ones wait for room.
    for number in range(400):
        run.scripts.run(Command(("/usr/bin/touch", str(tmp_path / str(number)))))
    run.close()
    wait_until(lambda: len(list(tmp_path.iterdir())) == 400, 30)


def test_why_a_command_is_not_run_is_said_once(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = tmp_path / "script"
    run.scripts.run(Command((str(script),)))
    listen(run, caplog, f"script {script} is not run: it is not on this machine")
    script.write_text("#!/bin/sh\n")
    run.scripts.run(Command((str(script),)))
    listen(run, caplog, f"script {script} is not run: it is not executable for uid:gid 0:0")
    run.scripts.run(Command((str(script),)))
    script.chmod(0o777)
    run.scripts.inspect(Command((str(script),), is_guarded=True))
    listen(run, caplog, f"others than root may write {script}")
    run.scripts.run(Command((str(script),), Credentials(65534, 65534), is_guarded=True))
    run.scripts.run(Command((str(tmp_path),)))
    listen(run, caplog, f"script {tmp_path} is not run: it is no file")
    assert caplog.text.count("is not executable") == 1


def test_a_guarded_command_is_not_run_by_root(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    script, ran = folder / "script", tmp_path / "ran"
    script.write_text(f"#!/bin/sh\necho yes >{ran}\n")
    script.chmod(0o755)
    folder.chmod(0o777)  # who may write the folder can put another script there
    run.scripts.run(Command((str(script),), is_guarded=True))
    listen(run, caplog, f"others than root may write {folder};")
    assert not ran.exists()
    folder.chmod(0o755)
    run.scripts.run(Command((str(script),), is_guarded=True))
    wait_until(ran.exists)


def test_a_resident_runs_until_it_is_not_wanted(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pids = tmp_path / "pids"
    resident = Resident("notify fifo", shell(f"echo $$ >>{pids}; exec sleep 1000"))

    def begun() -> list[int]:
        return [int(line) for line in pids.read_text().split()] if pids.exists() else []

    run.scripts.house([resident])
    wait_until(lambda: len(begun()) == 1)
    run.scripts.house([resident, Resident("other", shell("exit 3"))])
    listen(run, caplog, "other script /bin/sh terminated (exited with status 3)")
    assert len(begun()) == 1
    os.kill(begun()[0], signal.SIGKILL)
    listen(run, caplog, "notify fifo script /bin/sh terminated (due to signal 9)")
    run.scripts.house([resident])
    wait_until(lambda: len(begun()) == 2)
    run.scripts.house([])
    wait_until(lambda: not is_alive(begun()[1]))


def test_a_resident_may_read_to_the_end_when_the_daemon_goes(tmp_path: Path) -> None:
    fifo, read = tmp_path / "fifo", tmp_path / "read"
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    run = Run()
    opened = tmp_path / "opened"
    script = f"exec 3<{fifo}; echo yes >{opened}; exec cat <&3 >{read}"
    run.scripts.house([Resident("fifo", shell(script))])
    wait_until(opened.exists)
    os.write(writer, b"last words")
    os.close(writer)
    run.close()
    assert read.read_text() == "last words"


def test_a_program_is_executed_by_its_path_without_links(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/usr/bin/true")
    assert as_user(Command((str(link), "x"))) == ["/usr/bin/true", "x"]
    assert as_user(Command((str(link), "x"), keeps_links=True)) == [str(link), "x"]
    assert as_user(Command(("true",))) == [shutil.which("true")]
