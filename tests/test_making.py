"""Answers are made while nobody else wants the processor, and finished all the same."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from fastvrrp.observe.making import Maker


def policy() -> int:
    return os.sched_getscheduler(0)


def test_an_answer_is_made_by_a_thread_that_gives_way() -> None:
    seen: list[int] = []

    def pieces() -> Iterator[bytes]:
        for number in range(3):
            seen.append(policy())
            yield b"%d" % number

    maker = Maker()
    assert maker.make(pieces()) == [b"0", b"1", b"2"]
    assert maker.make(iter([b"x"])) == [b"x"]
    assert set(seen) == {os.SCHED_IDLE}
    assert policy() == os.SCHED_OTHER
    maker.close()


def test_what_an_idle_machine_does_not_make_in_time_is_finished_by_another() -> None:
    seen: list[int] = []
    goes_on = threading.Event()

    def pieces() -> Iterator[bytes]:
        seen.append(policy())
        yield b"0"
        goes_on.wait(30)
        seen.append(policy())
        yield b"1"
        seen.append(policy())
        yield b"2"

    maker = Maker(0.01)
    threading.Timer(0.5, goes_on.set).start()
    assert maker.make(pieces()) == [b"0", b"1", b"2"]
    assert seen == [os.SCHED_IDLE, os.SCHED_IDLE, os.SCHED_OTHER]
    maker.close()


@pytest.mark.parametrize("patience", [30.0, 0.0])
def test_what_goes_wrong_is_said(patience: float) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"0"
        raise ValueError("no more")

    maker = Maker(patience)
    with pytest.raises(ValueError, match="no more"):
        maker.make(pieces())
    maker.close()
