"""The process that reads configurations, where it stays."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from fastvrrp.daemon.reader import MANY_SERVERS
from fastvrrp.daemon.reading import Known, News, Reader, ReaderError

NOTHING = Known(b"")

COUNTING = """
import gc, sys
from fastvrrp.config.assembly import Assembly
from fastvrrp.daemon import reader
inner = reader.read
def read(*arguments):
    found = sum(isinstance(each, Assembly) for each in gc.get_objects())
    with open(sys.argv[1], "a") as file:
        file.write(f"{found}\\n")
    return inner(*arguments)
reader.read = read
reader.main([sys.argv[2], "", "both"])
"""


def test_a_reading_leaves_nothing_in_a_reader_that_stays(tmp_path: Path) -> None:
    path = tmp_path / "servers.conf"
    path.write_text(
        "".join(
            f"virtual_server fwmark {mark} {{\n lvs_sched rr\n lvs_method NAT\n"
            " real_server 127.0.0.1 81 {\n }\n}\n"
            for mark in range(1, MANY_SERVERS + 1)
        )
    )
    counts = tmp_path / "counts"
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", COUNTING, str(counts), str(path)],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
        )
    with ours:
        ours.send(b"sss")  # three are asked for
    assert process.wait(60) == 0
    assert counts.read_text().split() == ["0", "0", "0"]


def ever_longer(tmp_path: Path) -> Path:
    """A configuration that nobody reads to its end: its first line is awaited for ever."""
    path = tmp_path / "fifo.conf"
    os.mkfifo(path)
    return path


def is_reaped(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def test_who_leaves_a_reading_undone_waits_for_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        reader = Reader(
            asyncio.get_running_loop(), str(ever_longer(tmp_path)), None, NOTHING, lambda _: None
        )
        pid = reader.pid
        reader.close()
        assert not is_reaped(pid), "its end was waited for in the loop"
        while not is_reaped(pid):
            await asyncio.sleep(0.01)

    asyncio.run(story())


def test_a_reader_that_is_killed_is_told_of_when_it_has_gone(tmp_path: Path) -> None:
    async def story() -> None:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[News | ReaderError] = loop.create_future()
        path = str(ever_longer(tmp_path))
        reader = Reader(loop, path, None, NOTHING, ended.set_result)
        os.kill(reader.pid, signal.SIGKILL)
        error = await ended
        assert str(error) == "the process that reads it was killed by signal 9"
        assert is_reaped(reader.pid)
        reader.close()  # for the second time: nothing is left to be done

    asyncio.run(story())
