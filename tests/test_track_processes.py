"""Processes that are tracked: who is one of them, when there are enough, and what tells of them."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastvrrp.model import ParameterMatch, TrackProcess
from fastvrrp.track import proc_events
from fastvrrp.track.census import Census, Event, Process, Quorum, matches
from fastvrrp.track.proc_events import ProcEvents, Unavailable
from fastvrrp.track.processes import Processes
from lab.waiting import wait_until
from track_loop import Loop

SECOND = 1_000_000_000
numbers = itertools.count()


class Program:
    """A program of a name that no other process has; it runs until it is ended."""

    def __init__(self, folder: Path) -> None:
        self.name = f"fv{os.getpid()}n{next(numbers)}"
        self.path = folder / self.name
        shutil.copy("/bin/sleep", self.path)
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str) -> int:
        """Starts it, as often as is wished, and waits until it is this program."""
        process = subprocess.Popen([self.path, "1000", *arguments])
        self.running.append(process)
        wait_until(lambda: Process(process.pid).name == self.name)
        return process.pid

    def end(self) -> None:
        """Ends the one that was started first."""
        process = self.running.pop(0)
        process.kill()
        process.wait()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = Program(tmp_path)
    yield made
    while made.running:
        made.end()


# --- who is one ----------------------------------------------------------------------------------

Case = tuple[str, tuple[str, ...], bool, ParameterMatch, bool]
# As keepalived 2.2.7 was seen to match, of a process that was started as `NAME 100 200`.
CASES: list[Case] = [
    ("NAME", (), False, ParameterMatch.ANY, True),
    ("NAM", (), False, ParameterMatch.ANY, False),
    ("NAME", (), True, ParameterMatch.ANY, True),
    ("NAME", (), False, ParameterMatch.INITIAL, True),
    ("NAME", (), True, ParameterMatch.PARTIAL, True),
    ("NAME", ("100",), False, ParameterMatch.EXACT, False),
    ("NAME", ("100", "200"), False, ParameterMatch.EXACT, True),
    ("NAME", ("100",), False, ParameterMatch.PARTIAL, True),
    ("NAME", ("10",), False, ParameterMatch.PARTIAL, False),
    ("NAME", ("10",), False, ParameterMatch.INITIAL, True),
    ("NAME", ("100",), False, ParameterMatch.INITIAL, True),
    ("NAME", ("100", "20"), False, ParameterMatch.INITIAL, True),
    ("NAME", ("10", "200"), False, ParameterMatch.INITIAL, False),
    ("NAME", ("100", "200", ""), False, ParameterMatch.EXACT, False),
    ("NAME 100 200", (), True, ParameterMatch.ANY, False),
]


@pytest.mark.keywords(
    "vrrp_track_process/process",
    "vrrp_track_process/param_match",
    "vrrp_track_process/full_command",
)
@pytest.mark.parametrize(("name", "parameters", "full", "match", "expected"), CASES)
def test_who_is_tracked(
    tmp_path: Path,
    name: str,
    parameters: tuple[str, ...],
    full: bool,
    match: ParameterMatch,
    expected: bool,
) -> None:
    path = tmp_path / f"fv{os.getpid()}"
    shutil.copy("/bin/sleep", path)
    with subprocess.Popen([path.name, "100", "200"], executable=path) as process:
        try:
            wait_until(lambda: Process(process.pid).words[:1] == [path.name])
            wanted = TrackProcess(
                "p", name.replace("NAME", path.name), parameters, match, full_command=full
            )
            assert matches(wanted, Process(process.pid)) is expected
        finally:
            process.kill()


def test_the_command_line_counts_where_parameters_do(program: Program) -> None:
    pid = program.start("2")
    by_path = TrackProcess("p", str(program.path), ("1000", "2"), ParameterMatch.EXACT)
    by_name = TrackProcess("p", program.name, ("1000", "2"), ParameterMatch.EXACT)
    assert matches(by_path, Process(pid))
    assert not matches(by_name, Process(pid))


def test_what_has_ended_is_no_process(program: Program) -> None:
    pid = program.start()
    assert not Process(pid).has_ended
    program.running[0].kill()
    wait_until(lambda: Process(pid).has_ended)  # nobody has waited for it: it is a zombie
    assert Path(f"/proc/{pid}").exists()
    assert not Process(2**22 + 1).words
    assert Process(2**22 + 1).has_ended


# --- how many are enough -------------------------------------------------------------------------


@pytest.mark.keywords("vrrp_track_process/quorum", "vrrp_track_process/quorum_max")
@pytest.mark.parametrize(
    ("quorum", "most", "counts"),
    [
        (1, None, {0: False, 1: True, 5: True}),
        (2, 3, {1: False, 2: True, 3: True, 4: False}),
        (0, 0, {0: True, 1: False}),
    ],
)
def test_a_quorum(quorum: int, most: int | None, counts: dict[int, bool]) -> None:
    for count, expected in counts.items():
        made = Quorum(TrackProcess("p", "x", quorum=quorum, quorum_max=most), count)
        assert made.has_enough is expected


@pytest.mark.keywords(
    "vrrp_track_process/fork_delay",
    "vrrp_track_process/terminate_delay",
    "vrrp_track_process/delay",
)
def test_a_fork_and_an_exit_count_later_and_a_program_at_once() -> None:
    wanted = TrackProcess("p", "x", fork_delay=2 * SECOND, terminate_delay=3 * SECOND)
    quorum = Quorum(wanted)
    quorum.begin()
    quorum.count = 1
    quorum.judge(Event.FORK, 10 * SECOND)
    assert (quorum.is_reached, quorum.due) == (False, 12 * SECOND)
    quorum.count = 2
    quorum.judge(Event.FORK, 11 * SECOND)
    quorum.pass_time(12 * SECOND - 1)
    assert quorum.is_reached is False
    quorum.pass_time(12 * SECOND)
    assert (quorum.is_reached, quorum.due) == (True, None)
    quorum.count = 0
    quorum.judge(Event.EXIT, 20 * SECOND)
    assert (quorum.is_reached, quorum.due) == (True, 23 * SECOND)
    quorum.count = 1  # it was started again in time
    quorum.judge(Event.FORK, 22 * SECOND)
    quorum.pass_time(30 * SECOND)
    assert (quorum.is_reached, quorum.due) == (True, None)
    quorum.count = 0
    quorum.judge(Event.EXEC, 40 * SECOND)
    assert quorum.is_reached is False


def test_forks_of_a_member_are_members_until_they_run_another_program(program: Program) -> None:
    told: list[tuple[int, bool | None]] = []
    wanted = TrackProcess("p", program.name, quorum=2)
    parent = program.start()
    census = Census([wanted], lambda quorum: told.append((quorum.count, quorum.is_reached)))
    assert told == [(1, False)]
    census.forked(parent, os.getpid(), 0)
    assert told[1:] == [(2, True)]
    census.changed(os.getpid(), 0)
    assert told[2:] == [(1, False)]
    census.exited(parent, 0)
    assert told[3:] == []
    census.count_all()  # events were lost
    assert told[3:] == []


def test_one_that_takes_the_place_of_another_is_no_change_without_events(program: Program) -> None:
    told: list[bool | None] = []
    program.start()
    census = Census(
        [TrackProcess("p", program.name)], lambda quorum: told.append(quorum.is_reached)
    )
    program.start()
    program.end()
    census.compare_all(0)
    assert told == [True]
    program.end()
    census.compare_all(0)
    assert told == [True, False]


# --- what tells of them --------------------------------------------------------------------------


def tells() -> bool:
    """Whether the kernel tells this process of others."""
    try:
        ProcEvents().close()
    except Unavailable:
        return False
    return True


@pytest.mark.skipif(not tells(), reason="the kernel tells nobody here of processes")
def test_the_kernel_tells_of_processes(program: Program) -> None:
    events = ProcEvents()
    try:
        heard: list[proc_events.Happening] = []

        def hear() -> bool:
            heard.extend(event for event in events.read() if event.pid == pid)
            return any(event.what == proc_events.PROC_EVENT_EXIT for event in heard)

        pid = program.start()
        program.end()
        wait_until(hear)
        whats = [event.what for event in heard]
        assert whats[0] == proc_events.PROC_EVENT_FORK
        assert heard[0].parent == os.getpid()
        assert proc_events.PROC_EVENT_EXEC in whats
        assert whats[-1] == proc_events.PROC_EVENT_EXIT
    finally:
        events.close()


class Watching:
    """Processes, and what was heard of them."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.heard: list[tuple[str, bool]] = []
        self.processes = Processes(self.loop.loop, lambda *news: self.heard.append(news))

    def wait(self, *expected: tuple[str, bool]) -> None:
        """Waits until exactly this was heard since the last time."""
        self.loop.until(lambda: len(self.heard) >= len(expected))
        assert tuple(self.heard) == expected
        self.heard.clear()

    def close(self) -> None:
        self.processes.close()
        self.loop.close()


