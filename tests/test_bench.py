"""The bench tool: that it measures a whole life, says what it was, and leaves nothing behind.

How fast anything was is for the bench; a slow machine fails no test.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from fastvrrp.bench import store
from fastvrrp.bench.case import Case, CaseError
from fastvrrp.bench.disturbances import DISTURBANCES
from fastvrrp.bench.document import is_wanted, write_down
from fastvrrp.bench.figures import Figures, median
from fastvrrp.bench.goals import (
    DENSE,
    GOALS,
    HUGE,
    PLANS,
    REFUSING,
    SMALL,
    VMACS,
    WIDE,
    Goal,
)
from fastvrrp.bench.growth import panels
from fastvrrp.bench.profile import readable
from fastvrrp.bench.reading import MANUAL, MeasuredCase, ReadingCase, ReadingGoal, Readings
from fastvrrp.bench.reading import measure as measure_reading
from fastvrrp.bench.recording import gaps, percentile
from fastvrrp.bench.scraping import TURNS, Scraped
from fastvrrp.bench.soak import Soaked
from fastvrrp.bench.store import Measured
from fastvrrp.bench.workspace import workspace
from fastvrrp.config import read
from lab import wait_until
from lab.turns import turn

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((256, 1), "at most 255 an interface"),
        ((3, 4), "at least one"),
        ((0, 0), "0 interfaces"),
        ((1, 1, False, 2, 6), "VRRPv2 has no IPv6"),
        ((1, 1, False, 2, 4, 0.5), "whole seconds"),
        ((1, 1, False, 3, 4, 41.0), "does not fit"),
    ],
)
def test_a_case_that_cannot_be_is_refused(arguments: tuple[int, ...], says: str) -> None:
    with pytest.raises(CaseError, match=says):
        Case(*arguments)  # type: ignore[arg-type]


def test_routers_are_spread_over_all_interfaces() -> None:
    case = Case(1000, 7)
    sizes = [len(case.vrids(number)) for number in range(7)]
    assert sum(sizes) == 1000
    assert max(sizes) - min(sizes) == 1


@pytest.mark.parametrize("scripts", [0, 2, 7])
def test_each_script_is_tracked_by_one_router(tmp_path: Path, scripts: int) -> None:
    path = tmp_path / "keepalived.conf"
    path.write_text(Case(3, 1, scripts=scripts).configuration(100))
    found = read(str(path))
    assert not found.has_errors
    assert len(found.configuration.track_scripts) == scripts
    tracked = [
        each.name for router in found.configuration.virtual_routers for each in router.tracked
    ]
    assert sorted(tracked) == sorted(f"S{number}" for number in range(scripts))


def test_a_change_is_one_router_less_and_another_one_more(tmp_path: Path) -> None:
    case = Case(6, 2)
    routers = []
    for number, text in enumerate((case.configuration(100), case.changed_configuration(100))):
        path = tmp_path / f"{number}.conf"
        path.write_text(text)
        found = read(str(path))
        assert not found.has_errors
        routers.append(
            {(each.interface, each.vrid) for each in found.configuration.virtual_routers}
        )
    assert routers[0] - routers[1] == {("eth1", 3)}
    assert routers[1] - routers[0] == {("eth2", 1)}


def test_what_disturbs_a_daemon_is_said_by_name() -> None:
    running = bench("lab", "--disturb", "change,fire")
    output, _ = running.communicate(timeout=30)
    assert running.returncode == 2
    assert "'fire' is none of change, upgrade, crash, none" in output


def test_master_down_interval_is_the_rfcs() -> None:
    assert Case(1, 1).master_down_interval(100) == 3 + 156 / 256
    assert Case(1, 1, version=3, interval=0.1).master_down_interval(100) == pytest.approx(
        0.3 + 156 / 256 * 0.1
    )


def test_a_gap_is_between_adverts_of_one_router() -> None:
    ordered = gaps({1: [0, 10, 30], 2: [5, 6], 3: [7]})
    assert ordered == [1, 10, 20]
    assert percentile(ordered, 0.5) == 10
    assert percentile(ordered, 1.0) == 20
    assert percentile([], 0.5) is None


def test_medians_keep_what_only_one_run_has() -> None:
    runs = [Figures("fastvrrp", "1", {"stopping": value}) for value in (3.0, 1.0, 2.0)]
    runs[0].values["crash_gap"] = 7.0
    runs[1].reasons["crash_gap"] = "not part of this run"
    middle = median(runs)
    assert middle.values == {"stopping": 2.0, "crash_gap": 7.0}
    assert middle.reasons == {}


def test_a_ratio_needs_both_daemons() -> None:
    goal = Goal(DENSE, "sent_cost", 0.25, is_ratio=True)
    ours = Figures("fastvrrp", "1", {"sent_cost": 4.0})
    assert goal.measured({"fastvrrp": ours}) is None
    theirs = Figures("keepalived", "2", {"sent_cost": 16.0})
    assert goal.measured({"fastvrrp": ours, "keepalived": theirs}) == 0.25


def test_a_goal_may_be_relative_to_another_case() -> None:
    goal = Goal(REFUSING, "last_address", 1.2, beside=DENSE)
    ours = {"fastvrrp": Figures("fastvrrp", "1", {"last_address": 0.6})}
    assert goal.measured(ours) is None
    others = {"fastvrrp": Figures("fastvrrp", "1", {"last_address": 0.5})}
    assert goal.measured(ours, others) == 1.2
    assert DENSE.name in goal.text()


def test_a_whole_name_wants_one_case_and_a_part_all_that_have_it() -> None:
    assert is_wanted(DENSE.name, [])
    assert is_wanted(DENSE.name, [DENSE.name])
    assert not is_wanted(VMACS.name, [DENSE.name])
    assert is_wanted(VMACS.name, ["VM"])
    assert is_wanted("soak", [DENSE.name, "soak"])
    assert not is_wanted("soak", ["VM"])


def test_scrapes_are_judged_by_their_time_and_by_the_gaps() -> None:
    # What drifts (by 10 ms a turn) is not what the scrapes have done.
    quiet, asked = [1000.0, 1010.0, 1020.0, 1030.5], [1005.9, 1015.2, 1029.0]
    scraped = Scraped("1", 65_280, 256, 30, 0.5, 1.9, 2.0, quiet, asked)
    assert scraped.shift == pytest.approx(0.9)
    assert scraped.noise == pytest.approx(0.25)
    assert scraped.faults() == []
    assert Scraped.from_json(json.loads(json.dumps(scraped.to_json()))) == scraped
    slow = Scraped("1", 65_280, 256, 0, 0.5, 2.1, 2.0, [1000.0, 1002.0], [1003.0])
    assert slow.faults() == [
        "nobody was answered",
        "a scrape took 2.10 s, goal 2 s",
        "the gap p99 moved by 2.0 ms, goal 1 ms",
    ]
    refused = replace(scraped, failed=2)
    assert refused.faults() == ["a scrape failed in 2 of 3 turns"]


def test_the_document_marks_what_misses_its_goal_or_was_not_measured(tmp_path: Path) -> None:
    ours = Figures("fastvrrp", "1", {"sent_cost": 9.0, "gap_p99": 1001.0})
    theirs = Figures("keepalived", "2", {"sent_cost": 18.0})
    measured = dense({"fastvrrp": [ours], "keepalived": [theirs]})
    file = tmp_path / "performance.md"
    write_down(file, {DENSE: measured})
    text = file.read_text()
    goals = text.partition("## All figures")[0].splitlines()
    verdicts = {
        (cells[1].strip(), cells[2].partition("(")[0].strip()): cells[6].strip()
        for cells in (line.split("|") for line in goals if line.startswith("| "))
        if len(cells) > 6
    }
    assert verdicts[DENSE.name, "processor time, an advert sent"] == "**missed**"
    assert verdicts[DENSE.name, "processor time, an advert received"].startswith("**not met**")
    assert verdicts[DENSE.name, "advert gap, p99"] == "met"
    assert verdicts[HUGE.name, "start until all are masters"] == "**not measured**"
    assert "Linux 6.1" in text
    assert (tmp_path / "performance" / "failover-4080-on-16.svg").exists()


def dense(runs: dict[str, list[Figures]]) -> Measured:
    return Measured(DENSE, 5.0, runs, (3.0, 2.0), {"kernel": "Linux 6.1"}, "2026-01-01")


def test_the_document_shows_a_case_that_failed_and_goes_on(tmp_path: Path) -> None:
    failed = Figures("fastvrrp", "1", {"reading": 1.0}, failure="it has ended\nTraceback")
    small = Measured(SMALL, 5.0, {"fastvrrp": [Figures("fastvrrp", "1")]}, None, {}, "2026-01-01")
    write_down(tmp_path / "p.md", {DENSE: dense({"fastvrrp": [failed]}), SMALL: small})
    text = (tmp_path / "p.md").read_text()
    assert "**fastvrrp failed**: it has ended" in text
    assert f"### {SMALL.name}" in text
    assert "not reached" in text


def test_what_was_measured_is_kept_and_later_runs_join_the_medians(tmp_path: Path) -> None:
    first, second, third = (
        Figures("fastvrrp", "1", {"stopping": value}, overshoots=[value]) for value in (1, 3, 9)
    )
    failed = Figures("fastvrrp", "1", failure="no")
    file = tmp_path / "figures.json"
    store.save(file, {DENSE: dense({"fastvrrp": [failed, first]})})
    before = store.load(file)[DENSE]
    assert not before.is_whole
    after = before.joined(dense({"fastvrrp": [second, third]}))
    store.save(file, {DENSE: after})
    read = store.load(file)[DENSE]
    assert read == after
    assert read.is_whole
    assert read.figures["fastvrrp"].values == {"stopping": 3}
    assert read.figures["fastvrrp"].overshoots == [1, 3, 9]
    assert store.load(tmp_path / "missing.json") == {}


def test_cost_grows_along_routers_and_along_interfaces() -> None:
    def figures(cost: float) -> Figures:
        return Figures("fastvrrp", "1", {"sent_cost": cost})

    measured = [
        Measured(
            case, 5.0, {"fastvrrp": [Figures("fastvrrp", "1", {"sent_cost": cost})]}, floor, {}, ""
        )
        for case, cost, floor in (
            (SMALL, 9.0, (3.0, 2.0)),
            (DENSE, 4.0, None),
            (WIDE, 11.0, (8.0, 4.0)),
            (VMACS, 5.0, None),
        )
    ]
    routers, interfaces = panels(measured, "sent_cost")
    assert routers.lines == {"fastvrrp": [(255, 9.0), (4080, 4.0)], "in C": [(255, 3.0)]}
    assert interfaces.lines == {"fastvrrp": [(16, 4.0), (4000, 11.0)], "in C": [(4000, 8.0)]}


def test_functions_have_the_names_of_their_source() -> None:
    assert readable("__pyx_f_8fastvrrp_7_engine_6Engine_run_due") == "Engine.run_due"
    assert readable("__pyx_pw_8fastvrrp_7_driver_6Driver_7on_alarm") == "Driver.on_alarm"
    assert readable("__pyx_f_8fastvrrp_6_judge_judge") == "judge"
    assert readable("packet_sendmsg") == "packet_sendmsg"


def test_the_folder_of_a_bench_that_was_killed_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = tmp_path / f"fastvrrp-bench-{os.getpid()}-1-x"  # as of a process of long ago
    dead.mkdir()
    (dead / "a.conf").touch()
    with workspace() as first, workspace() as second:
        assert not dead.exists()
        assert first.exists()
        assert second.exists()
    assert list(tmp_path.iterdir()) == []


def bench(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fastvrrp", "bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def figures_of(file: Path) -> dict[str, float | None]:
    (daemon,) = json.loads(file.read_text())["daemons"]
    assert daemon["failure"] is None
    return {key: figure["value"] for key, figure in daemon["figures"].items()}


@needs_root
@pytest.mark.parametrize(
    "case",
    [
        ("--routers", "1020", "--interfaces", "4"),
        ("--routers", "8", "--interfaces", "2", "--vmac"),
        ("--routers", "8", "--interfaces", "2", "--version", "3", "--family", "6"),
        ("--routers", "8", "--interfaces", "2", "--phases", "spread"),
        ("--routers", "8", "--interfaces", "2", "--no-accept", "--vmac"),
    ],
    ids=["1020", "vmac", "ipv6", "spread", "no_accept"],
)
def test_every_router_lives_and_is_taken_over(case: tuple[str, ...], tmp_path: Path) -> None:
    file, picture = tmp_path / "figures.json", tmp_path / "failover.svg"
    with turn(alone="1020" in case):
        running = bench(
            *("lab", *case, "--duration", "2", "--disturb", "none"),
            *("--json", str(file), "--plot", str(picture)),
        )
        output, _ = running.communicate(timeout=120)
    assert running.returncode == 0, output
    found = figures_of(file)
    wrong = ("not_taken_over", "stop_status", "left_addresses", "left_links", "left_processes")
    assert {key: found[key] for key in wrong} == dict.fromkeys(wrong, 0), output
    # Nobody takes over before its time, but for the few microseconds between stamp and timer.
    assert found["overshoot_median"] is not None
    assert found["overshoot_median"] > -1
    assert found["sent_cost"]
    assert found["received_cost"]
    assert picture.read_text().startswith("<?xml")


@needs_root
@pytest.mark.timeout(420)
def test_no_router_is_lost_when_the_daemon_is_disturbed(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    disturbances = ("change", "upgrade", "crash")
    # Backups that are patient enough for a machine which has much else to do.
    case = Case(64, 4, version=3, interval=1.5)
    with turn(alone=False):
        running = bench(
            *("lab", "--routers", str(case.routers), "--interfaces", str(case.interfaces)),
            *("--version", "3", "--advert-interval", str(case.interval)),
            *("--duration", "1", "--disturb", ",".join(disturbances), "--json", str(file)),
        )
        output, _ = running.communicate(timeout=400)
    assert running.returncode == 0, output
    found = figures_of(file)
    for name in ("reload", *disturbances):
        gap, lost = found[f"{name}_gap"], found[f"{name}_lost"]
        assert lost == 0, output
        assert gap is not None
        # Else the backup would have lost its patience, and nobody would have been there to hear it.
        assert 0.9 * case.interval < gap / 1000 < case.master_down_interval(100), output
        assert found[f"{name}_recovery"], output


@needs_root
def test_a_daemon_is_asked_for_its_metrics_while_its_adverts_are_watched(tmp_path: Path) -> None:
    file = tmp_path / "scrapes.json"
    with turn(alone=False):
        running = bench(
            *("scrapes", "--routers", "64", "--interfaces", "4", "--duration", "2"),
            *("--json", str(file)),
        )
        output, _ = running.communicate(timeout=120)
    found = json.loads(file.read_text())
    assert found.pop("machine")["kernel"]
    scraped = Scraped.from_json(found)
    assert scraped.scrapes >= 3, output
    assert scraped.size > 0, output
    assert (len(scraped.quiet), len(scraped.asked)) == (TURNS + 1, TURNS)
    assert min(scraped.quiet + scraped.asked) > 0, output


@needs_root
def test_nothing_but_what_flaps_changes_in_a_long_time(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    with turn(alone=False):
        running = bench(
            *("soak", "--routers", "64", "--interfaces", "4", "--duration", "30"),
            *("--json", str(file)),
        )
        output, _ = running.communicate(timeout=180)
    found = json.loads(file.read_text())
    machine = found.pop("machine")
    assert machine["kernel"]
    soaked = Soaked.from_json(found)
    assert soaked.scrapes == 7, output
    assert soaked.reloads == 1, output
    assert soaked.script_flaps == 1, output
    assert soaked.link_flaps == 1, output
    # Four virtual routers leave MASTER and come back, for a script and for a link, on both sides.
    assert soaked.flapped >= 24, output
    assert (soaked.false_transitions, soaked.lost, soaked.unreloaded) == (0, 0, 0), output
    assert soaked.errors == [], output
    assert set(soaked.memory) == {"master", "backup"}


def test_a_soak_is_judged_by_memory_transitions_and_the_log() -> None:
    soaked = Soaked("1", 64, 4, 600.0, flapped=24, memory={"master": (100.0, 101.9)})
    assert soaked.faults() == []
    soaked.memory["master"] = (100.0, 102.1)
    soaked.false_transitions = 2
    soaked.errors = ["{}"]
    assert soaked.faults() == [
        "the memory of the master was 100.00 MB and then 102.10 MB",
        "2 false transitions",
        "1 errors in the log",
    ]


@needs_root
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_bench_that_is_interrupted(number: signal.Signals) -> None:
    with turn(alone=False):
        running = bench("lab", "--routers", "4", "--interfaces", "2", "--duration", "60")
        assert running.stdout is not None
        while "measuring" not in (line := running.stdout.readline()):
            assert line, "it has ended early"
        born = {pid for pid in children() if is_of(pid, running.pid)}
        assert len(born) >= 3, "two daemons and an observer"
        running.send_signal(number)
        running.wait(60)
        running.stdout.close()
        wait_until(lambda: not [pid for pid in born if Path(f"/proc/{pid}").exists()], 30)


def children() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").glob("[0-9]*")]


def is_of(pid: int, parent: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(stat.rpartition(")")[2].split()[1]) == parent


def test_what_cannot_be_measured_is_refused_in_one_line() -> None:
    running = bench("lab", "--routers", "256", "--interfaces", "1")
    output, _ = running.communicate(timeout=30)
    assert running.returncode == 1
    assert len(output.splitlines()) == 1


def test_the_sequences_and_the_written_instances_are_the_same_configuration(tmp_path: Path) -> None:
    """Both forms of the bench's configuration are read without a complaint of keepalived's."""
    routers = []
    for is_written_out in (False, True):
        file = tmp_path / "bench.conf"
        file.write_text(ReadingCase(2, 3, 4, is_written_out).text())
        reading = read(str(file))
        assert all(complaint.is_ours for complaint in reading.complaints)
        routers.append(reading.configuration.virtual_routers)
    assert len(routers[0]) == 24
    assert routers[0] == routers[1]


def test_reading_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    subprocess.run(
        [
            *(sys.executable, "-m", "fastvrrp", "bench", "config", "--ports", "1", "--vlans", "1"),
            *("--runs", "2", "--json", str(file)),
        ],
        check=True,
    )
    cases = json.loads(file.read_text())["cases"]
    assert [case["routers"] for case in cases] == [32 * 254, 240]
    for case in cases:
        (daemon,) = case["daemons"]
        assert daemon["runs"] == 2
        assert daemon["figures"]["time"]["value"] > 0
        assert daemon["figures"]["memory"]["value"] > 1


def test_the_memory_of_whoever_measures_is_not_counted() -> None:
    ballast = b"x" * (200 << 20)
    case = ReadingCase(1, 1, 2, is_written_out=True)
    (measured,) = measure_reading([case], ["fastvrrp"], 1, lambda _: None)
    assert 5 < measured.readings[0].values["memory"] < len(ballast) / 1e6


def test_a_goal_of_reading_is_met_missed_or_not_measured() -> None:
    ours = Readings("fastvrrp", "1", 1, {"time": 4.0, "memory": 10.0})
    theirs = Readings("keepalived", "1", 1, {"time": 48.0, "memory": 10.0})
    limit, ratio = ReadingGoal(MANUAL, "time", 5), ReadingGoal(MANUAL, "time", 0.05, is_ratio=True)
    assert limit.verdict([ours]) == "met"
    assert ratio.verdict([ours]) == "not measured"
    assert ratio.verdict([ours, theirs]) == "missed"
    assert MeasuredCase(MANUAL, [ours, theirs]).ratio("time") == pytest.approx(1 / 12)


def test_every_goal_is_measured_by_the_plan_of_its_case() -> None:
    """Whatever has a goal of its own is asked for by a plan, and beside whom it needs."""
    plans = {plan.case: plan for plan in PLANS}
    for goal in GOALS:
        plan = plans[goal.case]
        name = goal.key.partition("_")[0]
        assert name not in DISTURBANCES or name in plan.disturbances, goal
        assert not goal.is_ratio or plan.beside_keepalived, goal
        assert goal.beside is None or goal.beside in plans, goal
