"""Numbers in files, and what becomes of the files."""

from __future__ import annotations

import os
import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastvrrp.track.files import Files, initialise, number_in


@pytest.fixture
def files() -> Iterator[Files]:
    made = Files()
    yield made
    made.close()


def changes(files: Files) -> list[tuple[str, int]]:
    """The next changes; nothing where none comes in half a second."""
    poll = select.poll()
    poll.register(files, select.POLLIN)
    while poll.poll(500):
        changed = files.read()
        if changed:
            return changed
    return []


@pytest.mark.parametrize(
    ("content", "number"),
    [
        # As keepalived 2.2.7 was seen to read them; what has no number has 0 there.
        (b"7\n", 7),
        (b" 7 \n9\n", 7),
        (b"\n6\n", 6),
        (b"-3", -3),
        (b"+5", 5),
        (b"12abc\n", 12),
        (b"3 4", 3),
        (b"1.5\n", 1),
        (b"0", 0),
        (b"0x10\n", 16),
        (b"010", 8),
        (b"2147483647", 2147483647),
        (b"-2147483648", -2147483648),
        (b"2147483648", None),
        (b"99999999999\n", None),
        (b"abc\n", None),
        (b"-\n", None),
        (b"", None),
        (b"\xff\x00\xfe", None),
    ],
)
def test_the_number_in_a_file(content: bytes, number: int | None) -> None:
    assert number_in(content) == number


def test_a_file_changes(files: Files, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("7")
    files.watch({"a": str(file), "b": str(tmp_path / "other")})
    assert files.numbers == {"a": 7, "b": 0}
    file.write_text("8")
    assert changes(files) == [("a", 8)]
    file.unlink()
    assert changes(files) == [("a", 0)]
    file.write_text("9")
    assert changes(files) == [("a", 9)]


def test_the_same_number_is_no_change(files: Files, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("7")
    files.watch({"a": str(file)})
    file.write_text("7\n")
    assert changes(files) == []


def test_a_file_is_replaced(files: Files, tmp_path: Path) -> None:
    file = tmp_path / "file"
    files.watch({"a": str(file)})
    (tmp_path / "new").write_text("9")
    (tmp_path / "new").rename(file)
    assert changes(files) == [("a", 9)]


def test_a_file_is_moved_away(files: Files, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("9")
    files.watch({"a": str(file)})
    file.rename(tmp_path / "elsewhere")
    assert changes(files) == [("a", 0)]


def test_a_directory_goes_and_comes_back(files: Files, tmp_path: Path) -> None:
    folder = tmp_path / "one" / "two"
    file = folder / "file"
    files.watch({"a": str(file)})
    for number in (3, 4):
        folder.mkdir(parents=True)
        file.write_text(str(number))
        assert changes(files) == [("a", number)]
        shutil.rmtree(tmp_path / "one")
        assert changes(files) == [("a", 0)]


def test_the_target_of_a_link_changes(files: Files, tmp_path: Path) -> None:
    target = tmp_path / "there" / "target"
    target.parent.mkdir()
    target.write_text("1")
    link = tmp_path / "link"
    link.symlink_to(target)
    files.watch({"a": str(link)})
    target.write_text("2")
    assert changes(files) == [("a", 2)]
    (tmp_path / "file").write_text("3")
    link.unlink()
    assert changes(files) == [("a", 0)]
    link.symlink_to(tmp_path / "file")
    assert changes(files) == [("a", 3)]


def test_garbage_is_said_and_counts_as_nothing(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_text("5")
    files.watch({"a": str(file)})
    file.write_bytes(b"\xff\x00five")
    assert changes(files) == [("a", 0)]
    assert "does not begin with a number" in caplog.text


def test_what_is_no_file_does_not_stop_us(files: Files, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    files.watch({"pipe": str(tmp_path / "pipe"), "folder": str(tmp_path)})
    assert files.numbers == {"pipe": 0, "folder": 0}


def test_other_files_are_watched_later(files: Files, tmp_path: Path) -> None:
    first, second = tmp_path / "1" / "file", tmp_path / "2" / "file"
    for file in (first, second):
        file.parent.mkdir()
        file.write_text("1")
    files.watch({"first": str(first)})
    files.watch({"second": str(second)})
    first.write_text("5")
    second.write_text("6")
    assert changes(files) == [("second", 6)]
    assert files.numbers == {"second": 6}


def test_a_file_begins_with_a_number(tmp_path: Path) -> None:
    file = tmp_path / "file"
    initialise(str(file), 5, overwrites=False)
    assert file.read_text() == "5\n"
    initialise(str(file), 6, overwrites=False)
    assert file.read_text() == "5\n"
    initialise(str(file), 6, overwrites=True)
    assert file.read_text() == "6\n"
