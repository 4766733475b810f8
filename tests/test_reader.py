"""The process that reads configurations, where it stays."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from fastvrrp.daemon.reader import MANY_SERVERS

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
