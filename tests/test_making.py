"""Answers are made while nobody else wants the processor, and finished all the same."""

from __future__ import annotations

import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastvrrp.observe.making import PIECE, Maker


def is_idle() -> bool:
    return os.sched_getscheduler(0) == os.SCHED_IDLE


@pytest.fixture
def maker() -> Maker:
    return Maker(60.0)


def test_an_answer_is_made_by_a_process_that_gives_way(maker: Maker) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"%d " % is_idle()
        yield b"%d " % os.getpid()
        yield b"x" * 2 * PIECE

    for _ in range(2):
        made = maker.make(pieces)
        idle, pid, rest = b"".join(made).split()
        assert (idle, rest) == (b"1", b"x" * 2 * PIECE)
        assert int(pid) != os.getpid()
        assert max(map(len, made)) == PIECE
        with pytest.raises(ChildProcessError):
            os.waitpid(int(pid), 0)
    assert not is_idle()
    assert maker.make(lambda: iter(())) == []


def test_one_that_stands_still_is_given_up_in_the_middle_of_a_piece(tmp_path: Path) -> None:
    pids = tmp_path / "pids"

    def pieces() -> Iterator[bytes]:
        yield b"0"
        if is_idle():
            pids.write_text(str(os.getpid()))
            time.sleep(1e6)
        yield b"1"

    maker = Maker(0.2)
    while not pids.exists():  # as long as it has not got that far
        assert maker.make(pieces) == [b"0", b"1"]
    given_up = int(pids.read_text())
    os.waitid(os.P_PID, given_up, os.WEXITED | os.WNOWAIT)
    maker.make(lambda: [])
    with pytest.raises(ChildProcessError):
        os.waitpid(given_up, 0)


def test_while_one_that_was_given_up_is_there_no_other_one_begins(maker: Maker) -> None:
    given_up = os.fork()
    if not given_up:
        time.sleep(1e6)
    maker._child = given_up
    assert maker.make(lambda: [b"%d" % is_idle()]) == [b"0"]
    os.kill(given_up, 9)
    os.waitid(os.P_PID, given_up, os.WEXITED | os.WNOWAIT)
    assert maker.make(lambda: [b"%d" % is_idle()]) == [b"1"]


def test_what_goes_wrong_is_said(maker: Maker) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"0"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        maker.make(pieces)
    assert maker.make(lambda: [b"1"]) == [b"1"]


def test_one_that_dies_is_not_missed(maker: Maker) -> None:
    def pieces() -> Iterator[bytes]:
        if is_idle():
            os.kill(os.getpid(), 9)
        yield b"0"

    assert maker.make(pieces) == [b"0"]


def test_it_keeps_nobodys_connection_open(maker: Maker) -> None:
    def sockets() -> list[Path]:
        opened = Path("/proc/self/fd").iterdir()
        return [each for each in opened if each.exists() and stat.S_ISSOCK(each.stat().st_mode)]

    left, right = socket.socketpair()
    with left, right:
        assert len(sockets()) >= 2
        assert maker.make(lambda: [b"%d %d" % (is_idle(), len(sockets()))]) == [b"1 0"]
