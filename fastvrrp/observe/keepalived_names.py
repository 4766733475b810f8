"""`metrics_compat keepalived_exporter`: the names and labels of that exporter's metrics.

Who has dashboards and alerts on them (github.com/mehdy/keepalived-exporter) keeps them. The labels
are those of its newer versions: older ones had the state among them, so that each change of state
began another counter. Two are left out: the state of a script (whether it runs just now) is not
known outside of the process that runs it, and a check script of the exporter's own has nothing to
do with the daemon.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

from fastvrrp._exposition import FIELDS, Snapshot
from fastvrrp._wire import REASONS
from fastvrrp.observe.catalogue import DEFAULT_DELAY, Entry
from fastvrrp.observe.details import Details

LABELS = ("iname", "intf", "vrid")
STATE_FIELD = FIELDS.index("state")
CHUNK = 4096
"""Virtual routers whose lines are made at once."""


class KeepalivedMetric(NamedTuple):
    """One of the exporter's counters, all of which have LABELS."""

    name: str
    says: str
    field: str
    reasons: tuple[str, ...] = ()
    """Refusals that it counts, of `_wire.REASONS`."""


METRICS = (
    KeepalivedMetric(
        "keepalived_advertisements_received_total", "Advertisements received", "adverts_received"
    ),
    KeepalivedMetric("keepalived_advertisements_sent_total", "Advertisements sent", "adverts_sent"),
    KeepalivedMetric("keepalived_become_master_total", "Became master", "became_master"),
    KeepalivedMetric("keepalived_release_master_total", "Released master", "released_master"),
    KeepalivedMetric(
        "keepalived_packet_length_errors_total", "Packet length errors", "refused", ("TRUNCATED",)
    ),
    KeepalivedMetric(
        "keepalived_advertisements_interval_errors_total",
        "Advertisement interval errors",
        "refused",
        ("INTERVAL",),
    ),
    KeepalivedMetric("keepalived_ip_ttl_errors_total", "TTL errors", "refused", ("TTL",)),
    KeepalivedMetric(
        "keepalived_invalid_type_received_total", "Invalid type errors", "refused", ("TYPE",)
    ),
    KeepalivedMetric(
        "keepalived_address_list_errors_total",
        "Address list errors",
        "refused",
        ("ADDRESS_COUNT", "ADDRESS_LIST"),
    ),
    KeepalivedMetric(
        "keepalived_authentication_invalid_total",
        "Authentication invalid",
        "refused",
        ("AH_HEADER",),
    ),
    KeepalivedMetric(
        "keepalived_authentication_mismatch_total",
        "Authentication mismatch",
        "refused",
        ("AUTH_TYPE",),
    ),
    KeepalivedMetric(
        "keepalived_authentication_failure_total",
        "Authentication failure",
        "refused",
        ("PASSWORD", "AH_REPLAY", "AH_ICV"),
    ),
    KeepalivedMetric(
        "keepalived_priority_zero_received_total", "Priority zero received", "resigns_received"
    ),
    KeepalivedMetric("keepalived_priority_zero_sent_total", "Priority zero sent", "resigns_sent"),
)
DELAY = "keepalived_gratuitous_arp_delay_total"
STATE = "keepalived_vrrp_state"
EXCLUDED = "keepalived_vrrp_excluded_state"
STATES = {STATE: "State of vrrp", EXCLUDED: "State of vrrp with excluded VIP"}
"""What tells the state, once for each address; of one without addresses once, with an empty one."""


def pages(snapshot: Snapshot, entries: dict[int, Entry]) -> Iterator[bytes]:
    """The metrics of virtual routers, of a snapshot with keepalived's labels."""
    for metric in METRICS:
        yield f"# HELP {metric.name} {metric.says}\n# TYPE {metric.name} counter\n".encode()
        mask = sum(1 << REASONS.index(reason) for reason in metric.reasons)
        field = FIELDS.index(metric.field)
        for start in range(0, snapshot.count, CHUNK):
            yield snapshot.lines(metric.name.encode(), field, start, start + CHUNK, mask)
    yield from _configured(snapshot, entries)


def families(details: Details) -> Iterator[Family]:
    """The metrics of all together."""
    up = GaugeMetricFamily("keepalived_up", "Status")
    up.add_metric((), 1)
    yield up
    scripts = GaugeMetricFamily(
        "keepalived_script_status", "Tracker Script Status", labels=("name",)
    )
    for each in details.trackers:
        if each.kind == "script" and each.state is not None:
            scripts.add_metric((each.name,), each.state)
    yield scripts


def _configured(snapshot: Snapshot, entries: dict[int, Entry]) -> Iterator[bytes]:
    """What needs more than the records: the delay of announcements, and a state by address."""
    nothing = Entry()
    yield f"# HELP {DELAY} Gratuitous ARP delay\n# TYPE {DELAY} counter\n".encode()
    for start, indexes in _chunks(snapshot):
        lines = []
        for position, index in enumerate(indexes, start):
            delay = entries.get(index, nothing).announcement_delay
            value = b"5" if delay == DEFAULT_DELAY else f"{delay:g}".encode()
            lines.append(b"%s{%s} %s\n" % (DELAY.encode(), snapshot.labels_of(position), value))
        yield b"".join(lines)
    for name, says in STATES.items():
        yield f"# HELP {name} {says}\n# TYPE {name} gauge\n".encode()
        for start, indexes in _chunks(snapshot):
            told: list[bytes] = []
            for position, index in enumerate(indexes, start):
                addresses = _addresses(entries.get(index, nothing), name)
                told += _states(snapshot, position, name.encode(), addresses)
            yield b"".join(told)


def _addresses(entry: Entry, name: str) -> Sequence[tuple[str, str]]:
    """Addresses by which a metric tells the state, with their interfaces."""
    first = len(entry.addresses) - entry.excluded
    if name == EXCLUDED:
        return entry.addresses[first:]
    return entry.addresses[:first] or (("", ""),)


def _states(
    snapshot: Snapshot, position: int, metric: bytes, addresses: Sequence[tuple[str, str]]
) -> Iterator[bytes]:
    name, _, rest = snapshot.labels_of(position).partition(b',intf="')
    interface, _, vrid = rest.partition(b'",vrid=')
    state = snapshot.value(position, STATE_FIELD)
    for address, other in addresses:
        # keepalived writes no length behind the address of a host.
        word = address.removesuffix("/128" if ":" in address else "/32").encode()
        where = other.encode() or interface
        yield b'%s{%s,intf="%s",vrid=%s,ip_address="%s"} %d\n' % (
            *(metric, name, where, vrid, word),
            state,
        )


def _chunks(snapshot: Snapshot) -> Iterator[tuple[int, list[int]]]:
    for start in range(0, snapshot.count, CHUNK):
        yield start, snapshot.indexes_of(start, start + CHUNK)