@pytest.fixture
def watching(caplog: pytest.LogCaptureFixture) -> Iterator[Watching]:
    caplog.set_level("INFO")
    made = Watching()
    yield made
    made.close()


def test_processes_come_and_go(
    watching: Watching, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    watching.processes.track(
        [TrackProcess("one", program.name), TrackProcess("two", program.name, quorum=2)]
    )
    watching.loop.until(lambda: len(watching.heard) == 2)
    assert watching.processes.known == {"one": False, "two": False}
    watching.heard.clear()
    program.start()
    watching.wait(("one", True))
    program.start()
    watching.wait(("two", True))
    program.end()
    watching.wait(("two", False))
    program.end()
    watching.wait(("one", False))
    assert "Quorum gained for tracked process one" in caplog.text
    assert "Quorum lost for tracked process two" in caplog.text


def test_what_is_tracked_may_change(watching: Watching, program: Program) -> None:
    program.start()
    one, two = TrackProcess("one", program.name), TrackProcess("two", program.name, quorum=2)
    watching.processes.track([one])
    watching.wait(("one", True))
    watching.processes.track([one, two])
    watching.wait(("two", False))  # of the other one there is no news
    watching.processes.track([])
    program.end()
    watching.loop.run(0.3)
    assert watching.heard == []
    watching.processes.track([one])
    watching.wait(("one", False))


def test_they_are_counted_before_anybody_tells(watching: Watching, program: Program) -> None:
    program.start()
    one = TrackProcess("one", program.name)
    watching.processes.count([one])
    assert watching.processes.known == {"one": True}
    watching.processes.track([one])
    program.end()
    watching.wait(("one", False))


def test_a_watcher_that_ends_is_started_again(
    watching: Watching, program: Program, caplog: pytest.LogCaptureFixture
) -> None:
    watching.processes.track([TrackProcess("one", program.name)])
    watching.wait(("one", False))
    assert watching.processes.pid is not None
    os.kill(watching.processes.pid, signal.SIGKILL)
    program.start()
    watching.wait(("one", True))
    assert "the process that watches processes ended: -9" in caplog.text


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a process namespace")
def test_without_events_they_are_looked_at(program: Program, tmp_path: Path) -> None:
    """In another process namespace the kernel tells nobody, but what it tells another process of
    the machine's is heard there."""
    events = ProcEvents() if tells() else None
    script = tmp_path / "inside.py"
    script.write_text(
        "import sys, subprocess\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        "from test_track_processes import TrackProcess, Watching\n"
        "import logging\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "watching = Watching()\n"
        f"watching.processes.track([TrackProcess('one', {program.name!r})])\n"
        "watching.wait(('one', False))\n"
        f"inside = subprocess.Popen([{str(program.path)!r}, '1000'])\n"
        "watching.wait(('one', True))\n"
        "inside.kill()\n"
        "inside.wait()\n"
        "watching.wait(('one', False))\n"
        "watching.close()\n"
    )
    made = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, str(script)],
        check=False,
        capture_output=True,
        text=True,
    )
    if events is not None:
        events.close()
    assert made.returncode == 0, made.stderr
    assert "they are looked at every second" in made.stderr
