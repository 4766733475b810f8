"""What health checks show to others: the file, and how it follows what happens."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fastvrrp.lvs import showing as room
from fastvrrp.lvs.showing import Showing, words_of
from fastvrrp.model import (
    CheckTarget,
    CheckTiming,
    Command,
    Configuration,
    HttpCheck,
    MiscCheck,
    RealServer,
    SorryServer,
    TcpCheck,
    Url,
)
from fastvrrp.observe import servers
from fastvrrp.observe.servers import COUNTERS, Counters, Layout, Servers
from test_lvs_balancer import ALONE, GROUP, GROUPED, Balance, packed

MOMENTS = 2000
QUICKLY = CheckTiming(10_000_000, 1_000_000_000, 0, 0, 0)


def checked(port: int, weight: int = 1) -> RealServer:
    target = CheckTarget(packed("127.0.0.1"), port)
    return RealServer(packed("127.0.0.1"), port, weight, checkers=(TcpCheck(target, QUICKLY),))


def shown(path: Path) -> Servers:
    with path.open("rb") as file:
        return servers.read(file.fileno())


async def until(path: Path, seen: Callable[[Servers], bool]) -> Servers:
    """What is shown as soon as that holds."""
    for _ in range(MOMENTS):
        found = shown(path)
        if seen(found):
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(found)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "daemon.servers"


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "PERIOD", 0.02)
    monkeypatch.setattr(room, "MOMENT", 0.01)


@pytest.fixture
def balance(file: Path) -> Iterator[Balance]:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made = Balance(loop, showing=Showing(loop, file))
    yield made
    loop.run_until_complete(made.end())
    made.close()
    assert made.showing is not None
    made.showing.close(is_emptied=True)
    loop.close()
    assert shown(file) == Servers()


def run(balance: Balance, story: Callable[[], object]) -> None:
    balance.loop.run_until_complete(story())  # type: ignore[arg-type]


def test_a_server_that_dies_and_the_sorry_server_that_serves_are_shown(
    balance: Balance, file: Path
) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    sorry = SorryServer(packed("127.0.0.9"), 9000)
    virtual = replace(ALONE, real_servers=(checked(port, 3),), sorry_server=sorry, quorum=2)

    async def story() -> None:
        await balance.configure(Configuration(virtual_servers=(virtual,)))
        found = await until(file, lambda each: bool(_checks(each)))
        assert found.pid == os.getpid()
        assert found.is_alive
        (pool,) = found.virtual_servers
        assert pool.words.name == "[10.0.0.1]:tcp:80"
        assert (pool.words.quorum, pool.words.sorry_server) == (2, "[127.0.0.9]:tcp:9000")
        assert (pool.has_quorum, pool.is_sorry, pool.weight) == (True, False, 3)
        (server,) = pool.real_servers
        assert (server.words.name, server.is_up, server.weight) == (
            f"[127.0.0.1]:tcp:{port}",
            True,
            3,
        )
        (checker,) = server.checkers
        assert checker.words == ("TCP_CHECK", f"[127.0.0.1]:{port}")
        assert (checker.is_good, checker.failed, checker.why) == (True, 0, "")
        listening.close()
        found = await until(file, lambda each: each.virtual_servers[0].is_sorry)
        (pool,) = found.virtual_servers
        assert (pool.has_quorum, pool.weight) == (False, 0)
        after = pool.real_servers[0]
        assert not after.is_up
        assert after.changed_at > server.changed_at
        assert not after.checkers[0].is_good
        assert after.checkers[0].failed
        assert "refused" in after.checkers[0].why

    run(balance, story)


def _checks(found: Servers) -> int:
    return sum(
        checker.done
        for pool in found.virtual_servers
        for server in pool.real_servers
        for checker in server.checkers
    )


def test_what_is_idle_is_not_written(
    balance: Balance, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Layout] = []
    write = servers.write

    def noted(descriptor: int, layout: Layout, *said: object) -> servers.Mark:
        written.append(layout)
        return write(descriptor, layout, *said)  # type: ignore[arg-type]

    monkeypatch.setattr(servers, "write", noted)

    async def story() -> None:
        await balance.configure(Configuration(virtual_servers=(ALONE,)))
        await until(file, lambda each: bool(each.virtual_servers))
        before = len(written)
        await asyncio.sleep(0.2)
        assert len(written) == before

    run(balance, story)


def test_a_reload_arranges_anew_and_keeps_what_was_counted(balance: Balance, file: Path) -> None:
    second = replace(ALONE, port=81, real_servers=(checked(1), *ALONE.real_servers))
    showing = balance.showing
    assert showing is not None

    async def story() -> None:
        await balance.configure(Configuration(virtual_servers=(ALONE, second)))
        first = await until(file, lambda each: len(each.virtual_servers) == 2)
        epoch, wanted = showing.to_count()
        counts = Counters(7, 70, 60, 7000, 6000, 2, 1)
        at = {key.port: at for at, key in wanted[1].destinations}
        showing.counted(
            epoch, {wanted[1].at: COUNTERS.pack(*counts), at[80]: COUNTERS.pack(*counts)}
        )
        await until(file, lambda each: each.counted_at > 0)
        await balance.configure(
            Configuration(
                virtual_server_groups=(GROUP,),
                virtual_servers=(replace(second, real_servers=second.real_servers[::-1]), GROUPED),
            )
        )
        found = await until(file, lambda each: each.virtual_servers[-1].words.group is not None)
        pool = found.virtual_servers[0]
        assert pool.counters == counts
        assert [each.counters for each in pool.real_servers] == [counts, Counters()]
        assert (
            pool.real_servers[0].changed_at == first.virtual_servers[1].real_servers[1].changed_at
        )
        # What was asked for the arrangement before is of no use any more.
        showing.counted(epoch, {0: COUNTERS.pack(*counts)})
        assert showing.to_count()[0] != epoch

    run(balance, story)


def test_what_is_counted_or_written_before_the_kernel_has_a_reload_is_as_it_was(
    balance: Balance, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may take seconds, in which another reload comes."""
    showing = balance.showing
    assert showing is not None
    more = tuple(RealServer(packed(f"10.9.0.{number}"), 80, 1) for number in range(1, 9))
    grown, second = replace(ALONE, real_servers=more), replace(ALONE, port=81)
    counts = Counters(7, 70, 60, 7000, 6000, 2, 1)

    async def story() -> None:
        await balance.configure(Configuration(virtual_servers=(ALONE, second)))
        await until(file, lambda each: len(each.virtual_servers) == 2)
        settle, goes_on = balance.services.settle, asyncio.Event()

        async def settle_later() -> None:
            await goes_on.wait()
            await settle()

        monkeypatch.setattr(balance.services, "settle", settle_later)
        balance.balancer.configure(Configuration(virtual_servers=(grown, second)))
        epoch, wanted = showing.to_count()
        places = [each.at for each in wanted]
        places += [at for each in wanted for at, _ in each.destinations]
        assert len(set(places)) == len(places) == 4
        showing.counted(epoch, {wanted[0].at: COUNTERS.pack(*counts)})
        showing._words = None  # as it is until the first writing behind an arrangement
        found = await until(file, lambda each: each.counted_at > 0)
        assert [len(each.words.real_servers) for each in found.virtual_servers] == [1, 1]
        goes_on.set()
        await balance.balancer.settled()
        found = await until(file, lambda each: len(each.virtual_servers[0].real_servers) == 8)
        assert [each.counters for each in found.virtual_servers] == [counts, Counters()]
        assert len(found.virtual_servers[1].real_servers) == 1

    run(balance, story)


