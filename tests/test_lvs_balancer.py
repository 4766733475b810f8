"""All virtual servers at work, beside a table that is no kernel's."""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from checker_lab import BRISK, HERE, run, target, until, unused_port
from fastvrrp.kernel.ipvs import Failure
from fastvrrp.kernel.ipvs_messages import Timeouts
from fastvrrp.lvs import services as services_room
from fastvrrp.lvs.balancer import Balancer
from fastvrrp.lvs.checkers.tools import Tools
from fastvrrp.lvs.notes import Noted, Notes
from fastvrrp.lvs.patrol import Patrol, Round
from fastvrrp.lvs.services import Services
from fastvrrp.lvs.showing import Showing
from fastvrrp.lvs.table import Wanted
from fastvrrp.lvs.telling import Telling
from fastvrrp.model import (
    SECOND,
    AddressRange,
    Configuration,
    Firewall,
    FlushOnStop,
    GlobalDefinitions,
    IpvsService,
    IpvsServiceKey,
    Lvs,
    Mark,
    RealServer,
    TcpCheck,
    Transport,
    VirtualServer,
    VirtualServerGroup,
)
from fastvrrp.track.scripts import Scripts


def packed(text: str) -> bytes:
    return ip_address(text).packed


BEFORE = Timeouts(900, 120, 300)


class Recorded:
    """Has services as the kernel would."""

    def __init__(self) -> None:
        self.services: dict[IpvsServiceKey, int] = {}
        """How many destinations each service has."""
        self.timeouts = BEFORE
        self.timeouts_before: Timeouts | None = None
        self.is_closed = False
        self.is_broken = False

    def open(self, namespace: str | None, is_flushed: bool) -> None:
        return

    def remember_timeouts(self) -> None:
        self.timeouts_before = self.timeouts

    def set_timeouts(self, timeouts: Timeouts) -> None:
        self.timeouts = timeouts

    def carry_out(self, wanted: Iterable[Wanted]) -> list[Failure]:
        if self.is_broken:
            raise ValueError("broken")
        for key, entry in wanted:
            if entry is None:
                self.services.pop(key, None)
            else:
                self.services[key] = len(entry.destinations)
        return []

    def empty(self, mode: FlushOnStop) -> None:
        self.services.clear()

    def return_timeouts(self) -> None:
        self.timeouts = self.timeouts_before or self.timeouts

    def close(self) -> None:
        self.is_closed = True


class Balance:
    """A balancer with that table."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        table: Recorded | None = None,
        notes: Notes | None = None,
        showing: Showing | None = None,
    ) -> None:
        self.loop = loop
        self.showing = showing
        self._scripts = Scripts(loop)
        self.telling = Telling(loop, self._scripts)
        self.table = table or Recorded()
        self.services = Services(notes=notes)
        self.services._table = self.table  # type: ignore[assignment]
        self.patrol = Patrol(loop, Tools(loop, self._scripts))
        if showing is not None:
            self.patrol.on_checked = showing.checked
        self.balancer = Balancer(loop, self.patrol, self.services, self.telling, showing)

    async def configure(self, configuration: Configuration) -> dict[IpvsServiceKey, int]:
        self.services.configure(configuration)
        self.balancer.configure(configuration)
        await self.balancer.settled()
        return self.table.services

    async def take_over(self, configuration: Configuration) -> dict[IpvsServiceKey, int]:
        await self.services.adopt(configuration)
        return await self.configure(configuration)

    async def end(self) -> None:
        await self.balancer.end()
        await self.services.close(FlushOnStop.EACH)

    def close(self) -> None:
        self.telling.close()
        self._scripts.close()


ADDRESS = packed("10.0.0.1")
ALONE = VirtualServer(
    address=ADDRESS,
    port=80,
    protocol=Transport.TCP,
    real_servers=(RealServer(packed("10.9.0.1"), 80, 1),),
)
GROUPED = replace(
    ALONE,
    address=None,
    port=0,
    group="G",
    real_servers=tuple(RealServer(packed(f"10.9.0.{number}"), 80, 1) for number in (2, 3)),
)
GROUP = VirtualServerGroup("G", (AddressRange(ADDRESS, ADDRESS, 80),))
MARKED = VirtualServerGroup("G", (), (Mark(7),))


@pytest.mark.parametrize(
    ("group", "other"), [(GROUP, ALONE), (MARKED, replace(GROUPED, protocol=Transport.UDP))]
)
def test_a_service_of_two_virtual_servers_stays_until_both_go(
    group: VirtualServerGroup, other: VirtualServer
) -> None:
    async def scenario() -> None:
        balance = Balance(asyncio.get_running_loop())
        both = Configuration(virtual_server_groups=(group,), virtual_servers=(GROUPED, other))
        assert len(await balance.configure(both)) == 1
        services = await balance.configure(replace(both, virtual_servers=(GROUPED,)))
        assert list(services.values()) == [2]
        assert await balance.configure(replace(both, virtual_servers=())) == {}
        await balance.end()
        balance.close()

    asyncio.run(scenario())


@pytest.mark.keywords("virtual_server_group")
def test_a_server_of_a_group_is_checked_once() -> None:
    """By all virtual servers of all addresses of the group together."""
    found: list[Round] = []

    async def story() -> None:
        balance = Balance(asyncio.get_running_loop())
        balance.patrol.on_checked = found.append
        group = VirtualServerGroup("G", (AddressRange(ADDRESS, packed("10.0.0.100"), 80),))
        real = RealServer(HERE, 9, 1, checkers=(TcpCheck(target(unused_port()), BRISK),))
        servers = [
            replace(GROUPED, protocol=protocol, real_servers=(real,))
            for protocol in (Transport.TCP, Transport.UDP)
        ]
        services = await balance.configure(
            Configuration(virtual_server_groups=(group,), virtual_servers=tuple(servers))
        )
        assert len(services) == 200
        watches = [each for work in balance.balancer.works for each in work.watches.values()]
        await until(lambda: len(found) == 4)
        assert found == [watches[0].round] * 4
        assert found[0].done == 4
        assert [each.is_good for each in watches] == [False, False]
        await balance.end()
        balance.close()

    run(story())


def test_what_a_process_that_died_has_left_goes_when_it_is_wanted_no_more(tmp_path: Path) -> None:
    path = tmp_path / "note"

    async def scenario() -> None:
        table = Recorded()
        first = Balance(asyncio.get_running_loop(), table, Notes(path, None))
        other = replace(ALONE, port=81)
        both = Configuration(virtual_servers=(ALONE, other))
        assert len(await first.take_over(both)) == 2
        first.close()  # it dies
        second = Balance(asyncio.get_running_loop(), table, Notes(path, None))
        left = await second.take_over(replace(both, virtual_servers=(other,)))
        assert [key.port for key in left] == [81]
        assert [key.port for key in Notes(path, None).read().services] == [81]
        await second.end()
        second.close()

    asyncio.run(scenario())
    assert not path.exists()


def test_a_successor_gives_every_group_the_mark_that_its_service_has(tmp_path: Path) -> None:
    path = tmp_path / "note"
    Notes(path, None).write([IpvsServiceKey(2, mark=1001)], {("G", Transport.TCP): 1001})

    async def scenario() -> None:
        configuration = Configuration(
            GlobalDefinitions(firewall=Firewall(marks_for_ipvs=True)),
            virtual_server_groups=(GROUP,),
            virtual_servers=(GROUPED,),
        )
        services = Services(notes=Notes(path, None))
        services._table = Recorded()  # type: ignore[assignment]
        await services.adopt(configuration)
        assert services.mark_of(GROUPED) == 1001
        await services.close(FlushOnStop.EACH)

    asyncio.run(scenario())


class Noting(Recorded):
    """Knows what is noted when timeouts are set."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.noted: Timeouts | None = None
        self._path = path

    def set_timeouts(self, timeouts: Timeouts) -> None:
        self.noted = Notes(self._path, None).read().timeouts
        super().set_timeouts(timeouts)


