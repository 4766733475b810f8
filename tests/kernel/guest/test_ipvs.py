"""IPVS in the guest's kernel: what is asked for is there, by the word of ipvsadm."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastvrrp.kernel.ipvs import Action, Change, Failure, Ipvs
from fastvrrp.kernel.ipvs_messages import Timeouts
from fastvrrp.lvs.notes import Notes
from fastvrrp.lvs.services import Services
from fastvrrp.model import FlushOnStop, IpvsService, IpvsServiceKey, Transport
from ipvs_table import configured, ipvsadm, loaded, saved, thresholds, want
from kernel_namespace import Namespace, inside_namespace, ip
from lab.waiting import wait_until

TWO_SERVERS = """
virtual_server 10.1.0.1 80 {
    protocol TCP
    lvs_sched rr
    lvs_method NAT
    real_server 127.0.0.2 8080 {
        weight 3
    }
    real_server 127.0.0.3 8080 {
        weight 3
    }
}
"""
TABLE = [
    "-A -t 10.1.0.1:80 -s rr",
    "-a -t 10.1.0.1:80 -r 127.0.0.2:8080 -m -w 3",
    "-a -t 10.1.0.1:80 -r 127.0.0.3:8080 -m -w 3",
]


@pytest.fixture(autouse=True)
def namespace() -> Iterator[Namespace]:
    with inside_namespace() as inside:
        ip("link set lo up")
        yield inside


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a test's coroutine; the other thread is of this thread's namespace."""
    asyncio.run(coroutine)


async def reload(services: Services, text: str, folder: Path) -> None:
    configuration = configured(text, folder)
    services.configure(configuration)
    want(services, configuration)
    await services.settle()


def test_services_and_destinations_come_change_and_go(tmp_path: Path) -> None:
    async def story() -> None:
        services = await loaded(TWO_SERVERS, tmp_path)
        assert saved() == TABLE
        await reload(services, TWO_SERVERS.replace("weight 3", "weight 5", 1), tmp_path)
        assert saved() == [TABLE[0], TABLE[1].replace("-w 3", "-w 5"), TABLE[2]]
        await services.close(FlushOnStop.EACH)
        assert saved() == []

    run(story())


