"""What happens to the daemon costs no client a connection: crashes, an upgrade, a restart, reloads.

A client speaks over one connection all the time while another asks anew again and again; IPVS is
looked at again and again. Afterwards a server dies, and is still found out.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import pytest

from fastvrrp.daemon.child import LEAVING
from lab import Fastvrrp, Laboratory, Router, ipvsadm, wait_until
from lab.clients import Clients, Connection
from lab.directors import Site

pytestmark = pytest.mark.timeout(330)  # the guest is slow
PATIENCE = 90.0
"""Seconds; the guest is slow."""
FASTVRRP = str(Path(sys.executable).with_name("fastvrrp"))
LOOK = 0.03
"""Seconds between two looks at IPVS."""
LATER = ("try again later", "has ended with status -9")
"""Why an upgrade is refused that is fine later: the daemon is starting again, or busy; or the
machine was too slow for the handover, and the daemon has killed the one that was to take over."""
MOVED_FROM, MOVED_TO = 8081, 8082


class Watch:
    """Looks at a virtual server in the kernel, from `with` to its end."""

    def __init__(self, router: Router, service: str) -> None:
        self._target = router, service
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look_on)
        self.seen: set[frozenset[tuple[str, int]]] = set()
        """Every state that it was in: its servers and their weights."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._end.wait(LOOK):
            self.seen.add(frozenset(ipvsadm.destinations(*self._target).items()))


class Stage:
    """A director with two servers that begin to serve, and with everybody who looks on. The VIP is
    there in any case, so that nothing but IPVS matters."""

    def __init__(self, lab: Laboratory) -> None:
        self.site = site = Site(lab, "DR")
        self.director = site.directors[0]
        self.director.ip(f"address add {site.vip}/24 dev {site.front.interface}")
        self.director.run(["ipvsadm", "-A", "-t", "10.99.0.1:80", "-s", "rr"])
        self.daemon = Fastvrrp(self.director, site.virtual_server() + self.other(MOVED_FROM))
        self.daemon.start()
        self.wait_for({"s1", "s2"})

    def other(self, port: int) -> str:
        """Another virtual server, for those who move it."""
        return (
            f"virtual_server {self.site.vip} {port} {{\n lvs_sched rr\n lvs_method DR\n"
            f" protocol TCP\n real_server {self.site.address('s1')} {port} {{\n }}\n}}\n"
        )

    def wait_for(self, names: set[str]) -> None:
        """For these servers in the kernel, and no others."""
        wanted = {f"{self.site.address(name)}:80": 1 for name in names}
        wait_until(
            lambda: ipvsadm.destinations(self.director, self.site.service) == wanted,
            PATIENCE,
            what=lambda: f"{names} in {ipvsadm.rules(self.director)}:\n{self.daemon.log()}",
        )

    def counts(self) -> list[int]:
        """Connections that the virtual server and its servers have had: 0 for what was made
        anew."""
        lines = self.director.run(["ipvsadm", "-Ln", "--stats"]).stdout.splitlines()
        start = next(n for n, line in enumerate(lines) if f"{self.site.vip}:80 " in line)
        # The order of servers is that of their arrival, and the first number is of connections.
        return [int(line.split()[2]) for line in lines[start : start + 3]]

    def services(self) -> set[str]:
        return {line.split()[2] for line in ipvsadm.rules(self.director) if line.startswith("-A")}

    def begun(self, before: int) -> None:
        """Waits until health checks have begun, or are reloaded, once more than before."""
        wait_until(lambda: self.times_begun() > before, PATIENCE, what=self.daemon.log)

    def times_begun(self) -> int:
        return self.daemon.log().count("Health checks ")


def kill_checkd(stage: Stage) -> None:
    checkd = stage.daemon.find_child("fastvrrp.daemon.checkd")
    assert checkd is not None
    before = stage.times_begun()
    os.kill(checkd, signal.SIGKILL)
    stage.begun(before)


def kill_vrrpd(stage: Stage) -> None:
    before = stage.times_begun()
    os.kill(stage.daemon.vrrpd, signal.SIGKILL)
    stage.begun(before)


