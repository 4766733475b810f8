"""Pages of the documentation, each from its first command to its last."""

import pytest

from lab import Laboratory
from lab.pages import DOCS, machines_of, run_page

PATIENCE = 30.0
"""Seconds until what a page shows is there."""
NUMBERS = {"r1": 1, "r2": 2}


@pytest.mark.parametrize(
    ("name", "commands"), [("getting-started", 10), ("migrating", 14), ("operations", 14)]
)
def test_a_page(lab: Laboratory, name: str, commands: int) -> None:
    assert run_page(DOCS / f"{name}.md", machines_of(lab, NUMBERS), PATIENCE) >= commands
