"""The control socket: who may ask, and what comes in that is no request."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fastvrrp.daemon import control
from fastvrrp.daemon.control import MOST_CLIENTS, Control
from fastvrrp.daemon.orders import Answer
from fastvrrp.observe.requests import LONGEST_REQUEST, BrokenOffError, NobodyAnswersError, ask
from lab import wait_until

NOBODY = 65_534
PATIENCE = 10.0


class Served:
    """A control socket in a loop of its own, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.requests: list[tuple[str, Mapping[str, Any]]] = []
        self.may_end = threading.Event()
        """The request `wait` ends when this is set."""
        self.loop = asyncio.new_event_loop()
        self.control = Control(self.loop, path, self._carry_out, frozenset({"look"}))
        self.control.open()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def _carry_out(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        on_answer: Callable[[Answer], object],
        say: Callable[[str], object],
    ) -> None:
        self.requests.append((kind, arguments))
        if kind == "fail":
            raise OSError("as a fault of ours would")
        if kind == "wait":
            say("it has begun")
            self._wait(on_answer)
            return
        if kind == "flood":
            for _ in range(100):
                say("x" * 100_000)
        on_answer(Answer(0, kind != "refuse", (f"{kind} is done",), dict(arguments)))

    def _wait(self, on_answer: Callable[[Answer], object]) -> None:
        if self.may_end.is_set():
            on_answer(Answer(0, True))
        else:
            self.loop.call_later(0.01, self._wait, on_answer)

    def ask(self, kind: str, **arguments: object) -> tuple[bool, list[str], Any]:
        """What is answered: whether it was done, the lines and the value."""
        lines: list[str] = []
        outcome = ask(self.path, kind, arguments, lines.append)
        return outcome.ok, lines, outcome.value

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.path))
        client.settimeout(PATIENCE)
        return client

    def answer(self, data: bytes) -> list[dict[str, Any]]:
        """What comes back for these bytes until the daemon closes."""
        with self.connect() as client:
            client.sendall(data)
            with client.makefile("rb") as answer:
                return [json.loads(line) for line in answer]

    def close(self) -> None:
        def end() -> None:
            self.control.close()
            self.loop.stop()

        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(end)
            self.thread.join()
            self.loop.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path / "fastvrrp.control")
    yield made
    made.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has to come at once."""
    monkeypatch.setattr(control, "REQUEST_TIME", 0.2)


def test_a_request_is_carried_out_and_answered(served: Served) -> None:
    assert served.ask("reload", check=True) == (True, ["reload is done"], {"check": True})
    assert served.ask("refuse") == (False, ["refuse is done"], {})
    assert served.requests == [("reload", {"check": True}), ("refuse", {})]


def test_only_the_daemons_user_can_connect(served: Served) -> None:
    found = served.path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert found.st_uid == os.geteuid()


def test_what_is_said_meanwhile_comes_at_once(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b'{"request": "wait"}\n')
        with client.makefile("rb") as answer:
            assert json.loads(answer.readline()) == {"line": "it has begun"}
            assert served.ask("reload")[0]  # nobody waits for another one's request
            served.may_end.set()
            assert json.loads(answer.readlines()[-1])["ok"] is True


def test_who_has_said_all_may_close_that_direction(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b'{"request": "reload"}\n')
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as answer:
            assert json.loads(answer.readlines()[-1]) == {"ok": True, "value": {}}


@pytest.mark.parametrize(
    "garbage",
    [
        b"\n",
        b"reload\n",
        b"[]\n",
        b"null\n",
        b'"request"\n',
        b"{}\n",
        b'{"request": 7}\n',
        b'{"request": "reload", "arguments": []}\n',
        b'{"request": {"request": "reload"}}\n',
        b"\xff\xfe\x00\n",
        b"[" * 10_000 + b"\n",
        b"9" * 10_000 + b"\n",
        b'{"request": "reload"}'[::-1] + b"\n",
    ],
)
def test_what_is_no_request_is_told_so(served: Served, garbage: bytes) -> None:
    assert served.answer(garbage) == [
        {"line": "that is no request"},
        {"ok": False, "value": None},
    ]
    assert served.requests == []


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_that_is_too_long_is_refused(served: Served, end: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with served.connect() as client:
        # More than it will ever read: what it does not read may cost us the connection.
        try:
            client.sendall(b"x" * (50 * LONGEST_REQUEST) + end)
            answer = client.makefile("rb").read()
        except ConnectionError:
            answer = b""
    assert b"ok" not in answer or json.loads(answer.splitlines()[-1])["ok"] is False
    assert served.requests == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    exact = json.dumps({"request": "reload", "arguments": {"a": ""}})
    filled = exact.replace('""', f'"{"x" * (LONGEST_REQUEST - 1 - len(exact))}"')
    assert len(filled) == LONGEST_REQUEST - 1
    assert served.answer(filled.encode() + b"\n")[-1]["ok"] is True


@pytest.mark.usefixtures("impatient")
def test_half_a_line_is_not_waited_for(served: Served) -> None:
    assert served.answer(b'{"request": "rel') == []
    assert served.requests == []


def test_a_request_in_many_pieces_is_one(served: Served) -> None:
    with served.connect() as client:
        for byte in b'{"request": "reload"}\n':
            client.sendall(bytes((byte,)))
        with client.makefile("rb") as answer:
            assert json.loads(answer.readlines()[-1])["ok"] is True
    assert served.requests == [("reload", {})]


def test_what_comes_behind_a_request_is_nothing(served: Served) -> None:
    line = b'{"request": "reload"}\n'
    assert served.answer(line * 3)[-1]["ok"] is True
    assert len(served.requests) == 1


def test_a_thousand_who_say_nothing_keep_nobody_out(served: Served) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    idle = []
    try:
        for number in range(1000):
            idle.append(served.connect())
            if number % 100 == 99:
                assert served.ask("reload")[0]
        assert len(served.requests) == 10
        assert served.control.count <= MOST_CLIENTS
    finally:
        for client in idle:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_too_many_requests_at_once_are_refused(served: Served) -> None:
    waiting = [served.connect() for _ in range(MOST_CLIENTS)]
    for client in waiting:
        client.sendall(b'{"request": "wait"}\n')
        client.makefile("rb").readline()
    assert served.ask("reload") == (
        False,
        ["there are too many requests at once: ask again later"],
        None,
    )
    served.may_end.set()
    for client in waiting:
        assert b'"ok": true' in client.makefile("rb").read()
        client.close()
    assert served.ask("reload")[0]


def test_an_answer_that_nobody_reads_is_given_up(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b'{"request": "flood"}\n')
        assert served.ask("reload")[0]
        heard = client.makefile("rb").read()
    assert len(heard) < 4_000_000
    assert not heard.endswith(b"}\n") or b'"ok"' not in heard.splitlines()[-1]


def test_a_fault_of_ours_is_answered_too(served: Served) -> None:
    assert served.ask("fail") == (False, ["it could not be carried out: the log says why"], None)
    assert served.ask("reload")[0]


AS_NOBODY = """\
import contextlib, json, os, socket, sys
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
clients = []
for _ in range(int(sys.argv[3])):
    clients.append(socket.socket(socket.AF_UNIX))
    clients[-1].connect(sys.argv[1])
