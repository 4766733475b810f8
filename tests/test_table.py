"""The table of virtual routers: look-up, and reading it from outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastvrrp._table import Segment, Table

keys = st.tuples(st.integers(1, 6), st.sampled_from((4, 6)), st.integers(1, 12))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(("add", "remove", "move")), keys, st.integers(0, 63))))
def test_look_up_agrees_with_a_dictionary(
    history: list[tuple[str, tuple[int, int, int], int]],
) -> None:
    table = Table(None, 64)
    expected: dict[int, tuple[int, int, int]] = {}
    for operation, key, pick in history:
        if operation == "add" and len(expected) < 64:
            ifindex, family, vrid = key
            expected[table.add("x", "eth0", ifindex, family, vrid, 100)] = key
        elif expected:
            index = sorted(expected)[pick % len(expected)]
            if operation == "remove":
                table.remove(index)
                del expected[index]
            else:
                table.move(index, key[0])
                expected[index] = (key[0], *expected[index][1:])
        for probe in {*expected.values(), key}:
            found = sorted(table.lookup(*probe))
            assert found == sorted(i for i, k in expected.items() if k == probe)
    assert table.count == len(expected)


def test_the_same_vrid_on_another_interface_or_family_is_another_router() -> None:
    table = Table(None, 4)
    first = table.add("a", "eth0", 1, 4, 51, 100)
    second = table.add("b", "eth0", 1, 6, 51, 100)
    third = table.add("c", "eth1", 2, 4, 51, 100)
    assert table.lookup(1, 4, 51) == [first]
    assert table.lookup(1, 6, 51) == [second]
    assert table.lookup(2, 4, 51) == [third]
    assert table.lookup(2, 6, 51) == []


def test_another_process_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    table = Table(path, 3)
    table.add("VI_1", "eth0", 7, 4, 51, 200)
    table.add("ü" * 60, "eth0", 7, 6, 52, 100)
    routers = list(Segment(path))
    assert [router["vrid"] for router in routers] == [51, 52]
    assert routers[0]["name"] == "VI_1"
    assert routers[0]["priority"] == 200
    assert routers[1]["name"] == "ü" * 31


def test_a_full_table_says_so() -> None:
    table = Table(None, 1)
    table.add("a", "eth0", 1, 4, 1, 100)
    with pytest.raises(OverflowError, match="full with 1"):
        table.add("b", "eth0", 1, 4, 2, 100)


@pytest.mark.parametrize("content", [b"", b"x" * 5000, b"FASTVRRP" + bytes(4088)])
def test_a_file_that_is_no_segment_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "segment"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"segment|empty|layout"):
        Segment(path)


def test_a_table_grows_and_keeps_what_it_has() -> None:
    table = Table(None, 2, 100)
    first, second = (table.add("x", "eth0", 1, 4, vrid, 100) for vrid in (1, 2))
    with pytest.raises(OverflowError, match="full with 2"):
        table.add("x", "eth0", 1, 4, 3, 100)
    table.grow(100)
    others = [table.add("x", "eth0", 1, 4, vrid, 100) for vrid in range(3, 101)]
    assert [table.lookup(1, 4, vrid) for vrid in (1, 2, 100)] == [[first], [second], [others[-1]]]
    with pytest.raises(OverflowError, match="room for 100"):
        table.grow(101)


def test_a_reader_sees_what_came_after_it_mapped_the_segment(tmp_path: Path) -> None:
    path = tmp_path / "state"
    table = Table(path, 1, 1000)
    table.add("first", "eth0", 1, 4, 1, 100)
    segment = Segment(path)
    table.grow(1000)
    for vrid in range(1, 256):
        table.add(f"later {vrid}", "eth1", 2, 4, vrid, 100)
    assert [router["name"] for router in segment][:2] == ["first", "later 1"]
    assert len(list(segment)) == 256


def test_another_name_and_priority_leave_the_rest() -> None:
    table = Table(None, 1)
    index = table.add("old", "eth0", 1, 4, 1, 100)
    before = table.read(index)
    assert before is not None
    table.update(index, "new", 7)
    assert table.read(index) == before | {"name": "new", "base_priority": 7, "priority": 7}
    with pytest.raises(IndexError):
        table.update(1, "none", 1)


def test_what_will_be_written_is_taken_from_the_file_system(tmp_path: Path) -> None:
    def taken() -> int:
        return path.stat().st_blocks * 512

    path = tmp_path / "state"
    table = Table(path, 100, 65_280)
    at_first = taken()
    assert at_first < 1 << 21 < path.stat().st_size, "the room is not taken, only what is used"
    for vrid in range(100):
        table.add(f"{vrid}", "eth0", 1, 4, vrid + 1, 100)
    assert taken() == at_first
    table.grow(1000)
    grown = taken()
    assert grown > at_first
    for vrid in range(255):
        table.add(f"{vrid}", "eth1", 2, 4, vrid + 1, 100)
    assert taken() == grown


FULL = """
import errno, sys
from fastvrrp._table import Table
table = Table("state", 10, 65_280)
try:
    table.grow(65_280)
except OSError as error:
    assert error.errno == errno.ENOSPC
else:
    sys.exit("it has grown")
assert table.capacity == 10
for vrid in range(10):
    table.add(f"{vrid}", "eth0", 1, 4, vrid + 1, 100)
try:
    Table("another", 10)
except OSError as error:
    assert error.errno == errno.ENOSPC
else:
    sys.exit("there is another")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_file_system_is_an_error_and_no_signal(tmp_path: Path) -> None:
    run = f'mount -t tmpfs -o size=1m none {tmp_path} && cd {tmp_path} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", run, "sh", sys.executable, "-c", FULL],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