def test_what_timeouts_were_is_noted_before_they_are_others(tmp_path: Path) -> None:
    path = tmp_path / "note"

    async def scenario() -> None:
        configuration = Configuration(GlobalDefinitions(lvs=Lvs(tcp_timeout=100 * SECOND)))
        first, second = Noting(path), Recorded()
        services = Services(notes=Notes(path, None))
        services._table = first  # type: ignore[assignment]
        await services.adopt(configuration)
        assert first.noted == BEFORE
        assert first.timeouts == Timeouts(100)
        # Who comes next does not take ours for those that were before.
        second.timeouts = first.timeouts
        successor = Services(notes=Notes(path, None))
        successor._table = second  # type: ignore[assignment]
        await successor.adopt(configuration)
        await successor.close(FlushOnStop.EACH)
        assert second.timeouts == BEFORE

    asyncio.run(scenario())
    assert not path.exists()


def test_a_note_of_a_version_that_knew_of_no_timeouts_says_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "note"
    key = IpvsServiceKey(2, Transport.TCP, ADDRESS, 80)
    Notes(path, None).write([key], {("G", Transport.TCP): 1001}, Timeouts(1, 2, 3))
    known = json.loads(path.read_text())
    del known["timeouts"]
    path.write_text(json.dumps(known))
    assert Notes(path, None).read() == Noted([key], {("G", Transport.TCP): 1001})


@pytest.mark.parametrize("text", ["", "{", "[]", '{"namespace": 1, "services": [], "marks": []}'])
def test_a_note_that_is_none_of_ours_says_nothing(text: str, tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_text(text)
    assert Notes(path, None).read() == Noted()


class Unmarkable:
    """A kernel whose nftables refuses everything."""

    def __init__(self, namespace: str | None) -> None:
        raise OSError(errno.ENOTSUP, "refused")


def test_addresses_have_their_services_until_they_can_be_marked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(services_room, "Marking", Unmarkable)

    async def scenario() -> None:
        balance = Balance(asyncio.get_running_loop())
        plain = Configuration(virtual_server_groups=(GROUP,), virtual_servers=(GROUPED,))
        await balance.configure(plain)
        firewall = Firewall(marks_for_ipvs=True)
        left = await balance.configure(
            replace(plain, definitions=GlobalDefinitions(firewall=firewall))
        )
        assert {key.address for key in left} == {ADDRESS, b""}
        await balance.end()
        balance.close()

    asyncio.run(scenario())


def test_what_breaks_on_the_way_to_the_kernel_is_carried_out_later() -> None:
    async def scenario() -> None:
        balance = Balance(asyncio.get_running_loop())
        balance.table.is_broken = True
        balance.services.want(IpvsService(IpvsServiceKey(2, mark=1)), {})
        with pytest.raises(ValueError, match="broken"):
            await balance.services.settle()
        balance.table.is_broken = False
        await balance.services.settle()
        assert len(balance.table.services) == 1
        await balance.end()
        balance.close()

    asyncio.run(scenario())


def test_ipvs_is_emptied_whatever_goes_wrong_with_a_virtual_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise ValueError

    async def scenario() -> None:
        balance = Balance(asyncio.get_running_loop())
        await balance.configure(Configuration(virtual_servers=(ALONE,)))
        monkeypatch.setattr(balance.telling, "tell", fail)
        await balance.end()
        assert balance.table.is_closed
        assert not balance.table.services
        balance.close()

    asyncio.run(scenario())
