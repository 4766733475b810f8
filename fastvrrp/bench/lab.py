"""One run of one daemon: side a becomes master of all, side b backup; then a dies.

The processor is measured while the observer looks away, because what it costs in the receiving
interrupt is paid by the sender on a veth pair.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager

from fastvrrp.bench.addresses import Arrivals
from fastvrrp.bench.case import BACKUP_PRIORITY, Case
from fastvrrp.bench.disturbances import DISTURBANCES, is_possible, reload
from fastvrrp.bench.figures import Figures
from fastvrrp.bench.kinds import Daemon, DaemonError
from fastvrrp.bench.network import NetworkError
from fastvrrp.bench.phases import spread_evenly
from fastvrrp.bench.processes import Sample, open_files, proportional_set, tree
from fastvrrp.bench.recording import gaps, percentile
from fastvrrp.bench.setting import Say, Setting, not_measured, prepare

READING_TIMEOUT = 300.0
START_TIMEOUT = 300.0
FAILOVER_TIMEOUT = 60.0
STOP_TIMEOUT = 60.0
ANNOUNCED_AFTER = 6.0
"""Seconds from mastership to the end of its second round of gratuitous ARP, which comes after 5 s
(garp_master_delay)."""
CALM_TIMEOUT = 60.0
POLL = 0.01
"""Seconds between two looks at a failover: so exact is the time of the last address."""

Stage = Callable[[Setting], None]


def run(
    case: Case, kind: type[Daemon], duration: float, say: Say, disturbances: Collection[str]
) -> Figures:
    """Measures one daemon once. What it fails to do is in the figures, with the reason.

    Each of the `disturbances` (names of DISTURBANCES) is lived through by two daemons more.

    Nothing is left behind in any case.
    """
    figures = Figures(kind.kind, kind.version())
    life: list[Stage] = [_read, begin, _measure_processes, _measure_gaps, reload, _fail_over]
    stages = [[*life, _stop]]
    for name, disturb in DISTURBANCES.items():
        if name not in disturbances:
            not_measured(figures, name, "not part of this run")
        elif is_possible(kind, name):
            stages.append([begin, disturb])
        else:
            not_measured(figures, name, "not supported")
    for each in stages:
        try:
            with ExitStack() as stack:
                now = prepare(case, kind, figures, duration, say, stack)
                for stage in each:
                    stage(now)
                say("removing the network")
        except (DaemonError, NetworkError, OSError, subprocess.SubprocessError) as error:
            figures.failure = str(error)
            break
    return figures


@contextmanager
def steady(case: Case, kind: type[Daemon], say: Say) -> Iterator[tuple[Daemon, Daemon]]:
    """A master of all and its backup, both quiet but for their adverts. Raises DaemonError, and
    what `run` raises."""
    with observed(case, kind, say) as (a, b, _):
        yield a, b


@contextmanager
def observed(
    case: Case, kind: type[Daemon], say: Say
) -> Iterator[tuple[Daemon, Daemon, Callable[[float], list[int]]]]:
    """As `steady`, with what tells the gaps between the master's adverts (nanoseconds, sorted) in
    the next so many seconds."""
    with ExitStack() as stack:
        now = prepare(case, kind, Figures(kind.kind, kind.version()), 0.0, say, stack)
        begin(now)

        def watch(seconds: float) -> list[int]:
            start = now.recording.count
            now.recording.look(True)
            time.sleep(seconds)
            now.recording.look(False)
            return gaps(now.recording.times(start, now.recording.count, from_b=False))

        yield now.a, now.b, watch


def _read(now: Setting) -> None:
    now.say("reading the configuration")
    with now.network.a.entered():
        began = time.monotonic()
        finished = subprocess.run(
            now.a.reading(now.a.configuration),
            capture_output=True,
            text=True,
            check=False,
            timeout=READING_TIMEOUT,
        )
    if finished.returncode != 0:
        raise DaemonError(
            f"{now.a.kind} does not accept the configuration: {finished.stderr.strip()[:500]}"
        )
    now.figures.values["reading"] = time.monotonic() - began


def begin(now: Setting) -> None:
    """Starts a, and b when a is master of all, and waits until both are quiet."""
    routers = now.case.routers
    now.recording.look(True)
    began = now.stack.enter_context(now.a.started())
    is_started = False
    speaking: set[int] = set()
    place = 0
    while len(speaking) < routers:
        _keep_waiting(now.a, began, START_TIMEOUT, f"{len(speaking)} of {routers} are masters")
        if not is_started and now.a.log_count("Entering BACKUP STATE") >= routers:
            is_started = True
            now.figures.values["started"] = time.monotonic() - began
        upto = now.recording.count
        speaking |= now.recording.speakers(place, from_b=False)
        place = upto
        now.say(f"starting the master ({len(speaking):,} of {routers:,})")
        time.sleep(0.05)
    now.figures.values["masters"] = time.monotonic() - began
    place = 0
    if now.case.has_spread_phases:
        place = _spread_phases(now)
    are_masters = time.monotonic()
    began = now.stack.enter_context(now.b.started())
    while (waiting := now.b.log_count("Entering BACKUP STATE")) < routers:
        _keep_waiting(now.b, began, START_TIMEOUT, f"{waiting} of {routers} are backups")
        now.say(f"starting the backup ({waiting:,} of {routers:,})")
        time.sleep(0.1)
    now.say("waiting for quiet")
    time.sleep(max(0.0, are_masters + ANNOUNCED_AFTER - time.monotonic()))
    began = time.monotonic()
    while not _is_quiet(now):
        _keep_waiting(now.a, began, CALM_TIMEOUT, "adverts alone do not go out")
    now.recording.look(False)
    _count_false(now, place)


def _spread_phases(now: Setting) -> int:
    """Spreads a's adverts evenly over the interval; the first record after that."""
    now.say("spreading the phases")
    spread_evenly(now.network, now.case)
    place = now.recording.count
    began = time.monotonic()
    while (back := len(now.recording.speakers(place, from_b=False))) < now.case.routers:
        seen = f"{back} of {now.case.routers} have taken over from who spread the phases"
        _keep_waiting(now.a, began, START_TIMEOUT, seen)
        time.sleep(0.1)
    return place


