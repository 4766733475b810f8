"""What is said at a check of modules that the kernel lacks. On a kernel that has some:
tests/kernel/guest/test_ipvs_modules.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvrrp.cli.kernel_check import missing
from fastvrrp.config import read

SERVERS = """
virtual_server 10.1.0.1 80 {
    lb_algo rr
    lvs_method NAT
    protocol TCP
    persistence_engine sip
    persistence_timeout 60
    real_server 10.0.0.1 80 {
    }
}
virtual_server 10.1.0.2 80 {
    lvs_method NAT
    protocol TCP
    real_server 10.0.0.1 80 {
    }
}
"""


@pytest.mark.parametrize(
    ("available", "said"),
    [
        ({"ip_vs", "ip_vs_rr", "ip_vs_wlc", "ip_vs_pe_sip"}, []),
        (
            {"ip_vs", "ip_vs_rr"},
            [
                "6:24: warning: the kernel of this machine has no persistence_engine sip; install"
                " or load the module ip_vs_pe_sip",
                "11:1: warning: the kernel of this machine has no lvs_sched wlc; install or load"
                " the module ip_vs_wlc",
            ],
        ),
        (
            {"ip_vs_rr"},
            [
                "2:1: warning: the kernel of this machine has no IPVS, which virtual_server needs;"
                " install or load the module ip_vs",
            ],
        ),
    ],
)
def test_a_module_is_named_once_where_it_is_wanted_first(
    tmp_path: Path, available: set[str], said: list[str]
) -> None:
    file = tmp_path / "lvs.conf"
    file.write_text(SERVERS)
    reading = read(str(file))
    found = [str(each) for each in missing(reading.modules, available.__contains__)]
    assert found == [f"{file}:{line}" for line in said]
    assert all(each.is_ours for each in missing(reading.modules, available.__contains__))


def test_a_configuration_without_virtual_servers_needs_none(tmp_path: Path) -> None:
    file = tmp_path / "empty.conf"
    file.write_text("")
    assert read(str(file)).modules == ()
