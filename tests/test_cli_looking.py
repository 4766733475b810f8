"""`fastvrrp status`, `show`, `events` and `top` of real daemons, as a person sees them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fastvrrp._engine import Engine
from fastvrrp._table import LATENESS_BOUNDS, RING, Segment, Table
from fastvrrp.cli.events import Trails, events
from fastvrrp.cli.looking import duration
from fastvrrp.cli.status import natural
from fastvrrp.cli.top_screen import Top
from fastvrrp.observe import catalogue, details
from fastvrrp.observe.catalogue import Entry
from fastvrrp.observe.details import Details, TrackerState
from fastvrrp.observe.files import Files
from fastvrrp.observe.rates import Rates, chosen
from fastvrrp.observe.view import View, _process
from lab import Fastvrrp, Laboratory, wait_until
from simulation import SECOND, Link, Router
from test_daemon import FAULT, MASTER, instance, quick, wait_state
from test_server_metrics import shown as synthetic

FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
TRACKING = 'vrrp_script chk {\n    script "/bin/false"\n    interval 1\n    weight -20\n}\n'


def ask(daemon: Fastvrrp | Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder = daemon.folder if isinstance(daemon, Fastvrrp) else daemon
    return subprocess.run(
        [FASTVRRP, *arguments, "--pid", str(folder / "fastvrrp.pid")],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_daemon_is_shown(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    link = lab.connect(a, b)[0]
    group = "vrrp_sync_group G {\n    group {\n        VI_2\n    }\n}\n"
    text = TRACKING + quick("track_script {\nchk\n}") + group
    text += instance("VI_2", "interface eth9", vrid=52, addresses="10.0.0.101/24 dev eth0")
    daemon = Fastvrrp(a, text).start()
    wait_state(daemon, MASTER)
    wait_state(daemon, FAULT, "VI_2")
    daemon.wait_log("effective priority from 200 to 180")
    wait_until(
        lambda: "chk failed" in ask(daemon, "show", "VI_1").stdout, what="what the script did"
    )
    shown = ask(daemon, "status")
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = shown.stdout.splitlines()
    assert lines[1] == "2 virtual routers: 1 MASTER, 1 FAULT"
    assert "Not as configured (2):" in lines
    assert "  VI_1  MASTER  priority 180 instead of 200" in lines
    assert "  VI_2  FAULT   interface eth9 does not exist" in lines

    said = json.loads(ask(daemon, "status", "--json", "VI_*", "--state", "FAULT").stdout)
    assert [router["name"] for router in said["routers"]] == ["VI_2"]
    assert said["states"] == {"MASTER": 0, "BACKUP": 0, "FAULT": 1, "INIT": 0}

    shown = ask(daemon, "show", "VI_1")
    text = " ".join(shown.stdout.split())
    for expected in (
        "VI_1: VRRPv3 for IPv4, virtual router 51 on eth0",
        "because no master was heard for the Master_Down_Interval",
        "180 in force, 200 configured",
        "Adver_Interval 0.1 s",
        "10.0.0.100/24 on eth0",
        "tracked script chk failed (weight -20)",
        "changes of state: 2; 1 to MASTER, 0 from it",
    ):
        assert expected in text
    facts = json.loads(ask(daemon, "show", "VI_2", "--json").stdout)
    assert facts["state"] == "FAULT"
    assert facts["why"] == "interface eth9 does not exist"
    assert facts["sync_group"] == "G"
    assert facts["addresses"] == [{"address": "10.0.0.101/24", "interface": "eth0"}]

    # A backup says whom it follows.
    other = Fastvrrp(b, quick(priority=100)).start()
    wait_state(other, 1)
    wait_until(lambda: " is master with priority 180" in ask(other, "show", "VI_1").stdout)
    facts = json.loads(ask(other, "show", "VI_1", "--json").stdout)
    assert facts["master"] == facts["why"].split("; ")[1].split()[0]
    assert 0 < facts["timers"]["takes_over_in"] < facts["timers"]["master_down_interval"] + 0.1
    assert facts["timers"]["next_advert_in"] is None

    a.ip(f"link set {link.interface} down")
    wait_state(daemon, FAULT)
    wait_until(
        lambda: "VI_1  FAULT   interface eth0 is down" in ask(daemon, "status").stdout, what="why"
    )
    a.ip(f"link set {link.interface} up")
    wait_state(daemon, MASTER)
    assert daemon.stop() == 0
    assert other.stop() == 0


def test_events_are_followed_also_when_the_daemon_starts_again(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    daemon = Fastvrrp(a, quick()).start()
    wait_state(daemon, MASTER)
    said = ask(daemon, "events").stdout.splitlines()
    assert [line.split("  ")[2].partition(" (")[0] for line in said] == [
        "INIT -> BACKUP",
        "BACKUP -> MASTER",
    ]
    log = daemon.folder / "events"
    pid_file = str(daemon.folder / "fastvrrp.pid")
    with log.open("wb") as output:
        following = subprocess.Popen(
            [FASTVRRP, "events", "--follow", "--json", "--last", "0", "VI_*", "-p", pid_file],
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def seen() -> list[str]:
        lines = log.read_text().splitlines()
        return [json.loads(line)["after"] for line in lines if line.startswith("{")]

    try:
        Path(daemon.folder / "wanted").touch()
        wait_until(lambda: Path(f"/proc/{following.pid}/maps").exists())
        other = Fastvrrp(b, quick(priority=250)).start()
        wait_until(lambda: seen()[-1:] == ["BACKUP"], what=lambda: f"yielding: {log.read_text()}")
        first = json.loads(log.read_text().splitlines()[0])
        assert (first["event"], first["before"], first["priority"]) == ("ADVERT", "MASTER", 200)
        assert first["master"] == "10.0.0.2"
        assert other.stop() == 0
        wait_until(lambda: seen()[-1:] == ["MASTER"], what="taking over")
        assert daemon.stop() == 0
        daemon.start()
        wait_until(lambda: seen()[-2:] == ["BACKUP", "MASTER"], what="another daemon's events")
    finally:
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 0
    assert daemon.stop() == 0


@pytest.mark.parametrize("command", [["status"], ["show", "VI_1"], ["events"], ["top"]])
def test_no_daemon_is_a_clear_message(tmp_path: Path, command: list[str]) -> None:
    done = ask(tmp_path, *command)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"fastvrrp: no daemon runs: there is no {tmp_path}/fastvrrp.state; start it with"
        f" 'fastvrrp run', or name its pid file with --pid (now it is {tmp_path}/fastvrrp.pid)\n"
    )


def table_at(folder: Path, routers: int, capacity: int | None = None) -> Table:
    """What a daemon with so many virtual routers shows; this process is the daemon."""
    places = Files.beside(folder / "fastvrrp.pid")
    table = Table(places.segment, capacity or routers)
    for number in range(routers):
        table.add(f"VI_{number}", f"eth{number // 255}", 1, 4, number % 255 + 1, 100)
    with places.details.open("wb") as file:
        details.write(file.fileno(), Details(faults={1: "interface eth0 is down"}))
    places.routers.touch()
    return table


def test_a_name_that_is_not_there(tmp_path: Path) -> None:
    table = table_at(tmp_path, 3)
    for command in (["show", "VI_12"], ["status", "VI_12"]):
        done = ask(tmp_path, *command)
        assert done.returncode == 4
        assert "has no virtual router or virtual server VI_12; did you mean VI_1?" in done.stderr
    assert ask(tmp_path, "status", "VX*").returncode == 4
    assert table.count == 3


def test_a_name_that_is_longer_than_its_record_is_found(tmp_path: Path) -> None:
    table = table_at(tmp_path, 1, 2)
    long = "ü" * 60
    table.add(long, "eth0", 1, 4, 9, 100)
    assert ask(tmp_path, "show", long).returncode == 0
    assert ask(tmp_path, "show", long[:20]).returncode == 4


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "fastvrrp.state").write_bytes(b"x" * 5000)
    done = ask(tmp_path, "status")
    assert done.returncode == 1
    assert "is not a state segment of fastvrrp" in done.stderr
    assert "Traceback" not in done.stderr


def test_of_many_only_those_in_trouble_are_listed(tmp_path: Path) -> None:
    table = table_at(tmp_path, 300)
    for index in range(2, 300):  # as the engine does, for which a table in a file is no other
        table.update(index, f"VI_{index}", 100)
    lines = ask(tmp_path, "status").stdout.splitlines()
    assert lines[1] == "300 virtual routers: 300 INIT"
    assert "  VI_1    INIT    it waits: interface eth0 is down" in lines
    every = ask(tmp_path, "status", "--all").stdout
    assert every.count("VI_") == 300


def test_watching_shows_it_again_and_ends_when_it_is_interrupted(tmp_path: Path) -> None:
    table_at(tmp_path, 2)
    with subprocess.Popen(
        [FASTVRRP, "status", "--watch", "--pid", str(tmp_path / "fastvrrp.pid")],
        stdout=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        seen = 0
        for line in watching.stdout:
            seen += line.startswith("2 virtual routers")
            if seen == 2:
                break
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0


def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    table = table_at(tmp_path, 5000)
    assert table.count == 5000
    command = f"{FASTVRRP} status --all --pid {tmp_path}/fastvrrp.pid | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("fastvrrp ")
    assert done.stderr == ""


def test_where_metrics_are_served_is_checked_before_anything_starts() -> None:
    done = subprocess.run(
        [FASTVRRP, "run", "--metrics", "eth0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "eth0 is no address with a port; write :9165" in done.stderr


def test_lateness_is_counted_by_how_late_an_advert_left() -> None:
    router = Router("a", 1)
    router.add(51, priority=255)
    router.engine.start(0, 0)
    router.engine.run(SECOND + 3_000_000)  # 3 ms after it was due
    counts, total = router.table.totals()["lateness"]
    late = next(number for number, bound in enumerate(LATENESS_BOUNDS) if bound >= 3_000_000)
    assert [number for number, count in enumerate(counts) if count] == [late]
    assert total == 3_000_000


def test_the_catalogue_and_the_details_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "file"
    said = Details({7: "ü"}, [TrackerState("file", "a", -1, "text")], {1: "blue"}, "a.conf")
    with path.open("w+b") as file:
        details.write(file.fileno(), said)
        assert details.read(file.fileno()) == said
        details.write(file.fileno(), Details())
        assert details.read(file.fileno()) == Details()
        file.truncate(20)
        with pytest.raises(ValueError, match="not whole"):
            details.read(file.fileno())
    path.write_bytes(
        b'[3,"192.0.2.1/32"]\n[9,"192.0[3,"x"]\n[3,"192.0.2.2/32@eth1",{"group":"G"}]\n[4,"'
    )
    with path.open("rb") as file:
        found = catalogue.read(file.fileno())
        assert found == {3: Entry((("192.0.2.2/32", "eth1"),), group="G")}
        assert catalogue.read(file.fileno(), 3) == found
        assert catalogue.read(file.fileno(), 5) == {}


def test_the_ring_remembers_the_last_events_and_says_what_was_lost() -> None:
    router = Router("a", 1)
    router.add(51, priority=255)
    for _ in range(RING // 2 + 100):
        router.engine.start(0, 0)
        router.engine.stop(0, 0)
        router.engine.take_notes()
        router.recorder.take_frames()
    last = router.table.last_event
    assert last == 2 * (RING // 2 + 100)
    found = router.table.events_after(0, most=5)
    assert [event["number"] for event in found] == list(range(last - RING + 1, last - RING + 6))
    (event,) = router.table.events_after(last - 1)
    assert (event["before"], event["after"], event["router"]) == (MASTER, 0, 0)
    assert router.table.events_after(last) == []


def test_an_event_of_an_advert_says_whose() -> None:
    high, low = Router("high", 1), Router("low", 2)
    high.add(51, priority=200)
    low.add(51, priority=100)
    link = Link([high, low])
    low.engine.start(0, 0)
    link.run_until(5 * SECOND)
    high.engine.start(0, link.now)
    link.run_until(10 * SECOND)
    event = low.table.events_after(low.table.last_event - 1)[0]
    assert (event["after"], event["source"]) == (1, bytes((10, 0, 0, 1)))
    record = low.table.read(0)
    assert record is not None
    assert record["changes"] == 3
    counts, total = high.table.totals()["overshoot"]
    assert (sum(counts), total) == (1, 0)


def test_lost_events_are_said_to_be(tmp_path: Path) -> None:
    table = table_at(tmp_path, 1)

    def happen(times: int) -> None:
        for number in range(times):
            table.set_split(0, (number + 1) % 2)

    happen(2)
    view = View(Files.beside(tmp_path / "fastvrrp.pid"))
    seen = events(view, Trails(10), follows=True)
    assert [next(seen)["event"], next(seen)["event"]] == ["SPLIT_BRAIN", "SPLIT_BRAIN_OVER"]
    happen(RING + 6)
    assert next(seen)["lost"] == 6
    assert next(seen)["event"] == "SPLIT_BRAIN"


def test_events_that_were_not_shown_at_first_are_not_new_afterwards(tmp_path: Path) -> None:
    """With `--last 0`, over a successor that has them all, and one that nobody has seen any of."""
    places = Files.beside(tmp_path / "fastvrrp.pid")
    first = table_at(tmp_path, 1, 4)
    first.set_split(0, 1)
    trails = Trails(0)
    assert list(events(View(places), trails, follows=False)) == []
    heir = Table(places.segment, 4)
    heir.add("VI_0", "eth0", 1, 4, 1, 100)
    heir.inherit(first, {0: 0})
    assert list(events(View(places), trails, follows=False)) == []
    for number in range(RING + 3):
        heir.set_split(0, (number + 1) % 2)
    lost, *others = events(View(places), trails, follows=False)
    assert (lost["lost"], len(others)) == (3, RING)


def test_rates_are_what_happened_a_second(tmp_path: Path) -> None:
    table_at(tmp_path, 3)
    rates = Rates(View(Files.beside(tmp_path / "fastvrrp.pid")))
    whole, rows = rates.look()
    assert whole.states == (3, 0, 0, 0)
    assert whole.sent == 0
    names = [row.name for row in chosen(rows, search="", sort="name", most=2)]
    assert names == ["VI_0", "VI_1"]
    assert [row.name for row in chosen(rows, search="eth0 IS down", sort="sent", most=9)] == [
        "VI_1"
    ]


def test_a_state_is_one_of_virtual_routers_alone(tmp_path: Path) -> None:
    table = table_at(tmp_path, 1)
    synthetic(tmp_path / "fastvrrp.servers")
    assert "4 virtual servers" in ask(tmp_path, "status").stdout
    found = {"INIT": "1 virtual router: 1 INIT", "FAULT": "0 virtual routers: none"}
    for state, counts in found.items():
        said = ask(tmp_path, "status", "--state", state).stdout
        assert said.splitlines()[1] == counts
        assert "server" not in said
    assert "pools" not in json.loads(ask(tmp_path, "status", "--json", "--state", "INIT").stdout)
    assert table.count == 1


def test_top_says_one_of_one(tmp_path: Path) -> None:
    table_at(tmp_path, 1)
    app = Top(View(Files.beside(tmp_path / "fastvrrp.pid")), "name", 60.0)

    async def drive() -> None:
        async with app.run_test(size=(140, 50)) as pilot:
            await app.workers.wait_for_complete()
            await pilot.pause()
            assert "1 virtual router: 1 INIT" in str(app.query_one("#whole").render())

    asyncio.run(drive())


def test_top_shows_sorts_and_searches(tmp_path: Path) -> None:
    table_at(tmp_path, 30)
    app = Top(View(Files.beside(tmp_path / "fastvrrp.pid")), "name", 60.0)

    async def drive() -> None:
        async with app.run_test(size=(140, 50)) as pilot:
            table = app.query_one("DataTable")
            await app.workers.wait_for_complete()
            await pilot.pause()
            assert table.row_count == 30  # type: ignore[attr-defined]
            assert "30 virtual routers: 30 INIT" in str(app.query_one("#whole").render())
            await pilot.press("slash", *"vi_29")
            await pilot.pause()
            assert table.row_count == 1  # type: ignore[attr-defined]
            await pilot.press("escape")
            await pilot.pause()
            assert table.row_count == 30  # type: ignore[attr-defined]
            await pilot.press("s")
            await pilot.pause()
            assert "by state" in str(app.query_one("#whole").render())
            await pilot.press("q")

    asyncio.run(drive())


def test_top_goes_on_with_the_daemon_that_comes_next(tmp_path: Path) -> None:
    first = table_at(tmp_path, 3)
    app = Top(View(Files.beside(tmp_path / "fastvrrp.pid")), "name", 0.1)

    async def drive() -> None:
        async with app.run_test(size=(140, 50)) as pilot:

            async def wait_rows(count: int) -> None:
                while app.query_one("DataTable").row_count != count:  # type: ignore[attr-defined]
                    await pilot.pause(0.02)

            await asyncio.wait_for(wait_rows(3), 10)
            second = table_at(tmp_path, 5)
            await asyncio.wait_for(wait_rows(5), 10)
            assert "ENDED" not in str(app.query_one("#whole").render())
            assert (first.count, second.count) == (3, 5)
            await pilot.press("q")

    asyncio.run(drive())


def test_an_event_has_the_name_of_who_had_the_index_then(tmp_path: Path) -> None:
    """The index of one that a reload removes is another one's afterwards."""
    places = Files.beside(tmp_path / "fastvrrp.pid")
    router = Router("a", 1)
    router.table = Table(places.segment, 16)
    router.engine = Engine(router.table, router.recorder, 0)

    def live(vrid: int) -> None:
        index = router.add(vrid, priority=255)
        router.engine.start(index, 0)

    def end() -> None:
        router.engine.stop(0, 0)
        router.engine.forget(0)
        router.table.remove(0)

    def named(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
        return [(each["name"], each["after"]) for each in found]

    live(51)
    end()
    live(52)
    view = View(places)
    before = [("#0", "MASTER"), ("#0", "INIT"), ("a-52", "MASTER")]
    assert named(list(events(view, Trails(10), follows=False))) == before
    seen = events(view, Trails(10), follows=True)
    assert named([next(seen) for _ in range(3)]) == before
    end()
    live(53)
    end()
    live(54)
    assert named([next(seen) for _ in range(4)]) == [
        ("a-52", "INIT"),
        ("#0", "MASTER"),
        ("#0", "INIT"),
        ("a-54", "MASTER"),
    ]


def test_events_of_a_successor_are_not_told_twice(tmp_path: Path) -> None:
    """One that takes over from a crash has its predecessor's events; one that does not has not."""
    places = Files.beside(tmp_path / "fastvrrp.pid")

    def live(table: Table) -> None:
        router = Router("a", 1)
        router.table = table
        router.engine = Engine(table, router.recorder, 0)
        router.engine.start(router.add(51, priority=255), 0)
        router.engine.stop(0, 0)

    trail = Trails(10)
    first = Table(places.segment, 4)
    live(first)
    assert len(list(events(View(places), trail, follows=False))) == 2
    heir = Table(places.segment, 4)
    heir.inherit(first, {})
    assert list(events(View(places), trail, follows=False)) == []
    live(heir)
    assert len(list(events(View(places), trail, follows=False))) == 2
    assert [each["name"] for each in events(View(places), Trails(10), follows=False)] == [
        *("#?", "#?"),
        *("#0", "#0"),
    ]
    live(Table(places.segment, 4))
    assert len(list(events(View(places), trail, follows=False))) == 2


def test_a_process_that_has_got_the_number_of_the_daemon_is_not_taken_for_it(
    tmp_path: Path,
) -> None:
    """As after kill -9, when the numbers have come round."""
    places = Files.beside(tmp_path / "fastvrrp.pid")
    began = table_at(tmp_path, 1).totals()["started_at"]
    with subprocess.Popen(["sleep", "60"]) as reused:
        assert _process(reused.pid, began - SECOND) is None
        living = _process(reused.pid, time.monotonic_ns())
        assert living is not None
        os.close(living)
        reused.terminate()
    assert View(places).is_alive
    assert _process(reused.pid, time.monotonic_ns()) is None


def test_the_segment_is_read_by_a_descriptor(tmp_path: Path) -> None:
    table_at(tmp_path, 2)
    with (tmp_path / "fastvrrp.state").open("rb") as file:
        assert [router["name"] for router in Segment(file.fileno())] == ["VI_0", "VI_1"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.9, "59 s"),
        (303, "5 min 3 s"),
        (11_530, "3 h 12 min"),
        (1e6, "11 d 13 h"),
    ],
)
def test_a_length_of_time_is_read_easily(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_names_are_sorted_by_their_numbers() -> None:
    assert sorted(["VI_10", "VI_9", "A", "VI_9b"], key=natural) == ["A", "VI_9", "VI_9b", "VI_10"]
