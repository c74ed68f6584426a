"""Logging and a stderr without pytest's hands on them, for tests that ask for `bare_logging`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.core.daemons import Script, script
from tests.core.log_helpers import FakeStderr, bare_root, no_secrets

# A machine that is busy is no failure: no test asserts on time.
settings.register_profile("without deadline", deadline=None)
settings.load_profile("without deadline")


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture(params=["inotify", "poll"])
def way(request: pytest.FixtureRequest) -> str:
    """Each of the two ways to watch a folder."""
    return str(request.param)


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    """A folder to watch, with others beside it."""
    for name in ("watched", "one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path / "watched"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Script]:
    """A service with a pid file, which is not running any more after the test."""
    with script(tmp_path) as made:
        yield made


@pytest.fixture
def bare_logging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logging as at the start of a process: no handlers, no secrets, no journal."""
    no_secrets(monkeypatch)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)


@pytest.fixture
def stderr(bare_logging: None) -> FakeStderr:
    """What `sys.stderr` is while the test runs."""
    return FakeStderr()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Take pytest's handlers and stderr away around the call itself: it sets them just before."""
    if "bare_logging" not in pyfuncitem.fixturenames:
        return (yield)
    fake: Any = pyfuncitem.funcargs.get("stderr", sys.stderr)
    with bare_root(), contextlib.redirect_stderr(fake):
        return (yield)
