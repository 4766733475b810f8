"""Who is checked when: shared work, spread starts, suspended ones, and what is said of it."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

import pytest

from checker_lab import BRISK, HERE, run, server, target, until, unused_port
from fastvrrp.lvs.check import CannotCheckError, QuickCheck, Verdict
from fastvrrp.lvs.checkers.connections import Connections
from fastvrrp.lvs.checkers.sockets import Route
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.lvs.patrol import Patrol
from fastvrrp.model import MILLISECOND, SECOND, BfdCheck, CheckTarget, CheckTiming, TcpCheck


class Counting:
    """A TCP server that counts."""

    def __init__(self) -> None:
        self.times: list[float] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.times.append(time.monotonic())
        await reader.read()


def a_patrol() -> Patrol:
    return Patrol(asyncio.get_running_loop())


def test_equal_checkers_are_one_check() -> None:
    async def story() -> None:
        counting = Counting()
        patrol = a_patrol()
        news: list[tuple[int, bool]] = []
        async with server(counting) as port:
            slow = replace(BRISK, interval=60 * SECOND)
            for number in range(50):
                patrol.add(
                    TcpCheck(target(port), slow),
                    lambda verdict, number=number: news.append((number, verdict.is_good)),  # type: ignore[misc]
                )
            await until(lambda: len(news) == 50)
            assert sorted(news) == [(number, True) for number in range(50)]
            await asyncio.sleep(0.05)
            assert len(counting.times) == 1
        patrol.close()

    run(story())


def test_who_comes_later_is_told_what_is_known() -> None:
    async def story() -> None:
        patrol = a_patrol()
        counting = Counting()
        async with server(counting) as port:
            checker = TcpCheck(
                target(port), replace(BRISK, interval=60 * SECOND, is_down_at_first=True)
            )
            first: list[Verdict] = []
            later: list[Verdict] = []
            old = patrol.add(checker, first.append)
            assert not old.is_good
            assert not old.is_known
            await until(lambda: first)
            new = patrol.add(checker, later.append)
            assert new.is_good
            assert not later, "it is not told from within"
            await until(lambda: later)
            patrol.remove(old)
            assert new.is_good
            assert len(counting.times) == 1
        patrol.close()

    run(story())


def test_who_is_removed_is_told_nothing_and_leaves_nothing_open() -> None:
    async def story() -> None:
        patrol = a_patrol()
        news: list[Verdict] = []
        # RFC 5737: nobody answers. The connection stays under way until it is cancelled.
        watch = patrol.add(TcpCheck(CheckTarget(bytes((192, 0, 2, 1)), 9), BRISK), news.append)
        other = patrol.add(TcpCheck(target(unused_port()), BRISK), news.append)
        await asyncio.sleep(0.03)
        del news[:]
        patrol.remove(watch)
        patrol.remove(other)
        await asyncio.sleep(0.1)
        assert not news
        patrol.close()

    run(story())


def test_one_that_goes_and_comes_is_told_once_each_time() -> None:
    async def story() -> None:
        patrol = a_patrol()
        news: list[bool] = []
        counting = Counting()
        async with server(counting) as port:
            watch = patrol.add(
                TcpCheck(target(port), BRISK), lambda verdict: news.append(verdict.is_good)
            )
            await until(lambda: len(counting.times) > 5)
            assert news == [True]
        await until(lambda: len(news) == 2)
        assert not watch.is_good
        listening = await asyncio.start_server(counting, "127.0.0.1", port)
        await until(lambda: len(news) == 3)
        listening.close()
        assert news == [True, False, True]
        patrol.close()

    run(story())


def test_retries_are_counted_and_paced(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story() -> None:
        patrol = a_patrol()
        news: list[Verdict] = []
        counting = Counting()
        timing = replace(BRISK, retry=3, logs_all_failures=True)
        async with server(counting) as port:
            patrol.add(TcpCheck(target(port), timing), news.append, service="[S]:tcp:80")
            await until(lambda: news)
        await until(lambda: len(news) == 2)
        patrol.close()

    run(story())
    assert caplog.messages == [
        "TCP connection to [S]:tcp:80 success.",
        *["TCP connection to [S]:tcp:80 failed."] * 4,
        "TCP_CHECK on service [S]:tcp:80 failed after 3 retries.",
    ]


@pytest.mark.keywords("TCP_CHECK/log_all_failures")
def test_failures_are_not_all_logged_unless_that_is_wanted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def story() -> None:
        patrol = a_patrol()
        news: list[Verdict] = []
        patrol.add(TcpCheck(target(unused_port()), BRISK), news.append, service="[S]:tcp:80")
        await until(lambda: news)
        await asyncio.sleep(0.1)  # it fails on
        patrol.close()

    run(story())
    assert caplog.messages == ["TCP_CHECK on service [S]:tcp:80 failed."]


def test_one_that_is_suspended_is_let_be() -> None:
    async def story() -> None:
        patrol = a_patrol()
        counting = Counting()
        news: list[Verdict] = []
        async with server(counting) as port:
            watch = patrol.add(TcpCheck(target(port), BRISK), news.append)
            await until(lambda: news)
            patrol.suspend(watch)
            await asyncio.sleep(0.05)
            seen = len(counting.times)
            await asyncio.sleep(0.1)
            assert len(counting.times) == seen
            patrol.resume(watch)
            await until(lambda: len(counting.times) > seen)
        patrol.close()

    run(story())


def test_one_of_two_that_is_suspended_holds_up_nobody() -> None:
    async def story() -> None:
        patrol = a_patrol()
        told: list[str] = []
        async with server(Counting()) as port:
            checker = TcpCheck(target(port), BRISK)
            first = patrol.add(checker, lambda _: told.append("first"))
            patrol.suspend(first)
            patrol.add(checker, lambda _: told.append("second"))
            await until(lambda: told)
            patrol.resume(first)
            await until(lambda: len(told) > 1)
            assert told == ["second", "first"]
        patrol.close()

    run(story())


@pytest.mark.keywords("TCP_CHECK/warmup", "virtual_server/warmup", "real_server/warmup")
def test_first_checks_are_spread_over_the_warmup() -> None:
    async def story() -> None:
        patrol = a_patrol()
        counting = Counting()
        async with server(counting, backlog=1000) as port:
            for number in range(200):
                timing = CheckTiming(60 * SECOND, SECOND, 1, SECOND, 1 * SECOND)
                address = bytes((127, 0, 0, 1))
                patrol.add(
                    TcpCheck(
                        CheckTarget(
                            address, port, mark=0, source_address=bytes((127, 0, 1, number))
                        ),
                        timing,
                    ),
                    lambda _: None,
                )
            await until(lambda: len(counting.times) == 200)
        patrol.close()
        times = sorted(counting.times)
        assert times[-1] - times[0] > 0.7
        halves = sum(moment < (times[0] + times[-1]) / 2 for moment in times)
        assert 50 < halves < 150

    run(story())


def test_thousands_that_are_due_at_once_leave_the_loop_room() -> None:
    async def story() -> None:
        patrol = a_patrol()
        found: list[Verdict] = []
        turns = 0

        def turn() -> None:
            nonlocal turns
            turns += 1
            if len(found) < 2000:
                asyncio.get_running_loop().call_soon(turn)

        port = unused_port()
        timing = replace(BRISK, interval=60 * SECOND)
        for number in range(2000):
            address = bytes((127, 2, number >> 8, number & 255))
            patrol.add(TcpCheck(CheckTarget(address, port), timing), found.append)
        turn()
        await until(lambda: len(found) == 2000)
        assert turns > 2000 / 24
        patrol.close()

    run(story())


def test_what_was_missed_while_the_process_was_stopped_does_not_come_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor from then on, one `delay_loop` after the other."""

    async def story() -> None:
        counting = Counting()
        patrol = a_patrol()
        found: list[Verdict] = []
        async with server(counting) as port:
            for number in range(200):
                timing = replace(
                    BRISK, interval=500 * MILLISECOND, connect_timeout=5 * SECOND + number
                )
                patrol.add(TcpCheck(target(port), timing), found.append)
            await until(lambda: len(found) == 200)
            counting.times.clear()
            now = time.monotonic_ns
            monkeypatch.setattr("fastvrrp.lvs.patrol.monotonic_ns", lambda: now() + 3600 * SECOND)
            await until(lambda: len(counting.times) >= 200)
        times = sorted(counting.times)[:200]
        tenths = {int((each - times[0]) * 10) for each in times}
        assert len(tenths) >= 4, times
        patrol.close()

    run(story())


