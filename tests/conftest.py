"""What all tests share: the marks of needs.py, a folder for every user, and that no test's secrets
mask another's log.
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# CPython 3.11.7 may end with a SystemError if hypothesis is first imported by pytest's summary.
import hypothesis  # noqa: F401
import pytest
from sparts.testing.certificates import FIRST_CERTIFICATE

from tests.browsers import launched
from tests.children import leave_out_others
from tests.core.log_helpers import no_secrets
from tests.needs import require, require_module, require_namespace, require_root

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Services of tests announce themselves here, and not beside those of this machine.
_announced = tempfile.TemporaryDirectory(prefix="sparts-")
os.environ["SPARTS_RUNTIME_DIR"] = _announced.name

pytest_plugins = ["sparts.testing.fixtures"]

# Every service of this environment would import them, and pluggy with them; tests/otel and
# tests/dev let them in.
os.environ.setdefault("SPARTS_DISABLE_PLUGINS", "otel,reload")

# A job in the background of a script has ^C ignored, and so would every process that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    with contextlib.suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip or fail a test whose system packages, modules or rights are missing."""
    if os.environ.get("SPARTS_ONE_PYTHON_DONE") == "1" and item.get_closest_marker("one_python"):
        pytest.skip("another Python has run it")
    for mark in item.iter_markers("needs"):
        require(mark.args)
    for mark in item.iter_markers("needs_module"):
        require_module(mark.args)
    if item.get_closest_marker("linux") and not hasattr(os, "pidfd_open"):
        pytest.skip("Linux alone has that")
    for _ in item.iter_markers("needs_root"):
        require_root()
    for mark in item.iter_markers("needs_namespace"):
        require_namespace(mark.args)


@pytest.fixture(autouse=True)
def forget_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget after each test the secrets that it has read: a process never does."""
    no_secrets(monkeypatch)


@pytest.fixture
def pem(tmp_path: Path) -> str:
    """Give the path of a server's certificate, which `tests.certificates` trusts."""
    path = tmp_path / "server.pem"
    path.write_text(FIRST_CERTIFICATE, encoding="ascii")
    return str(path)


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """Give a new folder that every user may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # noqa: S103 - that is what it is for
        yield Path(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape surrogates in what a test has logged: a worker of xdist cannot send them."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture
def own_children() -> None:
    """Let `tests.children.children` return the children of this test alone."""
    leave_out_others()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run one browser for all tests of a module."""
    with launched() as chromium:
        yield chromium
