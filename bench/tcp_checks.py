"""What TCP_CHECK costs: `python bench/tcp_checks.py [SERVERS [SECONDS [RUNS]]]`.

One process checks SERVERS real servers (5,000) every second, on loopback, where each has an address
of its own (127/8); another one accepts. For RUNS times SECONDS it prints how much of a core the one
that checks took (/proc/PID/schedstat), and how many connections the other one saw in a second. On
loopback the process that connects pays also for what the kernel does for the one that accepts.
"""

import os
import select
import signal
import socket
import statistics
import sys
import time
from pathlib import Path

import uvloop

from fastvrrp.lvs.patrol import Patrol
from fastvrrp.model import SECOND, CheckTarget, CheckTiming, TcpCheck

PORT = 18_080
BACKLOG = 4096


def accept(seen: int) -> None:
    """Accepts and closes, for ever; writes how many it has accepted to `seen` every tenth."""
    listener = socket.create_server(("0.0.0.0", PORT), backlog=BACKLOG)
    listener.setblocking(False)
    os.write(seen, b"0\n")
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    open_ones: dict[int, socket.socket] = {}
    accepted = 0
    while True:
        for descriptor, _ in poll.poll():
            if descriptor != listener.fileno():
                open_ones.pop(descriptor).close()
                continue
            try:
                made, _ = listener.accept()
            except BlockingIOError:
                continue
            accepted += 1
            open_ones[made.fileno()] = made
            poll.register(made, select.EPOLLIN)
            if accepted % 500 == 0:
                os.pwrite(seen, b"%d\n" % accepted, 0)


def check(servers: int) -> None:
    """Checks them, for ever."""
    loop = uvloop.new_event_loop()
    patrol = Patrol(loop)
    timing = CheckTiming(SECOND, 5 * SECOND, 1, SECOND, SECOND)
    wrong = 0

    def on_news(verdict: object) -> None:
        nonlocal wrong
        if not getattr(verdict, "is_good", False):
            wrong += 1
            print("a server was found to be bad:", verdict)

    for number in range(servers):
        address = bytes((127, 1, number >> 8, number & 255))
        patrol.add(TcpCheck(CheckTarget(address, PORT), timing), on_news)
    loop.run_forever()


def ran(pid: int) -> int:
    """Nanoseconds that a process has run on a core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def fork(work: object, *arguments: int) -> int:
    pid = os.fork()
    if pid == 0:
        assert callable(work)
        work(*arguments)
        os._exit(1)
    return pid


def main() -> None:
    given = [int(word) for word in sys.argv[1:]]
    servers, seconds, runs = (given + [5000, 10, 5][len(given) :])[:3]
    seen = os.memfd_create("seen")
    accepting = fork(accept, seen)
    while not os.pread(seen, 1, 0):
        time.sleep(0.01)
    checking = fork(check, servers)
    shares = []
    try:
        time.sleep(4)
        for _ in range(runs):
            before, begun, count = ran(checking), time.monotonic_ns(), int(os.pread(seen, 20, 0))
            time.sleep(seconds)
            took = time.monotonic_ns() - begun
            share = 100 * (ran(checking) - before) / took
            rate = (int(os.pread(seen, 20, 0)) - count) * SECOND / took
            shares.append(share)
            print(f"{share:5.1f} % of a core, {rate:.0f} connections a second", flush=True)
        print(f"median {statistics.median(shares):.1f} %")
    finally:
        os.kill(checking, signal.SIGKILL)
        os.kill(accepting, signal.SIGKILL)


if __name__ == "__main__":
    main()
