"""deploy/examples/lvs-dr: two directors, two servers, and one who says sorry."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab import Fastvrrp, Laboratory, ipvsadm, wait_until
from lab.clients import Clients
from lab.directors import Site

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "lvs-dr"
PATIENCE = 60.0
"""Seconds; the guest is slow."""

pytestmark = pytest.mark.timeout(330)


def test_the_pair_of_directors_serves_and_one_follows_the_other(lab: Laboratory) -> None:
    site = Site(lab, "DR")
    first, second = (
        Fastvrrp(director, (EXAMPLE / f"{side}.conf").read_text()).start()
        for director, side in zip(site.directors, ("first", "second"), strict=True)
    )
    wait_until(
        lambda: [each.holds(site.vip) for each in site.directors] == [True, False],
        PATIENCE,
        what=lambda: f"the VIP on the first: {first.log()}{second.log()}",
    )
    servers = {f"{site.address(name)}:80" for name in site.servers}
    wait_until(
        lambda: all(
            set(ipvsadm.destinations(director, site.service)) == servers
            for director in site.directors
        ),
        PATIENCE,
        what=lambda: f"{servers} in {[ipvsadm.rules(each) for each in site.directors]}",
    )
    with Clients(site.client, site.vip) as clients:
        clients.wait({"s1", "s2"}, PATIENCE)
        site.web["s1"].stop()
        site.web["s2"].stop()
        clients.wait({"sorry"}, PATIENCE)
        site.web["s1"].start()
        clients.wait({"s1"}, PATIENCE)
        assert first.stop(60.0) == 0
        wait_until(lambda: site.directors[1].holds(site.vip), PATIENCE, what=second.log)
        clients.wait({"s1"}, PATIENCE)
    assert second.stop(60.0) == 0
