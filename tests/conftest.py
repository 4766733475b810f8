"""What all tests share: the laboratory, and its removal when an earlier run could not."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("lab")

from lab import Laboratory  # noqa: E402 - its assertions say more when they are rewritten first
from lab.ownership import remove_abandoned  # noqa: E402
from tracking_pair import both, ours  # noqa: E402

__all__ = ["both", "ours"]


def pytest_sessionstart(session: pytest.Session) -> None:
    # Once a run: the workers of pytest-xdist are sessions of their own.
    if not hasattr(session.config, "workerinput"):
        remove_abandoned()


@pytest.fixture
def lab() -> Iterator[Laboratory]:
    with Laboratory() as laboratory:
        yield laboratory
