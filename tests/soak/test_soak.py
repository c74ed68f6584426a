"""A short soak: that it runs, loses nothing and fails nothing. What grows takes longer to see."""

from __future__ import annotations

import pytest

from tests.soak import run


@pytest.mark.needs("dbus")
def test_a_short_soak_loses_nothing_and_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.soak.report.growth", lambda samples: {})
    found = run.soak(6.0)
    assert found.problems() == []
