"""Every metric that Prometheus is told, with its labels and what it says.

Names are of the base units (seconds, not milliseconds), counters end in `_total`, and what counts
for one virtual router begins with `fastvrrp_router_`. All of these have the labels ROUTER_LABELS,
and there may be 65,280 of each: they are written by ext/exposition.pyx. The others are few, and
prometheus-client writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family

from fastvrrp._table import LATENESS_BOUNDS
from fastvrrp._wire import REASONS
from fastvrrp.model import SECOND, State
from fastvrrp.observe.facts import RESTRAINTS
from fastvrrp.observe.view import View

ROUTER_LABELS = ("vrrp_instance", "interface", "vrid", "family")
"""`family` is ipv4 or ipv6. What is in another network namespace has `namespace` too."""
QUORUM_UP = "fastvrrp_virtual_server_quorum_up"
"""Reserved: virtual and real servers have no metrics in this version. An alert of deploy/prometheus
is on it, which cannot fire before they do."""


class RouterMetric(NamedTuple):
    """A metric that every virtual router has."""

    name: str
    kind: str
    """gauge or counter."""
    says: str
    field: str
    """Of `_exposition.FIELDS`."""


ROUTER_METRICS = (
    RouterMetric(
        "fastvrrp_router_state",
        "gauge",
        "State of the virtual router: 0 INIT, 1 BACKUP, 2 MASTER, 3 FAULT.",
        "state",
    ),
    RouterMetric(
        "fastvrrp_router_priority",
        "gauge",
        "Effective priority: the configured one with what is tracked.",
        "priority",
    ),
    RouterMetric(
        "fastvrrp_router_configured_priority", "gauge", "Configured priority.", "base_priority"
    ),
    RouterMetric(
        "fastvrrp_router_master_priority",
        "gauge",
        "Priority of the master that is followed; of a master its own.",
        "master_priority",
    ),
    RouterMetric(
        "fastvrrp_router_advertisements_received_total",
        "counter",
        "Advertisements that passed every check.",
        "adverts_received",
    ),
    RouterMetric(
        "fastvrrp_router_advertisements_sent_total",
        "counter",
        "Advertisements sent.",
        "adverts_sent",
    ),
    RouterMetric(
        "fastvrrp_router_advertisements_discarded_total",
        "counter",
        "Advertisements of lower priority that had no effect.",
        "discarded",
    ),
    RouterMetric(
        "fastvrrp_router_priority_zero_received_total",
        "counter",
        "Advertisements of priority 0 received: a master has left.",
        "resigns_received",
    ),
    RouterMetric(
        "fastvrrp_router_priority_zero_sent_total",
        "counter",
        "Advertisements of priority 0 sent.",
        "resigns_sent",
    ),
    RouterMetric(
        "fastvrrp_router_transitions_total", "counter", "Changes of state, of any kind.", "changes"
    ),
    RouterMetric(
        "fastvrrp_router_became_master_total",
        "counter",
        "Changes of state to MASTER.",
        "became_master",
    ),
    RouterMetric(
        "fastvrrp_router_released_master_total",
        "counter",
        "Changes of state from MASTER.",
        "released_master",
    ),
    RouterMetric(
        "fastvrrp_router_last_transition_timestamp_seconds",
        "gauge",
        "When the state changed last, in seconds since 1970.",
        "changed_at",
    ),
    RouterMetric(
        "fastvrrp_router_announcements_sent_total",
        "counter",
        "Gratuitous ARP and unsolicited neighbour advertisements sent.",
        "announcements_sent",
    ),
    RouterMetric(
        "fastvrrp_router_split_brain",
        "gauge",
        "1 while another master does not yield, or answers for an address.",
        "split",
    ),
    RouterMetric(
        "fastvrrp_router_split_brains_total", "counter", "Split brains found.", "split_brains"
    ),
)
REFUSED = RouterMetric(
    "fastvrrp_router_advertisements_refused_total",
    "counter",
    "Advertisements refused, by reason; reasons that never came up are left out.",
    "refused",
)


class DaemonMetric(NamedTuple):
    """A metric of the daemon as a whole."""

    name: str
    kind: str
    says: str
    labels: tuple[str, ...] = ()


DAEMON_METRICS = {
    metric.name: metric
    for metric in (
        DaemonMetric("fastvrrp_build_info", "info", "Version of the daemon.", ("version",)),
        DaemonMetric(
            "fastvrrp_start_time_seconds",
            "gauge",
            "When the daemon started, in seconds since 1970.",
        ),
        DaemonMetric("fastvrrp_routers", "gauge", "Virtual routers in each state.", ("state",)),
        DaemonMetric(
            "fastvrrp_routers_restrained",
            "gauge",
            "Virtual routers that have resigned and do not preempt for now, or are drained.",
            ("restraint",),
        ),
        DaemonMetric(
            "fastvrrp_packets_received_total", "counter", "VRRP packets read, before any check."
        ),
        DaemonMetric(
            "fastvrrp_packets_refused_total",
            "counter",
            "Packets refused by reason, whether or not they were for a virtual router.",
            ("reason",),
        ),
        DaemonMetric(
            "fastvrrp_packets_dropped_total",
            "counter",
            "Packets that the kernel dropped because they were not read in time.",
        ),
        DaemonMetric(
            "fastvrrp_frames_sent_total", "counter", "Frames sent: advertisements, announcements."
        ),
        DaemonMetric(
            "fastvrrp_frames_unsent_total", "counter", "Frames that the kernel did not take."
        ),
        DaemonMetric(
            "fastvrrp_transitions_total",
            "counter",
            "Changes of state of all virtual routers, also of those that a reload removed.",
        ),
        DaemonMetric("fastvrrp_split_brains_total", "counter", "Split brains found, of all."),
        DaemonMetric(
            "fastvrrp_announcements_sent_total",
            "counter",
            "Gratuitous ARP and unsolicited neighbour advertisements sent, of all.",
        ),
        DaemonMetric(
            "fastvrrp_timer_lateness_seconds",
            "histogram",
            "How late a master's advertisement left, behind its interval.",
        ),
        DaemonMetric(
            "fastvrrp_failover_overshoot_seconds",
            "histogram",
            "How late a backup took over, behind its Master_Down_Interval.",
        ),
        DaemonMetric(
            "fastvrrp_netlink_errors_total",
            "counter",
            "Changes of addresses, links, routes or rules that the kernel refused.",
        ),
        DaemonMetric(
            "fastvrrp_netlink_overruns_total",
            "counter",
            "Times that the kernel lost notifications, and everything was read anew.",
        ),
        DaemonMetric(
            "fastvrrp_reloads_total",
            "counter",
            "Reloads of the configuration: done, or refused as a whole.",
            ("outcome",),
        ),
        DaemonMetric(
            "fastvrrp_config_last_reload_successful",
            "gauge",
            "0 where the last reload was refused, otherwise 1.",
        ),
        DaemonMetric(
            "fastvrrp_config_last_reload_success_timestamp_seconds",
            "gauge",
            "When the configuration that runs was read, in seconds since 1970.",
        ),
        DaemonMetric(
            "fastvrrp_config_last_reload_duration_seconds",
            "gauge",
            "How long the last reload took; 0 where there was none.",
        ),
        DaemonMetric(
            "fastvrrp_tracker_up",
            "gauge",
            "1 where an interface, script or process that is tracked is good, otherwise 0.",
            ("kind", "name"),
        ),
        DaemonMetric(
            "fastvrrp_tracked_file_value",
            "gauge",
            "The number in a file that is tracked.",
            ("name",),
        ),
    )
}


def daemon_families(
    view: View, states: tuple[int, ...], restrained: tuple[int, ...]
) -> Iterator[Family]:
    """The metrics of the daemon as a whole; `states` are how many virtual routers are in each, and
    `restrained` how many are kept from being master (facts.RESTRAINTS)."""
    totals = view.segment.totals()
    yield _info("fastvrrp_build_info", {"version": totals["version"]})
    yield _one("fastvrrp_start_time_seconds", _time(view, totals["started_at"]))
    yield _many(
        "fastvrrp_routers",
        {(State(state).name.lower(),): count for state, count in enumerate(states)},
    )
    yield _many(
        "fastvrrp_routers_restrained",
        {
            (name,): count
            for name, count in zip(RESTRAINTS, restrained, strict=True)
            if name is not None
        },
    )
    yield _one("fastvrrp_packets_received_total", totals["packets"])
    yield _many(
        "fastvrrp_packets_refused_total",
        {
            (name.lower(),): totals["refused"][number]
            for number, name in enumerate(REASONS)
            if number  # 0 is what was not refused
        },
    )
    yield _one("fastvrrp_packets_dropped_total", totals["dropped"])
    yield _one("fastvrrp_frames_sent_total", totals["frames_sent"])
    yield _one("fastvrrp_frames_unsent_total", totals["frames_unsent"])
    yield _one("fastvrrp_transitions_total", totals["changes"])
    yield _one("fastvrrp_split_brains_total", totals["split_brains"])
    yield _one("fastvrrp_announcements_sent_total", totals["announcements_sent"])
    yield _histogram("fastvrrp_timer_lateness_seconds", *totals["lateness"])
    yield _histogram("fastvrrp_failover_overshoot_seconds", *totals["overshoot"])
    yield _one("fastvrrp_netlink_errors_total", totals["netlink_errors"])
    yield _one("fastvrrp_netlink_overruns_total", totals["netlink_overruns"])
    yield _many(
        "fastvrrp_reloads_total",
        {("done",): totals["reloads_done"], ("refused",): totals["reloads_refused"]},
    )
    was_done = totals["reloaded_at"] == totals["reload_done_at"]
    yield _one("fastvrrp_config_last_reload_successful", int(was_done))
    read_at = totals["reload_done_at"] or totals["started_at"]
    yield _one("fastvrrp_config_last_reload_success_timestamp_seconds", _time(view, read_at))
    yield _one("fastvrrp_config_last_reload_duration_seconds", totals["reload_time"] / SECOND)
    trackers = [each for each in view.details().trackers if each.state is not None]
    yield _many(
        "fastvrrp_tracker_up",
        {(each.kind, each.name): each.state or 0 for each in trackers if each.kind != "file"},
    )
    yield _many(
        "fastvrrp_tracked_file_value",
        {(each.name,): each.state or 0 for each in trackers if each.kind == "file"},
    )


def _time(view: View, at: int) -> float:
    return round((at + view.wall_offset) / SECOND, 3)


def _one(name: str, value: float) -> Family:
    return _many(name, {(): value})


def _many(name: str, values: dict[tuple[str, ...], float]) -> Family:
    metric = DAEMON_METRICS[name]
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family = kind(name, metric.says, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _info(name: str, labels: dict[str, str]) -> Family:
    family = InfoMetricFamily(name.removesuffix("_info"), DAEMON_METRICS[name].says)
    family.add_metric((), labels)
    return family


def _histogram(name: str, counts: tuple[int, ...], total: int) -> Family:
    family = HistogramMetricFamily(name, DAEMON_METRICS[name].says)
    buckets: list[tuple[str, float]] = []
    below = 0
    bounds = [*(f"{bound / SECOND:g}" for bound in LATENESS_BOUNDS), "+Inf"]
    for bound, count in zip(bounds, counts, strict=True):
        below += count
        buckets.append((bound, below))
    family.add_metric((), buckets, total / SECOND)
    return family