def test_a_reader_never_sees_half_of_a_writing(file: Path) -> None:
    """A writer that changes everything all the time, and a reader that finds all of it alike."""
    layout = Layout(0, 0, 0, 1000)
    ends = threading.Event()
    with file.open("w+b") as opened:

        def write() -> None:
            round_ = 0
            while not ends.is_set():
                round_ += 1
                numbers = servers.CHECK.pack(0, round_, round_, round_) * layout.checks
                reasons = b'{"0": "%s"}' % (b"x" * (round_ % 100))
                servers.write(opened.fileno(), layout, numbers, b"[]", reasons)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            seen = 0
            while seen < 200:
                if os.fstat(opened.fileno()).st_size:
                    assert servers.read(opened.fileno()).virtual_servers == ()
                    seen += 1
        finally:
            ends.set()
            writer.join()
        data = bytearray(os.pread(opened.fileno(), 1 << 20, 0))
        data[servers.HEAD.size + 5] ^= 1
        os.pwrite(opened.fileno(), data, 0)
        with pytest.raises(ValueError, match="not whole"):
            servers.read(opened.fileno())


def test_what_went_wrong_with_one_virtual_server_is_tried_again_by_the_next_reload(
    balance: Balance, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = replace(ALONE, port=81, real_servers=(checked(1),))
    configuration = Configuration(virtual_servers=(broken, ALONE))

    def fail(*_: object, **__: object) -> None:
        raise ValueError("it is broken")

    async def story() -> None:
        with monkeypatch.context() as patched:
            patched.setattr(balance.balancer._patrol, "add", fail)
            assert len(await balance.configure(configuration)) == 2
        found = await until(file, lambda each: bool(each.virtual_servers))
        assert [each.words.port for each in found.virtual_servers] == [80]
        await balance.configure(configuration)
        found = await until(file, lambda each: len(each.virtual_servers) == 2)
        assert len(found.virtual_servers[0].real_servers[0].checkers) == 1

    run(balance, story)


def test_no_secrets_are_shown() -> None:
    target = CheckTarget(packed("127.0.0.1"), 80)
    command = MiscCheck(QUICKLY, Command(("/usr/bin/check", "--password", "secret")), 1)
    page = HttpCheck(target, QUICKLY, False, (Url("/status?token=secret"), Url("/other")))
    real = replace(checked(80), checkers=(command, page))
    (shown,) = words_of(replace(ALONE, real_servers=(real,))).real_servers
    assert [each.what for each in shown.checkers] == [
        "/usr/bin/check",
        "[127.0.0.1]:80 /status /other",
    ]
