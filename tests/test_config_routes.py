"""Routes and rules as they are written: every number has to fit the kernel's message."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvrrp.config import Reading, read
from fastvrrp.model import Metric

ROUTE = "10.1.0.0/16 dev eth0"
TWO_WAYS = "10.1.0.0/16 nexthop via 10.0.0.1 dev eth0 {} nexthop via 10.0.0.2 dev eth0"
RULE = "from 10.0.0.0/8 table 5 priority 9"
LEFT_OUT = {"static_routes": "the route is left out", "static_rules": "the rule is left out"}


def reading(folder: Path, block: str, line: str) -> Reading:
    path = folder / "keepalived.conf"
    path.write_text(f"{block} {{\n{line}\n}}\n")
    return read(str(path))


def taken(read_: Reading) -> int:
    """How many routes and rules there are."""
    return len(read_.configuration.static_routes) + len(read_.configuration.static_rules)


@pytest.mark.parametrize(
    ("block", "line", "text"),
    [
        ("static_routes", TWO_WAYS.format("weight 0"), "weight 0 is outside 1-256"),
        ("static_routes", TWO_WAYS.format("weight 300"), "weight 300 is outside 1-256"),
        ("static_routes", f"{ROUTE} hoplimit 256", "hoplimit 256 is outside 0-255"),
        ("static_routes", f"{ROUTE} quickack 2", "quickack 2 is outside 0-1"),
        ("static_routes", f"{ROUTE} fastopen_no_cookie 2", "fastopen_no_cookie 2 is outside 0-1"),
        ("static_routes", f"{ROUTE} mtu 4294967296", "mtu 4294967296 is outside 0-4294967295"),
        ("static_routes", f"{ROUTE} tos 256", "tos 256 is outside 0-255"),
        ("static_routes", f"{ROUTE} rtt 600000s", "rtt 600000s is longer than 536871s"),
        ("static_routes", f"{ROUTE} rto_min x", "rto_min x is no time; write one as in 100ms"),
        (
            "static_routes",
            f"{ROUTE} encap mpls 1048576",
            "mpls 1048576 is outside 0-1048575: an MPLS label has 20 bits",
        ),
        (
            "static_routes",
            f"{ROUTE} encap mpls 100/x",
            "mpls 100/x is no list of MPLS labels; write them as in 100/200",
        ),
        ("static_routes", f"{ROUTE} encap mpls {'/'.join('1' * 31)}", "has more than 30"),
        (
            "static_routes",
            f"{ROUTE} encap ip id 1 flags 65536",
            "flags 65536 is outside 0-0xffff",
        ),
        ("static_routes", f"{ROUTE} encap ip id 1 ttl 256", "ttl 256 is outside 0-255"),
        (
            "static_routes",
            f"{ROUTE} encap ip id 1 dst 2001:db8::1",
            "dst 2001:db8::1 is not an IPv4 address, as encap has it",
        ),
        *(
            ("static_routes", f"{ROUTE} encap ila {locator}", "is no locator of ILA")
            for locator in ("1:2:3", "1:2:3:4:5", "1:2::3:4", "1::2::3", "10000:2:3:4")
        ),
        ("static_routes", f"{ROUTE} bogus", "bogus is no option here"),
        ("static_routes", f"{ROUTE} metric", "metric needs a value"),
        *(
            ("static_rules", f"{RULE} fwmark {mark}", "is outside 0-0xffffffff")
            for mark in ("4294967296", "0x100000000", "1/0x100000000")
        ),
        ("static_rules", f"{RULE} fwmark -1", "fwmark -1 is no mark; write one as in 16"),
        ("static_rules", f"{RULE} sport 1-65536", "sport 1-65536 is outside 1-65535"),
        ("static_rules", f"{RULE} dport 0-5", "dport 0-5 is outside 1-65535"),
        ("static_rules", f"{RULE} dport 9-5", "dport 9-5 begins behind its end; write 5-9"),
        ("static_rules", f"{RULE} dport 5", "dport 5 is no range; write both ends"),
        ("static_rules", f"{RULE} uidrange 0-4294967295", "is outside 0-4294967294"),
        (
            "static_rules",
            f"{RULE} tunnel-id {1 << 64}",
            f"is outside 0-{(1 << 64) - 1}",
        ),
        ("static_rules", "from 10.0.0.0/8 table 5 priority 4294967296", "is outside 0-4294967295"),
    ],
)
def test_what_has_no_room_leaves_the_line_out_and_says_where(
    tmp_path: Path, block: str, line: str, text: str
) -> None:
    read_ = reading(tmp_path, block, line)
    (complaint,) = [each for each in read_.complaints if each.severity.name == "ERROR"]
    assert complaint.place.line == 2
    assert text in complaint.text
    assert complaint.text.endswith(f"; {LEFT_OUT[block]}")
    assert taken(read_) == 0


@pytest.mark.parametrize(
    ("block", "line"),
    [
        ("static_routes", TWO_WAYS.format("weight 1")),
        ("static_routes", TWO_WAYS.format("weight 256")),
        ("static_routes", f"{ROUTE} encap mpls 0/1048575"),
        ("static_routes", f"{ROUTE} encap ip id 18446744073709551615 flags 0xffff ttl 255"),
        ("static_routes", f"{ROUTE} encap ip6 id 1 dst 2001:db8::1 via 10.0.0.1 src 10.0.0.2"),
        ("static_rules", f"{RULE} fwmark 0xffffffff/4294967295"),
        ("static_rules", f"{RULE} sport 1-65535 dport 7-7 uidrange 0-4294967294"),
        ("static_rules", f"{RULE} tunnel-id {(1 << 64) - 1}"),
    ],
)
def test_the_highest_numbers_fit(tmp_path: Path, block: str, line: str) -> None:
    read_ = reading(tmp_path, block, line)
    assert [str(each) for each in read_.complaints if each.severity.name == "ERROR"] == []
    assert taken(read_) == 1


def test_values_are_in_the_kernels_units(tmp_path: Path) -> None:
    read_ = reading(
        tmp_path,
        "static_routes",
        f"{ROUTE} rtt 1.5ms rttvar 2 rto_min 10us\n"
        f"10.2.0.0/16 dev eth0 encap ila 1::abcd\n"
        "10.3.0.0/16 dev eth0 encap ip id 1 flags 0x10",
    )
    timed, located, flagged = read_.configuration.static_routes
    values = {metric.metric: metric.value for metric in timed.metrics}
    assert values == {Metric.RTT: 12, Metric.RTTVAR: 2, Metric.RTO_MIN: 1}
    (hop,) = located.next_hops
    assert hop.encapsulation is not None
    assert hop.encapsulation.locator == 0x0001_0000_0000_ABCD
    (hop,) = flagged.next_hops
    assert hop.encapsulation is not None
    assert hop.encapsulation.flags == 16


@pytest.mark.keywords("global_defs/iproute_usr_dir iproute_etc_dir")
@pytest.mark.parametrize("is_first", [True, False])
def test_names_are_looked_up_where_it_is_written(tmp_path: Path, is_first: bool) -> None:
    """Also where that is written after them, and no longer for the next file."""
    for folder, tables in (("usr", "7 blue\n8 red\n"), ("etc", "9 red\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rt_tables").write_text(tables)
    (tmp_path / "etc" / "rt_protos.d").mkdir()
    (tmp_path / "etc" / "rt_protos.d" / "ours.conf").write_text("0xb5 ours\n")
    places = f"iproute_usr_dir {tmp_path}/usr\niproute_etc_dir {tmp_path}/etc"
    text = (
        f"{ROUTE} table blue protocol ours no_track",
        "10.2.0.0/16 dev eth0 table red",
        "10.3.0.0/16 dev eth0 table main",
    )
    both = [f"global_defs {{\n{places}\n}}\n", "static_routes {\n" + "\n".join(text) + "\n}\n"]
    path = tmp_path / "keepalived.conf"
    path.write_text("".join(both if is_first else reversed(both)))
    found = read(str(path))
    assert not found.complaints
    assert [route.table for route in found.configuration.static_routes] == [7, 9, 254]
    assert found.configuration.static_routes[0].protocol == 0xB5
    path.write_text(both[1])
    assert "is no routing table" in read(str(path)).complaints[0].text