def test_a_machine_without_descriptors_finds_nobody_bad(caplog: pytest.LogCaptureFixture) -> None:
    async def story(set_limit: Callable[[int], None]) -> None:
        patrol = a_patrol()
        news: list[bool] = []
        async with server(Counting()) as port:
            timing = replace(BRISK, retry=0, connect_timeout=60 * SECOND)
            patrol.add(TcpCheck(target(port), timing), lambda verdict: news.append(verdict.is_good))
            await until(lambda: news)
            set_limit(3)
            await until(lambda: "put off" in caplog.text)
            await asyncio.sleep(0.1)
            set_limit(before[0])
            await asyncio.sleep(0.1)
        assert news[0]
        patrol.close()
        assert caplog.text.count("put off") == 1

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        with suppress(ValueError):
            run(story(lambda most: resource.setrlimit(resource.RLIMIT_NOFILE, (most, before[1]))))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def silence() -> Iterator[int]:
    """A TCP port that does not answer: the queue of those that wait to be accepted is full."""
    with ExitStack() as held:
        full = held.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port: int = full.getsockname()[1]
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def test_one_that_hangs_is_cut_at_its_timeout(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story() -> None:
        patrol = a_patrol()
        news: list[Verdict] = []
        with silence() as port:
            timing = replace(BRISK, connect_timeout=100 * MILLISECOND)
            patrol.add(TcpCheck(target(port), timing), news.append, service="[S]:tcp:80")
            await until(lambda: news)
        assert not news[0].is_good
        assert "timed out" in news[0].why
        patrol.close()

    run(story())


def test_addresses_of_both_families_are_reached() -> None:
    async def story() -> None:
        patrol = a_patrol()
        news: list[Verdict] = []
        listening = await asyncio.start_server(Counting(), "::1", 0)
        port = listening.sockets[0].getsockname()[1]
        loopback = bytes(15) + b"\x01"
        patrol.add(TcpCheck(CheckTarget(loopback, port), BRISK), news.append)
        await until(lambda: news)
        assert news[0].is_good
        listening.close()
        patrol.close()

    run(story())
    assert HERE


def test_there_are_descriptors_for_all_that_do_not_answer() -> None:
    async def story() -> None:
        patrol = a_patrol()
        for number in range(700):
            address = bytes((127, 2, number >> 8, number & 255))
            patrol.add(TcpCheck(CheckTarget(address, 9), CheckTiming()), lambda _: None)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (1024, before[1])
        for number in range(700, 1100):
            address = bytes((127, 2, number >> 8, number & 255))
            patrol.add(TcpCheck(CheckTarget(address, 9), CheckTiming()), lambda _: None)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (2048, before[1])
        patrol.close()

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, before[1]))
    try:
        run(story())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_session_of_bfd_is_assumed_to_be_as_alpha_says() -> None:
    async def story() -> None:
        patrol = a_patrol()
        news: list[Verdict] = []
        watches = [patrol.add(BfdCheck("B", is_down), news.append) for is_down in (False, True)]
        await asyncio.sleep(0.05)
        assert [watch.is_good for watch in watches] == [True, False]
        assert not news
        for watch in watches:
            patrol.suspend(watch)
            patrol.resume(watch)
            patrol.remove(watch)
        patrol.close()

    run(story())


