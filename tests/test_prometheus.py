"""deploy/prometheus and deploy/grafana: promtool's tests, and a real Prometheus on a pair."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from fastvrrp.observe import server_metrics
from fastvrrp.observe.metrics import DAEMON_METRICS, REFUSED, ROUTER_METRICS
from lab import Fastvrrp, Laboratory, Router, wait_until
from test_daemon import MASTER, quick, wait_state
from test_metrics_daemon import fetch

DEPLOY = Path(__file__).parent.parent / "deploy"
RULES = DEPLOY / "prometheus" / "fastvrrp.rules.yml"
DASHBOARD = DEPLOY / "grafana" / "fastvrrp.json"
needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs Debian's package prometheus"
)


def promtool(*arguments: str) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_the_alerts_are_right() -> None:
    promtool("check", "rules", str(RULES))
    promtool("test", "rules", str(RULES.with_name("fastvrrp.rules.test.yml")))
    promtool("check", "config", str(RULES.with_name("prometheus.yml")))


def known_names() -> set[str]:
    names = {*DAEMON_METRICS, *(each.name for each in (*ROUTER_METRICS, REFUSED))}
    names |= set(server_metrics.NAMES)
    for metric in DAEMON_METRICS.values():
        if metric.kind == "histogram":
            names |= {f"{metric.name}_{part}" for part in ("bucket", "count", "sum")}
    return names


def expressions() -> list[str]:
    """Of the dashboard and of the alerts."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    found = [rule["expr"] for group in groups for rule in group["rules"]]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        found += [target["expr"] for target in panel.get("targets", ())]
    return found


def test_alerts_and_dashboard_ask_for_what_there_is() -> None:
    asked = {name for each in expressions() for name in re.findall(r"\bfastvrrp_\w+", each)}
    assert not asked - known_names()
    assert len(asked) > 15


def test_every_alert_is_tested() -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    tests = yaml.safe_load(RULES.with_name("fastvrrp.rules.test.yml").read_text())["tests"]
    fired = {
        each["alertname"]
        for test in tests
        for each in test["alert_rule_test"]
        if each.get("exp_alerts")
    }
    assert fired == {rule["alert"] for group in groups for rule in group["rules"]}


class Prometheus:
    """A real one on a router, which asks targets every quarter of a second."""

    def __init__(self, router: Router, targets: list[str]) -> None:
        folder = router.folder / "prometheus"
        folder.mkdir()
        # The alerts as they are shipped, but for how long they wait.
        rules = re.sub(r"for: \d+[sm]", "for: 1s", RULES.read_text())
        (folder / "fastvrrp.rules.yml").write_text(rules)
        config = yaml.safe_load(RULES.with_name("prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "250ms", "evaluation_interval": "250ms"}
        (job,) = config["scrape_configs"]
        job["static_configs"][0]["targets"] = targets
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._router = router
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = router.start_daemon(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:9090",
                ],
                log,
            )

    def ask(self, path: str) -> Any:
        try:
            said = json.loads(fetch(self._router, f"http://127.0.0.1:9090/api/v1/{path}"))
        except subprocess.CalledProcessError:
            time.sleep(0.1)
            return {}
        return said["data"]

    def values(self, query: str) -> list[tuple[dict[str, str], float]]:
        found = self.ask(f"query?query={quote(query)}").get("result", [])
        return [(each["metric"], float(each["value"][1])) for each in found]

    def firing(self) -> set[tuple[str, str]]:
        """Alerts that fire, and of which virtual router."""
        return {
            (each["labels"]["alertname"], each["labels"].get("vrrp_instance", ""))
            for each in self.ask("alerts").get("alerts", [])
            if each["state"] == "firing"
        }


@needs_prometheus
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs Debian's prometheus")
@pytest.mark.keywords("global_defs/metrics_listen")
def test_a_real_prometheus_asks_a_pair_and_alarms(lab: Laboratory) -> None:
    a, b = lab.router("a"), lab.router("b")
    lab.connect(a, b)
    for router in (a, b):
        router.ip("link set lo up")
    head = "global_defs {{\n    metrics_listen {}:9165\n}}\n"
    one = Fastvrrp(a, head.format("10.0.0.1") + quick(priority=200)).start()
    two = Fastvrrp(b, head.format("10.0.0.2") + quick(priority=100)).start()
    wait_state(one, MASTER)
    for daemon in (one, two):
        daemon.wait_log("Serving metrics")
    prometheus = Prometheus(a, ["10.0.0.1:9165", "10.0.0.2:9165"])
    state = 'fastvrrp_router_state{vrrp_instance="VI_1"}'
    wait_until(
        lambda: sorted(value for _, value in prometheus.values(state)) == [1, 2],
        30,
        what=lambda: f"a master and a backup: {prometheus.log.read_text()[-2000:]}",
    )
    (build, _), *_ = prometheus.values("fastvrrp_build_info")
    assert build["vrrp_domain"] == "edge"
    wait_until(lambda: len(prometheus.values(REFUSED.name)) == 0, what="nothing refused")
    assert not prometheus.firing() - {("VrrpFlapping", "VI_1")}
    # Every question of the dashboard is one that a real Prometheus understands.
    for each in expressions():
        asked = re.sub(r"\$\w+", ".*", each.replace("$__rate_interval", "1m"))
        assert prometheus.ask(f"query?query={quote(asked)}").get("resultType"), each
    # They do not hear each other any more: two masters.
    for router in (a, b):
        router.run(["nft", "add", "table", "inet", "cut"])
        router.run(
            ["nft", "add", "chain", "inet", "cut", "in", "{ type filter hook input priority 0; }"]
        )
        router.run(["nft", "add", "rule", "inet", "cut", "in", "ip", "protocol", "112", "drop"])
    wait_until(
        lambda: ("VrrpTwoMasters", "VI_1") in prometheus.firing(),
        30,
        what=lambda: f"the alert: {prometheus.values(state)}",
    )
    for router in (a, b):
        router.run(["nft", "delete", "table", "inet", "cut"])
    wait_until(
        lambda: ("VrrpTwoMasters", "VI_1") not in prometheus.firing(), 30, what="the alert's end"
    )
    # One daemon ends: its target is down.
    assert one.stop() == 0
    wait_until(lambda: ("VrrpRouterDown", "") in prometheus.firing(), 30, what="the alert")
    assert two.stop() == 0
