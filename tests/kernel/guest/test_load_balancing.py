"""Directors in pairs, as every guide of LVS builds them, with servers and clients that are real."""

from __future__ import annotations

import time

import pytest

from lab import Daemon, Fastvrrp, Laboratory, ipvsadm, wait_until
from lab.clients import Clients, Connection
from lab.directors import KeepalivedDirector, Site

pytestmark = pytest.mark.timeout(330)  # the guest is slow
PATIENCE = 60.0
"""Seconds; the guest is slow."""


def configuration(site: Site, director: int) -> str:
    synchronised = f"lvs_sync_daemon {site.front.interface} OUTER id 7"
    return (
        f"global_defs {{\n  router_id director{director}\n  {synchronised}\n}}\n"
        + site.instances(director)
        + site.virtual_server()
    )


def wait_for_table(site: Site, names: set[str]) -> None:
    wanted = {f"{site.address(name)}:80" for name in names}
    wait_until(
        lambda: all(
            {key for key, weight in ipvsadm.destinations(director, site.service).items() if weight}
            == wanted
            for director in site.directors
        ),
        PATIENCE,
        what=lambda: f"{wanted} in {[ipvsadm.rules(director) for director in site.directors]}",
        interval=0.1,
    )


@pytest.mark.parametrize(
    ("subject", "method"),
    [(Fastvrrp, "DR"), (Fastvrrp, "NAT"), (Fastvrrp, "TUN"), (KeepalivedDirector, "DR")],
)
def test_a_pair_of_directors(lab: Laboratory, subject: type[Daemon], method: str) -> None:
    site = Site(lab, method)
    first, second = (
        subject(director, configuration(site, number)).start()
        for number, director in enumerate(site.directors)
    )
    wait_until(
        lambda: [director.holds(site.vip) for director in site.directors] == [True, False],
        PATIENCE,
        what=lambda: f"the VIP on the first: {first.log()}{second.log()}",
    )
    wait_for_table(site, {"s1", "s2"})
    with Clients(site.client, site.vip) as clients:
        clients.wait({"s1", "s2"}, PATIENCE)

        site.web["s1"].stop()
        wait_for_table(site, {"s2"})
        out = time.monotonic()
        clients.wait({"s2"}, PATIENCE)
        assert {answer.server for answer in clients.since(out)} == {"s2"}

        site.web["s1"].start()
        wait_for_table(site, {"s1", "s2"})
        clients.wait({"s1", "s2"}, PATIENCE)

        site.web["s1"].stop()
        site.web["s2"].stop()
        wait_for_table(site, {"sorry"})
        out = time.monotonic()
        clients.wait({"sorry"}, PATIENCE)
        assert {answer.server for answer in clients.since(out)} == {"sorry"}

        for name in site.servers:
            site.web[name].start()
        wait_for_table(site, {"s1", "s2"})

        long = Connection(site.client, site.vip)
        served = {long.ask() for _ in range(8)}
        wait_until(
            lambda: any(
                f":{long.port} " in line and line.startswith("ESTABLISHED")
                for line in ipvsadm.connections(site.directors[1])
            ),
            PATIENCE,
            what=lambda: f"the connection on the second: {ipvsadm.connections(site.directors[1])}",
        )
        first.kill()
        site.cut_off(0)
        wait_until(lambda: site.directors[1].holds(site.vip), PATIENCE, what=second.log)
        assert {long.ask(PATIENCE)} == served
        clients.wait({"s1", "s2"}, PATIENCE)