def test_an_error_of_one_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        patrol = a_patrol()
        told: list[Verdict] = []

        def fail(_: Verdict) -> None:
            raise RuntimeError("whoever is told has an error")

        async with server(Counting()) as port:
            patrol.add(TcpCheck(target(port), BRISK), fail)
            patrol.add(TcpCheck(target(port), BRISK), told.append)
            nowhere = CheckTarget(b"\x7f\0\0\1", 1 << 20)  # no port
            patrol.add(TcpCheck(nowhere, BRISK), told.append)
            await until(lambda: told and "an error of its own" in caplog.text)
            assert "could not be told" in caplog.text
        patrol.close()

    run(story())


def test_a_short_timeout_does_not_wait_for_a_longer_one() -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        connections = Tools(loop).the(Connections)
        ended: list[str] = []
        with silence() as port:
            route = Route(target(port))
            connections.open(route, 3600.0, lambda _: ended.append("long"))
            connections.open(route, 0.1, lambda _: ended.append("short"))
            await until(lambda: ended)
        assert ended == ["short"]
        connections.close()

    run(story())


class Postponed(QuickCheck):
    """Cannot be made."""

    def begin(self, done: Callable[[Verdict], None]) -> None:
        raise CannotCheckError("there is nothing to do it with")

    def cancel(self) -> None:
        """Nothing is on its way."""


class Prompt(QuickCheck):
    """Is good at once."""

    def begin(self, done: Callable[[Verdict], None]) -> None:
        asyncio.get_running_loop().call_soon(done, Verdict(True))

    def cancel(self) -> None:
        """It is over in the next turn of the loop."""


def test_one_that_is_put_off_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        kinds: dict[int, type[QuickCheck]] = {1: Postponed, 2: Prompt}
        monkeypatch.setattr(
            "fastvrrp.lvs.patrol.make", lambda checker, _: (kinds[checker.target.port](),)
        )
        patrol = a_patrol()
        news: list[Verdict] = []
        hourly = replace(BRISK, interval=3600 * SECOND)
        # The second one is in the queue, and due later, when the first one sets the alarm.
        patrol.add(TcpCheck(target(1), hourly), news.append)
        later = patrol.add(TcpCheck(target(2), hourly), news.append)
        patrol._stop(later._round)
        patrol._schedule(later._round, 50 * MILLISECOND)
        await until(lambda: news)
        assert [each.is_good for each in news] == [True]
        patrol.close()

    run(story())


def test_a_cause_is_said_again_after_a_while(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        monkeypatch.setattr("fastvrrp.lvs.patrol.make", lambda *_: (Postponed(),))
        monkeypatch.setattr("fastvrrp.lvs.patrol.SAID_AGAIN", 50 * MILLISECOND)
        patrol = a_patrol()
        patrol.add(TcpCheck(target(1), BRISK), lambda _: None)
        await until(lambda: caplog.text.count("put off") > 1)
        patrol.close()

    run(story())
