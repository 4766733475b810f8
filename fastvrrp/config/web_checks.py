"""Checks the file that `metrics_web_config` names: one with a fault would keep metrics from being
served, which would be known when somebody misses them."""

from __future__ import annotations

from pathlib import Path

from fastvrrp.config.complaints import Complaints
from fastvrrp.config.tree import Entry

CONSEQUENCE = "metrics are not served until it can be used"


def check_web_config(entry: Entry, complaints: Complaints) -> None:
    """Complains of the file of a `global_defs`. It stays in the configuration in any case: to serve
    metrics without the users and the certificates that it asks for would be worse."""
    for inner in entry.entries:
        if inner.keyword.name != "metrics_web_config":
            continue
        from fastvrrp.observe.web_config import WebConfig, WebConfigError  # noqa: PLC0415 - rare

        path = Path(str(inner.value))
        if not path.exists():
            text = f"{path} is not there; {CONSEQUENCE}"
            complaints.warning(inner.statement, 1, text, is_ours=True)
            continue
        try:
            WebConfig.read(path)
        except WebConfigError as error:
            complaints.error(inner.statement, 1, f"{error}; {CONSEQUENCE}", is_ours=True)
