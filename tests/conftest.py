"""What all tests share: the system packages that a test needs."""

from __future__ import annotations

import os

import pytest

from scripts.system_packages import read_table


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose system packages are missing, or fail it where SPARTS_REQUIRE_ALL=1."""
    for mark in item.iter_markers("needs"):
        table = read_table()
        for name in mark.args:
            if name not in table:
                pytest.fail(f"{name!r} is not in scripts/system_packages.toml", pytrace=False)
            if table[name].present:
                continue
            reason = f"needs the system package {name}"
            if os.environ.get("SPARTS_REQUIRE_ALL") == "1":
                pytest.fail(f"{reason}, and SPARTS_REQUIRE_ALL=1 allows no skip", pytrace=False)
            pytest.skip(reason)
