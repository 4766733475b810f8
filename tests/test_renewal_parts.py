"""What the parent leaves to new code, how that is looked at, and who can read it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastvrrp
from fastvrrp.daemon import renewal
from fastvrrp.daemon.background import PidFile
from fastvrrp.daemon.control import Control
from fastvrrp.daemon.launch import Launch
from fastvrrp.daemon.logs import Idents
from fastvrrp.daemon.loop import Loop
from fastvrrp.daemon.orders import Answer, Read, StartWard
from fastvrrp.daemon.renewal import Legacy, Successor, Trial, built
from fastvrrp.daemon.service_state import ServiceState
from fastvrrp.daemon.supervisor import Supervisor
from fastvrrp.observe.files import Files


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def how_many_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def tried(loop: Loop, python: Path) -> tuple[Successor | None, str]:
    """What a look at something finds."""
    found: list[tuple[Successor | None, str]] = []

    def on_over(successor: Successor | None, why: str) -> None:
        found.append((successor, why))
        loop.stop()

    def state(keep: renewal.Keep) -> dict[str, Any]:
        return {"kept": keep(0)}

    before = how_many_descriptors()
    Trial(loop, str(python), state, on_over).start()
    loop.run_forever()
    assert how_many_descriptors() == before
    return found[0]


def test_one_that_hangs_is_not_waited_for(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "LIMIT", 0.2)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    assert tried(loop, python) == (None, "no answer for 0.2 seconds")


@pytest.mark.parametrize("said", ["", "[]", "{}", '{"version": "1"}', "nonsense"])
def test_one_that_says_something_else_is_not_followed(
    loop: Loop, tmp_path: Path, said: str
) -> None:
    python = tmp_path / "python"
    # -P -m MODULE --check-handover STATE REPORT
    python.write_text(f"#!/bin/sh\nprintf %s '{said}' >/proc/self/fd/$6\n")
    python.chmod(0o755)
    assert tried(loop, python) == (None, "it has said what nobody understands")


def test_one_that_is_no_interpreter_is_an_error(loop: Loop, tmp_path: Path) -> None:
    before = how_many_descriptors()
    with pytest.raises(FileNotFoundError):
        Trial(loop, str(tmp_path / "none"), lambda _: {}, lambda *_: None).start()
    assert how_many_descriptors() == before


def test_what_is_left_is_read_by_other_versions() -> None:
    legacy = Legacy(lambda keep: {"descriptors": [keep(0)], "words": ["a"]})
    assert legacy.descriptors == [0]
    plain = renewal.read(legacy.descriptor)
    assert plain["version"] == fastvrrp.__version__
    # What only a newer version knows is left out, and what an older one does not has its default.
    launch = built(
        Launch, {"file": "x", "config_id": None, "folder": "/", "words": ["a"], "new": 1}
    )
    assert launch == Launch("x", None, "/", ("a",))
    newer = Legacy(lambda _: {"layout": renewal.LAYOUT + 1, "version": "9"})
    with pytest.raises(renewal.CannotGoOnError, match="fastvrrp 9 leaves has layout"):
        renewal.read(newer.descriptor)


GOES_ON_WITH = """
import json, os, sys
from fastvrrp.daemon.supervisor import Supervisor

for state in json.load(sys.stdin):
    pid = os.fork()
    if not pid:
        print(json.dumps(Supervisor.go_on(state).plain(int)), flush=True)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        sys.exit(json.dumps(state))
