"""What a checker does not say comes from its real server, and what that does not say from the
virtual server, as keepalived.conf(5) has it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from fastvrrp.config import Severity, read
from fastvrrp.model import SECOND, BfdCheck, Checker, FileCheck, HttpCheck, SmtpCheck

KINDS = ("TCP_CHECK", "HTTP_GET", "SSL_GET", "SMTP_CHECK", "DNS_CHECK", "UDP_CHECK", "PING_CHECK")
OWN = {kind: "url {\n path /\n }" if kind in ("HTTP_GET", "SSL_GET") else "" for kind in KINDS}
OWN["MISC_CHECK"] = "misc_path /bin/true\n misc_timeout 1"
VALUES = {
    "connect_timeout": ("2.5", "3.5", "4.5"),
    "retry": ("7", "8", "9"),
    "delay_before_retry": ("1.25", "1.5", "1.75"),
    "delay_loop": ("11", "12", "13"),
    "warmup": ("14", "15", "0"),
    "alpha": ("on", "off", "on"),
}
"""On the virtual server, on the real server, in the checker."""
FIELDS = {
    "connect_timeout": "connect_timeout",
    "retry": "retry",
    "delay_before_retry": "delay_before_retry",
    "delay_loop": "interval",
    "warmup": "warmup",
    "alpha": "is_down_at_first",
}
LEVELS = 3


def checker_with(kind: str, lines: Sequence[str], folder: Path) -> Checker:
    """The checker where these lines are written at each level."""
    virtual, real, own = lines
    file = folder / "keepalived.conf"
    file.write_text(
        "virtual_server 192.0.2.1 80 {\n lvs_sched rr\n lvs_method NAT\n protocol TCP\n"
        f" {virtual}\n real_server 192.0.2.2 80 {{\n {real}\n"
        f" {kind} {{\n {OWN[kind]}\n {own}\n }}\n }}\n}}\n"
    )
    reading = read(str(file))
    assert all(each.severity is Severity.WARNING for each in reading.complaints)
    (checker,) = reading.configuration.virtual_servers[0].real_servers[0].checkers
    return checker


@pytest.mark.keywords(
    "virtual_server/connect_timeout retry delay_before_retry delay_loop warmup alpha",
    "real_server/connect_timeout retry delay_before_retry delay_loop warmup alpha",
)
@pytest.mark.parametrize("keyword", VALUES)
@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("written", range(1, 1 << LEVELS))
def test_the_innermost_level_that_says_it_counts(
    written: int, kind: str, keyword: str, tmp_path: Path
) -> None:
    """`written` has a bit for each level at which it is written."""
    levels = [level for level in range(LEVELS) if written >> level & 1]
    lines = [f"{keyword} {VALUES[keyword][at]}" if at in levels else "" for at in range(LEVELS)]
    checker = checker_with(kind, lines, tmp_path)
    assert not isinstance(checker, FileCheck | BfdCheck)
    found = getattr(checker.timing, FIELDS[keyword])
    assert found == meaning(keyword, VALUES[keyword][levels[-1]])


def meaning(keyword: str, word: str) -> object:
    """What the model has of it."""
    if word in ("on", "off"):
        return word == "on"
    return int(word) if keyword == "retry" else float(word) * SECOND


@pytest.mark.keywords(
    "host/connect_timeout retry delay_before_retry delay_loop warmup alpha log_all_failures"
)
@pytest.mark.parametrize("keyword", [*VALUES, "log_all_failures"])
def test_the_host_of_a_mail_server_is_a_level_of_its_own(keyword: str, tmp_path: Path) -> None:
    _, outer, inner = VALUES.get(keyword, ("", "off", "on"))
    for lines, wanted in (
        (f"{keyword} {outer}\n host {{\n {keyword} {inner}\n }}", inner),
        (f"{keyword} {outer}\n host {{\n }}", outer),
    ):
        checker = checker_with("SMTP_CHECK", ("", "", lines), tmp_path)
        assert isinstance(checker, SmtpCheck)
        field = FIELDS.get(keyword, "logs_all_failures")
        assert getattr(checker.timing, field) == meaning(keyword, wanted)


@pytest.mark.keywords(
    "virtual_server/virtualhost", "real_server/virtualhost", "HTTP_GET/virtualhost"
)
@pytest.mark.parametrize("written", range(1, 1 << LEVELS))
def test_the_host_is_that_of_the_innermost_level(written: int, tmp_path: Path) -> None:
    levels = [level for level in range(LEVELS) if written >> level & 1]
    lines = [f"virtualhost host{at}.example" if at in levels else "" for at in range(LEVELS)]
    checker = checker_with("HTTP_GET", lines, tmp_path)
    assert isinstance(checker, HttpCheck)
    assert checker.urls[0].virtualhost == f"host{levels[-1]}.example"
