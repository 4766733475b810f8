"""How `fastvrrp demo` ends when it does not come to its end."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from fastvrrp.cli import demo
from fastvrrp.kernel.netns import NAMESPACES
from lab import wait_until

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))


class Demo:
    """A demonstration, and what it makes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [FASTVRRP, "demo"],
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def namespaces(self) -> list[Path]:
        return list(NAMESPACES.glob(f"fastvrrp-*-{self.process.pid}"))

    def processes(self) -> list[str]:
        """Command lines that name something in its folder."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                found.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except (FileNotFoundError, ProcessLookupError):
                continue
        return [command for command in found if str(self.folder) in command]

    def has_both_namespaces(self) -> bool:
        return len(self.namespaces()) == 2

    def has_both_daemons(self) -> bool:
        return len(list(self.folder.glob("*/*.state"))) == 2


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path)
    yield running
    if running.process.poll() is None:
        running.process.terminate()
        running.process.communicate()


@pytest.mark.parametrize("number", demo.ENDING)
@pytest.mark.parametrize("moment", [Demo.has_both_namespaces, Demo.has_both_daemons])
def test_a_signal_leaves_nothing_behind(
    running: Demo, moment: Callable[[Demo], bool], number: signal.Signals
) -> None:
    wait_until(lambda: moment(running), 60.0, what="what the demonstration makes")
    running.process.send_signal(number)
    output = running.process.communicate()[0].decode()
    assert running.process.returncode == 128 + number, output
    assert output.endswith(f"\nEnded by {number.name}: everything is removed\n")
    assert (running.namespaces(), running.processes()) == ([], [])
    assert list(running.folder.iterdir()) == []


def test_a_signal_of_a_terminal_reaches_all_and_leaves_nothing_behind(running: Demo) -> None:
    wait_until(running.has_both_namespaces, 60.0, what="the namespaces")
    os.killpg(running.process.pid, signal.SIGINT)
    os.killpg(running.process.pid, signal.SIGINT)
    output = running.process.communicate()[0].decode()
    assert running.process.returncode == 130, output
    assert "Traceback" not in output
    assert (running.namespaces(), running.processes()) == ([], [])
    assert list(running.folder.iterdir()) == []


def test_afterwards_signals_do_what_they_did() -> None:
    before = [signal.getsignal(number) for number in demo.ENDING]
    with demo.Signals() as signals:
        assert [signal.getsignal(number) for number in demo.ENDING] != before
        signals.ignore()
    assert [signal.getsignal(number) for number in demo.ENDING] == before


def test_a_wire_that_cannot_be_watched_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "cabled_pair", lambda *_: nullcontext())
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert demo.run(argparse.Namespace()) == 1
    said = capsys.readouterr().err
    assert f"The demonstration failed: cannot listen on eth0 in fastvrrp-blue-{os.getpid()}" in said
    assert "No such file or directory" in said
    assert list(tmp_path.iterdir()) == []


def test_a_daemon_that_does_not_end_is_said_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "STOP_TIMEOUT", 0.05)
    log_file = tmp_path / "blue.log"
    log_file.write_text("Stopping\n")
    with subprocess.Popen(
        ["sh", "-c", 'trap "" TERM; echo ready; exec sleep 600'], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(demo.DemoFailed) as failed:
            demo._Daemon(process, log_file).stop()
        process.kill()
    assert str(failed.value) == (
        "blue has not ended 0.05 s after SIGTERM; its log says:\nStopping\n"
    )
