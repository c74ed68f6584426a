"""D-Bus keeps the contract of RPC transports."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from sparts.tasks.dbus.rpc import RPCDBusTask
from sparts.testing.rpc import RPCTransportContract
from sparts.vservice import VService

from tests.dbus.daemons import Daemon


@pytest.mark.needs("dbus")
class TestDBus(RPCTransportContract):
    transport = RPCDBusTask
    cancels = False
    folder: ClassVar[tempfile.TemporaryDirectory[str]]
    daemon: ClassVar[Daemon]

    @classmethod
    def setup_class(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory()
        cls.daemon = Daemon(Path(cls.folder.name) / "bus").__enter__()
        cls.argv = ("--rpc-dbus-address", cls.daemon.address)
        super().setup_class()

    @classmethod
    def teardown_class(cls) -> None:
        super().teardown_class()
        cls.daemon.__exit__(None, None, None)
        cls.folder.cleanup()

    def url(self, service: VService) -> str:
        return f"dbus:{service.requireTask(RPCDBusTask).name_on_bus}?bus={self.daemon.address}"
