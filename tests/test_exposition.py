"""What Prometheus is told: the lines written in C against prometheus-client's, and promtool."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

from fastvrrp._exposition import FIELDS, Snapshot
from fastvrrp._table import Table
from fastvrrp._wire import REASONS
from fastvrrp.observe import details
from fastvrrp.observe.details import Details, TrackerState
from fastvrrp.observe.documentation import generate
from fastvrrp.observe.exposition import header, lines, pages, text_of
from fastvrrp.observe.files import Files
from fastvrrp.observe.metrics import DAEMON_METRICS, REFUSED, ROUTER_LABELS, ROUTER_METRICS
from fastvrrp.observe.view import NotRunning, View
from simulation import SECOND, Link, Router

names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
DOCUMENT = Path(__file__).parent.parent / "docs" / "metrics.md"


def parsed(text: bytes) -> list[tuple[str, str, str, list[str]]]:
    """Families of a text, with their samples."""
    return [
        (
            family.name,
            family.type,
            family.documentation,
            sorted(f"{s.name} {sorted(s.labels.items())} {float(s.value)}" for s in family.samples),
        )
        for family in text_string_to_metric_families(text.decode())
    ]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            names,
            names.filter(lambda name: len(name.encode()) < 16),
            st.sampled_from((4, 6)),
            st.integers(1, 255),
            st.integers(1, 255),
            st.sampled_from((0, 1)),
        ),
        max_size=8,
    ),
    names,
)
def test_lines_are_what_prometheus_client_writes(
    routers: list[tuple[str, str, int, int, int, int]], namespace: str
) -> None:
    table = Table(None, 8)
    for number, (name, interface, family, vrid, priority, place) in enumerate(routers):
        index = table.add(f"{number}{name}", interface, 1 + number, family, vrid, priority)
        table.set_place(index, place)
    snapshot = Snapshot(table, {1: namespace.encode()}, 0)
    assert snapshot.count == len(routers)
    for metric in ROUTER_METRICS:
        kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
        expected = kind(metric.name, metric.says, labels=(*ROUTER_LABELS, "namespace"))
        field = FIELDS.index(metric.field)
        for position, (name, interface, family, vrid, _, place) in enumerate(routers):
            expected.add_metric(
                (
                    f"{position}{name}",
                    interface,
                    str(vrid),
                    f"ipv{family}",
                    namespace if place else "",
                ),
                snapshot.value(position, field),
            )
        # A label that is empty and one that is not there are the same to Prometheus.
        text = text_of([expected]).replace(b',namespace=""', b"").replace(b'namespace="",', b"")
        assert parsed(header(metric) + b"".join(lines(snapshot, metric))) == parsed(text)


def test_refusals_are_told_by_reason_where_there_were_any() -> None:
    high, low = Router("high", 1), Router("low", 2)
    high.add(51, priority=200)
    low.add(51, priority=100)
    low.engine.configure(
        0, version=2, advert_interval=SECOND, addresses=bytes(4), group=bytes((224, 0, 0, 18))
    )
    link = Link([high, low])
    high.engine.start(0, 0)
    link.run_until(10 * SECOND)
    snapshot = Snapshot(low.table, {}, 0)
    found = [
        b"".join(lines(snapshot, REFUSED, number, f',reason="{reason.lower()}"')).decode()
        for number, reason in enumerate(REASONS)
    ]
    (line,) = filter(None, found)
    assert line.startswith(f'{REFUSED.name}{{vrrp_instance="low-51",interface="eth0",vrid="51"')
    assert 'reason="version"} ' in line
    assert int(line.rsplit(maxsplit=1)[-1]) > 3


def shown(folder: Path, routers: int = 3) -> tuple[Table, View]:
    """A table and the files beside it, as a daemon has them, and a view of them."""
    places = Files.beside(folder / "fastvrrp.pid")
    table = Table(places.segment, routers)
    table.set_version("1.2.3")
    for number in range(routers):
        table.add(f"VI_{number}", "eth0", 1, 4, number + 1, 100)
    with places.details.open("wb") as file:
        trackers = [
            TrackerState("script", 'a "b"\\', 0, "tracked script failed"),
            TrackerState("file", "c", -3, "tracked file c has status -3"),
            TrackerState("process", "d", None, "tracked process d was not counted yet"),
        ]
        details.write(file.fileno(), Details({1: "interface eth0 is down"}, trackers))
    addresses = b"192.0.2.1/24 192.0.2.2/32@eth1 192.0.2.3/32"
    line = b'[0,"%s",{"delay":2.5,"excluded":1}]\n[1,""]\n' % addresses
    places.routers.write_bytes(line)
    return table, View(places)


def test_a_scrape_has_every_metric_that_is_documented(tmp_path: Path) -> None:
    table, view = shown(tmp_path)
    text = b"".join(pages(view))
    found = {family.name for family in text_string_to_metric_families(text.decode())}
    documented = {*DAEMON_METRICS, *(metric.name for metric in (*ROUTER_METRICS, REFUSED))}
    assert found == {name.removesuffix("_total") for name in documented}
    assert b'fastvrrp_build_info{version="1.2.3"} 1.0' in text
    assert b'fastvrrp_routers{state="init"} 3.0' in text
    assert b'fastvrrp_tracker_up{kind="script",name="a \\"b\\"\\\\"} 0.0' in text
    assert b'fastvrrp_tracked_file_value{name="c"} -3.0' in text
    assert b'name="d"' not in text
    table.count_reload(False, 5, 1_500_000_000)
    table.count_netlink(2, 1)
    text = b"".join(pages(view))
    assert b'fastvrrp_reloads_total{outcome="refused"} 1.0' in text
    assert b"fastvrrp_config_last_reload_successful 0.0" in text
    assert b"fastvrrp_config_last_reload_duration_seconds 1.5" in text
    assert b"fastvrrp_netlink_errors_total 2.0" in text
    assert b"fastvrrp_netlink_overruns_total 1.0" in text


EXPORTER = {
    "keepalived_up": "",
    "keepalived_vrrp_state": "iname intf vrid ip_address",
    "keepalived_vrrp_excluded_state": "iname intf vrid ip_address",
    "keepalived_script_status": "name",
    **dict.fromkeys(
        (
            "keepalived_gratuitous_arp_delay_total",
            "keepalived_advertisements_received_total",
            "keepalived_advertisements_sent_total",
            "keepalived_become_master_total",
            "keepalived_release_master_total",
            "keepalived_packet_length_errors_total",
            "keepalived_advertisements_interval_errors_total",
            "keepalived_ip_ttl_errors_total",
            "keepalived_invalid_type_received_total",
            "keepalived_address_list_errors_total",
            "keepalived_authentication_invalid_total",
            "keepalived_authentication_mismatch_total",
            "keepalived_authentication_failure_total",
            "keepalived_priority_zero_received_total",
            "keepalived_priority_zero_sent_total",
        ),
        "iname intf vrid",
    ),
}
"""The metrics of keepalived-exporter's table and their labels, without keepalived_script_state."""


