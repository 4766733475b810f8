"""Commands whose user is not known yet: run as soon as he is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastvrrp.model import Command
from fastvrrp.model import Scripts as Settings
from fastvrrp.notify.commands import Commands
from fastvrrp.track import credentials, latecomers
from fastvrrp.track.credentials import Account, learn
from fastvrrp.track.latecomers import Latecomers
from fastvrrp.track.script import Credentials
from fastvrrp.track.scripts import Scripts
from track_loop import Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    learn({})
    yield made
    learn({})
    made.close()


def test_it_is_called_when_the_user_is_known_and_only_then(loop: Loop) -> None:
    came: list[str] = []
    waiting = Latecomers(loop.loop, pause=0.01)
    waiting.wait("a", Command(("/bin/true",), "no-such-user"), Settings(), lambda: came.append("a"))
    waiting.wait("b", Command(("/bin/true",), "root"), Settings(), lambda: came.append("b"))
    waiting.wait("c", Command(("/bin/true",), "root"), Settings(), lambda: came.append("c"))
    waiting.forget("c")
    loop.until(lambda: came != [])
    loop.run(0.1)
    assert came == ["b"]
    waiting.close()


def test_a_script_is_run_when_its_user_has_come(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(latecomers, "PAUSE", 0.01)
    out = tmp_path / "out"
    scripts = Scripts(loop.loop)
    commands = Commands(scripts)
    commands.configure(Settings())
    learn({Account("root"): None})
    command = Command(("/bin/sh", "-c", f"echo done >{out}"), "root")
    commands.run(command)
    assert "user root is not known on this machine" in caplog.text
    loop.until(lambda: commands.prepare(command) is not None)
    assert credentials.as_run(command, Settings()).credentials == Credentials(0, 0)
    commands.run(command)
    loop.until(lambda: out.exists() and out.read_text() == "done\n")
    scripts.close()