def _keep_waiting(daemon: Daemon, began: float, timeout: float, seen: str) -> None:
    if daemon.has_ended():
        raise daemon.error(f"it has ended when {seen}")
    if time.monotonic() - began > timeout:
        raise daemon.error(f"after {timeout:g} s {seen}")


def _is_quiet(now: Setting) -> bool:
    """Whether a sends adverts and nothing else for two intervals, or one second."""
    before = Sample.of(now.a.pid)
    time.sleep(max(1.0, 2 * now.case.interval))
    after = Sample.of(now.a.pid)
    expected = (after.time - before.time) * now.case.adverts_a_second
    # A burst of all routers may fall just into the time, or just not.
    return after.sent - before.sent <= expected * 1.05 + now.case.routers + 10


def _count_false(now: Setting, start: int) -> None:
    """Virtual routers for which b has spoken while a was alive."""
    values = now.figures.values
    speakers = now.recording.speakers(start, from_b=True)
    values["false_transitions"] = values.get("false_transitions", 0) + len(speakers)


def _measure_processes(now: Setting) -> None:
    now.say(f"measuring processor time for {now.duration:g} s")
    # Whole intervals: routers that started together speak together.
    intervals = max(1, round(now.duration / now.case.interval))
    before = [Sample.of(daemon.pid) for daemon in (now.a, now.b)]
    time.sleep(intervals * now.case.interval)
    after = [Sample.of(daemon.pid) for daemon in (now.a, now.b)]
    values = now.figures.values
    for name, cost, first, last in zip(
        ("master", "backup"), ("sent_cost", "received_cost"), before, after, strict=True
    ):
        spent = last.processor - first.processor
        adverts = last.sent - first.sent if name == "master" else last.received - first.received
        values[f"{name}_load"] = spent / 1e9 / (last.time - first.time) * 100
        if adverts:
            values[cost] = spent / 1000 / adverts
    pids = tree(now.a.pid)
    values["master_memory"] = proportional_set(pids) / 1e6
    values["backup_memory"] = proportional_set(tree(now.b.pid)) / 1e6
    values["open_files"] = open_files(pids)


