"""What all tests share: the marks of needs.py, and that no test's secrets mask another's log."""

from __future__ import annotations

import contextlib
import signal

import pytest

from tests.core.log_helpers import no_secrets
from tests.needs import require, require_module

pytest_plugins = ["sparts.testing.fixtures"]

# A job in the background of a script has ^C ignored, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail a test whose system packages or modules are missing."""
    for mark in item.iter_markers("needs"):
        require(mark.args)
    for mark in item.iter_markers("needs_module"):
        require_module(mark.args)


@pytest.fixture(autouse=True)
def forget_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after each test the secrets that it has read: a process never does."""
    no_secrets(monkeypatch)
