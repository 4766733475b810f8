"""The process that matches regular expressions (`matching`); its argument is its socket's number.

It says a word when it has begun, and then what is wrong with each body that it is asked about.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import sys

from fastvrrp.kernel.capabilities import Rights, keep_only
from fastvrrp.lvs.checkers.expression import mismatch
from fastvrrp.track.frames import Closed, Frames
from fastvrrp.track.interpreter import end_with_starter

NICENESS = 5
"""Checks of other servers come first."""
RIGHTS = Rights()
"""None: what it matches is said by servers."""


def main() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever started us may block signals
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # those for the daemon's group
    end_with_starter()
    keep_only(RIGHTS)
    os.nice(NICENESS)
    frames = Frames(socket.socket(fileno=int(sys.argv[1])))
    frames.socket.setblocking(True)
    frames.send(b"ready")
    while True:
        try:
            messages = frames.receive()
        except Closed:
            return
        for message in messages:
            frames.send(mismatch(*pickle.loads(message)).encode())


if __name__ == "__main__":
    main()
