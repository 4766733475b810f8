"""A FIFO that is told of changes: readers that come late, are slow, or never come."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from fastvrrp.notify.fifo import ROOM, Fifo

LINE = b'INSTANCE "VI_1" MASTER 100\n'
CAPACITY = 1 << 16
"""Bytes that an empty pipe takes: pipe(7)."""


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = uvloop.new_event_loop()
    yield made
    made.close()


def read(path: Path, loop: asyncio.AbstractEventLoop, size: int) -> bytes:
    """What a reader that opens the FIFO now gets, `size` bytes at most."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    data = b""
    has_waited = False
    try:
        while len(data) < size:
            try:
                data += os.read(descriptor, min(size - len(data), CAPACITY))
                has_waited = False
            except BlockingIOError:
                if has_waited:
                    break  # nothing has come meanwhile
                loop.run_until_complete(asyncio.sleep(0.05))
                has_waited = True
    finally:
        os.close(descriptor)
    return data


def test_a_reader_that_comes_late_gets_what_was_written(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    path = tmp_path / "fifo"
    fifo = Fifo(loop, str(path), None)
    for _ in range(10):
        fifo.write(LINE)
    assert read(path, loop, 10 * len(LINE)) == 10 * LINE
    fifo.close()
    assert not path.exists()


def test_nobody_waits_for_a_reader_who_never_comes(
    loop: asyncio.AbstractEventLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "fifo"
    fifo = Fifo(loop, str(path), None)
    count = 2 * (CAPACITY + ROOM) // len(LINE)
    lines = [b'INSTANCE "VI_%06d" MASTER 100\n' % number for number in range(count)]
    for line in lines:
        fifo.write(line)
    assert caplog.text.count("nobody reads it") == 1
    # Whoever comes then gets the oldest ones, whole and in their order, and the rest is counted.
    kept = read(path, loop, len(b"".join(lines)) - 1)
    found = kept.splitlines(keepends=True)
    assert found == lines[: len(found)]
    assert ROOM < len(kept) <= ROOM + CAPACITY
    assert f"{count - len(found)} lines were dropped" in caplog.text
    fifo.write(LINE)
    assert read(path, loop, len(LINE)) == LINE
    fifo.close()


def test_what_waits_is_still_given_to_a_reader_at_the_end(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    path = tmp_path / "fifo"
    fifo = Fifo(loop, str(path), None)
    count = 4 * CAPACITY // len(LINE)
    for _ in range(count):
        fifo.write(LINE)
    copy = tmp_path / "copy"
    reader = os.posix_spawn("/bin/sh", ["sh", "-c", f"cat {path} >{copy}"], os.environ)
    loop.run_until_complete(asyncio.sleep(0.3))
    fifo.finish()
    fifo.close()
    assert os.waitpid(reader, 0)[1] == 0
    assert copy.read_bytes() == count * LINE


def test_the_end_does_not_wait_for_one_who_never_comes(
    loop: asyncio.AbstractEventLoop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fifo = Fifo(loop, str(tmp_path / "fifo"), None)
    for _ in range(2 * CAPACITY // len(LINE)):
        fifo.write(LINE)
    fifo.finish()
    fifo.close()
    assert "lines were not read" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_fifo_that_was_there_stays_whose_it_is(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path, 0o640)
    fifo = Fifo(loop, str(path), (65534, 65534))
    assert path.stat().st_uid == os.getuid()
    assert path.stat().st_mode & 0o777 == 0o640
    fifo.close()
    assert path.is_fifo()


def test_what_stands_in_its_place_at_the_end_is_let_be(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    path = tmp_path / "fifo"
    fifo = Fifo(loop, str(path), None)
    path.unlink()
    path.write_text("another's")
    fifo.close()
    assert path.read_text() == "another's"


def test_a_file_is_no_fifo(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with pytest.raises(FileExistsError, match="is no FIFO"):
        Fifo(loop, str(path), None)
    with pytest.raises(FileNotFoundError):
        Fifo(loop, str(tmp_path / "none" / "fifo"), None)
