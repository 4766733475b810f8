"""Named network namespaces that come and go, with the real ip-netns(8)."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator
from contextlib import suppress

import pytest

from fastvrrp.kernel.namespaces import Change, Namespaces
from fastvrrp.kernel.netns import NAMESPACES, ip

NAME = f"fvt{os.getpid()}n"


@pytest.fixture
def namespaces() -> Iterator[Namespaces]:
    made = Namespaces()
    yield made
    made.close()
    with suppress(FileNotFoundError):
        (NAMESPACES / f"{NAME}-file").unlink()
    for name in (NAME, f"{NAME}2"):
        if (NAMESPACES / name).exists():
            subprocess.run(["ip", "netns", "delete", name], check=True)


def changes(namespaces: Namespaces, count: int) -> list[Change]:
    """What it says until it has said so much, however the events come."""
    found: list[Change] = []
    while len(found) < count:
        wait = namespaces.pause if namespaces.is_unfinished else 10.0
        ready, _, _ = select.select([namespaces], [], [], wait)
        assert ready or namespaces.is_unfinished, f"nothing came after {found}"
        found += namespaces.read()
    return found


def test_a_namespace_is_told_when_it_comes_and_when_it_goes(namespaces: Namespaces) -> None:
    assert not namespaces.add(NAME)
    assert not namespaces.add(f"{NAME}2")
    ip("netns", "add", NAME)
    assert changes(namespaces, 1) == [Change(NAME, exists=True)]
    ip("netns", "delete", NAME)
    assert changes(namespaces, 1) == [Change(NAME, exists=False)]


def test_one_that_is_there_is_told_at_once_and_once(namespaces: Namespaces) -> None:
    ip("netns", "add", NAME)
    assert namespaces.add(NAME)
    assert namespaces.exists(NAME)
    assert namespaces.read() == []


def test_another_namespace_of_the_same_name_is_another_one(namespaces: Namespaces) -> None:
    ip("netns", "add", NAME)
    namespaces.add(NAME)
    with (NAMESPACES / NAME).open():  # its inode cannot be used again meanwhile
        ip("netns", "delete", NAME)
        ip("netns", "add", NAME)
        found = namespaces.read()
        while namespaces.is_unfinished:
            found += namespaces.read()
    assert found == [Change(NAME, exists=False), Change(NAME, exists=True)]


def test_what_nobody_asks_for_is_not_told(namespaces: Namespaces) -> None:
    namespaces.add(NAME)
    namespaces.forget(NAME)
    ip("netns", "add", NAME)
    assert namespaces.read() == []
    assert not namespaces.is_unfinished


def test_a_file_that_is_no_namespace_is_none_and_is_looked_at_again(
    namespaces: Namespaces,
) -> None:
    (NAMESPACES / f"{NAME}-file").touch()
    assert not namespaces.add(f"{NAME}-file")
    assert namespaces.is_unfinished
    pauses = []
    for _ in range(9):
        assert namespaces.read() == []
        pauses.append(namespaces.pause)
    assert pauses[1] == 2 * pauses[0], "it may stay so for ever"
    assert pauses[-1] == 1.0
    (NAMESPACES / f"{NAME}-file").unlink()
    assert namespaces.read() == []
    assert not namespaces.is_unfinished
