"""A scrape: everything that there is, in Prometheus' text format, piece by piece."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import Metric as Family

from fastvrrp._exposition import FIELDS, Snapshot
from fastvrrp._wire import REASONS
from fastvrrp.observe import keepalived_names
from fastvrrp.observe.keepalived_names import CHUNK
from fastvrrp.observe.metrics import REFUSED, ROUTER_METRICS, RouterMetric, daemon_families
from fastvrrp.observe.view import View

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class _Collector:
    """Hands families that are there already to prometheus-client."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = list(families)

    def collect(self) -> list[Family]:
        return self._families


def text_of(families: Iterable[Family]) -> bytes:
    """Families as prometheus-client writes them."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(families))
    return generate_latest(registry)


def pages(view: View, has_keepalived_names: bool = False) -> Iterator[bytes]:
    """The whole text, in pieces of at most some hundred kilobytes."""
    details = view.details()
    places = {number: name.encode() for number, name in details.places.items()}
    snapshot = Snapshot(view.segment, places, view.wall_offset)
    yield text_of(daemon_families(view, snapshot.states(), snapshot.restrained()))
    for metric in ROUTER_METRICS:
        yield header(metric)
        yield from lines(snapshot, metric)
    yield header(REFUSED)
    for number, reason in enumerate(REASONS):
        if number:
            yield from lines(snapshot, REFUSED, number, f',reason="{reason.lower()}"')
    if has_keepalived_names:
        del snapshot
        yield text_of(keepalived_names.families(details))
        yield from keepalived_names.pages(
            Snapshot(view.segment, {}, view.wall_offset, as_keepalived=True), view.catalogue()
        )


def header(metric: RouterMetric) -> bytes:
    """The two lines before a metric's own."""
    return f"# HELP {metric.name} {metric.says}\n# TYPE {metric.name} {metric.kind}\n".encode()


def lines(
    snapshot: Snapshot, metric: RouterMetric, reason: int = 0, more: str = ""
) -> Iterator[bytes]:
    """The lines of a metric; of refusals those for one reason, where there were any."""
    name, field = metric.name.encode(), FIELDS.index(metric.field)
    for start in range(0, snapshot.count, CHUNK):
        found = snapshot.lines(
            name, field, start, start + CHUNK, 1 << reason, more.encode(), bool(more)
        )
        if found:
            yield found
