"""Fixtures for pytest: services in the test's process, and as processes of their own.

A project that wants them says so, in the ``conftest.py`` at the top of its tests::

    pytest_plugins = ["sparts.testing.fixtures"]

(No entry point makes pytest load them: users who have sparts installed and do not use them would
pay for it in every run.)
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from sparts.testing.processes import ProcessFactory
from sparts.testing.running import ServiceFactory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

for _name in ("loop_calls", "loops", "servers"):  # whose assertions are those of tests
    if f"sparts.testing.{_name}" not in sys.modules:
        pytest.register_assert_rewrite(f"sparts.testing.{_name}")


@pytest.fixture
def service_factory() -> Iterator[ServiceFactory]:
    """Run services in this process: ``service_factory(MyService, "--http-port", "0")``.

    Each is started and ready when it is returned. At the end of the test they are stopped; that one
    did not end in order, or that threads, descriptors or coroutines are left, is an error of the
    test.
    """
    factory = ServiceFactory()
    yield factory
    factory.close()


@pytest.fixture
def service_process(tmp_path: Path) -> Iterator[ProcessFactory]:
    """Run services as processes: ``service_process("my_service.py", "--http-port", "0")``.

    Each is ready when it is returned. At the end of the test those that still run get SIGTERM; an
    exit status other than 0 then is an error of the test.
    """
    factory = ProcessFactory(tmp_path)
    yield factory
    factory.close()
