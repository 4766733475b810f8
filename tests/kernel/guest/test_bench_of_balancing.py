"""The bench of load balancing in a kernel that has IPVS, on a table that is small."""

from __future__ import annotations

import pytest

from fastvrrp.bench.balancing import BalancingCase, has_ipvs, measure

pytestmark = pytest.mark.timeout(330)  # the guest is slow


@pytest.mark.parametrize("kind", ["fastvrrp", "keepalived"])
def test_the_table_is_loaded_reloaded_and_gone(kind: str) -> None:
    assert has_ipvs()
    measured = measure(BalancingCase(5, is_checked=False), kind, 1.0, lambda _: None)
    assert set(measured.values) == {"load", "reload", "unload", "left"}
    assert measured.values["load"] > 0
    assert measured.values["left"] == 0
