"""Regular expressions that take their time keep nobody else waiting."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fastvrrp.lvs.check import CannotCheckError
from fastvrrp.lvs.checkers import matching as room
from fastvrrp.lvs.checkers.matching import Matching
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.model import Expression

BODY = b"a" * 200_000


def run(story: Callable[[Matching], Awaitable[None]]) -> None:
    async def inside() -> None:
        tools = Tools(asyncio.get_running_loop())
        try:
            await story(tools.the(Matching))
        finally:
            tools.close()

    asyncio.run(inside())


def test_many_are_matched_by_one_process() -> None:
    async def story(matching: Matching) -> None:
        bodies = [b"zebra" * count + b"x" * 300_000 for count in range(3)]
        found = await asyncio.gather(
            *(matching.mismatch(Expression("zebra"), body) for body in bodies)
        )
        assert found == ["regex does not match", "", ""]
        assert matching._process is not None

    run(story)


def test_one_that_takes_too_long_is_cut_and_the_next_one_is_matched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(matching: Matching) -> None:
        assert await matching.mismatch(Expression("a"), b"a") == ""
        process = matching._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)  # it takes longer than any limit
        monkeypatch.setattr(room, "LIMIT", 0.2)
        slow = asyncio.create_task(matching.mismatch(Expression("a"), BODY * 5))
        quick = asyncio.create_task(matching.mismatch(Expression("b"), b"b"))
        turns = 0
        while not slow.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert "takes longer than" in await slow
        assert turns > 5  # the loop went on meanwhile
        monkeypatch.setattr(room, "LIMIT", 60.0)
        assert await quick == ""
        assert matching._process is not process

    run(story)


def test_a_process_that_dies_says_nothing_of_the_server() -> None:
    async def story(matching: Matching) -> None:
        assert await matching.mismatch(Expression("a"), b"a") == ""
        assert matching._process is not None
        os.kill(matching._process.pid, signal.SIGSTOP)
        asked = asyncio.create_task(matching.mismatch(Expression("a"), b"a"))
        await asyncio.sleep(0)
        os.kill(matching._process.pid, signal.SIGKILL)
        with pytest.raises(CannotCheckError, match="has ended"):
            await asked
        assert await matching.mismatch(Expression("a"), b"a") == ""

    run(story)


def test_a_question_that_nobody_wants_to_be_answered_any_more_is_left_out() -> None:
    async def story(matching: Matching) -> None:
        first = asyncio.create_task(matching.mismatch(Expression("a"), b"a"))
        second = asyncio.create_task(matching.mismatch(Expression("a"), b"b"))
        third = asyncio.create_task(matching.mismatch(Expression("a"), b"c"))
        await asyncio.sleep(0)
        first.cancel()
        second.cancel()
        assert await third == "regex does not match"

    run(story)


def test_an_expression_that_was_cut_is_not_tried_again_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(matching: Matching) -> None:
        assert await matching.mismatch(Expression("a"), b"a") == ""
        process = matching._process
        assert process is not None
        os.kill(process.pid, signal.SIGSTOP)
        monkeypatch.setattr(room, "LIMIT", 0.2)
        slow, same, other = (
            asyncio.create_task(matching.mismatch(Expression(pattern), BODY))
            for pattern in ("a", "a", "b")
        )
        assert "takes longer than" in await slow
        monkeypatch.setattr(room, "LIMIT", 60.0)
        assert "takes longer than" in await same
        assert await other == "regex does not match"
        assert "takes longer than" in await matching.mismatch(Expression("a"), b"a")
        matching._cut_until.clear()  # as when the pause is over
        assert await matching.mismatch(Expression("a"), b"a") == ""

    run(story)


def test_an_answer_that_is_there_counts_though_the_loop_was_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(matching: Matching) -> None:
        assert await matching.mismatch(Expression("a"), b"a") == ""
        process = matching._process
        assert matching._frames is not None
        monkeypatch.setattr(room, "LIMIT", 60.0)
        asked = asyncio.create_task(matching.mismatch(Expression("a"), b"b"))
        await asyncio.sleep(0)
        select.select((matching._frames.socket,), (), ())
        matching._cut()
        assert await asked == "regex does not match"
        assert matching._process is process
        assert matching._deadline is None

    run(story)


def test_a_process_that_ends_when_nobody_asks_is_replaced() -> None:
    async def story(matching: Matching) -> None:
        assert await matching.mismatch(Expression("a"), b"a") == ""
        process = matching._process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        errors: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, said: errors.append(said))
        for _ in range(3):
            await asyncio.sleep(0)
        assert await matching.mismatch(Expression("a"), b"a") == ""
        assert matching._process is not process
        assert not errors

    run(story)


def test_the_process_has_no_rights() -> None:
    async def story(matching: Matching) -> None:
        assert await matching.mismatch(Expression("a"), b"a") == ""
        assert matching._process is not None
        status = Path(f"/proc/{matching._process.pid}/status").read_text()
        said = dict(line.split(":\t", 1) for line in status.splitlines())
        assert int(said["CapPrm"], 16) == int(said["CapEff"], 16) == 0
        assert said["NoNewPrivs"] == "1"

    run(story)
