"""Daemons of a test's own, by fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sparts.tasks.dbus import DBusClientTask
from sparts.testing.running import running_task

from tests.dbus.daemons import RESTRICTIVE, Daemon


@pytest.fixture
def session_bus(tmp_path: Path) -> Iterator[Daemon]:
    """A bus that lets everybody do everything, as that of a session does."""
    with Daemon(tmp_path / "session") as daemon:
        yield daemon


@pytest.fixture
def client(session_bus: Daemon) -> Iterator[DBusClientTask]:
    """A client of that bus."""
    argv = ("--dbus-client-address", session_bus.address)
    with running_task(DBusClientTask, *argv) as task:
        yield task


@pytest.fixture
def system_bus(tmp_path: Path) -> Iterator[Daemon]:
    """A bus whose policy forbids what the system bus of a machine forbids."""
    included = tmp_path / "system.d"
    included.mkdir()
    more = f"<includedir>{included}</includedir>"
    with Daemon(tmp_path / "system", RESTRICTIVE, more, kind="system") as daemon:
        yield daemon