def upgrade(stage: Stage) -> None:
    checkd = stage.daemon.find_child("fastvrrp.daemon.checkd")
    before = stage.times_begun()
    pid_file = str(stage.daemon.folder / "fastvrrp.pid")
    command = [FASTVRRP, "upgrade", "-p", pid_file]

    def is_done() -> bool:
        done = stage.director.run(command, check=False)
        refused = any(reason in done.stdout for reason in LATER)
        assert done.returncode == 0 or refused, done.stdout + done.stderr + stage.daemon.log()
        return done.returncode == 0

    wait_until(is_done, PATIENCE, what=stage.daemon.log)
    stage.begun(before)
    assert stage.daemon.find_child("fastvrrp.daemon.checkd") not in (None, checkd)


def restart(stage: Stage) -> None:
    """As systemd does with RestartKillSignal."""
    stage.daemon.processes[0].send_signal(LEAVING)
    assert stage.daemon.wait(PATIENCE) == 0
    assert stage.services() == {
        "10.99.0.1:80",
        f"{stage.site.vip}:80",
        f"{stage.site.vip}:{MOVED_FROM}",
    }
    stage.daemon.start()
    stage.begun(0)


def move_the_other(stage: Stage) -> None:
    stage.daemon.configure(stage.site.virtual_server() + stage.other(MOVED_TO))
    before = stage.times_begun()
    stage.daemon.signal(signal.SIGHUP)
    stage.begun(before)
    assert stage.services() == {
        "10.99.0.1:80",
        f"{stage.site.vip}:80",
        f"{stage.site.vip}:{MOVED_TO}",
    }


def kill_everything_and_move_the_other(stage: Stage) -> None:
    """What the next start does not want any more goes, and nobody else's."""
    stage.daemon.kill()
    stage.daemon.configure(stage.site.virtual_server() + stage.other(MOVED_TO))
    stage.daemon.start()
    stage.begun(0)
    wait_until(
        lambda: (
            stage.services()
            == {"10.99.0.1:80", f"{stage.site.vip}:80", f"{stage.site.vip}:{MOVED_TO}"}
        ),
        PATIENCE,
        what=lambda: f"{stage.services()}:\n{stage.daemon.log()}",
    )


@pytest.mark.parametrize(
    "story",
    [
        pytest.param((kill_checkd, upgrade, move_the_other, kill_vrrpd), id="while it runs"),
        pytest.param((restart,), id="restart"),
        pytest.param((kill_everything_and_move_the_other,), id="kill of everything"),
    ],
)
def test_no_client_sees_what_happens_to_the_daemon(
    lab: Laboratory, story: Sequence[Callable[[Stage], None]]
) -> None:
    stage = Stage(lab)
    site = stage.site
    long = Connection(site.client, site.vip)
    served = long.ask()
    with (
        Clients(site.client, site.vip) as clients,
        Watch(stage.director, site.service) as watch,
    ):
        # The kernel adds up what it has counted every two seconds.
        wait_until(lambda: min(stage.counts()) > 0, PATIENCE, what="counters", interval=0.3)
        for happens in story:
            before = stage.counts()
            happens(stage)
            assert long.ask(PATIENCE) == served
            clients.wait({"s1", "s2"}, PATIENCE)
            after = stage.counts()
            assert all(now >= once for now, once in zip(after, before, strict=True)), (
                before,
                after,
            )
    assert {answer.server for answer in clients.answers} == {"s1", "s2"}
    both = {f"{site.address(name)}:80": 1 for name in ("s1", "s2")}
    assert watch.seen == {frozenset(both.items())}
    (other,) = {"s1", "s2"} - {served}
    site.web[other].stop()
    stage.wait_for({served})
    site.web[other].start()
    stage.wait_for({"s1", "s2"})
    assert long.ask(PATIENCE) == served
    long.close()
    assert stage.daemon.stop(PATIENCE) == 0
    assert stage.services() == {"10.99.0.1:80"}
