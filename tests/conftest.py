"""What all tests share: the mark `needs`."""

from __future__ import annotations

import pytest

from tests.needs import require


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail a test whose system packages are missing."""
    for mark in item.iter_markers("needs"):
        require(mark.args)
