"""docs/performance.md: every case measured, the goals judged, with pictures beside it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fastvrrp.bench import balancing, store
from fastvrrp.bench.balancing import Balanced
from fastvrrp.bench.case import Case
from fastvrrp.bench.checkout import measure_floor, run_in_guest
from fastvrrp.bench.compare import measure
from fastvrrp.bench.figures import METRIC
from fastvrrp.bench.flood import Flooded, flood
from fastvrrp.bench.goals import (
    FLOOD_RATE,
    FLOOD_SECONDS,
    FLOODED,
    PLANS,
    PROFILED,
    SCRAPE_SECONDS,
    SCRAPED,
    SOAK_SECONDS,
    SOAKED,
    Plan,
)
from fastvrrp.bench.growth import is_plain, panels
from fastvrrp.bench.kinds import KINDS, DaemonError
from fastvrrp.bench.machine import describe
from fastvrrp.bench.network import NetworkError
from fastvrrp.bench.page import Extra, page
from fastvrrp.bench.picture import draw_failover, draw_growth
from fastvrrp.bench.profile import Profile, profile
from fastvrrp.bench.reading import CASES as READING_CASES
from fastvrrp.bench.reading import MeasuredCase
from fastvrrp.bench.reading import measure as measure_reading
from fastvrrp.bench.scraping import Scraped, scrape
from fastvrrp.bench.setting import Say
from fastvrrp.bench.soak import Soaked, soak
from fastvrrp.bench.store import Measured

GROWTH = ("sent_cost", "received_cost", "overshoot_p99", "masters")
PROFILE_SECONDS = 20.0
BALANCING_SECONDS = 20.0
GUEST_PATIENCE = 1800.0
"""Seconds; user-mode Linux is slow."""
READING_RUNS = 1
"""keepalived takes two minutes for one."""
FAILURES = (DaemonError, NetworkError, OSError, subprocess.SubprocessError)


def write(file: Path, only: Sequence[str], say: Say, *, resume: bool, add: bool) -> None:
    """Measures the cases that `only` wants (`is_wanted`), and writes the document after each of
    them, so that who interrupts it keeps what was measured. What is not measured now stays as it
    was measured before.

    With `resume`, what was measured whole before is not measured again. With `add`, the runs are
    added to those before, and the medians are over all of them. Pictures and figures go into a
    folder of the document's name beside it. Raises DaemonError where a daemon is not installed.
    """
    folder = file.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    done = store.load(folder / "figures.json")

    for plan in PLANS:
        before = done.get(plan.case)
        if not is_wanted(plan.case.name, only) or (resume and before and before.is_whole):
            continue
        measured = _measure(plan, say)
        done[plan.case] = before.joined(measured) if add and before else measured
        store.save(folder / "figures.json", done)
        write_down(file, done)
    for name, run in (
        ("reading", _reading),
        ("balancing", _balancing),
        ("flood", _flood),
        ("scrapes", _scrapes),
        ("soak", _soak),
        ("profile", _profile),
    ):
        kept = folder / f"{name}.json"
        if is_wanted(name, only) and not (resume and kept.exists()):
            store.write_whole(kept, {"on": store.today(), "machine": describe(), **run(say)})
    write_down(file, done)


def is_wanted(name: str, only: Sequence[str]) -> bool:
    """Whether what has this name is to be measured: everything where `only` is empty, otherwise the
    case that is named so, or, of a text that is no case's name, all with that text in theirs."""
    names = {plan.case.name for plan in PLANS}
    return not only or any(text == name if text in names else text in name for text in only)


def _measure(plan: Plan, say: Say) -> Measured:
    case = plan.case
    machine = describe()
    kinds = ["fastvrrp", *(["keepalived"] if plan.beside_keepalived else [])]
    runs = measure(
        case,
        kinds,
        plan.runs,
        plan.duration,
        say,
        disturbances=plan.disturbances,
        disturbed_runs=1,
        undisturbed=() if plan.disturbs_keepalived else ("keepalived",),
    )
    floor = None
    if is_plain(case):
        say(f"{case.name}: the same packets in C")
        try:
            floor = measure_floor(case)
        except FAILURES as error:
            say(f"{case.name}: the same packets in C failed: {error}")
    return Measured(case, plan.duration, runs, floor, machine, store.today())


def _reading(say: Say) -> dict[str, Any]:
    found: dict[str, Any] = {"readings": [], "failures": []}
    for case in READING_CASES:
        try:
            done = measure_reading([case], ["fastvrrp", "keepalived"], READING_RUNS, say)
            found["readings"] += [each.to_json() for each in done]
        except FAILURES as error:
            found["failures"].append(f"{case.name}: {error}")
    return found


