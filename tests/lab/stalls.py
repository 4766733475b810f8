"""How long the kernel lets wait who wants to change an interface or an address.

All namespaces share one lock for that (lab.turns). Somebody who makes or removes thousands of
interfaces holds it for seconds, and a daemon that waits for it meanwhile is late through no fault
of its own. A test that measures time has to know whether that happened.
"""

import os
import select
import socket
import threading
import time
from ctypes import get_errno
from typing import Self

from lab.network import Router, libc

INTERVAL = 0.02
# A group that nobody uses, on the loopback interface, where no report of a membership is sent.
MEMBERSHIP = socket.inet_aton("224.0.0.250") + socket.inet_aton("127.0.0.1")


class StallWatch:
    """Takes the kernel's lock again and again, while the block runs, in one router."""

    def __init__(self, router: Router) -> None:
        self.router = router
        self.longest = 0.0
        """Seconds that a change had to wait, at most."""

    def __enter__(self) -> Self:
        self.socket = self.router.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.wakeup = os.eventfd(0)
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.eventfd_write(self.wakeup, 1)
        self.thread.join()
        self.socket.close()
        os.close(self.wakeup)

    def watch(self) -> None:
        while not select.select([self.wakeup], [], [], INTERVAL)[0]:
            begin = time.monotonic()
            for change in (socket.IP_ADD_MEMBERSHIP, socket.IP_DROP_MEMBERSHIP):
                # Not Python's own: that one keeps all threads waiting with it.
                if libc.setsockopt(
                    self.socket.fileno(), socket.IPPROTO_IP, change, MEMBERSHIP, len(MEMBERSHIP)
                ):
                    raise OSError(get_errno(), "membership")
            self.longest = max(self.longest, time.monotonic() - begin)
