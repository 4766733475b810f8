"""Tests that run in a guest with a kernel of its own, one boot a file of tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kernel.machine import Outcome, run

HERE = Path(__file__).parent
TESTS = HERE.parent
OF_THE_GUEST = sorted((HERE / "guest").glob("test_*.py"))
OF_THE_HOST = [
    TESTS / f"test_kernel_{room}.py" for room in ("addresses", "links", "macvlan", "routes")
]
"""Tests of the kernel's rooms, which must hold on an older kernel too."""

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as the tests inside do"),
    pytest.mark.timeout(400),
]
SIDE_BY_SIDE = 2
"""Guests that run at once: as many as there are cores, or they do not keep their time."""


def turn(number: int) -> pytest.MarkDecorator:
    """Files of one turn run one after the other."""
    return pytest.mark.xdist_group(f"guest-{number % SIDE_BY_SIDE}")


def run_tests(files: list[Path], results: Path) -> Outcome:
    """Runs files of tests in a guest; junit.xml among the results tells of each test."""
    return run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"),
            *("--junitxml", "/run/results/junit.xml", *map(str, files)),
        ],
        results,
        environment={
            "FASTVRRP_GUEST": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": "/run/tmp/hypothesis",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )


def count(results: Path) -> tuple[int, int]:
    """How many tests ran, and how many of them were skipped."""
    suite = ElementTree.parse(results / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    return int(suite.attrib["tests"]), int(suite.attrib["skipped"])


@pytest.mark.parametrize(
    "file",
    [
        pytest.param(file, id=file.stem, marks=turn(number))
        for number, file in enumerate(OF_THE_GUEST)
    ],
)
def test_passes_in_the_guest(file: Path, tmp_path: Path) -> None:
    outcome = run_tests([file], tmp_path)
    assert outcome.status == 0, f"{outcome.output}\n{outcome.console}"
    tests, skipped = count(tmp_path)
    assert tests
    assert not skipped, outcome.output


@turn(1)
def test_the_rooms_of_the_kernel_hold_on_the_guests_kernel(tmp_path: Path) -> None:
    outcome = run_tests(OF_THE_HOST, tmp_path)
    assert outcome.status == 0, f"{outcome.output}\n{outcome.console}"
    assert not count(tmp_path)[1], outcome.output


@turn(1)
def test_a_failure_in_the_guest_comes_out(tmp_path: Path) -> None:
    outcome = run([sys.executable, "-c", "raise SystemExit('seen outside')"], tmp_path)
    assert outcome.status == 1
    assert outcome.output == "seen outside\n"


@turn(1)
def test_a_guest_cannot_write_the_hosts_files(tmp_path: Path) -> None:
    there = Path.cwd() / "written-by-a-guest"
    outcome = run(["touch", str(there)], tmp_path)
    assert outcome.status == 1
    assert "Read-only" in outcome.output
    assert not there.exists()
