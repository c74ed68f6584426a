"""The hook plugin of sparts-dev is let in."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``--reload`` be there."""
    monkeypatch.setenv("SPARTS_DISABLE_PLUGINS", "otel")
