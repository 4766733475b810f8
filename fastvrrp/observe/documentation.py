"""docs/metrics.md, from the tables of metrics.

`python -m fastvrrp.observe.documentation > docs/metrics.md`
"""

from __future__ import annotations

from collections.abc import Iterator

from fastvrrp._table import LATENESS_BOUNDS
from fastvrrp._wire import REASONS
from fastvrrp.model import SECOND
from fastvrrp.observe import keepalived_names, server_metrics
from fastvrrp.observe.metrics import (
    DAEMON_METRICS,
    REFUSED,
    ROUTER_LABELS,
    ROUTER_METRICS,
)
from fastvrrp.observe.server_metrics import VIRTUAL_LABELS
from fastvrrp.observe.servers import PERIOD

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
    return "\n".join([HEAD, *_daemon(), *_routers(), *_reasons(), *_servers(), *_keepalived()])


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


def _servers() -> Iterator[str]:
    yield "## Virtual servers and real servers\n"
    yield "They are there while there are virtual servers and the process that checks them runs."
    yield "`virtual_server` and `real_server` are the names that the log has, `[192.0.2.1]:tcp:80`,"
    yield "`FWM 7` or `[GROUP]:0`; `protocol` is `tcp`, `udp`, `sctp`, or `none` for a mark;"
    yield "`family` is `ipv4` or `ipv6`, and empty for a group. Where metrics are on the kernel is"
    yield f"asked every {PERIOD:g} seconds what IPVS counts, or less often where that takes long;"
    yield "packets to clients are counted where they come by this machine.\n"
    yield "| name | type | labels | what it says |"
    yield "|---|---|---|---|"
    of_info = (*VIRTUAL_LABELS, "scheduler", "forwarding")
    yield _server_row(server_metrics.INFO, "gauge", of_info, server_metrics.INFO_SAYS)
    for labels, metrics in server_metrics.TABLES:
        for metric in metrics:
            yield _server_row(metric.name, metric.kind, labels, metric.says)
    yield ""


def _server_row(name: str, kind: str, labels: tuple[str, ...], says: str) -> str:
    return f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {says} |"


def _keepalived() -> Iterator[str]:
    yield "## The names of keepalived-exporter\n"
    yield "With `metrics_compat keepalived_exporter` there are also the names and labels of"
    yield "github.com/mehdy/keepalived-exporter, so that dashboards and alerts on them go on:"
    yield "`keepalived_up`, `keepalived_script_status` (`name`), `keepalived_vrrp_state` and"
    yield "`keepalived_vrrp_excluded_state` (`iname`, `intf`, `vrid`, `ip_address`), and with the"
    yield "labels `iname`, `intf`, `vrid`, which are those of its newer versions:\n"
    yield "| name | counts |"
    yield "|---|---|"
    for metric in keepalived_names.METRICS:
        counted = " and ".join(f"`{reason.lower()}`" for reason in metric.reasons)
        what = f"refusals for {counted}" if counted else metric.says.lower()
        yield f"| `{metric.name}` | {what} |"
    yield f"| `{keepalived_names.DELAY}` | seconds of `garp_master_delay` |"
    yield ""
    yield "`keepalived_script_state` is left out: whether a script runs just now is not told. That"
    yield "exporter has no metrics of virtual servers."
    yield ""


if __name__ == "__main__":
    print(generate(), end="")
