"""The end of a handover that gives away, where the other one is not as it should be."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fastvrrp.daemon.handover import Giving
from fastvrrp.daemon.orders import Answer, Progress, Reply
from fastvrrp.daemon.readiness import is_readable
from fastvrrp.daemon.rights import receive

LAYOUT = 1
TAKES = """
import sys, time
from fastvrrp.daemon.handover import Taking
sys.stdin.readline()
taking = Taking(int(sys.argv[1]), 1)
taking.hold()
time.sleep(600)
"""
HIGH = 1024
"""The first descriptor that select(2) does not take."""


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def giving(loop: asyncio.AbstractEventLoop) -> Iterator[Giving]:
    made = Giving(loop, LAYOUT, lambda: None, lambda: True, dict, lambda: 0)
    yield made
    made.close()


def test_descriptors_that_come_are_nobody_else_s() -> None:
    one, other = socket.socketpair()
    with one, other:
        socket.send_fds(one, [b"x"], [one.fileno(), other.fileno()])
        data, rights = receive(other, 10, 5)
        assert data == b"x"
        assert len(rights) == 2
        for each in rights:
            assert not os.get_inheritable(each)
            os.close(each)
        one.send(b"y")
        assert receive(other, 10, 5) == (b"y", [])


def announce(giving: Giving, pid: int) -> Answer | Progress:
    """What is answered to the order."""
    said: list[Answer | Progress] = []
    giving.carry_out({"pid": pid}, Reply(said.append, 1))
    (answer,) = said
    return answer


def test_descriptors_have_any_number() -> None:
    one, other = socket.socketpair()
    with one, other:
        high = fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, HIGH)
        try:
            assert not is_readable(high, 0)
            other.send(b"x")
            assert is_readable(high, 60)
        finally:
            os.close(high)


def test_one_that_has_not_come_is_in_nobodys_way(giving: Giving) -> None:
    ended: list[int | None] = []
    giving.end = ended.append
    assert announce(giving, os.getpid()) == Answer(1, True)
    assert announce(giving, os.getpid()) == Answer(1, True)
    giving.leave({}, Reply(lambda answer: pytest.fail(str(answer)), 2))
    assert ended == [None]


def test_after_any_error_the_old_one_goes_on_alone(
    loop: asyncio.AbstractEventLoop, giving: Giving
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    went_on: list[bool] = []

    def go_on() -> None:
        went_on.append(True)
        loop.stop()

    giving.send_due = fail
    giving.go_on = go_on
    command = [sys.executable, "-c", TAKES, str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as other:
        assert announce(giving, other.pid) == Answer(1, True)
        assert other.stdin is not None
        other.stdin.write(b"\n")
        other.stdin.flush()
        loop.call_later(60, loop.stop)
        loop.run_forever()
        status = other.poll()
        other.kill()
    assert went_on
    assert status == -signal.SIGKILL
