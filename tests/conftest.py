"""What all tests share: the mark `needs`, and that no test's secrets mask another's log."""

from __future__ import annotations

import pytest

from tests.core.log_helpers import no_secrets
from tests.needs import require

pytest_plugins = ["sparts.testing.fixtures"]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail a test whose system packages are missing."""
    for mark in item.iter_markers("needs"):
        require(mark.args)


@pytest.fixture(autouse=True)
def forget_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after each test the secrets that it has read: a process never does."""
    no_secrets(monkeypatch)