if sys.argv[2]:
    with contextlib.suppress(BrokenPipeError):
        clients[-1].sendall(json.dumps({{"request": sys.argv[2]}}).encode() + b"\\n")
    for line in clients[-1].makefile("rb"):
        sys.stdout.buffer.write(line)
        if b'"ok"' in line:
            break
else:
    print("connected", flush=True)
    sys.stdin.read()
"""


def as_nobody(served: Served, kind: str, clients: int = 1) -> subprocess.Popen[bytes]:
    """A process of another user with so many connections, which asks by the last one."""
    return subprocess.Popen(
        [
            *(sys.executable, "-c", AS_NOBODY.format(nobody=NOBODY)),
            *(served.path.name, kind, str(clients)),
        ],
        # The folder is the test's alone, but who is in it need not come through the ones above.
        cwd=served.path.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")


@needs_root
def test_another_user_may_not_connect_and_where_it_may_only_looks(served: Served) -> None:
    served.path.parent.chmod(0o755)
    assert b"PermissionError" in as_nobody(served, "reload").communicate()[1]
    served.path.chmod(0o666)
    answer = as_nobody(served, "reload").communicate()[0].splitlines()
    assert json.loads(answer[-1])["ok"] is False
    assert b"only root and the daemon's own user" in answer[0]
    assert served.requests == []
    assert json.loads(as_nobody(served, "look").communicate()[0].splitlines()[-1])["ok"] is True
    assert served.requests == [("look", {})]


@needs_root
def test_those_who_may_only_look_do_not_push_out_those_who_may_more(served: Served) -> None:
    served.path.parent.chmod(0o755)
    served.path.chmod(0o666)
    with as_nobody(served, "", MOST_CLIENTS) as crowd:
        assert crowd.stdout is not None
        assert crowd.stdout.readline() == b"connected\n"
        ours = [served.connect() for _ in range(MOST_CLIENTS)]
        assert json.loads(as_nobody(served, "look").communicate()[0].splitlines()[-1]) == {
            "ok": False,
            "value": None,
        }
        for client in ours:
            client.sendall(b'{"request": "reload"}\n')
        for client in ours:
            assert b'"ok": true' in client.makefile("rb").read()
            client.close()
        crowd.communicate()
    assert served.requests == [("reload", {})] * MOST_CLIENTS


def test_nobody_there_is_a_clear_word(tmp_path: Path) -> None:
    with pytest.raises(NobodyAnswersError, match=r"there is nobody at .*\.control"):
        ask(tmp_path / "fastvrrp.control", "reload", {}, print)
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "fastvrrp.control"))
    left.close()
    with pytest.raises(NobodyAnswersError):
        ask(tmp_path / "fastvrrp.control", "reload", {}, print)
    # What a daemon that was killed has left is in nobody's way.
    served = Served(tmp_path / "fastvrrp.control")
    try:
        assert served.ask("reload")[0]
    finally:
        served.close()
    assert not served.path.exists()


def test_a_long_path_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    served = Served(folder / "fastvrrp.control")
    try:
        assert served.ask("reload")[0]
    finally:
        served.close()
    assert not served.path.exists()


def test_a_daemon_that_ends_tells_nobody_more(served: Served) -> None:
    with served.connect() as client:
        client.sendall(b'{"request": "wait"}\n')
        client.makefile("rb").readline()
        served.close()
        assert client.recv(1) == b""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(served.path))
    made.listen()

    def hang_up() -> None:
        connection, _ = made.accept()
        connection.recv(100)
        connection.close()

    thread = threading.Thread(target=hang_up)
    thread.start()
    with pytest.raises(BrokenOffError, match="has ended before it had answered"):
        ask(served.path, "reload", {}, print)
    thread.join()
    made.close()


def test_noise_of_every_kind_changes_nothing(served: Served) -> None:
    """Bytes and pieces of requests, cut anywhere, and closed or reset at any time."""
    chance = random.Random(7)
    whole = b'{"request": "look", "arguments": {"name": "VI_1", "for": 1e999}}\n'
    for _ in range(300):
        data = bytearray(whole * chance.randint(1, 3))
        for _ in range(chance.randint(0, 8)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        del data[chance.randrange(len(data)) :]
        with served.connect() as client:
            client.sendall(data)
            if chance.random() < 0.5:
                linger = struct.pack("ii", 1, 0)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    assert served.ask("reload")[0]
    wait_until(lambda: not served.control.count, what="the last one gone")