def _measure_gaps(now: Setting) -> None:
    now.say(f"watching the adverts for {now.duration:g} s")
    start = now.recording.count
    now.recording.look(True)
    time.sleep(max(now.duration, 3 * now.case.interval))
    now.recording.look(False)
    ordered = gaps(now.recording.times(start, now.recording.count, from_b=False))
    for key, part in (("gap_median", 0.5), ("gap_p99", 0.99), ("gap_longest", 1.0)):
        value = percentile(ordered, part)
        if value is not None:
            now.figures.values[key] = value / 1e6
    _count_false(now, start)


def _fail_over(now: Setting) -> None:
    """Kills a and measures, for every virtual router, when b speaks instead."""
    case = now.case
    now.say("waiting for the last adverts")
    start = now.recording.count
    now.recording.look(True)
    time.sleep(2.2 * case.interval + 0.1)
    down = case.master_down_interval(BACKUP_PRIORITY)
    with Arrivals.on(now.network.b, case) as arrivals:
        end = now.recording.count
        _count_false(now, start)
        now.a.kill()
        began = time.monotonic()
        taken: set[int] = set()
        place = end
        while len(taken) < case.routers or arrivals.count < case.routers:
            arrivals.watch(POLL)
            upto = now.recording.count
            taken |= now.recording.speakers(place, from_b=True)
            place = upto
            now.say(f"failover ({len(taken):,} taken over, {arrivals.count:,} addresses)")
            if now.b.has_ended():
                raise now.b.error("it has ended at the failover")
            if time.monotonic() - began > down + FAILOVER_TIMEOUT:
                break
        now.recording.look(False)
        _judge_failover(now, start, arrivals)


def _judge_failover(now: Setting, start: int, arrivals: Arrivals) -> None:
    case = now.case
    down = round(case.master_down_interval(BACKUP_PRIORITY) * 1e9)
    last = {
        router: times[-1]
        for router, times in now.recording.times(start, now.recording.count, from_b=False).items()
    }
    first = {
        router: next((time for time in times if time > last.get(router, 0)), None)
        for router, times in now.recording.times(start, now.recording.count, from_b=True).items()
    }
    over = sorted(
        time - last[router] - down
        for router, time in first.items()
        if time is not None and router in last
    )
    values = now.figures.values
    for key, part in (
        ("overshoot_median", 0.5),
        ("overshoot_p99", 0.99),
        ("overshoot_longest", 1.0),
    ):
        value = percentile(over, part)
        if value is not None:
            values[key] = value / 1e6
    hundredths = (percentile(over, part / 100) for part in range(101))
    now.figures.overshoots = [each / 1e6 for each in hundredths if each is not None]
    values["not_taken_over"] = case.routers - len(over)
    values["unseen"] = now.recording.lost
    if arrivals.count < case.routers:
        now.figures.reasons["last_address"] = (
            f"{case.routers - arrivals.count} addresses are missing"
        )
    elif last:
        values["last_address"] = (arrivals.last - max(last.values()) - down) / 1e9


def _stop(now: Setting) -> None:
    now.say("stopping")
    values = now.figures.values
    took, status, processes = now.b.stop(STOP_TIMEOUT)
    values["stopping"] = took
    if status is None:
        now.figures.reasons["stop_status"] = f"it had to be killed after {STOP_TIMEOUT:g} s"
    else:
        values["stop_status"] = status
    values["left_processes"] = len(processes)
    values["left_addresses"], values["left_links"] = now.network.left_behind()
