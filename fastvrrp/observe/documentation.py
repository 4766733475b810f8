"""docs/metrics.md, from the tables of metrics.

`python -m fastvrrp.observe.documentation > docs/metrics.md`
"""

from __future__ import annotations

from collections.abc import Iterator

from fastvrrp._table import LATENESS_BOUNDS
from fastvrrp._wire import REASONS
from fastvrrp.model import SECOND
from fastvrrp.observe import keepalived_names
from fastvrrp.observe.metrics import (
    DAEMON_METRICS,
    QUORUM_UP,
    REFUSED,
    ROUTER_LABELS,
    ROUTER_METRICS,
)

HEAD = """# Metrics

Made from the code by `python -m fastvrrp.observe.documentation`.

Prometheus is told of a running daemon by `fastvrrp run --metrics [ADDRESS]:PORT`, or by
`metrics_listen [ADDRESS]:PORT` in `global_defs`; without an address it is loopback, with `*`
every address, and `--metrics` alone takes port 9165. There are `/metrics` and `/healthz` (200
while the daemon runs). `deploy/prometheus` has a scrape configuration and alerts,
`deploy/grafana` a dashboard.

`metrics_web_config FILE` names a file with TLS and users in the format that Prometheus exporters
share (`--web.config.file` of exporter-toolkit: `tls_server_config`, `basic_auth_users`); it needs
`pip install 'fastvrrp[web]'`. The file is read at the start and at each reload.

The metrics are served by a process of its own, which reads what the daemon shows in shared memory
and can do nothing else: it is nobody (where the daemon is root; otherwise it is whoever the daemon
is), has no capability, and its root directory is empty. A scrape does not make the daemon wait.

Counters go on over reloads, and begin at 0 with the daemon.
"""


def generate() -> str:
    """The whole document."""
    return "\n".join([HEAD, *_daemon(), *_routers(), *_reasons(), *_keepalived()])


def _daemon() -> Iterator[str]:
    yield "## The daemon\n"
    yield "| name | type | labels | what it says |"
    yield "|---|---|---|---|"
    for metric in DAEMON_METRICS.values():
        kind = "gauge" if metric.kind == "info" else metric.kind
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {kind} | {labels} | {metric.says} |"
    bounds = ", ".join(f"{bound / SECOND:g}" for bound in LATENESS_BOUNDS)
    yield f"\nThe histograms have buckets up to {bounds} seconds.\n"
    yield "Virtual servers and real servers of load balancing have no metrics in this version:"
    yield "neither whether they are up, nor their weights or quorums."
    yield f"`{QUORUM_UP}` is only reserved: the alert"
    yield "`IpvsQuorumLost` asks for it, and never fires. Watch the log, or use `quorum_down`.\n"


def _routers() -> Iterator[str]:
    yield "## Each virtual router\n"
    labels = ", ".join(f"`{label}`" for label in ROUTER_LABELS)
    yield f"All of these have the labels {labels}, and `namespace` where it is in another network"
    yield "namespace than the daemon. `family` is `ipv4` or `ipv6`.\n"
    yield "| name | type | what it says |"
    yield "|---|---|---|"
    for metric in (*ROUTER_METRICS, REFUSED):
        yield f"| `{metric.name}` | {metric.kind} | {metric.says} |"
    yield ""


def _reasons() -> Iterator[str]:
    yield "## Reasons\n"
    yield "`reason` is one of " + ", ".join(f"`{name.lower()}`" for name in REASONS[1:]) + "."
    yield ""


def _keepalived() -> Iterator[str]:
    yield "## The names of keepalived-exporter\n"
    yield "With `metrics_compat keepalived_exporter` there are also the names and labels of"
    yield "github.com/mehdy/keepalived-exporter, so that dashboards and alerts on them go on:"
    yield "`keepalived_up`, `keepalived_script_status` (`name`), `keepalived_vrrp_state` (`iname`,"
    yield "`intf`, `vrid`, `ip_address`), and with the labels `iname`, `intf`, `vrid`, `state`:\n"
    yield "| name | counts |"
    yield "|---|---|"
    for metric in keepalived_names.METRICS:
        counted = " and ".join(f"`{reason.lower()}`" for reason in metric.reasons)
        what = f"refusals for {counted}" if counted else metric.says.lower()
        yield f"| `{metric.name}` | {what} |"
    yield f"| `{keepalived_names.DELAY}` | seconds of `garp_master_delay` |"
    yield ""
    yield "`keepalived_script_state` is left out: whether a script runs just now is not told."
    yield ""


if __name__ == "__main__":
    print(generate(), end="")
