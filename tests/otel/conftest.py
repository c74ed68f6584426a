"""The plugin is let in, and there is a collector."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.otel.collector import Collector


@pytest.fixture(autouse=True)
def _let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have sparts-otel be loaded, and export soon."""
    monkeypatch.delenv("SPARTS_DISABLE_PLUGINS", raising=False)
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@pytest.fixture
def collector() -> Iterator[Collector]:
    """Give a collector of the test's own."""
    with Collector() as found:
        yield found
