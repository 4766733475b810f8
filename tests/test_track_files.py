"""Numbers in files, and what becomes of the files."""

from __future__ import annotations

import os
import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastvrrp.track.files import Files, initialise, number_in


class Watching:
    """Files, and what was heard of them."""

    def __init__(self) -> None:
        self.files = Files(lambda name: self.heard.append((name, self.files.numbers[name])))
        self.heard: list[tuple[str, int]] = []

    def watch(self, name: str, path: Path) -> None:
        self.files.watch(name, str(path))
        self.files.look(name)
        self.heard.clear()

    def changes(self) -> list[tuple[str, int]]:
        """The next changes; nothing where none comes in half a second."""
        poll = select.poll()
        poll.register(self.files, select.POLLIN)
        while not self.heard and poll.poll(500):
            self.files.read()
        heard = list(self.heard)
        self.heard.clear()
        return heard


@pytest.fixture
def files() -> Iterator[Watching]:
    made = Watching()
    yield made
    made.files.close()


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


@pytest.mark.keywords("track_file/file")
def test_a_file_changes(files: Watching, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("7")
    files.watch("a", file)
    files.watch("b", tmp_path / "other")
    assert files.files.numbers == {"a": 7, "b": 0}
    file.write_text("8")
    assert files.changes() == [("a", 8)]
    file.unlink()
    assert files.changes() == [("a", 0)]
    file.write_text("9")
    assert files.changes() == [("a", 9)]


def test_the_same_number_is_no_change(files: Watching, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("7")
    files.watch("a", file)
    file.write_text("7\n")
    assert files.changes() == []


def test_a_file_is_replaced(files: Watching, tmp_path: Path) -> None:
    file = tmp_path / "file"
    files.watch("a", file)
    (tmp_path / "new").write_text("9")
    (tmp_path / "new").rename(file)
    assert files.changes() == [("a", 9)]


def test_a_file_is_moved_away(files: Watching, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("9")
    files.watch("a", file)
    file.rename(tmp_path / "elsewhere")
    assert files.changes() == [("a", 0)]


def test_a_directory_goes_and_comes_back(files: Watching, tmp_path: Path) -> None:
    folder = tmp_path / "one" / "two"
    file = folder / "file"
    files.watch("a", file)
    for number in (3, 4):
        folder.mkdir(parents=True)
        file.write_text(str(number))
        assert files.changes() == [("a", number)]
        shutil.rmtree(tmp_path / "one")
        assert files.changes() == [("a", 0)]


def test_the_target_of_a_link_changes(files: Watching, tmp_path: Path) -> None:
    target = tmp_path / "there" / "target"
    target.parent.mkdir()
    target.write_text("1")
    link = tmp_path / "link"
    link.symlink_to(target)
    files.watch("a", link)
    target.write_text("2")
    assert files.changes() == [("a", 2)]
    (tmp_path / "file").write_text("3")
    link.unlink()
    assert files.changes() == [("a", 0)]
    link.symlink_to(tmp_path / "file")
    assert files.changes() == [("a", 3)]


def test_a_directory_is_moved_away_and_made_again(files: Watching, tmp_path: Path) -> None:
    one, file = tmp_path / "one", tmp_path / "one" / "two" / "file"
    file.parent.mkdir(parents=True)
    file.write_text("1")
    files.watch("a", file)
    for number in (2, 3):
        one.rename(tmp_path / f"elsewhere{number}")
        assert files.changes() == [("a", 0)]
        (tmp_path / f"elsewhere{number}" / "two" / "file").write_text("77")
        file.parent.mkdir(parents=True)
        file.write_text(str(number))
        assert files.changes() == [("a", number)]
        file.parent.rename(tmp_path / f"two{number}")
        assert files.changes() == [("a", 0)]
        file.parent.mkdir()
        file.write_text(str(number + 1))
        assert files.changes() == [("a", number + 1)]


def test_a_directory_on_the_way_is_a_link_that_changes(files: Watching, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "file").write_text(str(number))
    (tmp_path / "current").symlink_to("1")
    files.watch("a", tmp_path / "current" / ".." / "current" / "file")
    assert files.files.numbers == {"a": 1}
    (tmp_path / "new").symlink_to("2")
    (tmp_path / "new").rename(tmp_path / "current")
    assert files.changes() == [("a", 2)]
    (tmp_path / "2" / "file").write_text("3")
    assert files.changes() == [("a", 3)]


def test_links_that_lead_in_a_circle_have_no_number(files: Watching, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    files.watch("a", tmp_path / "a")
    assert files.files.numbers == {"a": 0}


def test_other_files_of_a_directory_are_not_looked_at(files: Watching, tmp_path: Path) -> None:
    files.watch("a", tmp_path / "file")
    for number in range(300):
        (tmp_path / str(number)).write_text("1")
    assert files.changes() == []
    assert not files.files.is_behind
    (tmp_path / "file").write_text("1")
    assert files.changes() == [("a", 1)]


def test_many_files_are_looked_at_a_few_at_a_time(files: Watching, tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).write_text("5")
        files.files.watch(str(number), str(tmp_path / str(number)))
    files.files.read()
    assert 0 < len(files.files.numbers) < 100
    while files.files.is_behind:
        files.files.read()
    assert set(files.files.numbers.values()) == {5}
    assert len(files.files.numbers) == 100


def test_garbage_is_said_and_counts_as_nothing(
    files: Watching, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_text("5")
    files.watch("a", file)
    file.write_bytes(b"\xff\x00five")
    assert files.changes() == [("a", 0)]
    assert "does not begin with a number" in caplog.text


def test_what_is_no_file_does_not_stop_us(files: Watching, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    files.watch("pipe", tmp_path / "pipe")
    files.watch("folder", tmp_path)
    assert files.files.numbers == {"pipe": 0, "folder": 0}


def test_other_files_are_watched_later(files: Watching, tmp_path: Path) -> None:
    first, second = tmp_path / "1" / "file", tmp_path / "2" / "file"
    for file in (first, second):
        file.parent.mkdir()
        file.write_text("1")
    files.watch("first", first)
    files.watch("second", second)
    files.files.forget("first")
    first.write_text("5")
    second.write_text("6")
    assert files.changes() == [("second", 6)]
    assert files.files.numbers == {"second": 6}


@pytest.mark.keywords("track_file/init_file")
def test_a_file_begins_with_a_number(tmp_path: Path) -> None:
    file = tmp_path / "file"
    initialise(str(file), 5, overwrites=False)
    assert file.read_text() == "5\n"
    initialise(str(file), 6, overwrites=False)
    assert file.read_text() == "5\n"
    initialise(str(file), 6, overwrites=True)
    assert file.read_text() == "6\n"
