"""The bench of load balancing: its configurations, what it measures without IPVS, and its table."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastvrrp.bench.balancing import (
    CHECKED,
    TABLE,
    Balanced,
    BalancingCase,
    measure,
    table,
    verdict,
)
from fastvrrp.bench.case import CaseError
from fastvrrp.config import read


def test_the_cases_are_those_of_the_issue() -> None:
    assert CHECKED.name == "5,000 real servers checked every second"
    assert TABLE.name == "2,000 virtual servers with 8 real servers each"
    assert TABLE.rows() == 2000 * 9


@pytest.mark.parametrize("is_checked", [False, True])
def test_a_configuration_has_what_its_case_says(is_checked: bool, tmp_path: Path) -> None:
    file = tmp_path / "balancing.conf"
    file.write_text(BalancingCase(40, is_checked).text(weight=7))
    reading = read(str(file))
    assert not [each for each in reading.complaints if each.severity.name == "ERROR"]
    servers = [
        server
        for virtual in reading.configuration.virtual_servers
        for server in virtual.real_servers
    ]
    assert len({server.address for server in servers}) == 40 * 8
    assert [server.weight for server in servers] == [1] * (40 * 8 - 1) + [7]
    assert {len(server.checkers) for server in servers} == {int(is_checked)}


def test_a_case_has_limits() -> None:
    with pytest.raises(CaseError, match="outside 1-8000"):
        BalancingCase(9000, is_checked=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")
def test_checks_are_measured_without_ipvs() -> None:
    measured = measure(BalancingCase(4, is_checked=True), "fastvrrp", 2.0, lambda _: None)
    assert measured.values["rate"] > 0
    assert measured.values["cost"] > 0


def test_the_table_has_both_daemons_of_one_kernel_side_by_side() -> None:
    measured = [
        Balanced(CHECKED.name, "fastvrrp", "1", "6.18", {"share": 20.0}),
        Balanced(CHECKED.name, "fastvrrp", "1", "6.1", {"share": 30.0}),
        Balanced(CHECKED.name, "keepalived", "2", "6.1", {"share": 60.0}),
    ]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table(measured)][2:]
    assert [row[1] for row in rows] == ["6.18", "6.1"]
    assert rows[0][-3:] == ["20.0", "", ""]
    assert rows[1][-3:] == ["30.0", "60.0", "0.50"]
    assert verdict(measured).endswith("met")
    assert verdict([Balanced.from_json(each.to_json()) for each in measured]) == verdict(measured)
    assert verdict([]) == "**not measured**"
