"""The parent's event loop, and how it starts and watches a child."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fastvrrp.daemon.beat import LIMIT, LOOK
from fastvrrp.daemon.child import Child, Stderr
from fastvrrp.daemon.loop import Loop

TALKS = """
import signal, socket, sys
from fastvrrp.track.frames import Closed, Frames
signal.pthread_sigmask(signal.SIG_SETMASK, ())
frames = Frames(socket.socket(fileno=int(sys.argv[1])))
frames.socket.setblocking(True)
frames.send(b"")
frames.send(b"here")
try:
    while True:
        for message in frames.receive():
            if message == b"die":
                sys.exit("of that")
            frames.send(message[::-1])
except Closed:
    sys.exit(3)
"""


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def test_what_is_called_later_comes_in_its_order(loop: Loop) -> None:
    called: list[str] = []
    loop.call_later(0.02, called.append, "third")
    loop.call_later(0.03, loop.stop)
    loop.call_later(0.01, called.append, "cancelled").cancel()
    loop.call_later(0.01, called.append, "second")
    loop.call_soon(called.append, "first")
    loop.run_forever()
    assert called == ["first", "second", "third"]


def test_a_descriptor_is_watched_until_it_is_removed(loop: Loop) -> None:
    one, other = socket.socketpair()
    with one, other:
        heard: list[bytes] = []

        def on_readable() -> None:
            heard.append(one.recv(10))
            assert loop.remove_reader(one.fileno())
            other.send(b"unheard")
            loop.call_later(0.02, loop.stop)

        loop.add_reader(one.fileno(), on_readable)
        loop.add_writer(one.fileno(), lambda: loop.remove_writer(one.fileno()))
        other.send(b"heard")
        loop.run_forever()
        assert heard == [b"heard"]
        assert not loop.remove_reader(one.fileno())
        assert not loop.remove_writer(one.fileno())


def test_what_was_ready_and_is_removed_is_not_called(loop: Loop) -> None:
    pairs = [socket.socketpair() for _ in range(2)]
    called: list[int] = []

    def on_readable(number: int) -> None:
        called.append(number)
        for end, _ in pairs:
            loop.remove_reader(end.fileno())
        loop.stop()

    for number, (end, other) in enumerate(pairs):
        loop.add_reader(end.fileno(), on_readable, number)
        other.send(b"x")
    loop.run_forever()
    assert len(called) == 1
    for pair in pairs:
        for end in pair:
            end.close()


def test_what_goes_wrong_ends_nobody(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.call_soon(lambda: 1 // 0)
    loop.call_later(0, loop.stop)
    loop.run_forever()
    assert "ZeroDivisionError" in caplog.text


def test_a_signal_is_heard_in_the_loop_until_it_is_given_back(loop: Loop) -> None:
    heard: list[int] = []
    loop.add_signal_handler(signal.SIGUSR1, heard.append, 1)
    loop.add_signal_handler(signal.SIGRTMIN + 2, heard.append, 2)
    loop.call_soon(os.kill, os.getpid(), signal.SIGUSR1)
    loop.call_soon(os.kill, os.getpid(), signal.SIGRTMIN + 2)
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert sorted(heard) == [1, 2]
    assert loop.remove_signal_handler(signal.SIGUSR1)
    assert not loop.remove_signal_handler(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL


class Watched:
    """A child, and what was heard of it."""

    def __init__(self, loop: Loop, module: str) -> None:
        self.loop = loop
        self.heard: list[bytes] = []
        self.starts = 0
        self.ends: list[tuple[int, int]] = []
        self.child = Child(loop, module, "Talking", self._on_messages, self._on_start, self._on_end)
        self.child.stderr = Stderr.KEPT

    def until(self, count: int = 0, ends: int = 0) -> None:
        """Runs until so much was heard, or so many ends."""
        self._wanted = count, ends
        alarm = self.loop.call_later(30.0, self.loop.stop)
        self._stop_if_enough()
        self.loop.run_forever()
        alarm.cancel()
        assert (len(self.heard), len(self.ends)) >= (count, 0)
        assert len(self.ends) >= ends

    def _on_messages(self, messages: object) -> None:
        assert isinstance(messages, list)
        self.heard += messages
        self._stop_if_enough()

    def _on_start(self) -> None:
        self.starts += 1

    def _on_end(self, pid: int, status: int) -> None:
        self.ends.append((pid, status))
        self._stop_if_enough()

    def _stop_if_enough(self) -> None:
        count, ends = self._wanted
        if len(self.heard) >= count and len(self.ends) >= ends:
            self.loop.call_soon(self.loop.stop)


@pytest.fixture
def watched(loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    (tmp_path / "talks.py").write_text(TALKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = Watched(loop, "talks")
    made.child.start()
    yield made
    if made.child.pid is not None:
        made.child.kill()
        made.until(ends=len(made.ends) + 1)


def test_a_child_is_told_and_heard_but_for_its_beats(watched: Watched) -> None:
    watched.child.send(b"olleh")
    watched.until(2)
    assert watched.heard == [b"here", b"hello"]
    assert watched.starts == 1
    watched.child.end(60)
    watched.until(ends=1)
    assert watched.ends[0][1] == 3, "it has seen the end of the stream"
    assert not watched.child.is_started


def test_one_that_dies_says_why_and_is_started_again(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.child.send(b"die")
    watched.until(ends=1)
    pid, status = watched.ends[0]
    assert status == 1
    assert f"pid {pid} exited with status 1: of that" in caplog.text
    watched.child.start_later()
    watched.until(2)
    assert watched.starts == 2


def test_silence_is_counted_in_looks_and_ends_with_any_word(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.until(1)
    looks = int(LIMIT / LOOK)
    for _ in range(looks):
        watched.child.look()
    watched.child.send(b"x")
    watched.until(2)
    for _ in range(looks):
        watched.child.look()
    assert watched.ends == []
    watched.child.look()
    watched.until(2, ends=1)
    assert watched.ends[0][1] == -signal.SIGKILL
    assert f"has shown no sign of life for {LIMIT:g} seconds" in caplog.text


def test_one_that_is_to_end_and_does_not_is_killed_whatever_it_says(watched: Watched) -> None:
    watched.until(1)
    assert watched.child.pid is not None
    os.kill(watched.child.pid, signal.SIGSTOP)
    watched.child.end(2 * LOOK)
    for _ in range(3):
        watched.child.look()
    watched.until(1, ends=1)
    assert watched.ends[0][1] == -signal.SIGKILL


def test_all_that_one_has_said_is_heard_while_it_is_still_known(watched: Watched) -> None:
    """What it says last may have the parent go on by new code, to which the child is left too."""
    pid = watched.child.pid
    assert pid is not None
    watched.child.send(b"die")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    heard: list[bytes] = []
    left: list[dict[str, Any]] = []
    ends: list[tuple[int, int]] = []

    def keep(descriptor: int) -> int:
        os.fstat(descriptor)
        return descriptor

    def on_messages(messages: Sequence[bytes]) -> None:
        heard.extend(messages)
        left.append(watched.child.plain(keep))

    watched.child.retarget(
        on_messages, lambda: None, lambda pid, status: ends.append((pid, status))
    )
    watched.child._on_exit()
    assert heard == [b"here"]
    assert left[0]["process"]["pid"] == pid
    assert ends == [(pid, 1)]


def test_the_end_of_one_is_known_whatever_its_last_words_do(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    pid = watched.child.pid
    assert pid is not None
    watched.child.send(b"die")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    ends: list[tuple[int, int]] = []

    def on_messages(messages: Sequence[bytes]) -> None:
        raise ValueError(messages)

    watched.child.retarget(
        on_messages, lambda: None, lambda pid, status: ends.append((pid, status))
    )
    watched.child._on_exit()
    assert ends == [(pid, 1)]
    assert watched.child.pid is None
    assert "ValueError" in caplog.text


def handed_on(child: Child) -> tuple[Loop, Child, list[bytes], list[tuple[int, int]]]:
    """The same child as another program in this process has it, what that hears, and ends."""
    kept: list[int] = []

    def keep(descriptor: int) -> int:
        kept.append(os.dup(descriptor))
        return kept[-1]

    plain = json.loads(json.dumps(child.plain(keep)))
    loop = Loop()
    heard: list[bytes] = []
    ends: list[tuple[int, int]] = []

    def on_end(pid: int, status: int) -> None:
        ends.append((pid, status))
        loop.call_soon(loop.stop)

    def on_messages(messages: object) -> None:
        assert isinstance(messages, list)
        heard.extend(messages)
        loop.call_soon(loop.stop)

    other = Child(loop, "talks", "Talking", on_messages, lambda: None, on_end)
    other.go_on(plain)
    return loop, other, heard, ends


def test_another_program_goes_on_with_a_child(watched: Watched) -> None:
    watched.until(1)
    loop, other, heard, ends = handed_on(watched.child)
    try:
        assert other.pid == watched.child.pid
        other.send(b"olleh")
        loop.call_later(30.0, loop.stop)
        loop.run_forever()
        assert heard == [b"hello"]
        other.kill()
        loop.run_forever()
        assert [status for _, status in ends] == [-signal.SIGKILL]
        assert not other.is_started
    finally:
        loop.close()
    # The first one finds that somebody else has waited for it.
    watched.child._process = None
    watched.child._conversation = None


def test_a_pause_goes_on_in_another_program(watched: Watched) -> None:
    for count in (1, 2):
        watched.child.send(b"die")
        watched.until(ends=count)
        watched.child.start_later()
        if count == 1:
            watched.until(ends=1, count=2)
    assert watched.child.pid is None  # it waits for a second
    loop, other, heard, _ = handed_on(watched.child)
    try:
        assert other.is_started
        assert other.pid is None
        loop.call_later(30.0, loop.stop)
        loop.run_forever()
        assert heard == [b"here"]
        other.kill()
        loop.run_forever()
    finally:
        watched.child.end(0)
        loop.close()
