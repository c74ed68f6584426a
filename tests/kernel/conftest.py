"""What the tests of the kernel share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on `sys.path`, in which a test installs distributions."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path
