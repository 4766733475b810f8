"""What only all virtual servers together show: those that are one service of the kernel."""

from __future__ import annotations

from pathlib import Path
from socket import AF_INET, AF_INET6

import pytest

from fastvrrp.config import Reading, read
from fastvrrp.lvs.services import services_of
from fastvrrp.model import IpvsServiceKey


def server(head: str, protocol: str = "TCP") -> str:
    return f"virtual_server {head} {{\nprotocol {protocol}\nreal_server 10.9.0.1 80 {{\n}}\n}}\n"


def group(name: str, *lines: str) -> str:
    return f"virtual_server_group {name} {{\n" + "".join(f"{line}\n" for line in lines) + "}\n"


MARKED = "global_defs {\nnftables_ipvs\n}\n"
BOTH = server("group G") + server("group H")


def reading(text: str, folder: Path) -> Reading:
    path = folder / "keepalived.conf"
    path.write_text(text)
    return read(str(path), "test")


def said(text: str, folder: Path) -> list[str]:
    return [
        complaint.text
        for complaint in reading(text, folder).complaints
        if "service" in complaint.text or "nftables_ipvs" in complaint.text
    ]


@pytest.mark.parametrize(
    "text",
    [
        group("G", "10.0.0.1-9 80") + server("group G") + server("10.0.0.5 80"),
        group("G", "10.0.0.0/24 80") + group("H", "10.0.0.9 80") + BOTH,
        group("G", "fwmark 7") + server("group G") + server("group G", "UDP"),
        group("G", "fwmark 7 inet") + server("group G") + server("fwmark 7"),
    ],
)
def test_two_virtual_servers_of_one_service_are_told(text: str, tmp_path: Path) -> None:
    [complaint] = said(text, tmp_path)
    assert "IPVS has one service for both" in complaint


@pytest.mark.parametrize(
    "text",
    [
        group("G", "10.0.0.1-9 80") + server("group G") + server("10.0.0.5 81"),
        group("G", "10.0.0.1-9 80") + server("group G") + server("group G", "UDP"),
        group("G", "10.0.0.1-9 80") + server("group G") + server("10.0.0.10 80"),
        MARKED + group("G", "10.0.0.1-9 80") + group("H", "10.0.0.9 81") + BOTH,
        group("G", "fwmark 7") + server("group G") + server("fwmark 8"),
    ],
)
def test_virtual_servers_that_are_apart_are_not_told(text: str, tmp_path: Path) -> None:
    assert said(text, tmp_path) == []


@pytest.mark.parametrize("other", ["10.0.0.9 80", "10.0.0.9", "10.0.0.0/16 80"])
@pytest.mark.keywords("global_defs/nftables_ipvs")
def test_addresses_that_nftables_would_refuse_are_told(other: str, tmp_path: Path) -> None:
    text = MARKED + group("G", "10.0.0.1-9 80") + group("H", other) + BOTH
    [complaint] = said(text, tmp_path)
    assert "can mark no group" in complaint


@pytest.mark.parametrize("definitions", ["", MARKED])
def test_a_range_with_too_many_addresses_is_left_out_unless_it_is_marked(
    definitions: str, tmp_path: Path
) -> None:
    text = definitions + group("G", "fd00::/64 80", "fd00:1::/112 80") + server("group G")
    found = reading(text, tmp_path)
    assert len(found.configuration.virtual_server_groups[0].ranges) == (2 if definitions else 1)
    assert len(said(text, tmp_path)) == (0 if definitions else 1)


def test_a_group_of_marks_has_services_of_each_family(tmp_path: Path) -> None:
    """They are of that of the servers, so that two virtual servers have nothing in common."""
    of_each = "".join(
        f"virtual_server group G {{\nlvs_method NAT\nreal_server {real} 80 {{\n}}\n}}\n"
        for real in ("10.9.0.1", "fd00::1")
    )
    found = reading(group("G", "fwmark 7") + of_each, tmp_path).configuration
    (marks,) = found.virtual_server_groups
    four, six = found.virtual_servers
    assert [each.key for each in services_of(four, marks)] == [IpvsServiceKey(AF_INET, mark=7)]
    assert [each.key for each in services_of(six, marks)] == [IpvsServiceKey(AF_INET6, mark=7)]
    assert four.identity != six.identity
