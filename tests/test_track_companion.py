"""A process that works for the daemon: how it is heard."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from fastvrrp.track.companion import SLICE, Companion
from track_loop import Loop

TALKS = """
import socket, sys
from fastvrrp.track.frames import Frames
with socket.socket(fileno=int(sys.argv[1])) as daemon:
    frames = Frames(daemon)
    daemon.setblocking(True)
    for number in range(400):
        frames.send(b"%d" % number)
    daemon.recv(1)
"""
EACH = SLICE // 4
"""Nanoseconds that one message takes here."""


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def test_many_messages_at_once_are_heard_in_slices(
    loop: Loop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talks.py").write_text(TALKS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    heard: list[int] = []
    heard_before: list[int] = []

    def on_message(message: bytes) -> None:
        heard.append(int(message))
        end = time.monotonic_ns() + EACH
        while time.monotonic_ns() < end:
            pass

    def tick() -> None:
        heard_before.append(len(heard))
        if len(heard) < 400:
            loop.loop.call_soon(tick)

    talks = Companion(loop.loop, "talks", "talks", on_message, lambda: None)
    talks.start()
    tick()
    loop.until(lambda: len(heard) == 400)
    talks.close()
    talks.wait()
    assert heard == list(range(400))
    most = max(b - a for a, b in pairwise(heard_before))
    assert most <= SLICE // EACH + 1