"""
NEEDED = {
    *("layout", "version", "launch", "read", "vrrpd", "holdings", "pid_file", "module", "title"),
    *("pid", "descriptor", "file", "config_id", "folder", "namespace", "idents", "name"),
    *("shares_stderr", "umask"),
}
"""Fields that every version has left."""
NAMED = {"children", "closing"}
"""Fields that are parts by their names."""


def with_more(plain: Any, name: str = "") -> Any:
    """The same of a version that leaves a field more in each part."""
    if isinstance(plain, list):
        return [with_more(each) for each in plain]
    if not isinstance(plain, dict):
        return plain
    more = {} if name in NAMED else {"new": {"descriptor": 0}}
    return {key: with_more(value, key) for key, value in plain.items()} | more


def with_less(plain: Any, name: str = "") -> Iterator[Any]:
    """The same of versions that leave one field less each."""
    parts = enumerate(plain) if isinstance(plain, list) else plain.items()
    for key, value in list(parts):
        if isinstance(plain, dict) and key not in NEEDED and name not in NAMED:
            yield {each: value for each, value in plain.items() if each != key}
        if isinstance(value, dict | list):
            for less in with_less(value, str(key)):
                changed = plain.copy()
                changed[key] = less
                yield changed


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Supervisor]:
    """A parent that has something of everything."""
    file = tmp_path / "fastvrrp.pid"
    made = Supervisor(Launch("x", None, "/", ("a",)), None, ServiceState("@x", 5.0, "fine"))
    made._read = Read(str(file), None, Idents())
    control = Control(made.loop, Files.beside(file).control, made.request)
    control.open()
    holdings = made._holdings
    holdings._control = control
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(Files.beside(file).control))
    for name in ("one", "other"):
        made._wards.start(StartWard(name, "fastvrrp.daemon.checkd", name, False, 0o77))
    made._wards.renew(None, {})
    made._wards._closing["other"] = StartWard("other", "x", "y", True, 0)
    made._vrrpd._spawn()
    retired = made._new_vrrpd()
    retired._spawn()
    made._retire(retired)
    made._signals = [signal.SIGHUP]
    turn(made.loop)
    with PidFile(file) as holdings._pid_file:
        yield made
    for child in (made._vrrpd, retired, *made._wards):
        child.kill()
        assert child._process is not None
        child._process.wait()
    control.close()
    client.close()
    made.loop.close()


def test_every_part_is_read_by_versions_that_know_more_and_less_of_it(parent: Supervisor) -> None:
    kept: list[int] = []

    def keep(descriptor: int) -> int:
        kept.append(descriptor)
        return descriptor

    plain = {"layout": 1, "version": "1"} | json.loads(json.dumps(parent.plain(keep)))
    assert plain["holdings"]["control"]["clients"]
    less = list(with_less(plain))
    assert len(less) > 60
    done = subprocess.run(
        [sys.executable, "-c", GOES_ON_WITH],
        input=json.dumps([plain, with_more(plain), *less]),
        pass_fds=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    went_on = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(went_on) == 2 + len(less)
    assert went_on[0] == went_on[1] == {key: plain[key] for key in went_on[0]}


def test_clients_of_the_control_socket_go_on(tmp_path: Path) -> None:
    asked: list[str] = []
    first, second = Loop(), Loop()
    old = Control(first, tmp_path / "control", lambda kind, *_: asked.append(kind))
    old.open()
    waits, speaks, comes = (socket.socket(socket.AF_UNIX) for _ in range(3))
    waits.connect(str(tmp_path / "control"))
    waits.send(b'{"request": "upgrade"}\n')
    speaks.connect(str(tmp_path / "control"))
    speaks.send(b'{"request": "ver')
    turn(first)
    comes.connect(str(tmp_path / "control"))
    comes.send(b'{"request": "later"}\n')
    kept: list[int] = []

    def keep(descriptor: int) -> int:
        kept.append(os.dup(descriptor))
        return kept[-1]

    plain = old.plain(keep)
    new = Control(second, tmp_path / "control", lambda kind, *_: asked.append(kind))
    new.go_on(plain)
    speaks.send(b'sion"}\n')
    turn(second)
    assert sorted(asked) == ["later", "upgrade", "version"]
    new.answer_all(Answer(0, True, ("done",)))
    assert waits.recv(1000) == b'{"line": "done"}\n{"ok": true, "value": null}\n'
    new.close()
    for each in (waits, speaks, comes):
        each.close()
    first.close()
    second.close()


def turn(loop: Loop) -> None:
    """Lets everything happen that is ready."""
    loop.call_later(0.1, loop.stop)
    loop.run_forever()