class Answering:
    """Servers of TCP that accept and keep what they accept."""

    def __init__(self, *addresses: str) -> None:
        self._listeners = [socket.create_server((address, 8080)) for address in addresses]
        self.accepted: list[socket.socket] = []
        for listener in self._listeners:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                self.accepted.append(listener.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        for one in (*self._listeners, *self.accepted):
            one.close()


def connections() -> list[str]:
    """Connections that stand, with the server of each."""
    lines = ipvsadm("-L", "-n", "-c").splitlines()
    return sorted(line.split()[5] for line in lines if "ESTABLISHED" in line)


def connect_twice() -> list[socket.socket]:
    """A connection to each of the two servers."""
    ip("address add 10.1.0.1/32 dev lo")
    return [socket.create_connection(("10.1.0.1", 80), 5) for _ in range(2)]


CHANGES = {
    "nothing": ("", ""),
    "a weight": ("weight 3", "weight 9"),
    "the scheduler": ("lvs_sched rr", "lvs_sched wlc"),
    "persistence": ("lvs_sched rr", "lvs_sched rr\n    persistence_timeout 50"),
    "thresholds": ("weight 3", "weight 3\n        uthreshold 90\n        lthreshold 10"),
    "another server": (
        "    real_server 127.0.0.3",
        "    real_server 127.0.0.4 8080 {\n    }\n    real_server 127.0.0.3",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_reload_leaves_connections_alone(change: str, tmp_path: Path) -> None:
    async def story() -> None:
        servers = Answering("127.0.0.2", "127.0.0.3")
        services = await loaded(TWO_SERVERS, tmp_path)
        opened = connect_twice()
        both = ["127.0.0.2:8080", "127.0.0.3:8080"]
        assert connections() == both
        await reload(services, TWO_SERVERS.replace(*CHANGES[change]), tmp_path)
        assert connections() == both
        for one in opened:
            one.sendall(b"still here")
        await asyncio.get_running_loop().run_in_executor(None, servers.close)
        await services.close(FlushOnStop.EACH)

    run(story())


def test_an_unchanged_reload_asks_the_kernel_for_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        services = await loaded(TWO_SERVERS, tmp_path)
        ipvsadm("-e", "-t", "10.1.0.1:80", "-r", "127.0.0.2:8080", "-m", "-w", "77")
        await reload(services, TWO_SERVERS, tmp_path)
        assert saved()[1].endswith("-w 77")  # what is as it was is not written again
        await services.close(FlushOnStop.EACH)

    run(story())


@pytest.mark.keywords("real_server/uthreshold", "real_server/lthreshold")
def test_thresholds(tmp_path: Path) -> None:
    async def story() -> None:
        text = TWO_SERVERS.replace("weight 3", "uthreshold 90\n        lthreshold 10", 1)
        services = await loaded(text, tmp_path)
        assert thresholds() == ["-> 127.0.0.2:8080 90 10 0 0", "-> 127.0.0.3:8080 0 0 0 0"]
        await services.close(FlushOnStop.EACH)

    run(story())


def test_what_is_there_and_wanted_is_adopted_and_the_rest_is_left(tmp_path: Path) -> None:
    async def story() -> None:
        ipvsadm("-A", "-t", "10.9.0.1:80", "-s", "rr")  # nobody's
        ipvsadm("-A", "-t", "10.1.0.1:80", "-s", "wlc")  # as a crash has left it
        ipvsadm("-a", "-t", "10.1.0.1:80", "-r", "127.0.0.2:8080", "-m", "-w", "1")
        ipvsadm("-a", "-t", "10.1.0.1:80", "-r", "127.0.0.9:8080", "-m", "-w", "1")
        servers = Answering("127.0.0.2", "127.0.0.9")
        kept = connect_twice()
        services = await loaded(TWO_SERVERS, tmp_path)
        assert saved() == sorted([*TABLE, "-A -t 10.9.0.1:80 -s rr"])
        assert "127.0.0.2:8080" in connections()
        await services.close(FlushOnStop.EACH)
        assert saved() == ["-A -t 10.9.0.1:80 -s rr"]
        del kept
        servers.close()

    run(story())


@pytest.mark.keywords("global_defs/lvs_flush")
def test_lvs_flush_empties_ipvs_at_the_start(tmp_path: Path) -> None:
    async def story() -> None:
        ipvsadm("-A", "-t", "10.9.0.1:80", "-s", "rr")
        text = "global_defs {\n    lvs_flush\n}\n" + TWO_SERVERS
        services = await loaded(text, tmp_path)
        assert saved() == TABLE
        ipvsadm("-A", "-t", "10.9.0.1:80", "-s", "rr")
        await reload(services, text, tmp_path)
        assert "-A -t 10.9.0.1:80 -s rr" in saved()
        await services.close(FlushOnStop.EACH)

    run(story())


@pytest.mark.keywords("global_defs/lvs_flush_on_stop")
@pytest.mark.parametrize("mode", FlushOnStop)
def test_lvs_flush_on_stop_says_what_is_left(mode: FlushOnStop, tmp_path: Path) -> None:
    async def story() -> None:
        services = await loaded(TWO_SERVERS, tmp_path)
        ipvsadm("-A", "-t", "10.9.0.1:80", "-s", "rr")
        await services.close(mode)
        left = [] if mode is FlushOnStop.ALL else ["-A -t 10.9.0.1:80 -s rr"]
        assert saved() == left

    run(story())


@pytest.mark.keywords("global_defs/lvs_timeouts")
def test_timeouts_are_set_and_follow_a_reload(tmp_path: Path) -> None:
    async def story() -> None:
        definitions = "global_defs {\n    lvs_timeouts tcp 100 udp 30\n}\n"
        services = await loaded(definitions + TWO_SERVERS, tmp_path)
        ipvs = Ipvs()
        assert ipvs.timeouts() == Timeouts(100, 120, 30)
        changed = definitions.replace("tcp 100", "tcp 200 tcpfin 7")
        await reload(services, changed + TWO_SERVERS, tmp_path)
        assert ipvs.timeouts() == Timeouts(200, 7, 30)
        assert ipvsadm("-L", "-n", "--timeout") == "Timeout (tcp tcpfin udp): 200 7 30\n"
        await services.close(FlushOnStop.EACH)
        assert ipvs.timeouts() == Timeouts(900, 120, 300)

    run(story())


def test_timeouts_that_the_kernel_refuses_keep_nothing_else_from_going_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        too_long = "global_defs {\n    lvs_timeouts tcp 2147483647\n}\n"
        services = await loaded(too_long + TWO_SERVERS, tmp_path)
        assert saved() == TABLE
        await services.close(FlushOnStop.EACH)

    run(story())
    assert caplog.text.count("lvs_timeouts: Invalid argument") == 1


def test_services_go_where_timeouts_cannot_be_put_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What the next process needs for that stays noted."""
    notes = Notes(tmp_path / "note", None)

    async def story() -> None:
        services = Services(notes=notes)
        configuration = configured(
            "global_defs {\n    lvs_timeouts tcp 100\n}\n" + TWO_SERVERS, tmp_path
        )
        await services.adopt(configuration)
        want(services, configuration)
        await services.settle()
        assert saved() == TABLE
        assert notes.read().timeouts == Timeouts(900, 120, 300)
        services._table.timeouts_before = Timeouts(2**31 - 1, 120, 300)
        await services.close(FlushOnStop.EACH)

    run(story())
    assert saved() == []
    assert caplog.text.count("Timeouts of IPVS cannot be put back: Invalid argument") == 1
    assert notes.read().timeouts == Timeouts(900, 120, 300)


def test_a_missing_scheduler_is_told_once_with_its_module_and_the_rest_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        failures: list[Failure] = []
        missing = TWO_SERVERS.replace("10.1.0.1", "10.1.0.2").replace("_sched rr", "_sched twos")
        services = await loaded(missing + TWO_SERVERS, tmp_path, failures)
        assert saved() == TABLE
        await reload(services, missing + TWO_SERVERS, tmp_path)
        assert [failure.errno for failure in failures] == [errno.ENOENT]
        assert caplog.text.count("ip_vs_twos") == 1
        assert "virtual server [10.1.0.2]:tcp:80" in caplog.text
        await reload(services, missing.replace("twos", "wrr") + TWO_SERVERS, tmp_path)
        assert "-A -t 10.1.0.2:80 -s wrr" in saved()
        await services.close(FlushOnStop.EACH)
        assert saved() == []

    with caplog.at_level(logging.INFO):
        run(story())


def test_a_scheduler_that_is_missing_at_a_reload_leaves_the_service_as_it_was(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        failures: list[Failure] = []
        services = await loaded(TWO_SERVERS, tmp_path, failures)
        changed = TWO_SERVERS.replace("_sched rr", "_sched twos").replace("weight 3", "weight 4", 1)
        await reload(services, changed, tmp_path)
        assert [failure.errno for failure in failures] == [errno.ENOENT]
        assert saved() == [TABLE[0], TABLE[1].replace("-w 3", "-w 4"), TABLE[2]]
        await services.close(FlushOnStop.EACH)

    run(story())


def test_what_somebody_else_removed_is_made_again_with_the_next_change(tmp_path: Path) -> None:
    async def story() -> None:
        failures: list[Failure] = []
        services = await loaded(TWO_SERVERS, tmp_path, failures)
        ipvsadm("-C")
        await reload(services, TWO_SERVERS.replace("weight 3", "weight 5", 1), tmp_path)
        assert saved() == [TABLE[0], TABLE[1].replace("-w 3", "-w 5"), TABLE[2]]
        ipvsadm("-d", "-t", "10.1.0.1:80", "-r", "127.0.0.2:8080")
        await reload(services, TWO_SERVERS, tmp_path)
        assert saved() == TABLE
        assert failures == []
        await services.close(FlushOnStop.EACH)

    run(story())


def test_failures_are_told_by_item() -> None:
    ipvs = Ipvs()
    keys = [
        IpvsServiceKey(socket.AF_INET, Transport.TCP, bytes((10, 2, number >> 8, number & 255)), 80)
        for number in range(1000)
    ]
    every = [Change(Action.ADD, IpvsService(key, "rr")) for key in keys]
    assert ipvs.apply(every[::3]) == []
    failures = ipvs.apply(every)
    assert [failure.change for failure in failures] == every[::3]
    assert {failure.errno for failure in failures} == {errno.EEXIST}
    assert set(ipvs.services()) == set(keys)
    ipvs.flush()
    assert ipvs.table() == {}


def test_statistics_count_connections_and_bytes(tmp_path: Path) -> None:
    async def story() -> None:
        servers = Answering("127.0.0.2", "127.0.0.3")
        services = await loaded(TWO_SERVERS, tmp_path)
        opened = connect_twice()
        ipvs = Ipvs()
        (key,) = ipvs.services()
        # The kernel adds them up every two seconds.
        wait_until(lambda: ipvs.service_counters()[key].connections == 2, what="the counters")
        counters = ipvs.service_counters()[key]
        assert counters.packets_in >= 4
        assert counters.bytes_in >= 4 * 40
        assert counters.packets_out >= 2
        found = ipvs.destination_counters(key)
        assert [each.counters.connections for each in found.values()] == [1, 1]
        assert [each.active for each in found.values()] == [1, 1]
        ipvs.zero(key)
        assert ipvs.service_counters()[key].connections == 0
        del opened
        servers.close()
        await services.close(FlushOnStop.EACH)

    run(story())


@pytest.mark.keywords("net_namespace_ipvs")
def test_ipvs_can_be_that_of_another_namespace(tmp_path: Path) -> None:
    async def story(name: str) -> None:
        services = await loaded(f"net_namespace_ipvs {name}\n" + TWO_SERVERS, tmp_path)
        assert saved() == []
        assert Ipvs(name).table()
        await services.close(FlushOnStop.EACH)
        assert Ipvs(name).table() == {}

    ip("netns add directors")
    try:
        run(story("directors"))
    finally:
        ip("netns del directors")


def test_a_namespace_that_is_missing_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def story() -> None:
        services = await loaded("net_namespace_ipvs nowhere\n" + TWO_SERVERS, tmp_path)
        await services.settle()
        await services.close(FlushOnStop.EACH)

    run(story())
    assert caplog.text.count("there is no network namespace nowhere") == 1
