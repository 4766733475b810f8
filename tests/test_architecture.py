"""docs/architecture.md: what it names is there."""

import re
from pathlib import Path

import pytest

TREE = Path(__file__).parents[1]
PAGE = TREE / "docs" / "architecture.md"
TEXT = PAGE.read_text()
(DRAWING,) = re.findall(r"^## The whole, drawn\n.*?^```text\n(.*?)^```$", TEXT, re.M | re.S)
ROOMS = sorted(path.parent.name for path in (TREE / "fastvrrp").glob("*/__init__.py"))
ROWS = re.findall(r"^\| \d \| `fastvrrp/([a-z]+)/` \| (.*) \|$", TEXT, re.M)
MODULE = re.compile(rf"(?<![\w/])(?:{'|'.join(ROOMS)})/[a-z_]+\b(?!/)")
EXTENSION = re.compile(r"(?<![\w.`])_[a-z]+\b")


def is_there(name: str) -> bool:
    paths = TREE / "fastvrrp" / name, TREE / name
    return any(path.with_suffix(".py").exists() or path.is_dir() for path in paths)


@pytest.mark.parametrize(("room", "text"), ROWS)
def test_every_module_of_a_rooms_row_exists(room: str, text: str) -> None:
    folder = TREE / "fastvrrp" / room
    there = {path.stem for path in folder.rglob("*.py")} | {path.name for path in folder.iterdir()}
    assert set(re.findall(r"`([a-z_]+)/?`", text)) <= there


@pytest.mark.parametrize("name", sorted(set(MODULE.findall(TEXT))))
def test_every_module_that_is_named_by_its_folder_exists(name: str) -> None:
    assert is_there(name)


def test_the_drawing_has_every_process_and_what_they_share() -> None:
    processes = {"daemon/supervisor", "daemon/vrrpd_main", "daemon/checkd", "daemon/exporter"}
    companions = {"daemon/reader", "track/runner", "track/watcher"}
    assert processes | companions | {"daemon/snapshot"} <= set(MODULE.findall(DRAWING))
    extensions = set(EXTENSION.findall(DRAWING))
    assert {"_sockets", "_engine", "_table", "_fsm"} <= extensions
    for name in extensions:
        assert (TREE / "ext" / f"{name.removeprefix('_')}.pyx").exists(), name


def test_the_drawing_fits_a_terminal() -> None:
    assert max(map(len, DRAWING.splitlines())) <= 100
    assert DRAWING.isascii()


def test_every_room_and_every_extension_has_its_row() -> None:
    for room in ROOMS:
        assert f"`fastvrrp/{room}/`" in TEXT or f"`{room}/`" in TEXT, room
    rows = "\n".join(line for line in TEXT.splitlines() if line.startswith("| `"))
    for source in (TREE / "ext").glob("*.pyx"):
        assert f"`{source.stem}`" in rows, source.stem
