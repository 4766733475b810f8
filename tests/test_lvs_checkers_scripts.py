"""MISC_CHECK and FILE_CHECK: what a command, and a number in a file, say of a server."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from checker_lab import BRISK, run, until
from fastvrrp.lvs.check import Verdict
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.lvs.patrol import Patrol, Watch
from fastvrrp.model import (
    MILLISECOND,
    SECOND,
    Checker,
    Command,
    FileCheck,
    GlobalDefinitions,
    MiscCheck,
    TrackFile,
)
from fastvrrp.track.scripts import Scripts

ONCE = replace(BRISK, interval=600 * SECOND, retry=0)


def a_script(folder: Path, *lines: str, name: str = "script") -> Command:
    path = folder / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return Command((str(path),), user="root" if os.geteuid() == 0 else None)


@asynccontextmanager
async def patrolling(*files: TrackFile) -> AsyncIterator[Patrol]:
    loop = asyncio.get_running_loop()
    scripts = Scripts(loop)
    tools = Tools(loop, scripts)
    tools.configure(GlobalDefinitions(), None, files)
    patrol = Patrol(loop, tools)
    try:
        yield patrol
    finally:
        patrol.close()
        scripts.close()


async def first(patrol: Patrol, checker: Checker) -> tuple[Watch, Verdict]:
    """The first news of a checker."""
    news: list[Verdict] = []
    watch = patrol.add(checker, news.append, service="[S]:tcp:80", virtual="[V]:tcp:80")
    await until(lambda: news)
    return watch, news[0]


@pytest.mark.keywords(
    "real_server/MISC_CHECK", "MISC_CHECK/misc_path", "MISC_CHECK/misc_dynamic", "MISC_CHECK/user"
)
@pytest.mark.parametrize(
    ("status", "is_dynamic", "is_good", "weight"),
    [
        (0, False, True, None),
        (0, True, True, None),
        (1, False, False, None),
        (1, True, False, None),
        (2, False, False, None),
        (2, True, True, 0),
        (12, True, True, 10),
        (255, True, True, 253),
        (12, False, False, None),
    ],
)
def test_an_exit_status_is_a_verdict(
    status: int, is_dynamic: bool, is_good: bool, weight: int | None, tmp_path: Path
) -> None:
    async def story() -> None:
        async with patrolling() as patrol:
            command = a_script(tmp_path, f"exit {status}")
            checker = MiscCheck(ONCE, command, 30 * SECOND, is_dynamic)
            watch, verdict = await first(patrol, checker)
            assert (watch.is_good, verdict.weight, watch.weight) == (is_good, weight, weight)

    run(story())


def test_a_weight_that_changes_is_news_and_one_that_stays_is_none(tmp_path: Path) -> None:
    async def story() -> None:
        status = tmp_path / "status"
        runs = tmp_path / "runs"
        command = a_script(tmp_path, f"echo >> {runs}", f"exit $(cat {status})")
        news: list[int | None] = []
        async with patrolling() as patrol:
            status.write_text("10")
            timing = replace(ONCE, interval=30 * MILLISECOND)
            patrol.add(
                MiscCheck(timing, command, 30 * SECOND, True),
                lambda verdict: news.append(verdict.weight),
            )
            await until(lambda: runs.exists() and runs.stat().st_size > 3)
            assert news == [8]
            (tmp_path / "new").write_text("20")
            (tmp_path / "new").rename(status)
            await until(lambda: len(news) == 2)
            (tmp_path / "new").write_text("0")
            (tmp_path / "new").rename(status)
            await until(lambda: len(news) == 3)
        assert news == [8, 18, None]

    run(story())


@pytest.mark.keywords("MISC_CHECK/misc_timeout")
def test_one_that_hangs_is_killed_with_all_it_started(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def story() -> None:
        pid = tmp_path / "pid"
        command = a_script(tmp_path, f"sleep 1000 & echo $! > {pid}", "wait")
        async with patrolling() as patrol:
            checker = MiscCheck(ONCE, command, 300 * MILLISECOND)
            _, verdict = await first(patrol, checker)
            assert not verdict.is_good
            await until(lambda: not Path(f"/proc/{int(pid.read_text())}/cmdline").exists())

    run(story())
    what = tmp_path / "script"
    assert caplog.messages == [
        f"Misc check for [[S]:tcp:80 VS [V]:tcp:80] by [{what}] timed out with retry disabled."
    ]


@pytest.mark.keywords("MISC_CHECK/retry", "MISC_CHECK/delay_before_retry")
def test_the_log_has_keepalived_s_words(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def story() -> None:
        good = tmp_path / "good"
        good.touch()
        command = a_script(tmp_path, f"test -e {good} || exit 3")
        news: list[bool] = []
        async with patrolling() as patrol:
            timing = replace(BRISK, retry=1)
            patrol.add(
                MiscCheck(timing, command, 30 * SECOND),
                lambda verdict: news.append(verdict.is_good),
                service="[S]:tcp:80",
                virtual="[V]:tcp:80",
            )
            await until(lambda: news)
            good.unlink()
            await until(lambda: len(news) == 2)
            good.touch()
            await until(lambda: len(news) == 3)

    run(story())
    start = f"Misc check for [[S]:tcp:80 VS [V]:tcp:80] by [{tmp_path / 'script'}]"
    assert caplog.messages == [
        f"{start} succeeded.",
        f"{start} failed after 1 retry (exited with status 3).",
        f"{start} succeeded.",
    ]


def test_who_is_removed_has_its_script_ended(tmp_path: Path) -> None:
    async def story() -> None:
        pid = tmp_path / "pid"
        command = a_script(tmp_path, f"echo $$ > {pid}.new; mv {pid}.new {pid}", "sleep 1000")
        async with patrolling() as patrol:
            watch = patrol.add(MiscCheck(ONCE, command, 60 * SECOND), lambda _: None)
            await until(pid.exists)
            patrol.remove(watch)
            await until(lambda: not Path(f"/proc/{int(pid.read_text())}/cmdline").exists())

    run(story())


def test_a_program_that_is_not_there_has_failed(tmp_path: Path) -> None:
    async def story() -> None:
        async with patrolling() as patrol:
            checker = MiscCheck(ONCE, Command((str(tmp_path / "nothing"),)), SECOND)
            _, verdict = await first(patrol, checker)
            assert not verdict.is_good
            assert "No such file" in verdict.why

    run(story())


def test_a_user_that_does_not_exist_says_nothing_of_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story() -> None:
        async with patrolling() as patrol:
            command = Command(("/bin/true", "secret"), user="nobody-at-all")
            watch = patrol.add(MiscCheck(ONCE, command, SECOND), lambda _: None)
            await until(lambda: "/bin/true is not run" in caplog.text)
            assert "secret" not in caplog.text  # everybody may read why
            assert watch.is_good
            assert not watch.is_known

    run(story())


def test_checks_go_on_when_the_process_that_runs_scripts_dies(tmp_path: Path) -> None:
    async def story() -> None:
        import signal

        pid = tmp_path / "pid"
        command = a_script(tmp_path, f"test -e {pid} && exit 0", f"echo $$ > {pid}", "sleep 1000")
        loop = asyncio.get_running_loop()
        scripts = Scripts(loop)
        patrol = Patrol(loop, Tools(loop, scripts))
        news: list[Verdict] = []
        patrol.add(MiscCheck(ONCE, command, 60 * SECOND), news.append)
        await until(pid.exists)
        assert scripts.pid is not None
        os.kill(scripts.pid, signal.SIGKILL)
        await until(lambda: news)
        assert news[0].is_good
        os.killpg(int(pid.read_text()), signal.SIGKILL)
        patrol.close()
        scripts.close()

    run(story())


@pytest.mark.keywords(
    "real_server/FILE_CHECK", "FILE_CHECK/track_file", "FILE_CHECK/weight", "FILE_CHECK/dynamic"
)
@pytest.mark.parametrize(
    ("number", "weight", "is_reversed", "is_good", "added"),
    [
        (0, 0, False, True, None),
        (5, 0, False, False, None),
        (5, 0, True, True, None),
        (0, 0, True, False, None),
        (5, 1, False, True, 5),
        (5, 1, True, True, -5),
        (-300, 2, False, True, -600),
        (2**31 - 1, 10, False, True, 2**31 - 1),
    ],
)
def test_a_number_is_a_verdict(
    number: int, weight: int, is_reversed: bool, is_good: bool, added: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text(f"{number}\n")

    async def story() -> None:
        async with patrolling(TrackFile("F", str(path))) as patrol:
            watch, verdict = await first(patrol, FileCheck("F", weight, is_reversed))
            assert (watch.is_good, verdict.weight) == (is_good, added)

    run(story())


def test_a_file_is_told_of_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    path = tmp_path / "file"

    async def story() -> None:
        news: list[bool] = []
        weights: list[int | None] = []
        async with patrolling(TrackFile("F", str(path), initial_value=0)) as patrol:
            watch = patrol.add(
                FileCheck("F", 0), lambda verdict: news.append(verdict.is_good), service="[S]"
            )
            heavy = patrol.add(FileCheck("F", 2), lambda verdict: weights.append(verdict.weight))
            await until(lambda: news and weights)
            assert path.read_text() == "0\n"
            path.write_text("3\n")
            await until(lambda: len(news) == 2 and len(weights) == 2)
            path.unlink()
            await until(lambda: len(news) == 3 and len(weights) == 3)
            patrol.remove(watch)
            path.write_text("4\n")
            await until(lambda: len(weights) == 4)
            patrol.remove(heavy)
        assert news == [True, False, True]
        assert weights == [0, 6, 0, 8]

    run(story())
    assert caplog.messages == [
        "([S]): tracked file F now FAULT state",
        "([S]): tracked file F leaving FAULT state",
    ]


def test_a_reload_that_names_another_file_or_user_counts_for_what_is_there(tmp_path: Path) -> None:
    async def story() -> None:
        old, new = tmp_path / "old", tmp_path / "new"
        old.write_text("1\n")
        new.write_text("2\n")
        weights: list[int | None] = []
        async with patrolling(TrackFile("F", str(old))) as patrol:
            patrol.add(FileCheck("F", 1), lambda verdict: weights.append(verdict.weight))
            await until(lambda: weights == [1])
            patrol.tools.configure(GlobalDefinitions(), None, [TrackFile("F", str(new))])
            await until(lambda: weights == [1, 2])
            new.write_text("3\n")
            await until(lambda: weights == [1, 2, 3])

            command = Command(("/bin/true",))
            scripts = replace(GlobalDefinitions().scripts, user="nobody-at-all")
            patrol.tools.configure(replace(GlobalDefinitions(), scripts=scripts))
            news: list[Verdict] = []
            timing = replace(ONCE, interval=20 * MILLISECOND)
            watch = patrol.add(MiscCheck(timing, command, 30 * SECOND), news.append)
            await asyncio.sleep(0.1)
            assert not watch.is_known
            patrol.tools.configure(GlobalDefinitions())
            await until(lambda: news)
            assert watch.is_good

    run(story())


def test_a_path_with_braces_is_a_path() -> None:
    async def story() -> Verdict:
        async with patrolling() as patrol:
            user = "root" if os.geteuid() == 0 else None
            checker = MiscCheck(ONCE, Command(("/nowhere/{that}",), user=user), SECOND)
            return (await first(patrol, checker))[1]

    assert not run(story()).is_good