def _balancing(say: Say) -> dict[str, Any]:
    """Checks in this kernel; beside keepalived, and the table, in one that has IPVS."""
    found: dict[str, Any] = {"balanced": [], "failures": []}
    try:
        done = balancing.measure(balancing.CHECKED, "fastvrrp", BALANCING_SECONDS, say)
        found["balanced"].append(done.to_json())
        with tempfile.TemporaryDirectory(prefix="fastvrrp-bench-") as folder:
            say("load balancing beside keepalived, in user-mode Linux")
            command = [sys.executable, "-m", "fastvrrp", "bench", "balancing", "--beside"]
            run_in_guest([*command, "--json", "/run/results/f.json"], Path(folder), GUEST_PATIENCE)
            found["balanced"] += json.loads(Path(folder, "f.json").read_text())
    except FAILURES as error:
        found["failures"].append(str(error))
    return found


def _flood(say: Say) -> dict[str, Any]:
    found: dict[str, Any] = {"daemons": [], "failures": []}
    for kind in ("fastvrrp", "keepalived"):
        try:
            flooded = flood(FLOODED, KINDS[kind], FLOOD_RATE, FLOOD_SECONDS, _headed(kind, say))
            found["daemons"].append(flooded.to_json())
        except FAILURES as error:
            found["failures"].append(f"{kind}: {error}")
    return found


def _soak(say: Say) -> dict[str, Any]:
    try:
        done = soak(SOAKED, SOAK_SECONDS, _headed("soak", say))
    except FAILURES as error:
        return {"soaks": [], "failures": [str(error)]}
    return {"soaks": [done.to_json()], "failures": []}


def _scrapes(say: Say) -> dict[str, Any]:
    try:
        done = scrape(SCRAPED, SCRAPE_SECONDS, _headed("scrapes", say))
    except FAILURES as error:
        return {"scrapes": [], "failures": [str(error)]}
    return {"scrapes": [done.to_json()], "failures": []}


def _profile(say: Say) -> dict[str, Any]:
    try:
        done = profile(PROFILED, KINDS["fastvrrp"], PROFILE_SECONDS, _headed("profile", say))
    except FAILURES as error:
        return {"profiles": [], "failures": [str(error)]}
    return {"profiles": [each.to_json() for each in done], "failures": []}


def _headed(head: str, say: Say) -> Callable[[str], None]:
    return lambda text: say(f"{head}: {text}")


def write_down(file: Path, done: Mapping[Case, Measured]) -> None:
    """Writes the document and its pictures from what was measured. Raises OSError."""
    folder = file.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    order = [plan.case for plan in PLANS]
    measured = sorted(
        done.values(), key=lambda each: order.index(each.case) if each.case in order else len(order)
    )
    pictures = [f"{folder.name}/{name}" for name in _draw(measured, folder)]
    readings = _extra(folder / "reading.json", "readings", MeasuredCase.from_json)
    balanced = _extra(folder / "balancing.json", "balanced", Balanced.from_json)
    flooded = _extra(folder / "flood.json", "daemons", Flooded.from_json)
    scraped = _extra(folder / "scrapes.json", "scrapes", Scraped.from_json)
    soaked = _extra(folder / "soak.json", "soaks", Soaked.from_json)
    profiled = _extra(folder / "profile.json", "profiles", Profile.from_json)
    lines = page(measured, readings, balanced, flooded, scraped, soaked, profiled, pictures)
    file.write_text("\n".join(lines))


def _extra(file: Path, key: str, read: Callable[[dict[str, Any]], Any]) -> Extra:
    try:
        found = json.loads(file.read_text())
        results = tuple(read(each) for each in found[key])
        return Extra(found["on"], found["machine"], results, tuple(found["failures"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return Extra("", {}, (), ())


def _draw(measured: Sequence[Measured], folder: Path) -> Iterator[str]:
    """The names of the pictures it makes."""
    for each in measured:
        if len(each.runs) > 1:
            name = f"failover-{each.case.name.replace(',', '').replace(' ', '-')}.svg"
            draw_failover(each.case, list(each.figures.values()), folder / name)
            yield name
    for key in GROWTH:
        drawn = panels(measured, key)
        if drawn:
            draw_growth(drawn, METRIC[key].label, METRIC[key].unit, folder / f"growth-{key}.svg")
            yield f"growth-{key}.svg"
