"""docs/load-balancing.md, from its first command to its last."""

from pathlib import Path

import pytest

from lab import Laboratory
from lab.pages import DOCS, machines_of, run_page

pytestmark = pytest.mark.timeout(330)  # the guest is slow
PATIENCE = 90.0
"""Seconds; the guest is slow."""
NUMBERS = {"lb1": 1, "lb2": 2, "client": 9, "web1": 11, "web2": 12, "sorry": 13}
MODULES = Path("/run/modules")


def test_the_page(lab: Laboratory) -> None:
    machines = machines_of(lab, NUMBERS, MODULES)
    assert run_page(DOCS / "load-balancing.md", machines, PATIENCE) > 20
