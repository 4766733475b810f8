"""What is written of a daemon goes in steps, which leave room for adverts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from fastvrrp._table import Table
from fastvrrp.daemon.showing import STEP, Showing
from fastvrrp.model import Configuration, SyncGroup
from fastvrrp.observe import details
from fastvrrp.observe.details import Details, TrackerState
from fastvrrp.observe.files import Files

MANY = 1000


def showing(
    folder: Path, loop: asyncio.AbstractEventLoop, trackers: Callable[[], Iterator[TrackerState]]
) -> Showing:
    def run_elsewhere(run: Callable[[], None], then: Callable[[], None]) -> None:
        run()
        then()

    files = Files.beside(folder / "fastvrrp.pid")
    showing = Showing(loop, run_elsewhere, files, Table(None, 1), {}, trackers, Path("a.conf"))
    showing.publish()
    return showing


def test_trackers_are_asked_some_at_a_time(tmp_path: Path) -> None:
    async def story() -> list[TrackerState]:
        loop = asyncio.get_running_loop()
        turn = 0
        turns: list[int] = []

        def count() -> None:
            nonlocal turn
            turn += 1
            loop.call_soon(count)

        def states() -> Iterator[TrackerState]:
            for number in range(MANY):
                turns.append(turn)
                yield TrackerState("file", str(number), number, "")

        shown = showing(tmp_path, loop, states)
        count()
        with (tmp_path / "fastvrrp.details").open("rb") as file:
            while not file.read():
                await asyncio.sleep(0)
            found = details.read(file.fileno()).trackers
        assert max(turns.count(each) for each in set(turns)) <= STEP + 1
        shown.stop()
        shown.close()
        return found

    found = asyncio.run(asyncio.wait_for(story(), 60))
    assert [each.name for each in found] == sorted(map(str, range(MANY)))


def test_groups_of_a_reload_are_found_in_steps(tmp_path: Path) -> None:
    loop = asyncio.new_event_loop()
    shown = showing(tmp_path, loop, lambda: iter(()))
    names = tuple(f"VI_{number}" for number in range(MANY))
    first = Configuration(sync_groups=(SyncGroup("first", names),))
    shown.configure(first)
    shown._needed = 1
    asked = 0

    class Counted(tuple[str, ...]):
        """Says how many were taken."""

        def __iter__(self) -> Iterator[str]:
            nonlocal asked
            for name in super().__iter__():
                asked += 1
                yield name

    group = cast(Any, SimpleNamespace(name="second", members=Counted(names[1:])))
    shown.configure(replace(first, sync_groups=(group,)))
    assert asked == 0
    for _ in shown._regroup():
        assert asked % STEP in (0, (MANY - 1) % STEP)
    assert shown._groups == dict.fromkeys(names[1:], "second")
    assert shown._regrouped == set(names)
    shown.stop()
    shown.close()
    loop.close()


@pytest.mark.parametrize("count", [0, 1, 200, 201, 1000])
def test_details_are_encoded_some_at_a_time(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 0
    encode = json.dumps

    def dumps(said: Any, **options: Any) -> str:
        nonlocal most
        most = max(most, len(said))
        return encode(said, **options)

    monkeypatch.setattr("fastvrrp.observe.details.json.dumps", dumps)
    said = Details(
        {number: f'fault " {number} \udc80' for number in range(count)},
        [TrackerState("file", str(number), None, "ü") for number in range(count)],
        {1: "blue"},
        "a.conf",
    )
    with (tmp_path / "file").open("w+b") as file:
        details.write(file.fileno(), said)
        found = details.read(file.fileno())
    assert most <= details.STEP
    assert found.trackers == sorted(said.trackers), "sorted by who reads them"
    assert list(found.faults) == list(said.faults)
    assert (found.places, found.configuration) == (said.places, said.configuration)
