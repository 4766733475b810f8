"""What the reader says of the file that `metrics_web_config` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastvrrp.config import read


def complaints_of(tmp_path: Path, web: str | None) -> tuple[list[str], str | None]:
    """What is said of a file with that text, and which file is in the model."""
    file = tmp_path / "web.yml"
    if web is not None:
        file.write_text(web)
    path = tmp_path / "router.conf"
    path.write_text(
        f"global_defs {{\n    metrics_listen :9165\n    metrics_web_config {file}\n}}\n"
    )
    reading = read(str(path))
    said = [
        f"{each.place.line}:{each.place.column} {each.severity.name} {each.text}"
        for each in reading.complaints
    ]
    return said, reading.configuration.definitions.metrics.web_configuration


@pytest.mark.keywords("global_defs/metrics_web_config")
@pytest.mark.parametrize(
    ("web", "severity", "why"),
    [
        (None, "WARNING", "is not there"),
        ("tls_server_config: {cert_file: /none}\n", "ERROR", "web.yml:"),
        ("basic_auth_users: [a]\n", "ERROR", "web.yml:"),
        ("surely: {not: this}\n", "ERROR", "surely"),
        ("{\n", "ERROR", "web.yml:"),
        ("http_server_config: {headers: [a]}\n", "ERROR", "not of the kind"),
        ("basic_auth_users: !!timestamp a\n", "ERROR", "not what its tag says"),
        ("basic_auth_users: {}\n", "", ""),
    ],
)
def test_a_web_configuration_is_read(
    tmp_path: Path, web: str | None, severity: str, why: str
) -> None:
    said, kept = complaints_of(tmp_path, web)
    assert kept == str(tmp_path / "web.yml")  # nothing is served without what it asks for
    if not severity:
        assert not said
        return
    (complaint,) = said
    assert complaint.startswith(f"3:24 {severity} ")
    assert why in complaint
    assert complaint.endswith("; metrics are not served until it can be used")


def test_what_stands_in_a_web_configuration_itself_leaves_no_descriptor(tmp_path: Path) -> None:
    """The process that reads may stay for many reloads."""
    (said, *_), _ = complaints_of(tmp_path, "tls_server_config: {cert: a, key: b}\n")
    assert "web.yml:" in said
    before = len(list(Path("/proc/self/fd").iterdir()))
    complaints_of(tmp_path, "tls_server_config: {cert: a, key: b}\n")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
