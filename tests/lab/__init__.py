"""The namespace laboratory: routers, wires, daemons and captures for tests, side by side.

    with Laboratory() as lab:
        a, b = lab.router("a"), lab.router("b")
        (link,) = lab.connect(a, b)
        with Capture(b) as capture:
            master = Keepalived(a, CONFIGURATION).start()
            ...
        capture.assert_clean()

Everything is gone when the block ends, and also when the process is killed inside it.
"""

from lab.capture import Advert, Capture
from lab.configuration import VirtualRouter, keepalived_conf
from lab.daemons import Daemon, Fastvrrp, Keepalived
from lab.frr import Frr
from lab.network import Laboratory, Link, Router
from lab.waiting import wait_until

__all__ = [
    "Advert",
    "Capture",
    "Daemon",
    "Fastvrrp",
    "Frr",
    "Keepalived",
    "Laboratory",
    "Link",
    "Router",
    "VirtualRouter",
    "keepalived_conf",
    "wait_until",
]
