"""A server dies: it is out in the time that the configuration says, and no client is sent to it
after that. It comes back, and is in again."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from lab import Fastvrrp, Laboratory, ipvsadm, wait_until
from lab.clients import Clients
from lab.directors import METHODS, Site

pytestmark = pytest.mark.timeout(330)  # the guest is slow
PATIENCE = 60.0
DELAY_LOOP = 0.5
RETRY = 1
DELAY_BEFORE_RETRY = 0.2
CONNECT_TIMEOUT = 1.0
OUT = DELAY_LOOP + (RETRY + 1) * CONNECT_TIMEOUT + RETRY * DELAY_BEFORE_RETRY
"""Seconds until a server that answers nothing any more is out: it may have been checked a moment
before, and then each check waits for its answer."""
BACK = DELAY_LOOP + CONNECT_TIMEOUT
MARGIN = 5.0
"""Seconds that a slow guest may need besides: it has one processor, which others use too."""


def seconds_until(done: Callable[[], bool], what: str) -> float:
    began = time.monotonic()
    wait_until(done, PATIENCE, what=what, interval=0.02)
    return time.monotonic() - began


@pytest.mark.keywords(
    "virtual_server/delay_loop", "virtual_server/retry", "virtual_server/delay_before_retry"
)
@pytest.mark.parametrize("method", METHODS)
def test_a_dead_server_is_out_in_time(lab: Laboratory, method: str) -> None:
    site = Site(lab, method)
    text = site.virtual_server()
    for written in (
        f"delay_loop {DELAY_LOOP}",
        f"retry {RETRY}",
        f"delay_before_retry {DELAY_BEFORE_RETRY}",
        f"connect_timeout {CONNECT_TIMEOUT:.0f}",
    ):
        assert f"{written}\n" in text
    director = site.directors[0]
    daemon = Fastvrrp(director, site.instances(0) + text).start()
    wait_until(lambda: director.holds(site.vip), PATIENCE, what=daemon.log)
    switch = lab.switch_namespace
    assert switch is not None
    cable = f"{site.back.interface}.{site.hosts['s1'].index}"

    def in_service() -> set[str]:
        found = ipvsadm.destinations(director, site.service)
        return {name for name in site.hosts if found.get(f"{site.address(name)}:80", 0)}

    wait_until(lambda: in_service() == {"s1", "s2"}, PATIENCE, what=daemon.log)
    with Clients(site.client, site.vip) as clients:
        clients.wait({"s1", "s2"}, PATIENCE)
        switch.ip(f"link set {cable} down")
        took = seconds_until(lambda: in_service() == {"s2"}, "the dead server to be out")
        out = time.monotonic()
        assert took <= OUT + MARGIN, daemon.log()
        clients.wait({"s2"}, PATIENCE, count=20)
        assert {(each.server, each.failure) for each in clients.since(out)} == {("s2", "")}

        switch.ip(f"link set {cable} up")
        took = seconds_until(lambda: in_service() == {"s1", "s2"}, "the server to be in again")
        assert took <= BACK + MARGIN, daemon.log()
        clients.wait({"s1", "s2"}, PATIENCE)
    assert daemon.stop() == 0