def test_the_names_of_keepalived_exporter_are_told_too(tmp_path: Path) -> None:
    _, view = shown(tmp_path)
    text = b"".join(pages(view, has_keepalived_names=True))
    found = {
        family.name: [set(sample.labels) for sample in family.samples]
        for family in text_string_to_metric_families(text.decode())
        if family.name.startswith("keepalived_")
    }
    assert found.keys() == {name.removesuffix("_total") for name in EXPORTER}
    for name, labels in EXPORTER.items():
        each = found[name.removesuffix("_total")]
        assert each, name
        assert all(those == set(labels.split()) for those in each), name
    assert b"keepalived_up 1.0\n" in text
    own = b'iname="VI_0",intf="eth0",vrid="1"'
    assert b"keepalived_advertisements_received_total{%s} 0\n" % own in text
    assert b"keepalived_gratuitous_arp_delay_total{%s} 2.5\n" % own in text
    state = b'keepalived_vrrp_%s{iname="%s",intf="%s",vrid="%d",ip_address="%s"} 0\n'
    assert state % (b"state", b"VI_0", b"eth0", 1, b"192.0.2.1/24") in text
    assert state % (b"state", b"VI_0", b"eth1", 1, b"192.0.2.2") in text
    assert state % (b"excluded_state", b"VI_0", b"eth0", 1, b"192.0.2.3") in text
    assert state % (b"state", b"VI_1", b"eth0", 2, b"") in text
    assert text.count(b"\nkeepalived_vrrp_excluded_state{") == 1
    assert b'keepalived_script_status{name="a \\"b\\"\\\\"} 0.0\n' in text
    assert b"keepalived_" not in b"".join(pages(view))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs Debian's package prometheus")
@pytest.mark.parametrize("has_keepalived_names", [False, True])
def test_promtool_finds_no_fault(tmp_path: Path, has_keepalived_names: bool) -> None:
    _, view = shown(tmp_path)
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=b"".join(pages(view, has_keepalived_names)),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_time_that_is_told_twice_is_the_same(tmp_path: Path) -> None:
    _, view = shown(tmp_path)
    assert view.wall_offset == view.wall_offset


def test_a_view_of_nothing_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match=r"there is no .*/fastvrrp\.state; start it"):
        View(Files.beside(tmp_path / "fastvrrp.pid"))


def test_a_view_knows_when_another_daemon_has_come(tmp_path: Path) -> None:
    _, view = shown(tmp_path)
    assert view.is_current
    _, other = shown(tmp_path)
    assert not view.is_current
    assert other.is_current
    assert len(view.routers()) == 3


def test_the_documentation_is_what_is_generated() -> None:
    assert DOCUMENT.read_text() == generate(), (
        "run python -m fastvrrp.observe.documentation > docs/metrics.md"
    )
